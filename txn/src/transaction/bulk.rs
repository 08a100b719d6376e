//! Bulk loads: rows of an index that nobody else can see yet, written straight through.
//!
//! They are committed versions from the start, at or below the transaction's write timestamp. What makes them visible is the
//! catalog entry that the same transaction commits; if it rolls back, whoever owns the span clears it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use kv::api::{BatchResponse, KvError, Put, Request, RequestKind, TxnMeta};
use tokio::task::JoinHandle;

use super::Transaction;
use crate::Error;
use crate::database::Core;

/// Rows on their way.
#[derive(Default)]
pub(super) struct Bulk {
    /// Whether anything is batched or in flight; read without the lock.
    busy: AtomicBool,
    load: tokio::sync::Mutex<Load>,
}

#[derive(Default)]
struct Load {
    batch: Vec<Request>,
    bytes: usize,
    in_flight: VecDeque<JoinHandle<Result<BatchResponse, KvError>>>,
    /// The least and the greatest key on their way.
    bounds: Option<(Bytes, Bytes)>,
}

const MAX_ATTEMPTS: u32 = 5;

impl Transaction {
    /// Writes a row that nobody else can see yet: no buffer, no intent, no undo. The same key must not be written twice.
    ///
    /// Memory is bounded: the call waits when too many batches are on their way. Errors of a batch appear in a later call, at the
    /// latest in the commit. A statement that has loaded cannot be rewound.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn put_invisible(&self, key: Bytes, value: Bytes) -> Result<(), Error> {
        self.check_size(&key, Some(&value))?;
        self.state.lock().statement_loaded = true;
        let mut load = self.bulk.load.lock().await;
        self.bulk.busy.store(true, Ordering::Release);
        load.bytes += key.len() + value.len();
        load.widen(&key);
        load.batch.push(RequestKind::Put(Put { key, value, sequence: 0, invisible: true }).into());
        if load.bytes < self.core.settings.write_batch_bytes {
            return Ok(());
        }
        self.send_batch(&mut load)?;
        while load.in_flight.len() >= self.core.settings.bulk_batches_in_flight.max(1) {
            self.await_oldest(&mut load).await?;
        }
        Ok(())
    }

    /// Before a read of `key`, or of `[key, end)`, sees to it that the rows loaded there are there.
    pub(super) async fn flush_bulk_before_reading(&self, key: &Bytes, end: Option<&Bytes>) -> Result<(), Error> {
        if !self.bulk.busy.load(Ordering::Acquire) {
            return Ok(());
        }
        let overlaps = match &self.bulk.load.lock().await.bounds {
            Some((low, high)) => key <= high && end.map_or(key >= low, |end| end > low),
            None => false,
        };
        if overlaps { Box::pin(self.finish_bulk()).await } else { Ok(()) }
    }

    /// Sends what is left and waits for everything, then moves the snapshot above it.
    pub(super) async fn finish_bulk(&self) -> Result<(), Error> {
        if !self.bulk.busy.load(Ordering::Acquire) {
            return Ok(());
        }
        {
            let mut load = self.bulk.load.lock().await;
            self.send_batch(&mut load)?;
            while !load.in_flight.is_empty() {
                self.await_oldest(&mut load).await?;
            }
            load.bounds = None;
            self.bulk.busy.store(false, Ordering::Release);
        }
        self.catch_up().await
    }

    fn send_batch(&self, load: &mut Load) -> Result<(), Error> {
        let meta = {
            let mut state = self.state.lock();
            state.check_active()?;
            state.loaded = true;
            state.meta.clone()
        };
        load.bytes = 0;
        let batch = std::mem::take(&mut load.batch);
        if !batch.is_empty() {
            let core = self.core.clone();
            load.in_flight.push_back(self.core.tasks.spawn("bulk load", send(core, meta, batch)));
        }
        Ok(())
    }

    async fn await_oldest(&self, load: &mut Load) -> Result<(), Error> {
        let Some(oldest) = load.in_flight.pop_front() else { return Ok(()) };
        let sent = oldest.await.map_err(|error| Error::Internal(format!("a bulk load was cut short: {error}")));
        match sent.and_then(|answer| answer.map_err(Error::from)) {
            Ok(response) => {
                self.state.lock().absorb(&response);
                Ok(())
            }
            Err(error) => {
                // Some rows are missing: the transaction must not commit what would make them visible.
                let failure = match &error {
                    Error::Ambiguous(message) => {
                        Error::Unavailable { range_id: 0, message: message.clone(), missing_nodes: Vec::new() }
                    }
                    other => other.clone(),
                };
                self.state.lock().failure.get_or_insert(failure.clone());
                Err(failure)
            }
        }
    }
}

impl Load {
    fn widen(&mut self, key: &Bytes) {
        match &mut self.bounds {
            None => self.bounds = Some((key.clone(), key.clone())),
            Some((low, _)) if key < low => *low = key.clone(),
            Some((_, high)) if key > high => *high = key.clone(),
            Some(_) => {}
        }
    }
}

async fn send(core: Arc<Core>, mut meta: TxnMeta, batch: Vec<Request>) -> Result<BatchResponse, KvError> {
    for _ in 1..MAX_ATTEMPTS {
        match core.send(core.header(Some(meta.clone())), batch.clone()).await {
            // Nobody reads here, so the rows may lie as late as need be; the commit will lie above them.
            Err(KvError::WriteTooOld(detail) | KvError::CommitPushed(detail)) => {
                meta.write_timestamp = meta.write_timestamp.max(detail.actual);
                meta.read_timestamp = meta.write_timestamp;
            }
            Err(KvError::Ambiguous(_)) => {}
            answer => return answer,
        }
    }
    core.send(core.header(Some(meta)), batch).await
}
