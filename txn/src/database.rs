//! The door to the ranges: begins transactions, and does the few things that need none.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::{Hlc, Random, Tasks, Timestamp};
use kv::api::{
    BatchHeader, BatchRequest, BatchResponse, ClearSpan, Increment, KvError, Request, RequestKind, ResponseKind,
    Sender, Span, TxnId, TxnMeta,
};

use crate::heartbeat::Heartbeats;
use crate::{Error, Settings, Transaction, audit};

/// How a transaction is to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct TxnOptions {
    /// Give up commit wait: serializable and linearizable per key, no longer externally consistent.
    pub relaxed: bool,
    /// Read a past snapshot, and nothing else.
    pub as_of: Option<Timestamp>,
    /// How long each wait for a lock may take; `None`: as long as it takes.
    pub lock_timeout: Option<Duration>,
    /// The higher one wins a conflict or a deadlock. Raise it with each automatic retry.
    pub priority: u32,
}

/// What begins transactions on one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pub(crate) core: Arc<Core>,
}

/// What every transaction of a gateway shares.
pub(crate) struct Core {
    pub sender: Arc<dyn Sender>,
    pub hlc: Arc<Hlc>,
    pub tasks: Tasks,
    pub random: Random,
    pub gateway: u64,
    pub settings: Settings,
    pub heartbeats: Arc<Heartbeats>,
}

impl Database {
    /// A coordinator that speaks to ranges through `sender`, for the gateway on node `gateway`.
    pub fn new(
        sender: Arc<dyn Sender>,
        hlc: Arc<Hlc>,
        tasks: Tasks,
        random: Random,
        gateway: u64,
        settings: Settings,
    ) -> Self {
        let heartbeats = Heartbeats::start(sender.clone(), hlc.clone(), &tasks, settings.heartbeat_interval);
        Database { core: Arc::new(Core { sender, hlc, tasks, random, gateway, settings, heartbeats }) }
    }

    /// Begins a transaction: takes its snapshot, sends nothing.
    ///
    /// # Errors
    /// [`Error::Clock`]; [`Error::AsOfFuture`] when `as_of` lies above the clock.
    pub fn begin(&self, options: TxnOptions) -> Result<Arc<Transaction>, Error> {
        let now = self.core.hlc.now()?;
        let read_timestamp = match options.as_of {
            Some(wanted) if wanted > now => return Err(Error::AsOfFuture { wanted, now }),
            Some(wanted) => wanted,
            None => now,
        };
        let uncertainty_limit = match options.as_of {
            Some(_) => read_timestamp,
            None => self.core.hlc.uncertainty_limit().max(read_timestamp),
        };
        let meta = TxnMeta {
            id: TxnId::from_random(self.core.random.next_u128()),
            anchor: Bytes::new(),
            epoch: 0,
            priority: options.priority,
            read_timestamp,
            write_timestamp: read_timestamp,
            uncertainty_limit,
            begin_timestamp: now,
            relaxed: options.relaxed,
            sequence: 0,
            gateway: self.core.gateway,
            ignored: Vec::new(),
            held_since: None,
        };
        if options.as_of.is_none() {
            audit::began(&meta);
        }
        Ok(Transaction::begin(self.core.clone(), meta, options))
    }

    /// The gateway's clock now: what `AS OF` is measured against, and what `now()` in SQL may be made from.
    ///
    /// # Errors
    /// [`Error::Clock`].
    pub fn now(&self) -> Result<Timestamp, Error> {
        Ok(self.core.hlc.now()?)
    }

    /// The node whose gateway this is.
    pub fn gateway(&self) -> u64 {
        self.core.gateway
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }

    /// Where tasks beside their statement are started.
    pub fn tasks(&self) -> &Tasks {
        &self.core.tasks
    }

    /// Adds to a counter outside any transaction, and returns its new value. What a transaction that rolls back took from
    /// it stays taken, as with a sequence.
    ///
    /// # Errors
    /// Those of the range; [`Error::Ambiguous`] when the addition may or may not have happened.
    pub async fn increment(&self, key: Bytes, by: i64) -> Result<i64, Error> {
        let response = self.send_alone(RequestKind::Increment(Increment { key, by }).into()).await?;
        match response.responses.into_iter().next().and_then(|response| response.kind) {
            Some(ResponseKind::Counter(counter)) => Ok(counter.value),
            other => Err(Error::Internal(format!("an increment was answered by {other:?}"))),
        }
    }

    /// Removes every version in a span that nobody can see any more (a dropped index, a load that was rolled back).
    ///
    /// # Errors
    /// Those of the ranges; the span may then be cleared in part.
    pub async fn clear_span(&self, span: Span) -> Result<(), Error> {
        self.send_alone(RequestKind::ClearSpan(ClearSpan { span }).into()).await?;
        Ok(())
    }

    async fn send_alone(&self, request: Request) -> Result<BatchResponse, KvError> {
        self.core.send(self.core.header(None), vec![request]).await
    }
}

impl Core {
    /// The header of a batch of a transaction, or of none.
    pub fn header(&self, txn: Option<TxnMeta>) -> BatchHeader {
        BatchHeader {
            txn,
            timeout_ms: u64::try_from(self.settings.request_timeout.as_millis()).unwrap_or(u64::MAX),
            ..BatchHeader::default()
        }
    }

    pub async fn send(&self, header: BatchHeader, requests: Vec<Request>) -> Result<BatchResponse, KvError> {
        self.sender.send(BatchRequest { header, requests }).await
    }
}
