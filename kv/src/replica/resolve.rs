//! Resolution of the intents in a span, of a transaction that no longer knows each of its keys.
//!
//! ```text
//!   span ─▶ walk a snapshot, step by step, on a thread that may block, under no latch ─▶ keys with its intents
//!             └▶ each step's keys resolved like any others, latched one by one
//! ```
//!
//! The snapshot has every intent there is to find: a transaction's end comes after its writes were answered. One that arrives later,
//! having been sent twice, would not be found under latches either; whoever meets it asks the record.

use parking_lot::Mutex;

use super::Replica;
use super::send::Phase;
use crate::api::*;
use crate::keys;
use crate::mvcc;

/// Intents found in one step, and resolved in one command.
const INTENTS_A_STEP: usize = 1_000;
/// Entries walked over in one step.
const ENTRIES_A_STEP: usize = 200_000;

impl Replica {
    /// Resolves what the transaction has left in the span.
    pub(super) async fn resolve_span(
        &self,
        header: &BatchHeader,
        resolve: &ResolveIntents,
        phase: &Mutex<Phase>,
    ) -> Result<(), KvError> {
        let (start, end) = keys::bounds(&resolve.span);
        let mut from = Some(start);
        while let Some(start) = from {
            self.lease_for(self.clock_now()?).await?;
            let (replica, rest, txn) = (self.handle(), (start, end.clone()), resolve.txn);
            let walk = move || {
                let (view, reader) = replica.read_view()?;
                let (start, end) = &rest;
                let bounds = &view.descriptor;
                if !bounds.contains(start) || !(bounds.end.is_empty() || *end <= bounds.end) {
                    return Ok(None);
                }
                mvcc::find_intents(&*reader, start, end, txn, INTENTS_A_STEP, ENTRIES_A_STEP)
                    .map(Some)
                    .map_err(|error| replica.engine_failed(&error))
            };
            let found = self.tasks.blocking(walk).await?;
            let Some((keys, resume)) = found else { return Err(self.mismatch()) };
            from = resume;
            if keys.is_empty() {
                continue;
            }
            let point = |key| {
                let span = Span { start: key, end: bytes::Bytes::new() };
                Request::from(RequestKind::ResolveIntents(ResolveIntents { span, ..resolve.clone() }))
            };
            let mut pieces = vec![keys];
            while let Some(mut keys) = pieces.pop() {
                let requests = keys.iter().cloned().map(point).collect();
                // What was split off meanwhile is refused there, and routed anew.
                match self.run_rounds(BatchRequest { header: header.clone(), requests }, phase).await {
                    Ok(_) => {}
                    Err(KvError::TooLarge(_)) if keys.len() > 1 => {
                        let rest = keys.split_off(keys.len() / 2);
                        pieces.extend([rest, keys]);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}
