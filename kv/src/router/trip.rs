//! What is remembered while one batch is under way: its deadline, whom it met, and whether it may have taken effect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::api::KvError;
use crate::descriptor::RangeDescriptor;
use crate::liveness::Registry;

/// One batch under way.
pub(super) struct Trip {
    started: Instant,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The range that was last tried.
    range: Option<Arc<RangeDescriptor>>,
    /// Nodes that did not answer, and what stood in the way.
    silent: BTreeMap<u64, String>,
    /// What the last replica that answered said.
    last_words: Option<String>,
    /// A commit, or a write that counts, was sent and not answered, now or in an earlier attempt.
    perhaps_applied: bool,
}

impl Trip {
    /// Starts the clock.
    #[allow(clippy::disallowed_methods, reason = "measures how long a client waits; virtual under simulation")]
    pub fn new(timeout: Duration) -> Self {
        Trip { started: Instant::now(), timeout, state: Mutex::default() }
    }

    /// How long the batch may still take.
    #[allow(clippy::disallowed_methods, reason = "measures how long a client waits; virtual under simulation")]
    pub fn remaining(&self) -> Duration {
        self.timeout.saturating_sub(Instant::now().duration_since(self.started))
    }

    /// The same in milliseconds, never 0, since that means "the default".
    pub fn remaining_ms(&self) -> u64 {
        u64::try_from(self.remaining().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// A range is about to be tried.
    pub fn enter(&self, descriptor: &Arc<RangeDescriptor>) {
        self.state.lock().range = Some(descriptor.clone());
    }

    /// A node did not answer.
    pub fn silent(&self, node: u64, reason: String) {
        self.state.lock().silent.insert(node, reason);
    }

    /// A node answered that it cannot.
    pub fn refused(&self, node: u64, words: String) {
        let mut state = self.state.lock();
        state.silent.remove(&node);
        state.last_words = Some(words);
    }

    /// Something that counts was sent, or its fate was learned.
    pub fn set_perhaps_applied(&self, perhaps: bool) {
        self.state.lock().perhaps_applied = perhaps;
    }

    /// Whether something that counts may have taken effect.
    pub fn perhaps_applied(&self) -> bool {
        self.state.lock().perhaps_applied
    }

    /// The time is over: what to tell the client.
    pub fn give_up(&self, registry: &Registry) -> KvError {
        let state = self.state.lock();
        let mut missing: Vec<u64> = state.silent.keys().copied().collect();
        let range_id = state.range.as_ref().map_or(0, |range| range.range_id);
        if let Some(range) = &state.range {
            let absent = range.replicas.iter().map(|replica| replica.node_id).filter(|node| !registry.is_live(*node));
            missing.extend(absent);
        }
        missing.sort_unstable();
        missing.dedup();
        let waited = self.timeout.as_millis();
        let why = match (&missing[..], &state.last_words) {
            ([], None) => format!("no leaseholder answered within {waited} ms"),
            ([], Some(words)) => format!("no leaseholder answered within {waited} ms; last heard: {words}"),
            (nodes, _) => {
                let names: Vec<String> = nodes.iter().map(|node| format!("n{node}")).collect();
                format!("no quorum within {waited} ms: {} did not answer", names.join(", "))
            }
        };
        if state.perhaps_applied {
            return KvError::ambiguous(format!("range {range_id}: {why}"));
        }
        KvError::unavailable(range_id, why, missing)
    }
}

/// Waits between attempts: short at first, since most moves are over soon.
pub(super) struct Backoff {
    next: Duration,
}

const BACKOFF_MIN: Duration = Duration::from_millis(2);
const BACKOFF_MAX: Duration = Duration::from_millis(200);

impl Backoff {
    /// Before the first wait.
    pub fn new() -> Self {
        Backoff { next: BACKOFF_MIN }
    }

    /// Waits, and doubles the next wait.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(BACKOFF_MAX);
    }
}
