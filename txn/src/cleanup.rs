//! What is left to do once a transaction has ended: resolve its intents, release its locks. Nobody waits for it.
//!
//! What is not done here (the gateway dies, a range is unavailable for long) is done by whoever meets the intent: the record says
//! what the transaction came to.

use std::sync::Arc;
use std::time::Duration;

use clock::Timestamp;
use kv::api::{
    BatchResponse, EndTxn, KvError, ReleaseLocks, Request, RequestKind, ResolveIntents, Span, TxnMeta, TxnStatus,
};

use crate::database::Core;

/// What an ended transaction left behind.
pub(crate) struct Leftovers {
    pub meta: TxnMeta,
    /// Where intents may be.
    pub intents: Vec<Span>,
    /// Where unreplicated locks may be.
    pub locks: Vec<Span>,
    /// Whether it may have a record that must be ended first.
    pub has_record: bool,
}

/// How it ended, as far as the coordinator knows.
#[derive(Clone, Copy)]
pub(crate) enum Ending {
    /// Its record says committed, at this timestamp.
    Committed(Timestamp),
    /// It is to be rolled back.
    RollBack,
}

/// Attempts before the leftovers are left to whoever meets them.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Requests in one batch of resolutions.
const BATCH_REQUESTS: usize = 1_000;

/// Cleans up beside the caller. Nothing is started when nothing was left.
pub(crate) fn start(core: &Arc<Core>, leftovers: Leftovers, ending: Ending) {
    let nothing_left = leftovers.intents.is_empty() && leftovers.locks.is_empty();
    if nothing_left && (matches!(ending, Ending::Committed(_)) || !leftovers.has_record) {
        return;
    }
    let tasks = core.tasks.clone();
    let core = core.clone();
    tasks.spawn("transaction cleanup", async move { clean_up(&core, leftovers, ending).await });
}

async fn clean_up(core: &Core, leftovers: Leftovers, ending: Ending) {
    let Leftovers { meta, intents, locks, has_record } = leftovers;
    let (status, timestamp) = match ending {
        Ending::Committed(timestamp) => (TxnStatus::Committed, timestamp),
        Ending::RollBack if has_record => match end_record(core, &meta, &intents).await {
            Ok(ended) => ended,
            Err(error) => {
                // It may be committed: whoever meets its intents asks its record.
                tracing::debug!(txn = %meta.id, %error, "a rollback was not recorded");
                return;
            }
        },
        Ending::RollBack => (TxnStatus::Aborted, meta.write_timestamp),
    };
    // What a span holds may be too much for one command. The range cuts it into pieces then, if it stands alone.
    let (points, spans): (Vec<Span>, Vec<Span>) = intents.into_iter().partition(|span| span.end.is_empty());
    let resolve = |span: Span| {
        let resolve = ResolveIntents {
            span,
            txn: meta.id,
            epoch: meta.epoch,
            status: status as i32,
            timestamp,
            ignored: meta.ignored.clone(),
        };
        Request::from(RequestKind::ResolveIntents(resolve))
    };
    let spans: Vec<Request> = spans.into_iter().map(resolve).collect();
    let mut requests: Vec<Request> = points.into_iter().map(resolve).collect();
    requests.extend(
        locks.into_iter().map(|span| Request::from(RequestKind::ReleaseLocks(ReleaseLocks { txn: meta.id, span }))),
    );
    let mut batches: Vec<&[Request]> = requests.chunks(BATCH_REQUESTS).chain(spans.chunks(1)).rev().collect();
    while let Some(batch) = batches.pop() {
        match send_with_patience(core, None, batch).await {
            Ok(_) => {}
            Err(KvError::TooLarge(_)) if batch.len() > 1 => {
                let (first, second) = batch.split_at(batch.len() / 2);
                batches.extend([second, first]);
            }
            Err(error) => {
                tracing::debug!(txn = %meta.id, %error, "what a transaction left behind is left to whoever meets it");
                return;
            }
        }
    }
}

/// Rolls the record back, and answers what the transaction came to, which may be committed.
async fn end_record(core: &Core, meta: &TxnMeta, intents: &[Span]) -> Result<(TxnStatus, Timestamp), KvError> {
    let end = EndTxn { intents: intents.to_vec(), ..EndTxn::default() };
    match send_with_patience(core, Some(meta), &[RequestKind::EndTxn(end).into()]).await {
        Err(KvError::AlreadyCommitted(detail)) => Ok((TxnStatus::Committed, detail.actual)),
        // One that is forgotten has nothing left, if it committed, and cannot commit any more, if it did not.
        Ok(_) | Err(KvError::TxnAborted(_) | KvError::Forgotten(_)) => Ok((TxnStatus::Aborted, meta.write_timestamp)),
        Err(error) => Err(error),
    }
}

/// Tries again, with growing pauses, what failed for want of a quorum or an answer.
async fn send_with_patience(
    core: &Core,
    txn: Option<&TxnMeta>,
    requests: &[Request],
) -> Result<BatchResponse, KvError> {
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        match core.send(core.header(txn.cloned()), requests.to_vec()).await {
            Err(
                KvError::Unavailable(_) | KvError::Ambiguous(_) | KvError::NotLeaseholder(_) | KvError::DiskFull(_),
            ) if attempt < ATTEMPTS => {
                tokio::time::sleep(pause).await;
                pause *= 4;
                attempt += 1;
            }
            answer => return answer,
        }
    }
}
