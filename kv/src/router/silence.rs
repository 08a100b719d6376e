//! Which nodes did not answer lately, so that not every request has to find out by itself.
//!
//! ```text
//!   unknown ─ did not answer ─▶ silent ─ once an interval: one request pings it first ─┬─ answers ─▶ unknown
//!                                 ▲                                                    └─ does not ─┐
//!                                 └──────────────── meanwhile nobody waits for it ◀─────────────────┘
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How often a silent node is asked whether it is back.
const RECHECK_INTERVAL: Duration = Duration::from_millis(100);

/// How to go about sending something to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Approach {
    /// Nothing speaks against it.
    Send,
    /// It was silent: ask first whether it is back.
    PingFirst,
    /// It was found silent a moment ago.
    Skip,
}

/// The nodes that did not answer, and when each was last tried.
#[derive(Debug, Default)]
pub(super) struct Silence {
    tried: Mutex<BTreeMap<u64, Instant>>,
}

#[allow(clippy::disallowed_methods, reason = "measures silence; virtual under simulation")]
impl Silence {
    /// How to approach a node. Of many who ask at a time, one is told to ping.
    pub fn approach(&self, node: u64) -> Approach {
        let now = Instant::now();
        match self.tried.lock().get_mut(&node) {
            None => Approach::Send,
            Some(tried) if now.duration_since(*tried) < RECHECK_INTERVAL => Approach::Skip,
            Some(tried) => {
                *tried = now;
                Approach::PingFirst
            }
        }
    }

    /// A node did not answer.
    pub fn note(&self, node: u64) {
        self.tried.lock().insert(node, Instant::now());
    }

    /// A node answered, whatever it said.
    pub fn end(&self, node: u64) {
        self.tried.lock().remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_who_want_a_silent_node_one_pings_it_each_interval() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(one_pings());
    }

    async fn one_pings() {
        let silence = Silence::default();
        assert_eq!(silence.approach(2), Approach::Send);
        silence.note(2);
        assert_eq!(silence.approach(2), Approach::Skip);
        assert_eq!(silence.approach(3), Approach::Send);
        tokio::time::advance(RECHECK_INTERVAL).await;
        assert_eq!(silence.approach(2), Approach::PingFirst);
        assert_eq!(silence.approach(2), Approach::Skip);
        silence.end(2);
        assert_eq!(silence.approach(2), Approach::Send);
    }
}
