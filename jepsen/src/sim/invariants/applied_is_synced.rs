//! A replica applies only what its own log has synced: what is applied is durable wherever the engine is.

use super::super::audit::Audited;
use super::Invariant;

/// See the module.
#[derive(Debug, Default)]
pub struct AppliedIsSynced;

impl Invariant for AppliedIsSynced {
    fn name(&self) -> &'static str {
        "applied_is_synced"
    }

    fn audited(&mut self, audited: &Audited, _true_ns: u64) -> Result<(), String> {
        match audited {
            Audited::Applies { range, replica, index, synced } if index > synced => Err(format!(
                "replica {replica} of range {range} applies entry {index}, and its log has synced no more than {synced}"
            )),
            _ => Ok(()),
        }
    }
}
