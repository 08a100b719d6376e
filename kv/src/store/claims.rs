//! Which part of the keyspace is spoken for on a store, and by which of its ranges.
//!
//! ```text
//!   snapshot begun ──▶ incoming ── switched to ──▶ held by its replica
//!   held by a replica ── split applied ──▶ left │ right: its replica's, or left over
//!                     ── replica destroyed ──▶ clearing ┐
//!                                         left over ────┴── last byte cleared ──▶ free
//! ```
//!
//! A claim outlives the replica it was made for: whoever clears a span has it until its last byte is gone, however long that
//! takes, and again after a crash (the store's tombstones and leftovers say what is still to be cleared). Whether a span is free
//! is asked, and the span taken, in one step.
//!
//! A message may ask for a range before the split that makes it is applied: a replica without data takes the range's place then. While
//! it comes into being a split that makes the range waits, and takes it over once it runs.
//!
//! Invariant: `span_claimed` (the claims of different ranges do not overlap; nothing is written to a span, or cleared in it,
//! but for the range that has it claimed), `right_side_kept` (a split leaves its right side over only where the replica that was to have it
//! is on its way out, or was there before).
//!
//! It knows nothing of the engine: what it says must hold before the engine is touched, and until after.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use clock::mutation::{self, Mutant};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::descriptor::RangeDescriptor;

#[cfg(test)]
mod tests;

/// The claims of one store.
#[derive(Debug, Default)]
pub(super) struct Claims {
    state: Mutex<State>,
    /// Rung when a replica has come into being, or has not after all.
    settled: Notify,
}

/// The place of a replica that comes into being by a message. It is given up when this is dropped before [`Claims::started`].
#[derive(Debug)]
#[must_use = "the place is given up with it"]
pub(super) struct Starting<'c> {
    claims: &'c Claims,
    range_id: u64,
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        let mut state = self.claims.state.lock();
        if state.is_starting(self.range_id) {
            state.ranges.remove(&self.range_id);
        }
        drop(state);
        self.claims.settled.notify_waiters();
    }
}

#[derive(Debug, Default)]
struct State {
    ranges: BTreeMap<u64, Claim>,
    /// Right sides of splits that have no replica here, by range ID. Not even the range itself may be installed over them.
    leftovers: BTreeMap<u64, KeySpan>,
    /// Right sides whose state a split is about to write.
    births: BTreeSet<u64>,
}

/// What one range has.
#[derive(Debug)]
struct Claim {
    /// The newest replica of the range here.
    replica_id: u64,
    stage: Stage,
    /// Where its data is, or is still to be cleared: two spans while a snapshot takes the place of what was there before.
    spans: Vec<KeySpan>,
    /// Where the data of a snapshot that is being received will be.
    incoming: Option<Incoming>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It comes into being by a message: a split must leave it alone until it runs.
    Starting,
    Live,
    /// The replica is gone, or about to go, and what it held is to be cleared.
    Clearing,
}

#[derive(Debug)]
struct Incoming {
    install_id: u64,
    span: KeySpan,
}

/// Keys `[start, end)`; an empty end is the end of the keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeySpan {
    start: Bytes,
    end: Bytes,
}

impl KeySpan {
    fn of(descriptor: &RangeDescriptor) -> Self {
        KeySpan { start: descriptor.start.clone(), end: descriptor.end.clone() }
    }

    fn overlaps(&self, other: &KeySpan) -> bool {
        (other.end.is_empty() || self.start < other.end) && (self.end.is_empty() || other.start < self.end)
    }
}

/// The span of a descriptor; nothing for a replica that has no data.
fn span_of(descriptor: &RangeDescriptor) -> Vec<KeySpan> {
    if descriptor.replicas.is_empty() { Vec::new() } else { vec![KeySpan::of(descriptor)] }
}

impl Claim {
    fn overlaps(&self, span: &KeySpan) -> bool {
        let incoming = self.incoming.iter().map(|incoming| &incoming.span);
        self.spans.iter().chain(incoming).any(|own| own.overlaps(span))
    }
}

impl State {
    /// What another range than this one does where it wants to be.
    fn in_the_way(&self, range_id: u64, span: &KeySpan) -> Option<String> {
        let others = self.ranges.iter().filter(|(other, _)| **other != range_id);
        let claimed = others.filter(|(_, claim)| claim.overlaps(span)).map(|(other, claim)| match claim.stage {
            Stage::Clearing => format!("range {range_id} overlaps range {other}, which is still being cleared here"),
            _ => format!("range {range_id} overlaps range {other}, whose split is still to be applied here"),
        });
        let leftovers = self.leftovers.iter().filter(|(_, left)| left.overlaps(span));
        let left = leftovers.map(|(other, _)| {
            format!(
                "range {range_id} overlaps what a split left over of range {other}, which is still being cleared here"
            )
        });
        claimed.chain(left).next()
    }

    fn is_starting(&self, range_id: u64) -> bool {
        self.ranges.get(&range_id).is_some_and(|claim| claim.stage == Stage::Starting)
    }

    /// Whether the claims of different ranges lie apart.
    fn is_disjoint(&self) -> bool {
        let claims = self.ranges.iter().flat_map(|(range, claim)| claim.spans.iter().map(move |span| (*range, span)));
        mutation::is(Mutant::SnapshotOverSplit)
            || claims.clone().all(|(range, span)| self.in_the_way(range, span).is_none())
    }

    fn check(&self) {
        debug_assert!(self.is_disjoint(), "span_claimed: two ranges have the same keys: {self:?}");
    }
}

impl Claims {
    /// A replica that was here before the store started.
    ///
    /// # Errors
    /// When another one has its span: the words say which.
    pub fn hold(&self, replica_id: u64, descriptor: &RangeDescriptor) -> Result<(), String> {
        self.take_back(replica_id, descriptor, Stage::Live)
    }

    /// A replica that was removed before the store started, and is still to be cleared.
    ///
    /// # Errors
    /// As [`Claims::hold`].
    pub fn resume_removal(&self, descriptor: &RangeDescriptor) -> Result<(), String> {
        self.take_back(0, descriptor, Stage::Clearing)
    }

    fn take_back(&self, replica_id: u64, descriptor: &RangeDescriptor, stage: Stage) -> Result<(), String> {
        let (range_id, spans) = (descriptor.range_id, span_of(descriptor));
        let mut state = self.state.lock();
        if let Some(words) = spans.iter().find_map(|span| state.in_the_way(range_id, span)) {
            return Err(words);
        }
        state.ranges.insert(range_id, Claim { replica_id, stage, spans, incoming: None });
        Ok(())
    }

    /// Takes a range's place for a replica that comes into being by a message. Not while anything else of the range is here,
    /// or a split is about to make it: who sent the message sends another one.
    pub fn start(&self, range_id: u64, replica_id: u64) -> Option<Starting<'_>> {
        let mut state = self.state.lock();
        if state.births.contains(&range_id) || state.ranges.contains_key(&range_id) {
            return None;
        }
        let claim = Claim { replica_id, stage: Stage::Starting, spans: Vec::new(), incoming: None };
        state.ranges.insert(range_id, claim);
        Some(Starting { claims: self, range_id })
    }

    /// The replica that took the range's place, if one did, runs.
    pub fn started(&self, range_id: u64) {
        if let Some(claim) = self.state.lock().ranges.get_mut(&range_id)
            && claim.stage == Stage::Starting
        {
            claim.stage = Stage::Live;
        }
        self.settled.notify_waiters();
    }

    /// Whether a split that is about to apply may write the state of its right side, which nothing else of that range does
    /// until [`Claims::split`]. Waits while a replica of the right side comes into being by a message: a split that went on would leave
    /// the data over, on every node that a message had reached first, and so lose copies.
    pub async fn begin_birth(&self, range_id: u64, replica_id: u64) -> bool {
        clock::wait_for(&self.settled, || self.try_birth(range_id, replica_id)).await
    }

    /// What [`Claims::begin_birth`] says, unless it must wait.
    fn try_birth(&self, range_id: u64, replica_id: u64) -> Option<bool> {
        let mut state = self.state.lock();
        if state.is_starting(range_id) && !mutation::is(Mutant::SplitPassesStarting) {
            return None;
        }
        let claim = state.ranges.get(&range_id);
        let may = claim.is_none_or(|claim| claim.stage == Stage::Live && claim.replica_id <= replica_id);
        let is_past = claim.is_some_and(|claim| claim.stage == Stage::Clearing || claim.replica_id > replica_id);
        debug_assert!(
            may || is_past,
            "right_side_kept: a split leaves over what replica {replica_id} is to have: {claim:?}"
        );
        if may {
            state.births.insert(range_id);
        }
        Some(may)
    }

    /// The split will not write its right side's state after all.
    pub fn give_up_birth(&self, range_id: u64) {
        self.state.lock().births.remove(&range_id);
    }

    /// A split has applied: its right side goes to the replica that was born, if one was, and is left over otherwise.
    /// Returns whether one was.
    pub fn split(&self, left: &RangeDescriptor, right: &RangeDescriptor, right_replica_id: u64) -> bool {
        let mut state = self.state.lock();
        if let Some(claim) = state.ranges.get_mut(&left.range_id) {
            claim.spans = vec![KeySpan::of(left)];
            // A snapshot of before the split has come too late: what it would replace is the right side's in part.
            claim.incoming.take_if(|incoming| incoming.span.overlaps(&KeySpan::of(right)));
        }
        let was_born = state.births.remove(&right.range_id);
        if was_born {
            let claim = state.ranges.entry(right.range_id).or_insert(Claim {
                replica_id: right_replica_id,
                stage: Stage::Live,
                spans: Vec::new(),
                incoming: None,
            });
            claim.replica_id = right_replica_id;
            claim.spans = vec![KeySpan::of(right)];
        } else {
            state.leftovers.insert(right.range_id, KeySpan::of(right));
        }
        state.check();
        was_born
    }

    /// Claims the span of a snapshot for a replica. `has_data`: whether the replica has any so far.
    ///
    /// # Errors
    /// When the span is not free, or the replica is about to give way: the words say why. The same snapshot may be welcome later.
    pub fn begin_install(
        &self,
        replica_id: u64,
        has_data: bool,
        install_id: u64,
        descriptor: &RangeDescriptor,
    ) -> Result<(), String> {
        let (range_id, span) = (descriptor.range_id, KeySpan::of(descriptor));
        let mut state = self.state.lock();
        let in_the_way = state.in_the_way(range_id, &span).filter(|_| !mutation::is(Mutant::SnapshotOverSplit));
        let own = state.ranges.get_mut(&range_id);
        let Some(claim) = own.filter(|claim| claim.replica_id == replica_id && claim.stage != Stage::Clearing) else {
            return Err(format!("replica {replica_id} of range {range_id} is being removed here"));
        };
        if !has_data && !claim.spans.is_empty() {
            return Err(format!("range {range_id} has just come into being here by a split"));
        }
        if let Some(words) = in_the_way {
            return Err(words);
        }
        claim.incoming = Some(Incoming { install_id, span });
        state.check();
        Ok(())
    }

    /// The snapshot takes the place of what was there: both spans are the range's until [`Claims::installed`].
    ///
    /// # Errors
    /// When its span is not claimed any more: the words say why.
    pub fn switch(&self, install_id: u64, descriptor: &RangeDescriptor) -> Result<(), String> {
        let (range_id, mut state) = (descriptor.range_id, self.state.lock());
        let claim = state.ranges.get_mut(&range_id);
        let incoming = claim.and_then(|claim| {
            let incoming = claim.incoming.take_if(|incoming| incoming.install_id == install_id)?;
            Some((claim, incoming))
        });
        let Some((claim, incoming)) = incoming else {
            return Err(format!("a split of range {range_id} was faster than its snapshot"));
        };
        claim.spans.push(incoming.span);
        state.check();
        Ok(())
    }

    /// The snapshot is in place, and what it replaced is cleared.
    pub fn installed(&self, descriptor: &RangeDescriptor) {
        if let Some(claim) = self.state.lock().ranges.get_mut(&descriptor.range_id) {
            claim.spans = vec![KeySpan::of(descriptor)];
        }
    }

    /// The snapshot was given up before it was switched to.
    pub fn abandon(&self, range_id: u64, install_id: u64) {
        if let Some(claim) = self.state.lock().ranges.get_mut(&range_id) {
            claim.incoming.take_if(|incoming| incoming.install_id == install_id);
        }
    }

    /// The range's replica is to be removed. Not while a split is about to replace it: who asked for it asks again.
    pub fn begin_removal(&self, range_id: u64) -> bool {
        let mut state = self.state.lock();
        if state.births.contains(&range_id) {
            return false;
        }
        if let Some(claim) = state.ranges.get_mut(&range_id) {
            claim.stage = Stage::Clearing;
        }
        true
    }

    /// Nothing of the removed replica is left.
    pub fn cleared(&self, range_id: u64) {
        self.state.lock().ranges.remove(&range_id);
    }

    /// What a split left over before the store started.
    pub fn resume_leftover(&self, descriptor: &RangeDescriptor) {
        self.state.lock().leftovers.insert(descriptor.range_id, KeySpan::of(descriptor));
    }

    /// Nothing of what a split left over is left.
    pub fn leftover_cleared(&self, range_id: u64) {
        self.state.lock().leftovers.remove(&range_id);
    }
}
