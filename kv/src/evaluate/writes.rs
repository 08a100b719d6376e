//! Put, Delete, Increment and EnterRange.

use bytes::Bytes;
use clock::Timestamp;
use prost::Message;

use super::{Evaluation, LaterCause, Refusal};
use crate::api::*;
use crate::descriptor::RangeDescriptor;
use crate::keys;
use crate::mvcc::{self, WriteMode, WriteOutcome};

impl Evaluation<'_> {
    pub(super) fn write(&mut self, key: &Bytes, value: Option<Bytes>, sequence: u32) -> Result<(), Refusal> {
        if self.stand.direct { self.write_direct(key, value) } else { self.write_intent(key, value, sequence) }
    }

    fn write_direct(&mut self, key: &Bytes, value: Option<Bytes>) -> Result<(), Refusal> {
        let writable = self.first_writable(key);
        if writable > self.stand.write {
            return Err(Refusal::Later { key: key.clone(), at: writable, cause: LaterCause::Read });
        }
        let relaxed = self.txn.is_some_and(|txn| txn.relaxed);
        let commit_timestamp = self.stand.write;
        let mode = WriteMode::Committed { commit_timestamp, relaxed, txn: self.txn };
        match mvcc::write(&mut self.overlay, &mut self.stats, key, value, mode)? {
            WriteOutcome::Written { .. } => {
                self.input.cache.check_read_protected(key, commit_timestamp, self.txn_id());
                self.written.push(key.clone());
                Ok(())
            }
            WriteOutcome::TooOld { newest } => {
                Err(Refusal::Later { key: key.clone(), at: newest.next(), cause: LaterCause::Version })
            }
            WriteOutcome::Blocked(intent) => Err(Refusal::Intents(vec![intent])),
            WriteOutcome::StaleEpoch => Err(self.stale_epoch()),
        }
    }

    fn write_intent(&mut self, key: &Bytes, value: Option<Bytes>, sequence: u32) -> Result<(), Refusal> {
        let Some(txn) = self.txn else {
            return Err(Refusal::Error(crate::replica::invalid("an intent needs a transaction")));
        };
        let write_timestamp = self.first_writable(key);
        let meta = TxnMeta { write_timestamp, ..txn.clone() };
        let mode = WriteMode::Intent { txn: &meta, sequence };
        match mvcc::write(&mut self.overlay, &mut self.stats, key, value, mode)? {
            // At the read timestamp too: a write that arrives a second time, after its transaction committed, must not
            // leave an intent again.
            WriteOutcome::Written { newest, .. } if newest >= txn.read_timestamp && !newest.is_min() => {
                let conflict = error_detail::Conflict { key: key.clone(), actual: newest.next(), other: None };
                Err(Refusal::Error(KvError::WriteTooOld(conflict)))
            }
            WriteOutcome::Written { write_timestamp, .. } => {
                self.input.cache.check_read_protected(key, write_timestamp, Some(txn.id));
                self.stand.write = self.stand.write.max(write_timestamp);
                self.written.push(key.clone());
                Ok(())
            }
            WriteOutcome::TooOld { newest } => {
                let conflict = error_detail::Conflict { key: key.clone(), actual: newest.next(), other: None };
                Err(Refusal::Error(KvError::WriteTooOld(conflict)))
            }
            WriteOutcome::Blocked(intent) => Err(Refusal::Intents(vec![intent])),
            WriteOutcome::StaleEpoch => Err(self.stale_epoch()),
        }
    }

    /// Where a write may stand: above every read served of its key, and not below the garbage collection threshold, below which
    /// the tombstone that it would have to find may be gone (`write_above_threshold`).
    fn first_writable(&self, key: &Bytes) -> Timestamp {
        let at = self.stand.write.max(self.input.view.gc_threshold);
        self.input.cache.first_writable(key, at, self.txn_id())
    }

    /// Writes where nobody can look yet. A repeated request finds its own version, and leaves it.
    pub(super) fn write_invisible(&mut self, key: &Bytes, value: Option<Bytes>) -> Result<(), Refusal> {
        let mut commit_timestamp = self.stand.write;
        loop {
            let mode = WriteMode::Committed { commit_timestamp, relaxed: false, txn: self.txn };
            match mvcc::write(&mut self.overlay, &mut self.stats, key, value.clone(), mode)? {
                WriteOutcome::Written { .. } => {
                    self.stand.write = self.stand.write.max(commit_timestamp);
                    return Ok(());
                }
                WriteOutcome::TooOld { newest } if newest == commit_timestamp => return Ok(()),
                WriteOutcome::TooOld { newest } => commit_timestamp = newest.next(),
                WriteOutcome::Blocked(intent) => return Err(Refusal::Intents(vec![intent])),
                WriteOutcome::StaleEpoch => return Err(self.stale_epoch()),
            }
        }
    }

    pub(super) fn increment(&mut self, increment: &Increment) -> Result<ResponseKind, Refusal> {
        let before = match self.current(&increment.key)?.as_deref() {
            None => 0,
            Some(bytes) => i64::from_be_bytes(bytes.try_into().map_err(|_| {
                Refusal::Error(crate::replica::invalid("the key holds something other than a counter"))
            })?),
        };
        let value = before
            .checked_add(increment.by)
            .ok_or_else(|| Refusal::Error(crate::replica::invalid("the counter would overflow")))?;
        self.write_direct(&increment.key, Some(Bytes::copy_from_slice(&value.to_be_bytes())))?;
        Ok(ResponseKind::Counter(Counter { value }))
    }

    /// An entry of the directory only ever rises: whoever was held up with an older descriptor changes nothing any more.
    pub(super) fn enter_range(&mut self, enter: &EnterRange) -> Result<(), Refusal> {
        // One that cannot be read is as good as none.
        let known = self.current(&enter.key)?.and_then(|entry| RangeDescriptor::decode(entry).ok());
        if known.is_some_and(|known| known.generation >= enter.descriptor.generation) {
            return Ok(());
        }
        let entry = Bytes::from(enter.descriptor.encode_to_vec());
        self.write_direct(&enter.key, Some(entry.clone()))?;
        // The range may stand under another end by now, with a newer descriptor.
        let by_id = keys::range_entry(enter.descriptor.range_id);
        let known = self.current(&by_id)?.and_then(|entry| RangeDescriptor::decode(entry).ok());
        if known.is_some_and(|known| known.generation >= enter.descriptor.generation) {
            return Ok(());
        }
        self.write_direct(&by_id, Some(entry))
    }

    /// The value that a write outside any transaction goes by.
    fn current(&mut self, key: &Bytes) -> Result<Option<Bytes>, Refusal> {
        let found = mvcc::get(&self.overlay, key, &self.read_at())?;
        if let Some(intent) = found.blocked {
            return Err(Refusal::Intents(vec![intent]));
        }
        if let Some(at) = found.uncertain {
            return Err(Refusal::Later { key: key.clone(), at, cause: LaterCause::Uncertain });
        }
        self.observed = self.observed.max(found.observed);
        Ok(found.value)
    }

    fn stale_epoch(&self) -> Refusal {
        let message = "the transaction was restarted since this request was sent".to_owned();
        Refusal::Error(KvError::TxnAborted(error_detail::Ended { message, other: None }))
    }
}
