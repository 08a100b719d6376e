//! Waiting for a lock: for a while in silence, then by asking what became of its holder.
//!
//! ```text
//!   blocked ─▶ bell, or push delay ─▶ head of the queue, and readers: push the holder at its anchor
//!                                       ├ committed, aborted ─▶ resolve its intents here, go on
//!                                       ├ moved above the read ─▶ move its intent, go on
//!                                       └ alive ─▶ wait on, twice as long up to a quarter of a second
//!                                     transactions that hold something: note whom they wait for, walk the edges
//!                                       └ a cycle, twice the same, and we are its victim ─▶ Deadlock
//! ```

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use clock::Timestamp;
use clock::mutation::{self, Mutant};

use super::Replica;
use crate::api::*;
use crate::concurrency::lock_table::{Blocked, LockAccess, LockHolder, LockRequest};
use crate::concurrency::waits::{self, Walk};

/// The longest silence between two rounds. A leaseholder that died takes the locks along that are not in the log: clients that queued in
/// one order then meet in any, and one deadlock comes after the other, each of which is found after such a silence.
const LONGEST_SILENCE: Duration = Duration::from_millis(250);
/// How long those behind the head of a queue wait before they look for a deadlock: the head does that sooner.
const FOLLOWERS_SILENCE: Duration = Duration::from_millis(200);
/// How long a push or a step of the walk may take.
const STEP_TIMEOUT_MS: u64 = 3_000;
/// How many transactions a walk visits.
const LONGEST_WALK: usize = 64;

/// What a push found.
#[derive(Debug, PartialEq)]
enum Pushed {
    /// The holder is not in the way any more.
    Cleared,
    /// It is alive, or cannot be reached.
    StillThere,
}

impl Replica {
    /// Returns once the request should try again.
    ///
    /// # Errors
    /// `LockUnavailable` for a request that does not wait, or not for so long, `Deadlock` for a victim, `TxnAborted`.
    pub(super) async fn wait_for_lock(
        &self,
        request: &LockRequest,
        blocked: Blocked,
        batch: &BatchRequest,
    ) -> Result<(), KvError> {
        let mut edge = EdgeGuard { replica: self, txn: None, wait: self.random.next_u64() };
        let limit_ms = batch.header.lock_timeout_ms;
        if limit_ms == 0 {
            return self.wait_in_rounds(request, blocked, batch, &mut edge).await;
        }
        let (key, other) = (blocked.key.clone(), blocked.holder.as_ref().map(|holder| holder.txn.id));
        let waiting = self.wait_in_rounds(request, blocked, batch, &mut edge);
        tokio::time::timeout(Duration::from_millis(limit_ms), waiting).await.unwrap_or_else(|_| {
            Err(KvError::LockUnavailable(error_detail::Conflict { key, actual: Timestamp::MIN, other }))
        })
    }

    async fn wait_in_rounds(
        &self,
        request: &LockRequest,
        mut blocked: Blocked,
        batch: &BatchRequest,
        edge: &mut EdgeGuard<'_>,
    ) -> Result<(), KvError> {
        let mut silence = Duration::from_millis(self.settings.push_delay_ms);
        let mut seen_cycle: Option<Vec<u64>> = None;
        if batch.header.no_wait {
            return self.push_once(request, &blocked).await;
        }
        loop {
            let patience = if blocked.pushes { silence } else { silence.max(FOLLOWERS_SILENCE) };
            let _ = tokio::time::timeout(patience, blocked.changed.notified()).await;
            let Some(now) = self.locks.still_blocked(request, &blocked.key) else { return Ok(()) };
            let pushes_now = now.pushes && !blocked.pushes;
            blocked = now;
            if pushes_now {
                // Whoever holds the key has only just got it.
                silence = Duration::from_millis(self.settings.push_delay_ms);
                continue;
            }
            if blocked.pushes && self.push_holder(request, &blocked).await == Pushed::Cleared {
                return Ok(());
            }
            let next = self.look_for_deadlock(request, &blocked, edge).await?;
            if let Some(waits) = next {
                if seen_cycle.as_ref() == Some(&waits) {
                    let other = blocked.holder.as_ref().map(|holder| holder.txn.id);
                    let conflict = error_detail::Conflict { key: blocked.key, actual: Timestamp::MIN, other };
                    return Err(KvError::Deadlock(conflict));
                }
                seen_cycle = Some(waits);
                silence = Duration::from_millis(self.settings.push_delay_ms);
                continue;
            }
            seen_cycle = None;
            silence = (silence * 2).min(LONGEST_SILENCE);
        }
    }

    /// For a request that does not wait: only what is left over from the dead is cleared away.
    async fn push_once(&self, request: &LockRequest, blocked: &Blocked) -> Result<(), KvError> {
        if blocked.holder.is_some() && self.push_holder(request, blocked).await == Pushed::Cleared {
            return Ok(());
        }
        let other = blocked.holder.as_ref().map(|holder| holder.txn.id);
        let conflict = error_detail::Conflict { key: blocked.key.clone(), actual: Timestamp::MIN, other };
        Err(KvError::LockUnavailable(conflict))
    }

    async fn push_holder(&self, request: &LockRequest, blocked: &Blocked) -> Pushed {
        let Some(holder) = &blocked.holder else { return Pushed::StillThere };
        let push_to = push_target(request, holder);
        let push = PushTxn {
            pushee: holder.txn.clone(),
            pusher: request.txn.clone(),
            push_to,
            force: false,
            last_active: holder.last_active,
        };
        let anchor_request = RequestKind::PushTxn(push);
        let Some(record) = self.ask_record(anchor_request).await else { return Pushed::StillThere };
        let mut status = TxnStatus::try_from(record.status).unwrap_or(TxnStatus::Pending);
        if !record.exists && mutation::is(Mutant::MissingRecordIsAbort) {
            status = TxnStatus::Aborted;
        }
        let ended = matches!(status, TxnStatus::Committed | TxnStatus::Aborted);
        let moved = !push_to.is_min() && record.txn.write_timestamp > push_to;
        if !ended && !moved {
            return Pushed::StillThere;
        }
        if !holder.replicated {
            self.locks.update(&blocked.key, holder.txn.id, ended, record.txn.write_timestamp);
            return Pushed::Cleared;
        }
        self.resolve_met_intents(blocked, holder, status, &record.txn).await
    }

    /// Resolves the intents of a holder that were met in this range, the one in the way first.
    async fn resolve_met_intents(
        &self,
        blocked: &Blocked,
        holder: &LockHolder,
        status: TxnStatus,
        recorded: &TxnMeta,
    ) -> Pushed {
        let epoch = if status == TxnStatus::Committed { recorded.epoch } else { holder.txn.epoch };
        let mut keys = vec![blocked.key.clone()];
        let ended = matches!(status, TxnStatus::Committed | TxnStatus::Aborted);
        if ended {
            keys.extend(self.locks.intents_of(holder.txn.id).into_iter().filter(|key| *key != blocked.key).take(256));
        }
        let resolve = |key| {
            let span = Span { start: key, end: bytes::Bytes::new() };
            let resolve = ResolveIntents {
                span,
                txn: holder.txn.id,
                epoch,
                status: status as i32,
                timestamp: recorded.write_timestamp,
                ignored: recorded.ignored.clone(),
            };
            RequestKind::ResolveIntents(resolve).into()
        };
        let header = BatchHeader { timeout_ms: STEP_TIMEOUT_MS, ..BatchHeader::default() };
        let batch = BatchRequest { header, requests: keys.into_iter().map(resolve).collect() };
        match self.send_again(batch).await {
            Ok(_) => Pushed::Cleared,
            Err(error) => {
                tracing::debug!(range = self.range_id, %error, "intents in the way were not resolved");
                Pushed::StillThere
            }
        }
    }

    /// Boxed: a request that resolves never waits for locks, so the recursion is one deep.
    fn send_again(
        &self,
        batch: BatchRequest,
    ) -> Pin<Box<dyn Future<Output = Result<BatchResponse, KvError>> + Send + '_>> {
        Box::pin(self.send(batch))
    }

    /// Notes whom the request waits for, and walks the edges; the waits of a cycle whose victim it is.
    async fn look_for_deadlock(
        &self,
        request: &LockRequest,
        blocked: &Blocked,
        edge: &mut EdgeGuard<'_>,
    ) -> Result<Option<Vec<u64>>, KvError> {
        let Some(waiter) = request.txn.as_ref().filter(|txn| !txn.anchor.is_empty()) else { return Ok(None) };
        let blocker = blocked.holder.as_ref().map(|holder| &holder.txn).or(blocked.ahead.as_ref());
        let Some(blocker) = blocker.filter(|blocker| blocker.id != waiter.id) else { return Ok(None) };
        edge.txn = Some((waiter.id, waiter.anchor.clone()));
        let noted = WaitEdge { wait: edge.wait, blockers: vec![blocker.clone()] };
        let Some(own) = self.ask_waits(waiter, Some(noted)).await else { return Ok(None) };
        if own.status == TxnStatus::Aborted as i32 {
            let message = "another transaction ended it while it waited for a lock".to_owned();
            let ended = error_detail::Ended { message, other: Some(blocker.id) };
            let is_certain = own.presumed_at.is_none();
            return Err(if is_certain { KvError::TxnAborted(ended) } else { KvError::Forgotten(ended) });
        }
        let mut walk = Walk::from(waiter);
        let mut frontier = walk.follow(waiter.id, &own.waits);
        let mut visited = 0;
        while let Some(next) = frontier.pop() {
            if next.id == waiter.id {
                let Some((cycle, waits)) = walk.cycle(waiter.id) else { break };
                return Ok((waits::victim(&cycle) == waiter.id).then_some(waits));
            }
            visited += 1;
            if visited > LONGEST_WALK || next.anchor.is_empty() {
                continue;
            }
            if let Some(answer) = self.ask_waits(&next, None).await
                && answer.status == TxnStatus::Pending as i32
            {
                frontier.extend(walk.follow(next.id, &answer.waits));
            }
        }
        Ok(None)
    }

    async fn ask_waits(&self, txn: &TxnMeta, note: Option<WaitEdge>) -> Option<TxnRecord> {
        let query = QueryTxn { id: txn.id, anchor: txn.anchor.clone(), note };
        self.ask_record(RequestKind::QueryTxn(query)).await
    }

    async fn ask_record(&self, kind: RequestKind) -> Option<TxnRecord> {
        let header = BatchHeader { timeout_ms: STEP_TIMEOUT_MS, ..BatchHeader::default() };
        let batch = BatchRequest { header, requests: vec![kind.into()] };
        match self.sender.send(batch).await {
            Ok(response) => match response.responses.into_iter().next().and_then(|response| response.kind) {
                Some(ResponseKind::Record(record)) => Some(record),
                _ => None,
            },
            Err(error) => {
                tracing::debug!(range = self.range_id, %error, "a transaction record was not reached");
                None
            }
        }
    }
}

/// Where a reader wants the holder to be: above its snapshot. `MIN`, its end, for everyone else.
fn push_target(request: &LockRequest, holder: &LockHolder) -> Timestamp {
    let reads = request.spans.iter().map(|span| match span.access {
        LockAccess::Read { read, uncertainty_limit } if holder.txn.relaxed => Some(read.max(uncertainty_limit)),
        LockAccess::Read { read, .. } => Some(read),
        LockAccess::Write => None,
    });
    reads.collect::<Option<Vec<_>>>().and_then(|reads| reads.into_iter().max()).unwrap_or(Timestamp::MIN)
}

/// Takes the noted wait back when it is over, however it ends.
struct EdgeGuard<'a> {
    replica: &'a Replica,
    txn: Option<(TxnId, bytes::Bytes)>,
    wait: u64,
}

impl Drop for EdgeGuard<'_> {
    fn drop(&mut self) {
        let Some((id, anchor)) = self.txn.take() else { return };
        let note = Some(WaitEdge { wait: self.wait, blockers: Vec::new() });
        let replica = self.replica.handle();
        self.replica.tasks.spawn("wait over", async move {
            replica.ask_record(RequestKind::QueryTxn(QueryTxn { id, anchor, note })).await;
        });
    }
}
