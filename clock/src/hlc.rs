//! The hybrid logical clock: timestamps that never repeat and never go back, not even over a restart.
//!
//! ```text
//!   earliest        latest                 latest + 2M
//!      ├──────────────┤─────────────────────────┤
//!        true time is   now() is at or above      above this, a timestamp from
//!        in here        `latest`                  a peer is refused
//! ```
//!
//! Invariants: `hlc_monotonic` (each `now` is above every timestamp issued or received, and above the
//! persisted ceiling of the process's former lives), `timestamp_bound` (no timestamp is issued above
//! true time + 2M).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::{Interval, TimeSource, Timestamp};

/// Keeps the clock's ceiling where a restart finds it.
pub trait CeilingStore: Send + Sync + 'static {
    /// Makes the ceiling durable before it returns.
    ///
    /// # Errors
    /// When the disk refuses. The clock then issues nothing above the former ceiling.
    fn persist(&self, ceiling: Timestamp) -> std::io::Result<()>;
}

/// Forgets: for clocks whose timestamps no restart has to respect.
#[derive(Debug)]
pub struct VolatileCeiling;

impl CeilingStore for VolatileCeiling {
    fn persist(&self, _ceiling: Timestamp) -> std::io::Result<()> {
        Ok(())
    }
}

/// Why the clock did not answer.
#[derive(Debug, thiserror::Error)]
pub enum HlcError {
    /// A peer's timestamp lies further ahead than any correct clock's could.
    #[error(
        "timestamp {received} is {ahead_ms} ms ahead of this node's clock, more than two maximum clock errors \
         ({limit_ms} ms): a clock in the cluster is wrong"
    )]
    TooFarAhead {
        /// What arrived.
        received: Timestamp,
        /// How far above this node's `latest` it lies.
        ahead_ms: u64,
        /// How far it may lie.
        limit_ms: u64,
    },
    /// The ceiling could not be made durable.
    #[error("the clock's ceiling could not be persisted")]
    Ceiling(#[source] std::io::Error),
}

/// How far ahead of use the ceiling is persisted.
const CEILING_STEP: Duration = Duration::from_secs(3);

/// A node's clock. Share it in an `Arc`.
pub struct Hlc {
    source: Arc<dyn TimeSource>,
    max_clock_error: Duration,
    ceiling: Arc<dyn CeilingStore>,
    state: Mutex<State>,
}

struct State {
    /// The newest timestamp issued or received.
    newest: Timestamp,
    /// Nothing above this is issued before a higher one is durable.
    ceiling: Timestamp,
}

impl Hlc {
    /// A clock that starts above `former_ceiling`, the one its former life persisted
    /// (`Timestamp::MIN` for none).
    pub fn new(
        source: Arc<dyn TimeSource>,
        max_clock_error: Duration,
        ceiling: Arc<dyn CeilingStore>,
        former_ceiling: Timestamp,
    ) -> Self {
        let state = Mutex::new(State { newest: former_ceiling, ceiling: former_ceiling });
        Hlc { source, max_clock_error, ceiling, state }
    }

    /// The bound M on every node's clock error.
    pub fn max_clock_error(&self) -> Duration {
        self.max_clock_error
    }

    /// The interval that contains true time now.
    pub fn interval(&self) -> Interval {
        self.source.now()
    }

    /// Whether `timestamp_bound` holds for what this clock would issue: a restarted node serves only
    /// once `earliest + 2M` has reached its former ceiling.
    pub fn may_serve(&self) -> bool {
        let reach = Timestamp::new(self.source.now().earliest_ns, 0).plus(2 * self.max_clock_error);
        self.state.lock().newest <= reach
    }

    /// A timestamp at or above `latest`, above every one issued or received.
    ///
    /// # Errors
    /// [`HlcError::Ceiling`] when the ceiling must rise and the disk refuses.
    pub fn now(&self) -> Result<Timestamp, HlcError> {
        let latest = Timestamp::new(self.source.now().latest_ns, 0);
        let mut state = self.state.lock();
        let issued = latest.max(state.newest.next());
        self.raise_ceiling(&mut state, issued)?;
        assert!(issued > state.newest, "hlc_monotonic: {issued} was to be issued after {}", state.newest);
        state.newest = issued;
        Ok(issued)
    }

    /// Takes in a timestamp that came with a message.
    ///
    /// # Errors
    /// [`HlcError::TooFarAhead`] when it lies above `latest + 2M`; it is then not absorbed.
    pub fn absorb(&self, received: Timestamp) -> Result<(), HlcError> {
        let latest_ns = self.source.now().latest_ns;
        let limit = Timestamp::new(latest_ns, u32::MAX).plus(2 * self.max_clock_error);
        if received > limit {
            return Err(HlcError::TooFarAhead {
                received,
                ahead_ms: received.wall_ns.saturating_sub(latest_ns) / 1_000_000,
                limit_ms: u64::try_from((2 * self.max_clock_error).as_millis()).unwrap_or(u64::MAX),
            });
        }
        let mut state = self.state.lock();
        if received > state.newest {
            self.raise_ceiling(&mut state, received)?;
            state.newest = received;
        }
        Ok(())
    }

    /// The upper end of the uncertainty interval of a snapshot taken now: `latest + 2M`.
    pub fn uncertainty_limit(&self) -> Timestamp {
        Timestamp::new(self.source.now().latest_ns, u32::MAX).plus(2 * self.max_clock_error)
    }

    /// Commit wait: returns once this node's `earliest` is strictly past the timestamp's wall time.
    pub async fn wait_until_past(&self, effect: Timestamp) {
        loop {
            let earliest_ns = self.source.now().earliest_ns;
            if earliest_ns > effect.wall_ns {
                return;
            }
            tokio::time::sleep(Duration::from_nanos(effect.wall_ns - earliest_ns + 1)).await;
        }
    }

    /// REQUIRES: `state` is this clock's own, locked.
    fn raise_ceiling(&self, state: &mut State, wanted: Timestamp) -> Result<(), HlcError> {
        if wanted <= state.ceiling {
            return Ok(());
        }
        let ceiling = wanted.plus(CEILING_STEP);
        self.ceiling.persist(ceiling).map_err(HlcError::Ceiling)?;
        state.ceiling = ceiling;
        Ok(())
    }
}

impl std::fmt::Debug for Hlc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hlc").field("max_clock_error", &self.max_clock_error).finish_non_exhaustive()
    }
}
