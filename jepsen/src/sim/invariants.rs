//! What must hold of a simulated cluster at every moment, one invariant a file, under the names that `ARCHITECTURE.md` lists.
//!
//! | invariant | looks at |
//! |---|---|
//! | [`hlc_monotonic`] | the timestamp of every message sent, over restarts |
//! | [`timestamp_bound`] | the same, against true time |
//! | [`external_consistency`] | snapshots begun after acknowledgements |
//! | [`lease_sequence`] | every command that takes effect |
//! | [`applied_is_synced`] | how far every replica applies, and its log has synced |
//! | [`lease_disjointness`] | applied leases, and what was served under each |
//! | [`range_tiling`] | the newest descriptors of all ranges |
//! | [`replica_equality`] | replicas at the same applied index |
//! | [`replica_checks`] | what the nodes' own comparison of replicas finds |
//! | [`implicit_commit_stable`] | transaction records |
//! | [`push_stands`] | what pushers are told, and what becomes of their pushees |
//! | [`read_protected`] | every read answered, read again at the end |
//! | [`clock_fencing`] | what a node does after its clock was fenced |
//! | [`progress`] | every range, once all is healed |
//! | [`boundedness`] | what every node keeps, once all is healed |

pub mod applied_is_synced;
pub mod boundedness;
pub mod clock_fencing;
pub mod external_consistency;
pub mod hlc_monotonic;
pub mod implicit_commit_stable;
pub mod lease_disjointness;
pub mod lease_sequence;
pub mod progress;
pub mod push_stands;
pub mod range_tiling;
pub mod read_protected;
pub mod replica_checks;
pub mod replica_equality;
pub mod timestamp_bound;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clock::Timestamp;
use kv::descriptor::{RangeDescriptor, ReplicaDescriptor, ReplicaRole};
use kv::engine::{Engine, MemoryEngine};
use kv::keys;
use kv::replica::RangeState;
use raft_groups::{NodeId, Passage};

use super::audit::Audited;
use super::cluster::{SimCluster, Standing};

/// What must hold. Every check says in words what is broken.
pub trait Invariant: Send {
    /// Its name.
    fn name(&self) -> &'static str;

    /// A message leaves its sender; `true_ns` is true time.
    ///
    /// # Errors
    /// What is broken.
    fn sent(&mut self, _message: &Passage<'_>, _true_ns: u64) -> Result<(), String> {
        Ok(())
    }

    /// A node begins a new life: it does nothing of its former one any more.
    fn begins_anew(&mut self, _node: NodeId) {}

    /// A node has started, and its clock reads this.
    ///
    /// # Errors
    /// What is broken.
    fn started(&mut self, _node: NodeId, _now: Timestamp) -> Result<(), String> {
        Ok(())
    }

    /// A node's clock is off by more than its bound from now on, until the node begins a new life.
    fn clock_went_wrong(&mut self, _node: NodeId) {}

    /// A node told what it did.
    ///
    /// # Errors
    /// What is broken.
    fn audited(&mut self, _audited: &Audited, _true_ns: u64) -> Result<(), String> {
        Ok(())
    }

    /// All stores, at one moment.
    ///
    /// # Errors
    /// What is broken.
    fn sample(&mut self, _sample: &Sample) -> Result<(), String> {
        Ok(())
    }

    /// The end of the run: everything is healed, and every replica has applied what there is.
    ///
    /// # Errors
    /// What is broken.
    fn end(&mut self, _sample: &Sample) -> Result<(), String> {
        Ok(())
    }
}

/// All of them, new.
pub fn all(clock_error: Duration, record_retention: Duration) -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(hlc_monotonic::HlcMonotonic::default()),
        Box::new(timestamp_bound::TimestampBound::new(clock_error)),
        Box::new(external_consistency::ExternalConsistency::default()),
        Box::new(lease_sequence::LeaseSequence),
        Box::new(applied_is_synced::AppliedIsSynced),
        Box::new(lease_disjointness::LeaseDisjointness::default()),
        Box::new(range_tiling::RangeTiling),
        Box::new(replica_equality::ReplicaEquality::default()),
        Box::new(replica_checks::ReplicaChecks),
        Box::new(implicit_commit_stable::ImplicitCommitStable::default()),
        Box::new(push_stands::PushStands::new(record_retention)),
        Box::new(read_protected::ReadProtected::default()),
        Box::new(clock_fencing::ClockFencing::default()),
    ]
}

/// All stores at one moment.
pub struct Sample {
    /// Nodes that run, by number from 0.
    pub nodes: Vec<NodeSample>,
    /// All nodes run.
    pub is_complete: bool,
}

/// One store.
pub struct NodeSample {
    /// The node's number, from 0.
    pub index: usize,
    /// The ID it was given.
    pub node_id: Option<u64>,
    /// Its store.
    pub engine: Arc<MemoryEngine>,
    /// The replicas in it that have data.
    pub ranges: Vec<RangeState>,
}

impl Sample {
    /// Looks at the stores of all nodes that run.
    pub fn take(cluster: &SimCluster) -> Sample {
        let engines = cluster.engines();
        let is_complete = engines.iter().all(|(_, standing, _)| *standing == Standing::Up);
        let up = engines.into_iter().filter(|(_, standing, _)| *standing == Standing::Up);
        let nodes = up.map(|(index, _, engine)| {
            let ranges = ranges_of(&engine);
            NodeSample { index, node_id: cluster.node(index).map(|node| node.node_id()), engine, ranges }
        });
        Sample { nodes: nodes.collect(), is_complete }
    }

    /// Of each range the newest descriptor that any store holds, by range ID.
    pub fn newest(&self) -> Vec<&RangeDescriptor> {
        self.newest_states().into_iter().map(|state| &state.descriptor).collect()
    }

    /// Of each range the state with the newest descriptor, and then the newest lease, that any store holds, by range ID.
    pub fn newest_states(&self) -> Vec<&RangeState> {
        let mut newest: BTreeMap<u64, &RangeState> = BTreeMap::new();
        let age = |state: &RangeState| (state.descriptor.generation, state.lease.sequence);
        for state in self.nodes.iter().flat_map(|node| &node.ranges) {
            let known = newest.entry(state.descriptor.range_id).or_insert(state);
            if age(state) > age(known) {
                *known = state;
            }
        }
        newest.into_values().collect()
    }

    /// Every range has at least so many voters on nodes that run, would have a majority of its voters without one of these, and
    /// has no other replica. Of more voters than that, one on a lost node stays while there is no other node for it.
    pub fn has_copies(&self, copies: usize) -> bool {
        let runs = |id: u64| self.nodes.iter().any(|node| node.node_id == Some(id));
        let newest = self.newest();
        let is_whole = |range: &&RangeDescriptor| {
            let votes = |copy: &&ReplicaDescriptor| copy.role() == ReplicaRole::Voter;
            let sound = range.replicas.iter().filter(votes).filter(|copy| runs(copy.node_id)).count();
            let majority = range.replicas.len() / 2 + 1;
            sound >= copies.max(majority + 1) && range.replicas.iter().all(|copy| votes(&copy))
        };
        !newest.is_empty() && newest.iter().all(is_whole)
    }

    /// The applied positions of all replicas of each range are to be alike; else which are not.
    pub fn unsettled(&self) -> Option<String> {
        let mut applied = BTreeMap::new();
        let states = self.nodes.iter().flat_map(|node| node.ranges.iter().map(move |state| (node.index + 1, state)));
        states.into_iter().find_map(|(node, state)| {
            let (range, index) = (state.descriptor.range_id, state.applied.last_applied.map(|position| position.index));
            let (other, theirs) = *applied.entry(range).or_insert((node, index));
            (theirs != index).then(|| {
                format!("of range {range} node {node} has applied up to {index:?}, and node {other} up to {theirs:?}")
            })
        })
    }
}

fn ranges_of(engine: &MemoryEngine) -> Vec<RangeState> {
    let reader = engine.snapshot();
    let mut ids = Vec::new();
    let mut cursor = reader.cursor(&[keys::LOCAL, b'i'], &[keys::LOCAL, b'i' + 1], false);
    while cursor.advance().unwrap_or(false) {
        if let Some((id, [what])) = keys::decode_range_local(cursor.key())
            && *what == keys::RangeLocal::Replica as u8
        {
            ids.push(id);
        }
    }
    drop(cursor);
    // Half-way between two states, it is neither: nothing reads it but who completes it.
    ids.retain(|id| !kv::store::is_half_installed(&*reader, *id).unwrap_or(false));
    let states = ids.into_iter().filter_map(|id| RangeState::load(&*reader, id).ok().flatten());
    states.map(|(_, state)| state).filter(|state| !state.descriptor.replicas.is_empty()).collect()
}
