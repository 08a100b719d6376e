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
//! aborted: this must be so where W ended since whatever may be forgotten by then, and is no harm where it committed before. Or it hears
//! that W goes on, since its coordinator says so, which has not heard of its end: no harm either, as long as it never commits.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use clock::Timestamp;
use kv::api::TxnStatus;
use kv::engine::Engine;

use super::{Invariant, Sample};
use crate::sim::audit::{Audited, Told};

/// See the module.
#[derive(Debug)]
pub struct PushStands {
    /// How long records are kept at least.
    retention: Duration,
    /// By the key of the pushee's record: what was told last; of moves, the furthest.
    told: BTreeMap<Bytes, Heard>,
}

/// What was told of a pushee.
#[derive(Clone, Copy, Debug)]
struct Heard {
    told: Told,
    at: Timestamp,
    /// By which node.
    by: u64,
    /// When that was, in true time.
    since_ns: u64,
}

impl PushStands {
    /// With records that are kept for so long at least.
    pub fn new(retention: Duration) -> Self {
        PushStands { retention, told: BTreeMap::new() }
    }

    fn hear(&mut self, record: &Bytes, heard: Heard) -> Result<(), String> {
        let Some(former) = self.told.get(record).copied() else {
            self.told.insert(record.clone(), heard);
            return Ok(());
        };
        let may_be_forgotten = Duration::from_nanos(heard.since_ns.saturating_sub(former.since_ns)) > self.retention;
        let holds = match (former.told, heard.told) {
            (Told::Moved, Told::Moved | Told::Aborted | Told::Presumed) => true,
            (Told::Moved, Told::Committed) => heard.at >= former.at,
            (Told::Aborted | Told::Presumed, Told::Aborted | Told::Presumed) => true,
            (Told::Aborted | Told::Presumed, Told::Moved) => may_be_forgotten,
            (Told::Aborted | Told::Presumed, Told::Committed) => false,
            (Told::Committed, Told::Presumed) => former.at < heard.at,
            (Told::Committed, told) => told == Told::Committed && heard.at == former.at,
        };
        if !holds {
            return Err(format!(
                "node {} told of {} that it is {:?} at {}, and then node {} that it is {:?} at {}",
                former.by,
                record.escape_ascii(),
                former.told,
                former.at,
                heard.by,
                heard.told,
                heard.at
            ));
        }
        let is_news = match heard.told {
            Told::Moved => former.told == Told::Moved && heard.at > former.at,
            Told::Presumed if former.told == Told::Presumed => heard.at > former.at,
            Told::Presumed => former.told != Told::Committed,
            Told::Aborted => former.told != Told::Aborted,
            Told::Committed => true,
        };
        if is_news {
            self.told.insert(record.clone(), heard);
        }
        Ok(())
    }
}

impl Invariant for PushStands {
    fn name(&self) -> &'static str {
        "push_stands"
    }

    fn audited(&mut self, audited: &Audited, true_ns: u64) -> Result<(), String> {
        match audited {
            Audited::Pushed { node, record, told, at } => {
                self.hear(record, Heard { told: *told, at: *at, by: *node, since_ns: true_ns })
            }
            _ => Ok(()),
        }
    }

    fn sample(&mut self, sample: &Sample) -> Result<(), String> {
        for node in &sample.nodes {
            let reader = node.engine.snapshot();
            for (key, Heard { told, at, by, .. }) in &self.told {
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
