//! The nodes' own comparison of replicas finds no difference: there is none, or else it takes equal replicas for different ones.

use super::super::audit::Audited;
use super::Invariant;

/// See the module.
#[derive(Debug, Default)]
pub struct ReplicaChecks;

impl Invariant for ReplicaChecks {
    fn name(&self) -> &'static str {
        "replica_checks"
    }

    fn audited(&mut self, audited: &Audited, _true_ns: u64) -> Result<(), String> {
        match audited {
            Audited::Differs { node, range } => {
                Err(format!("node {node} has found that the replicas of range {range} differ"))
            }
            _ => Ok(()),
        }
    }
}
