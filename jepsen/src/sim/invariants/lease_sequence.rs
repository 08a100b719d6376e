//! A command takes effect under the lease it was evaluated under, and under no other.

use super::super::audit::Audited;
use super::Invariant;

/// See the module.
#[derive(Debug, Default)]
pub struct LeaseSequence;

impl Invariant for LeaseSequence {
    fn name(&self) -> &'static str {
        "lease_sequence"
    }

    fn audited(&mut self, audited: &Audited, _true_ns: u64) -> Result<(), String> {
        match audited {
            Audited::Applied { node, range, sequence, in_force } if sequence != in_force => Err(format!(
                "node {node} applied a command of range {range} that was evaluated under lease {sequence}, while {in_force} was in force"
            )),
            _ => Ok(()),
        }
    }
}
