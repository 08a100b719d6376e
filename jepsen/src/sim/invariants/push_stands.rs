//! What a pusher was told of its pushee stays so: the aborted one never commits, the one that was moved never commits below where
//! it was moved to, and the one that has committed has committed there.
//!
//! ```text
//!   push W above 17 ─▶ told: it stands at 18 ─▶ the pusher reads at 17, without W
//!                                            W commits at 12: broken, whoever reads what
//! ```
//!
//! Whether W has a record yet makes no difference to what the pusher was told.
//!
//! Records are forgotten, of commits too, once their intents are resolved. Who asks long after that hears that W is presumed
//! aborted: this must be so where W ended since whatever may be forgotten by then, and is no harm where it committed before.

use std::collections::BTreeMap;

use bytes::Bytes;
use clock::Timestamp;
use kv::api::TxnStatus;
use kv::engine::Engine;

use super::{Invariant, Sample};
use crate::sim::audit::{Audited, Told};

/// See the module.
#[derive(Debug, Default)]
pub struct PushStands {
    /// By the key of the pushee's record: what was told last, and by which node; of moves, the furthest.
    told: BTreeMap<Bytes, (Told, Timestamp, u64)>,
}

impl PushStands {
    fn hear(&mut self, node: u64, record: &Bytes, told: Told, at: Timestamp) -> Result<(), String> {
        let Some((former, former_at, by)) = self.told.get(record).copied() else {
            self.told.insert(record.clone(), (told, at, node));
            return Ok(());
        };
        let holds = match (former, told) {
            (Told::Moved, Told::Moved | Told::Aborted | Told::Presumed) => true,
            (Told::Moved, Told::Committed) => at >= former_at,
            (Told::Aborted | Told::Presumed, told) => matches!(told, Told::Aborted | Told::Presumed),
            (Told::Committed, Told::Presumed) => former_at < at,
            (Told::Committed, told) => told == Told::Committed && at == former_at,
        };
        if !holds {
            return Err(format!(
                "node {by} told of {} that it is {former:?} at {former_at}, and then node {node} that it is {told:?} at {at}",
                record.escape_ascii()
            ));
        }
        let is_news = match told {
            Told::Moved => at > former_at,
            Told::Presumed => former != Told::Committed,
            Told::Aborted | Told::Committed => true,
        };
        if is_news {
            self.told.insert(record.clone(), (told, at, node));
        }
        Ok(())
    }
}

impl Invariant for PushStands {
    fn name(&self) -> &'static str {
        "push_stands"
    }

    fn audited(&mut self, audited: &Audited, _true_ns: u64) -> Result<(), String> {
        match audited {
            Audited::Pushed { node, record, told, at } => self.hear(*node, record, *told, *at),
            _ => Ok(()),
        }
    }

    fn sample(&mut self, sample: &Sample) -> Result<(), String> {
        for node in &sample.nodes {
            let reader = node.engine.snapshot();
            for (key, (told, at, by)) in &self.told {
                let record = reader.get(key).ok().flatten();
                let found = record.and_then(|record| kv::replica::record_status(&record));
                let Some(found) = found.filter(|found| found.status == TxnStatus::Committed) else { continue };
                let committed = found.write_timestamp;
                let holds = match told {
                    Told::Moved => committed >= *at,
                    Told::Aborted => false,
                    // On a replica that has not heard yet that the record is gone.
                    Told::Presumed => found.ended.is_some_and(|ended| ended < *at),
                    Told::Committed => committed == *at,
                };
                if !holds {
                    return Err(format!(
                        "node {by} told of {} that it is {told:?} at {at}, and on node {} it is committed at {committed}",
                        key.escape_ascii(),
                        node.index + 1
                    ));
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, sample: &Sample) -> Result<(), String> {
        self.sample(sample)
    }
}
