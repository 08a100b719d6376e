//! Writes: buffered at the gateway, and spilled to intents when they are too many.

use bytes::Bytes;
use futures::future::try_join_all;
use kv::api::Request;

use super::Transaction;
use super::refresh::Attempts;
use crate::Error;
use crate::spans::point;

impl Transaction {
    /// Writes a key. No range hears of it before the commit, unless the buffer is full.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::ReadOnly`], and any [`Error`] when it spills.
    pub async fn put(&self, key: Bytes, value: Bytes) -> Result<(), Error> {
        self.write(key, Some(value)).await
    }

    /// Deletes a key, whether it exists or not.
    ///
    /// # Errors
    /// As [`Transaction::put`].
    pub async fn delete(&self, key: Bytes) -> Result<(), Error> {
        self.write(key, None).await
    }

    /// Makes intents of all that is buffered, so that it is no longer held here.
    ///
    /// # Errors
    /// As [`Transaction::put`] when it spills.
    pub async fn spill(&self) -> Result<(), Error> {
        {
            let mut state = self.state.lock();
            state.check_active()?;
            if state.buffer.is_empty() {
                return Ok(());
            }
            state.statement_spilled = true;
        }
        self.write_intents(true).await
    }

    async fn write(&self, key: Bytes, value: Option<Bytes>) -> Result<(), Error> {
        self.check_size(&key, value.as_ref())?;
        {
            let mut state = self.state.lock();
            state.check_active()?;
            let sequence = state.next_sequence();
            state.buffer.write(key, value, sequence);
            if state.buffer.bytes() <= self.core.settings.write_buffer_bytes {
                return Ok(());
            }
            state.statement_spilled = true;
        }
        self.write_intents(true).await
    }

    pub(super) fn check_size(&self, key: &Bytes, value: Option<&Bytes>) -> Result<(), Error> {
        if self.historical {
            return Err(Error::ReadOnly);
        }
        let (bytes, limit) = (key.len() + value.map_or(0, Bytes::len), self.core.settings.max_write_bytes);
        if bytes > limit { Err(Error::TooLarge { bytes, limit }) } else { Ok(()) }
    }

    /// Makes intents of all that is buffered; of what a rewind or a savepoint may go back to as well, when it `may_go_back`. The
    /// buffer is emptied only when all are there: until then, a failure changes nothing but that some intents are known.
    pub(super) async fn write_intents(&self, may_go_back: bool) -> Result<(), Error> {
        let (batches, through, all_written) = {
            let mut state = self.state.lock();
            let state = &mut *state;
            state.settle_anchor();
            let cap_bytes = self.core.settings.intent_span_bytes;
            state.buffer.keys().for_each(|key| state.intents.insert(point(key.clone()), cap_bytes));
            self.keep_alive(state);
            let batch_bytes = self.core.settings.write_batch_bytes;
            let batches =
                if may_go_back { state.buffer.to_spill(batch_bytes) } else { state.buffer.to_batches(batch_bytes) };
            (batches, state.meta.sequence, std::mem::replace(&mut state.all_written, false))
        };
        try_join_all(batches.into_iter().map(|batch| self.send_writes(batch))).await?;
        let mut state = self.state.lock();
        state.buffer.forget_through(through);
        state.all_written = all_written;
        Ok(())
    }

    async fn send_writes(&self, requests: Vec<Request>) -> Result<(), Error> {
        let mut attempts = Attempts::default();
        loop {
            let (header, moves) = {
                let state = self.state.lock();
                (self.header(&state), state.moves)
            };
            match self.core.send(header, requests.clone()).await {
                Ok(response) => {
                    self.state.lock().absorb(&response);
                    return Ok(());
                }
                Err(error) => Box::pin(self.recover(error, moves, &mut attempts)).await?,
            }
        }
    }
}

impl super::State {
    /// Anchors the record at a key that is written, while it can still be chosen: where nothing but unreplicated locks point to
    /// the former anchor, a push there finds nothing, and costs at most the lock.
    pub(super) fn settle_anchor(&mut self) {
        if self.has_record || !self.intents.is_empty() || self.buffer.contains(&self.meta.anchor) {
            return;
        }
        if let Some(key) = self.buffer.first_key() {
            self.meta.anchor = key.clone();
        }
    }
}
