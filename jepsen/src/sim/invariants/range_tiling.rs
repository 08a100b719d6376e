//! Ranges tile the keyspace: of each range the newest descriptor that any store holds, side by side, without gap or overlap.

use bytes::Bytes;
use kv::keys;

use super::{Invariant, Sample};

/// See the module.
#[derive(Debug, Default)]
pub struct RangeTiling;

impl Invariant for RangeTiling {
    fn name(&self) -> &'static str {
        "range_tiling"
    }

    fn end(&mut self, sample: &Sample) -> Result<(), String> {
        self.sample(sample)
    }

    fn sample(&mut self, sample: &Sample) -> Result<(), String> {
        // What is down may hold the only replicas of a range.
        if !sample.is_complete {
            return Ok(());
        }
        let mut ranges = sample.newest();
        ranges.sort_by(|one, other| one.start.cmp(&other.start));
        let mut reached: Option<Bytes> = Some(Bytes::from_static(keys::MIN));
        for range in &ranges {
            let Some(end) = reached else {
                return Err(format!("{} starts at {:?} behind the end of the keyspace", range.range_id, range.start));
            };
            if range.start != end {
                let what = if range.start > end { "a gap" } else { "an overlap" };
                return Err(format!(
                    "{what}: range {} of generation {} starts at {:?}, its left neighbour ends at {end:?}",
                    range.range_id, range.generation, range.start
                ));
            }
            reached = (!range.end.is_empty()).then(|| range.end.clone());
        }
        match reached {
            Some(end) if !ranges.is_empty() => Err(format!("nothing holds the keyspace from {end:?} on")),
            _ => Ok(()),
        }
    }
}
