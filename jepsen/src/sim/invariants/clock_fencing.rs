//! A node whose clock is fenced serves, begins and acknowledges nothing any more, until it is started again.

use std::collections::BTreeSet;

use raft_groups::NodeId;

use super::Invariant;
use crate::sim::audit::{Audited, Read};

/// See the module.
#[derive(Debug, Default)]
pub struct ClockFencing {
    fenced: BTreeSet<u64>,
}

impl Invariant for ClockFencing {
    fn name(&self) -> &'static str {
        "clock_fencing"
    }

    fn begins_anew(&mut self, node: NodeId) {
        self.fenced.remove(&node.0);
    }

    fn audited(&mut self, audited: &Audited, _true_ns: u64) -> Result<(), String> {
        let node = match audited {
            Audited::Fenced { node } => {
                self.fenced.insert(*node);
                return Ok(());
            }
            // It was evaluated before, and has become so: to say so late is no harm.
            Audited::Pushed { .. } => return Ok(()),
            // That is the log's doing.
            Audited::Applies { .. } | Audited::Applied { .. } => return Ok(()),
            // What others hold is what it is, whatever the time.
            Audited::Differs { .. } => return Ok(()),
            Audited::Read(Read { node, .. })
            | Audited::Served { node, .. }
            | Audited::Began { node, .. }
            | Audited::Acknowledged { node, .. } => node,
        };
        if self.fenced.contains(node) {
            return Err(format!("node {node} has fenced its clock, and goes on: {audited:?}"));
        }
        Ok(())
    }
}
