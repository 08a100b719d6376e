//! A transaction acknowledged before another begins has the lower timestamp, whatever keys and gateways the two touch.
//!
//! ```text
//!   T1 ──────── acknowledged, effect 17
//!                      T2 begins ─▶ its snapshot must lie above 17
//! ```

use std::collections::BTreeSet;

use clock::Timestamp;
use raft_groups::NodeId;

use super::Invariant;
use crate::sim::audit::Audited;

/// See the module.
#[derive(Debug, Default)]
pub struct ExternalConsistency {
    /// Nodes whose clocks are wrong: nothing is promised to who speaks to them, until they fence themselves.
    wrong: BTreeSet<u64>,
    /// The newest effect that was acknowledged, and at which gateway.
    acknowledged: Option<(Timestamp, u64)>,
}

impl Invariant for ExternalConsistency {
    fn name(&self) -> &'static str {
        "external_consistency"
    }

    fn clock_went_wrong(&mut self, node: NodeId) {
        self.wrong.insert(node.0);
    }

    fn begins_anew(&mut self, node: NodeId) {
        self.wrong.remove(&node.0);
    }

    fn audited(&mut self, audited: &Audited, _true_ns: u64) -> Result<(), String> {
        match audited {
            Audited::Acknowledged { node, .. } | Audited::Began { node, .. } if self.wrong.contains(node) => Ok(()),
            Audited::Acknowledged { node, effect } => {
                self.acknowledged = self.acknowledged.max(Some((*effect, *node)));
                Ok(())
            }
            Audited::Began { node, read } => match self.acknowledged {
                Some((effect, gateway)) if effect >= *read => Err(format!(
                    "a transaction begins at node {node} with its snapshot at {read}, after node {gateway} acknowledged \
                     an effect at {effect}"
                )),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
