//! Requests on spans that are cut into pieces when much is to be done: resolution, clearing.
//!
//! A piece is a command by itself; [`super::Evaluated::rest`] says what comes after it.

use super::{Evaluation, LockUpdate, Refusal};
use crate::api::*;
use crate::keys;
use crate::mvcc::{self, Resolution};

/// Intents resolved in one command.
const INTENTS_A_PIECE: u64 = 10_000;
/// Bytes of values after which such a command ends.
const PIECE_BYTES: usize = 4 << 20;
/// Keys cleared in one command.
const KEYS_A_PIECE: u64 = 10_000;

impl Evaluation<'_> {
    pub(super) fn resolve_intents(&mut self, resolve: &ResolveIntents) -> Result<(), Refusal> {
        let status = TxnStatus::try_from(resolve.status)
            .map_err(|_| crate::replica::invalid("a resolution names an unknown status: the sender is newer"))?;
        let resolution = Resolution {
            txn: resolve.txn,
            epoch: resolve.epoch,
            status,
            timestamp: resolve.timestamp,
            ignored: resolve.ignored.clone(),
        };
        let ended = matches!(status, TxnStatus::Committed | TxnStatus::Aborted);
        let (txn, timestamp) = (resolve.txn, resolve.timestamp);
        if resolve.span.end.is_empty() {
            let key = resolve.span.start.clone();
            mvcc::resolve_key(&mut self.overlay, &mut self.stats, &key, &resolution)?;
            let bytes = self.overlay.put_bytes();
            if bytes > PIECE_BYTES && self.input.batch.requests.len() > 1 {
                // One of them may be larger than that; several are sent in smaller batches.
                return Err(Refusal::Error(KvError::too_large(bytes, PIECE_BYTES)));
            }
            let may_be_gone = !ended && !resolve.ignored.is_empty();
            let stays = |intent: mvcc::Intent| intent.txn.id == txn;
            let is_gone = may_be_gone && !mvcc::find_intent(&self.overlay, &key)?.is_some_and(stays);
            self.out.lock_updates.push(match is_gone {
                true => LockUpdate::Intent { key, txn },
                false => LockUpdate::Key { key, txn, ended, timestamp },
            });
            return Ok(());
        }
        let (start, end) = keys::bounds(&resolve.span);
        let (overlay, stats) = (&mut self.overlay, &mut self.stats);
        let outcome = mvcc::resolve_span(overlay, stats, &start, &end, &resolution, INTENTS_A_PIECE, PIECE_BYTES)?;
        let done_to = outcome.resume.as_ref().map_or(end, |rest| rest.start.clone());
        self.out.lock_updates.push(LockUpdate::Span { start, end: done_to, txn, ended, timestamp });
        self.rest(outcome.resume.map(|span| ResolveIntents { span, ..resolve.clone() }.into_kind()))
    }

    pub(super) fn clear_span(&mut self, clear: &ClearSpan) -> Result<(), Refusal> {
        let (start, end) = keys::bounds(&clear.span);
        let rest = mvcc::clear_span(&mut self.overlay, &mut self.stats, &start, &end, KEYS_A_PIECE)?;
        self.rest(rest.map(|span| RequestKind::ClearSpan(ClearSpan { span })))
    }

    fn rest(&mut self, kind: Option<RequestKind>) -> Result<(), Refusal> {
        let Some(kind) = kind else { return Ok(()) };
        let header = self.input.batch.header.clone();
        if self.input.batch.requests.len() > 1 {
            return Err(Refusal::Error(crate::replica::invalid("too much for one batch: send the request by itself")));
        }
        self.out.rest = Some(BatchRequest { header, requests: vec![kind.into()] });
        Ok(())
    }
}

impl ResolveIntents {
    fn into_kind(self) -> RequestKind {
        RequestKind::ResolveIntents(self)
    }
}
