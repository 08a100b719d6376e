//! Replicas at the same applied index are equal: data, lease, threshold, statistics and bounds.
//!
//! Stores are looked at only now and then, so each replica's checksum at each index it is seen at is kept, for those who
//! come by that index later.
//!
//! It looks away from the mutant whose replicas differ: that one is for the nodes' own comparison to find.

use std::collections::BTreeMap;

use clock::mutation::{self, Mutant};
use kv::engine::Engine;
use kv::keys;
use kv::mvcc::key;
use kv::replica::RangeState;

use super::{Invariant, NodeSample, Sample};

/// See the module.
#[derive(Debug, Default)]
pub struct ReplicaEquality {
    /// By range and index.
    seen: BTreeMap<(u64, u64), Seen>,
    /// By node and range: where it was seen last.
    last: BTreeMap<(usize, u64), u64>,
}

/// What the first replica at an index looked like.
#[derive(Debug)]
struct Seen {
    node: usize,
    checksum: u64,
    state: RangeState,
}

impl Invariant for ReplicaEquality {
    fn name(&self) -> &'static str {
        "replica_equality"
    }

    fn sample(&mut self, sample: &Sample) -> Result<(), String> {
        if mutation::is(Mutant::ReplicaDiverges) {
            return Ok(());
        }
        for node in &sample.nodes {
            for state in &node.ranges {
                let Some(position) = state.applied.last_applied else { continue };
                let range = state.descriptor.range_id;
                if self.last.insert((node.index, range), position.index) == Some(position.index) {
                    continue;
                }
                self.compare(node, state, position.index)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, sample: &Sample) -> Result<(), String> {
        self.last.clear();
        self.sample(sample)
    }
}

impl ReplicaEquality {
    fn compare(&mut self, node: &NodeSample, state: &RangeState, index: u64) -> Result<(), String> {
        let range = state.descriptor.range_id;
        let checksum = checksum(node, state);
        let seen = self.seen.entry((range, index)).or_insert_with(|| Seen {
            node: node.index,
            checksum,
            state: state.clone(),
        });
        if seen.checksum != checksum {
            return Err(format!(
                "the data of range {range} differs between nodes {} and {} at index {index}",
                seen.node + 1,
                node.index + 1
            ));
        }
        if seen.state != *state {
            return Err(format!(
                "the state of range {range} differs between nodes {} and {} at index {index}: {:?}, {:?}",
                seen.node + 1,
                node.index + 1,
                seen.state,
                state
            ));
        }
        Ok(())
    }
}

/// Of everything in the range's span, and of what is kept by its keys.
fn checksum(node: &NodeSample, state: &RangeState) -> u64 {
    let reader = node.engine.snapshot();
    let (start, end) = (&state.descriptor.start, &state.descriptor.end);
    let (from, to) = key::span(start, end);
    let (local_from, local_to) = keys::key_local_span(start, end);
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for (from, to) in [(&from[..], &to[..]), (&local_from[..], &local_to[..])] {
        let mut cursor = reader.cursor(from, to, false);
        while cursor.advance().unwrap_or(false) {
            for part in [cursor.key(), cursor.value()] {
                sum = part.chunks(8).fold(sum ^ part.len() as u64, |sum, chunk| {
                    let mut word = [0; 8];
                    word[..chunk.len()].copy_from_slice(chunk);
                    (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
                });
            }
        }
    }
    sum
}
