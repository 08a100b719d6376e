//! The way from a key to the replica that answers for it.
//!
//! ```text
//!   batch ─▶ which ranges? ─┬─ one ──────────────────────────────▶ leaseholder (local: a call; remote: a message)
//!            (cache, else   └─ several: pieces, in parallel,          │ not here, moved, silent
//!             directory)       or in order when limits apply          ▼
//!                                  ▲                             learn, try the next replica, back off
//!                                  └── bounds changed: plan again ────┘
//! ```
//!
//! Invariants: a batch that may have taken effect is sent again only if doing so twice is doing so once
//! (`repeat_only_idempotent`): a transaction's writes carry its sequence, and its end finds its outcome record. If the
//! fate of a commit stays unknown, even after a look at that record, the answer is `Ambiguous`, never a failure
//! (`ambiguous_not_failed`). Pieces of a limited batch run in order, so that no row is skipped.
//!
//! It knows nothing of leases but who seems to hold them, and nothing of what the requests mean beyond their keys.

mod attempt;
mod cache;
mod outcome;
mod pieces;
mod silence;
mod spans;
mod trip;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::Hlc;
use parking_lot::{Mutex, RwLock};
use raft_groups::Transport;

use self::cache::{CachedRange, RangeCache};
use self::silence::Silence;
use self::trip::Trip;
use crate::Settings;
use crate::api::{BatchRequest, BatchResponse, KvError, Sender};
use crate::descriptor::RangeDescriptor;
use crate::directory;
use crate::keys;
use crate::liveness::Registry;

/// The replicas on the router's own node.
#[async_trait]
pub trait LocalRanges: Send + Sync + 'static {
    /// Evaluates a batch on this node's replica of the range its header names.
    ///
    /// # Errors
    /// Any [`KvError`]; `NotLeaseholder` without a hint when there is no such replica.
    async fn send_local(&self, batch: BatchRequest) -> Result<BatchResponse, KvError>;
}

/// Sends batches to the leaseholders of their ranges. Share it in an `Arc`.
pub struct Router {
    transport: Arc<dyn Transport>,
    registry: Arc<Registry>,
    hlc: Arc<Hlc>,
    settings: Settings,
    local: OnceLock<Weak<dyn LocalRanges>>,
    cache: Mutex<RangeCache>,
    silence: Silence,
    first_range: RwLock<Option<RangeDescriptor>>,
    /// One directory lookup at a time, as long as each is short: the others find what it brought.
    pub(crate) lookup: tokio::sync::Mutex<()>,
}

/// How a piece of a batch ended.
enum Routed {
    /// The ranges are others than was thought: plan again.
    Replan,
    /// For good.
    Failed(KvError),
}

/// How long a lookup waits for another one that may bring what it looks for.
const LOOKUP_PATIENCE: Duration = Duration::from_millis(50);

/// How long a router waits, beyond the batch's own time, for a replica's words on why it took too long.
const GRACE: Duration = Duration::from_millis(200);

impl Router {
    /// A router that knows no range yet.
    pub fn new(transport: Arc<dyn Transport>, registry: Arc<Registry>, hlc: Arc<Hlc>, settings: Settings) -> Self {
        Router {
            transport,
            registry,
            hlc,
            settings,
            local: OnceLock::new(),
            cache: Mutex::default(),
            silence: Silence::default(),
            first_range: RwLock::default(),
            lookup: tokio::sync::Mutex::default(),
        }
    }

    /// Says who answers for this node's own replicas. Once.
    pub fn set_local(&self, local: Weak<dyn LocalRanges>) {
        let first_time = self.local.set(local).is_ok();
        assert!(first_time, "a router has one node");
    }

    /// Takes note of a descriptor, from whatever source. Older ones are harmless.
    pub fn learn(&self, descriptor: &RangeDescriptor) {
        if descriptor.range_id == directory::FIRST_RANGE_ID {
            let mut first = self.first_range.write();
            if first.as_ref().is_none_or(|known| known.generation < descriptor.generation) {
                *first = Some(descriptor.clone());
            }
        }
        self.cache.lock().insert(descriptor.clone());
    }

    /// Forgets a range, as if it were never met.
    #[cfg(test)]
    pub(crate) fn forget(&self, descriptor: &RangeDescriptor) {
        self.cache.lock().forget(descriptor);
    }

    /// The newest descriptor of the first range that this node knows.
    pub fn first_range(&self) -> Option<RangeDescriptor> {
        self.first_range.read().clone()
    }

    /// The same, once everyone known has been asked.
    pub async fn first_range_anew(&self, timeout: Duration) -> Option<RangeDescriptor> {
        self.discover_first_range(&Trip::new(timeout)).await;
        self.first_range()
    }

    /// The node that is believed to hold the lease of the range that contains the key.
    pub fn believed_leaseholder(&self, key: &[u8]) -> Option<u64> {
        self.cache.lock().get(key)?.leaseholder
    }

    /// Routes until every request has been answered.
    async fn route(&self, batch: &BatchRequest, trip: &Trip) -> Result<BatchResponse, KvError> {
        let spans = batch.requests.iter().map(|request| spans::span_of(&batch.header, request));
        let spans = spans.collect::<Result<Vec<_>, _>>()?;
        let Some(first) = spans.first() else { return Err(KvError::invalid("a batch without requests")) };
        let mut backoff = trip::Backoff::new();
        let mut replans = 0_u32;
        loop {
            let range = self.range_of(&first.start, trip).await?;
            if !spans.iter().all(|span| spans::covers(&range.descriptor, span)) {
                return Box::pin(pieces::send(self, batch, &spans, trip)).await;
            }
            match self.send_to_range(range, batch, trip).await {
                Ok(response) => return Ok(response),
                // The first time, what the replica said is enough to go on.
                Err(Routed::Replan) if replans == 0 => replans += 1,
                Err(Routed::Replan) => backoff.pause().await,
                Err(Routed::Failed(error)) => return Err(error),
            }
        }
    }

    /// The range that contains the key.
    async fn range_of(&self, key: &[u8], trip: &Trip) -> Result<CachedRange, KvError> {
        self.find(|cache| cache.get(key), keys::meta_scan_start(key), key, trip).await
    }

    /// The range that contains the keys just below `end`, which is not empty.
    async fn range_before(&self, end: &[u8], trip: &Trip) -> Result<CachedRange, KvError> {
        self.find(|cache| cache.get_before(end), keys::meta(end), end, trip).await
    }

    async fn find(
        &self,
        cached: impl Fn(&RangeCache) -> Option<CachedRange>,
        directory_key: Bytes,
        key: &[u8],
        trip: &Trip,
    ) -> Result<CachedRange, KvError> {
        if key < keys::MIN {
            return Err(KvError::invalid("the key belongs to no range: keys start at \\x02"));
        }
        let mut backoff = trip::Backoff::new();
        loop {
            if let Some(range) = cached(&self.cache.lock()) {
                return Ok(range);
            }
            if key < &[keys::TABLE][..] {
                self.discover_first_range(trip).await;
            } else {
                // Not for long: one that hangs must not hold up everything that this node looks for.
                let _one_at_a_time = tokio::time::timeout(LOOKUP_PATIENCE, self.lookup.lock()).await;
                if let Some(range) = cached(&self.cache.lock()) {
                    return Ok(range);
                }
                let entries = directory::lookup(self, directory_key.clone(), trip.remaining_ms()).await?;
                // The first is the one that was asked for; it is inserted last, to win over what it overlaps.
                for descriptor in entries.iter().rev() {
                    self.learn(descriptor);
                }
            }
            if let Some(range) = cached(&self.cache.lock()) {
                return Ok(range);
            }
            backoff.pause().await;
        }
    }
}

#[async_trait]
impl Sender for Router {
    async fn send(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        let timeout = match batch.header.timeout_ms {
            0 => self.settings.request_timeout(),
            timeout_ms => Duration::from_millis(timeout_ms),
        };
        let trip = Trip::new(timeout);
        let routed = async {
            match self.route(&batch, &trip).await {
                Err(error) if trip.perhaps_applied() => outcome::find(self, &batch, error, &trip).await,
                result => result,
            }
        };
        match tokio::time::timeout(timeout + GRACE, routed).await {
            Ok(result) => result,
            Err(_elapsed) => Err(trip.give_up(&self.registry)),
        }
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").finish_non_exhaustive()
    }
}
