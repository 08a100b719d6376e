//! No timestamp is issued above true time plus twice the maximum clock error.

use std::collections::BTreeSet;
use std::time::Duration;

use raft_groups::{NodeId, Passage};

use super::Invariant;

/// See the module.
#[derive(Debug)]
pub struct TimestampBound {
    reach_ns: u64,
    /// Nodes whose clocks are wrong.
    wrong: BTreeSet<NodeId>,
}

impl TimestampBound {
    /// For a cluster whose clocks are off by at most this.
    pub fn new(clock_error: Duration) -> Self {
        let reach_ns = u64::try_from(2 * clock_error.as_nanos()).unwrap_or(u64::MAX);
        TimestampBound { reach_ns, wrong: BTreeSet::new() }
    }
}

impl Invariant for TimestampBound {
    fn name(&self) -> &'static str {
        "timestamp_bound"
    }

    fn clock_went_wrong(&mut self, node: NodeId) {
        if self.wrong.is_empty() {
            // A sound clock at the upper end of its bound takes in what is as far above its reading again.
            self.reach_ns *= 2;
        }
        self.wrong.insert(node);
    }

    fn sent(&mut self, message: &Passage<'_>, true_ns: u64) -> Result<(), String> {
        if self.wrong.contains(&message.from) {
            return Ok(());
        }
        if message.timestamp.wall_ns > true_ns.saturating_add(self.reach_ns) {
            let ahead_ns = message.timestamp.wall_ns - true_ns;
            return Err(format!(
                "{} sent {}, {ahead_ns} ns above true time; the bound is {} ns",
                message.from, message.timestamp, self.reach_ns
            ));
        }
        Ok(())
    }
}
