//! A clock never repeats a timestamp or goes back, not even over a restart.

use std::collections::{BTreeMap, BTreeSet};

use clock::Timestamp;
use raft_groups::{NodeId, Passage};

use super::Invariant;

/// See the module.
#[derive(Debug, Default)]
pub struct HlcMonotonic {
    /// By node: the timestamps it sent lately.
    sent: BTreeMap<NodeId, BTreeSet<Timestamp>>,
}

/// Timestamps a node that are remembered to be told apart.
const REMEMBERED: usize = 4_096;

impl Invariant for HlcMonotonic {
    fn name(&self) -> &'static str {
        "hlc_monotonic"
    }

    fn sent(&mut self, message: &Passage<'_>, _true_ns: u64) -> Result<(), String> {
        if message.from == NodeId(0) {
            return Ok(());
        }
        let sent = self.sent.entry(message.from).or_default();
        // A request that is sent twice bears its timestamp twice; an answer is stamped for itself.
        if !sent.insert(message.timestamp) && message.is_answer {
            return Err(format!("{} sent two answers at {}", message.from, message.timestamp));
        }
        while sent.len() > REMEMBERED {
            sent.pop_first();
        }
        Ok(())
    }

    fn started(&mut self, node: NodeId, now: Timestamp) -> Result<(), String> {
        match self.sent.get(&node).and_then(BTreeSet::last) {
            Some(newest) if now <= *newest => {
                Err(format!("{node} reads {now} after its restart, and has sent {newest} before"))
            }
            _ => Ok(()),
        }
    }
}
