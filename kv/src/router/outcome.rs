//! What became of a commit whose answer was lost.
//!
//! ```text
//!   [puts, EndTxn] ─▶ sent, answer lost ─▶ sent again ─▶ refused, or the ranges are others by now
//!                                            └▶ the record at the anchor ─┬─ committed ─▶ the answer that was lost
//!                                                                         └─ anything else ─▶ Ambiguous
//! ```
//!
//! A record that says committed is the last word. One that says nothing is none: the first attempt may still be under way.
//! Whoever needs to know then writes the record itself, by rolling back; that is the coordinator's to decide.

use clock::Timestamp;

use super::trip::Trip;
use super::{Router, pieces};
use crate::api::{
    BatchHeader, BatchRequest, BatchResponse, Done, EndTxn, Ended, KvError, NotBegun, QueryTxn, Request, RequestKind,
    Response, ResponseKind, TxnMeta, TxnStatus, error_detail,
};

/// The commit that a batch ends with.
pub(super) fn commit_of(batch: &BatchRequest) -> Option<&EndTxn> {
    match batch.requests.last()?.kind.as_ref()? {
        RequestKind::EndTxn(end) if end.commit => Some(end),
        _ => None,
    }
}

/// The batch failed with `error`, but an earlier attempt may have taken effect: what to answer.
pub(super) async fn find(
    router: &Router,
    batch: &BatchRequest,
    error: KvError,
    trip: &Trip,
) -> Result<BatchResponse, KvError> {
    if matches!(error, KvError::Ambiguous(_)) {
        return Err(error);
    }
    if commit_of(batch).is_some()
        && let Some(txn) = &batch.header.txn
        && let Some((status, timestamp)) = read_record(router, txn, trip).await
    {
        match status {
            TxnStatus::Committed => {
                trip.set_perhaps_applied(false);
                return committed_before(batch, timestamp, Vec::new()).ok_or_else(|| {
                    let detail = error_detail::Conflict { key: txn.anchor.clone(), actual: timestamp, other: None };
                    KvError::AlreadyCommitted(detail)
                });
            }
            // It stays that way: whatever is still under way finds it, and is refused.
            TxnStatus::Aborted => {
                trip.set_perhaps_applied(false);
                return Err(error);
            }
            TxnStatus::Pending | TxnStatus::Staging => {}
        }
    }
    Err(KvError::ambiguous(format!("it was sent before, and its answer was lost; sent again, it failed: {error}")))
}

async fn read_record(router: &Router, txn: &TxnMeta, trip: &Trip) -> Option<(TxnStatus, Timestamp)> {
    let query = QueryTxn { id: txn.id, anchor: txn.anchor.clone(), ..QueryTxn::default() };
    let header = BatchHeader { timeout_ms: trip.remaining_ms(), ..BatchHeader::default() };
    let batch = BatchRequest { header, requests: vec![RequestKind::QueryTxn(query).into()] };
    let answer = pieces::route_again(router, batch, trip).await.ok()?;
    match answer.responses.into_iter().next()?.kind? {
        ResponseKind::Record(record) if record.exists => Some((record.status(), record.txn.write_timestamp)),
        _ => None,
    }
}

/// The answer to a commit that an earlier attempt of the same batch brought about.
pub(super) fn committed_before(
    batch: &BatchRequest,
    commit_timestamp: Timestamp,
    ranges: Vec<u64>,
) -> Option<BatchResponse> {
    let end = commit_of(batch)?;
    let response = |request: &Request| -> Option<Response> {
        Some(match request.kind.as_ref()? {
            RequestKind::Put(_) | RequestKind::Delete(_) => ResponseKind::Done(Done {}).into(),
            RequestKind::EndTxn(_) => ResponseKind::Ended(Ended {
                status: TxnStatus::Committed.into(),
                commit_timestamp,
                one_phase: end.one_phase,
            })
            .into(),
            // What a read or refresh saw is lost; nobody reads in the batch that commits.
            RequestKind::Refresh(_) => ResponseKind::Done(Done {}).into(),
            RequestKind::Get(_) | RequestKind::Scan(_) => ResponseKind::NotBegun(NotBegun {}).into(),
            _ => return None,
        })
    };
    let responses = batch.requests.iter().map(response).collect::<Option<Vec<_>>>()?;
    Some(BatchResponse {
        responses,
        write_timestamp: commit_timestamp,
        observed_timestamp: commit_timestamp,
        ranges,
        read_timestamp: batch.header.txn.as_ref().map_or(batch.header.read_timestamp, |txn| txn.read_timestamp),
    })
}
