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
//! true time + 2M), `clock_fencing` (a clock that its source disowns may not serve, and one that was fenced issues and
//! absorbs nothing any more).
//!
//! The ceiling rises ahead of use, in a task beside those who ask for timestamps ([`Hlc::keep_ceiling`]); only when that
//! lags does a caller wait for the disk. No disk is waited for under the lock of the state. Lock order: `durable`, then
//! `state`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use crate::{ClockFault, Interval, Tasks, TimeSource, Timestamp};

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
    /// The clock was found to be wrong.
    #[error("the clock is fenced, and this node must stop")]
    Fenced(#[source] ClockFault),
}

/// How far ahead of use the ceiling is persisted. A restarted node waits until true time gets there, so it is not larger
/// than it must be.
const CEILING_AHEAD: Duration = Duration::from_millis(2_500);

/// How often the ceiling is raised ahead of use: well before what it is ahead by is used up.
const CEILING_INTERVAL: Duration = Duration::from_secs(1);

/// How long commit wait goes without a look at the clock and its fence: the clock may be set right, or found to be wrong.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The part by which elapsed time must exceed what was to be waited: twice what the system slews its clocks by at most.
const ELAPSED_MARGIN: u32 = 1_000;

/// A node's clock. Share it in an `Arc`.
pub struct Hlc {
    source: Arc<dyn TimeSource>,
    max_clock_error: Duration,
    ceiling: Arc<dyn CeilingStore>,
    /// What a former life may have issued.
    former_ceiling: Timestamp,
    /// What the store is known to hold. Held while it is written, so that a lower ceiling never overwrites a higher one.
    durable: Mutex<Timestamp>,
    state: Mutex<State>,
    /// Set once, for good.
    fence: OnceLock<ClockFault>,
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
        let (durable, fence) = (Mutex::new(former_ceiling), OnceLock::new());
        Hlc { source, max_clock_error, ceiling, former_ceiling, durable, state, fence }
    }

    /// The bound M on every node's clock error.
    pub fn max_clock_error(&self) -> Duration {
        self.max_clock_error
    }

    /// The interval that contains true time now.
    pub fn interval(&self) -> Interval {
        self.source.now()
    }

    /// Whether timestamps from this clock may be served: its source vouches for it (`clock_fencing`), and
    /// `timestamp_bound` holds: a restarted node serves only once `earliest + 2M` has reached its former ceiling. What it received
    /// since does not count: a peer's clock may be ahead of this one.
    pub fn may_serve(&self) -> bool {
        let reach = Timestamp::new(self.source.now().earliest_ns, 0).plus(2 * self.max_clock_error);
        self.fault().is_none() && self.former_ceiling <= reach
    }

    /// Why the clock must not be relied on any more, if so: give up leases, stop serving, then exit.
    pub fn fault(&self) -> Option<ClockFault> {
        self.fence.get().cloned().or_else(|| self.source.fault())
    }

    /// Fences the clock for good: from here on it issues and absorbs nothing, so that nothing that needs a timestamp goes on,
    /// no message to a peer among it.
    pub fn fence(&self, fault: ClockFault) {
        // The first reason stands.
        let _ = self.fence.set(fault);
    }

    /// The source's own word counts from the moment it says so: a process that was stopped meanwhile has not looked yet.
    fn check_fence(&self) -> Result<(), HlcError> {
        self.fault().map_or(Ok(()), |fault| Err(HlcError::Fenced(fault)))
    }

    /// A timestamp at or above `latest`, above every one issued or received.
    ///
    /// # Errors
    /// [`HlcError::Ceiling`] when the ceiling must rise and the disk refuses; [`HlcError::Fenced`].
    pub fn now(&self) -> Result<Timestamp, HlcError> {
        self.check_fence()?;
        let latest = Timestamp::new(self.source.now().latest_ns, 0);
        loop {
            let wanted = {
                let mut state = self.state.lock();
                let issued = latest.max(state.newest.next());
                assert!(issued > state.newest, "hlc_monotonic: {issued} was to be issued after {}", state.newest);
                if issued <= state.ceiling {
                    state.newest = issued;
                    return Ok(issued);
                }
                issued
            };
            self.raise_ceiling(wanted)?;
        }
    }

    /// Takes in a timestamp that came with a message.
    ///
    /// # Errors
    /// [`HlcError::TooFarAhead`] when it lies above `latest + 2M`; it is then not absorbed. [`HlcError::Ceiling`] when the
    /// ceiling must rise and the disk refuses. [`HlcError::Fenced`].
    pub fn absorb(&self, received: Timestamp) -> Result<(), HlcError> {
        self.check_fence()?;
        if received <= self.state.lock().newest {
            return Ok(());
        }
        let latest_ns = self.source.now().latest_ns;
        let limit = Timestamp::new(latest_ns, u32::MAX).plus(2 * self.max_clock_error);
        if received > limit {
            return Err(HlcError::TooFarAhead {
                received,
                ahead_ms: received.wall_ns.saturating_sub(latest_ns) / 1_000_000,
                limit_ms: u64::try_from((2 * self.max_clock_error).as_millis()).unwrap_or(u64::MAX),
            });
        }
        loop {
            {
                let mut state = self.state.lock();
                if received <= state.ceiling {
                    state.newest = state.newest.max(received);
                    return Ok(());
                }
            }
            self.raise_ceiling(received)?;
        }
    }

    /// The upper end of the uncertainty interval of a snapshot taken now: `latest + 2M`.
    pub fn uncertainty_limit(&self) -> Timestamp {
        Timestamp::new(self.source.now().latest_ns, u32::MAX).plus(2 * self.max_clock_error)
    }

    /// Commit wait: returns once true time is strictly past the timestamp's wall time.
    ///
    /// Two things prove that: a reading whose `earliest` is past it, or the reading at the beginning with what has elapsed since. The
    /// second holds whatever becomes of the clock meanwhile. It trusts the reading at the beginning, taken by the same clock as the
    /// timestamp itself, and no earlier one: what a clock showed while it was wrong shortens no later wait.
    ///
    /// # Errors
    /// [`HlcError::Fenced`] when the clock by which it was waited must not be relied on; soon after it is fenced.
    #[allow(clippy::disallowed_methods, reason = "measures what has elapsed; virtual under simulation")]
    pub async fn wait_until_past(&self, effect: Timestamp) -> Result<(), HlcError> {
        let left_after =
            |earliest_ns: u64| Duration::from_nanos(effect.wall_ns.saturating_add(1).saturating_sub(earliest_ns));
        let mut left = left_after(self.source.now().earliest_ns);
        let elapsed_suffices = tokio::time::Instant::now() + left + left / ELAPSED_MARGIN;
        loop {
            self.check_fence()?;
            let by_elapsed = elapsed_suffices.saturating_duration_since(tokio::time::Instant::now());
            if left.is_zero() || by_elapsed.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(by_elapsed).min(LOOK_AGAIN)).await;
            left = left_after(self.source.now().earliest_ns);
        }
    }

    /// Starts the task that raises the ceiling ahead of use. It ends with the last other reference to the clock.
    pub fn keep_ceiling(self: &Arc<Self>, tasks: &Tasks) {
        let clock = Arc::downgrade(self);
        let disk = tasks.clone();
        tasks.spawn("clock ceiling", async move {
            loop {
                let Some(hlc) = clock.upgrade() else { return };
                let raised = disk.blocking(move || hlc.raise_ceiling_ahead()).await;
                if let Err(error) = raised {
                    tracing::error!(%error, "the clock's ceiling was not raised ahead of use");
                }
                tokio::time::sleep(CEILING_INTERVAL).await;
            }
        });
    }

    fn raise_ceiling_ahead(&self) -> Result<(), HlcError> {
        let latest = Timestamp::new(self.source.now().latest_ns, 0);
        let newest = self.state.lock().newest;
        self.raise_ceiling(latest.max(newest))
    }

    /// Makes a ceiling well above `used` durable.
    fn raise_ceiling(&self, used: Timestamp) -> Result<(), HlcError> {
        let mut durable = self.durable.lock();
        let ceiling = used.plus(CEILING_AHEAD);
        // Others may have raised it while this caller waited for its turn.
        let suffices = *durable >= used.plus(CEILING_AHEAD / 2);
        if !suffices {
            self.ceiling.persist(ceiling).map_err(HlcError::Ceiling)?;
            *durable = ceiling;
        }
        let mut state = self.state.lock();
        state.ceiling = state.ceiling.max(*durable);
        Ok(())
    }
}

impl std::fmt::Debug for Hlc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hlc").field("max_clock_error", &self.max_clock_error).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
