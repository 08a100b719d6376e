//! What is committed stays committed: no record of a committed transaction ever says otherwise, on any replica.

use std::collections::BTreeMap;

use bytes::Bytes;
use kv::api::TxnStatus;
use kv::engine::Engine;
use kv::keys;

use super::{Invariant, Sample};

/// See the module.
#[derive(Debug, Default)]
pub struct ImplicitCommitStable {
    /// By the record's key: its verdict, once there was one.
    verdicts: BTreeMap<Bytes, TxnStatus>,
}

impl Invariant for ImplicitCommitStable {
    fn name(&self) -> &'static str {
        "implicit_commit_stable"
    }

    fn sample(&mut self, sample: &Sample) -> Result<(), String> {
        for node in &sample.nodes {
            let reader = node.engine.snapshot();
            let (from, to) = keys::key_local_span(keys::MIN, &[]);
            let mut cursor = reader.cursor(&from, &to, false);
            while cursor.advance().unwrap_or(false) {
                let Some((_, txn)) = keys::decode_txn_record(cursor.key()) else { continue };
                // What is presumed for want of a record says nothing of one that another replica may still have: see `push_stands`.
                let found = kv::replica::record_status(cursor.value()).filter(|found| !found.presumed);
                let Some(status) = found.map(|found| found.status) else { continue };
                if !matches!(status, TxnStatus::Committed | TxnStatus::Aborted) {
                    continue;
                }
                let verdict = *self.verdicts.entry(Bytes::copy_from_slice(cursor.key())).or_insert(status);
                if verdict != status {
                    return Err(format!(
                        "transaction {txn} is {status:?} on node {}, and was {verdict:?} before",
                        node.index + 1
                    ));
                }
            }
        }
        Ok(())
    }
}
