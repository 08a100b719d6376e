use bytes::Bytes;

use super::*;
use crate::descriptor::ReplicaDescriptor;

fn node(node_id: u64, health: NodeHealth, locality: &str) -> NodeView {
    let locality = locality.parse().expect("a valid locality");
    NodeView { node_id, locality, health, replicas: 0, disk_full: false }
}

fn live(ids: &[u64]) -> Vec<NodeView> {
    ids.iter().map(|id| node(*id, NodeHealth::Live, "")).collect()
}

/// `voters` and `learners` of the descriptor; replica IDs equal node IDs. Raft agrees.
fn range(voters: &[u64], learners: &[u64]) -> RangeView {
    let replica = |id: &u64, role: ReplicaRole| ReplicaDescriptor { replica_id: *id, node_id: *id, role: role.into() };
    let replicas = voters
        .iter()
        .map(|id| replica(id, ReplicaRole::Voter))
        .chain(learners.iter().map(|id| replica(id, ReplicaRole::Learner)))
        .collect();
    let descriptor = RangeDescriptor {
        range_id: 7,
        start: Bytes::from_static(b"\x04"),
        end: Bytes::new(),
        generation: 1,
        replicas,
        next_replica_id: 10,
    };
    RangeView {
        descriptor,
        raft_voters: voters.iter().copied().collect(),
        raft_learners: learners.iter().copied().collect(),
        is_joint: false,
        caught_up: BTreeSet::new(),
        target: 3,
        bytes: 0,
        split_above_bytes: Some(100),
    }
}

fn action(range: &RangeView, nodes: &[NodeView]) -> Action {
    decide(range, nodes).action
}

#[test]
fn one_node_is_left_alone_and_two_are_no_better() {
    assert_eq!(action(&range(&[1], &[]), &live(&[1])), Action::Nothing);
    assert_eq!(action(&range(&[1], &[]), &live(&[1, 2])), Action::Nothing);
}

#[test]
fn up_replication_goes_step_by_step() {
    let nodes = live(&[1, 2, 3]);
    let mut view = range(&[1], &[]);
    assert_eq!(action(&view, &nodes), Action::Add { nodes: vec![2, 3] });
    view = range(&[1], &[2, 3]);
    view.raft_learners.clear();
    assert_eq!(action(&view, &nodes), Action::JoinLearners { replicas: vec![2, 3] });
    view = range(&[1], &[2, 3]);
    assert_eq!(action(&view, &nodes), Action::Wait);
    view.caught_up = BTreeSet::from([2, 3]);
    assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![1, 2, 3] });
    view.raft_voters = BTreeSet::from([1, 2, 3]);
    view.raft_learners.clear();
    view.is_joint = true;
    assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![1, 2, 3] });
    view.is_joint = false;
    assert_eq!(action(&view, &nodes), Action::Settle);
    assert_eq!(action(&range(&[1, 2, 3], &[]), &nodes), Action::Nothing);
}

#[test]
fn copies_go_to_other_places_first() {
    let nodes = vec![
        node(1, NodeHealth::Live, "region=a"),
        node(2, NodeHealth::Live, "region=a"),
        node(3, NodeHealth::Live, "region=b"),
        node(4, NodeHealth::Live, "region=b"),
        node(5, NodeHealth::Live, "region=c"),
    ];
    assert_eq!(action(&range(&[1], &[]), &nodes), Action::Add { nodes: vec![3, 5] });
}

#[test]
fn a_suspect_node_keeps_its_copies_and_gets_none() {
    let mut nodes = live(&[1, 2, 3, 4]);
    nodes[2].health = NodeHealth::Suspect;
    assert_eq!(action(&range(&[1, 2, 3], &[]), &nodes), Action::Nothing);
    assert_eq!(action(&range(&[1], &[]), &nodes), Action::Add { nodes: vec![2, 4] });
}

#[test]
fn a_dead_nodes_copy_is_replaced_in_one_joint_change() {
    let mut nodes = live(&[1, 2, 3, 4]);
    nodes[2].health = NodeHealth::Dead;
    assert_eq!(action(&range(&[1, 2, 3], &[]), &nodes), Action::Add { nodes: vec![4] });
    let mut view = range(&[1, 2, 3], &[4]);
    assert_eq!(action(&view, &nodes), Action::Wait);
    view.caught_up.insert(4);
    assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![1, 2, 4] });
    view.raft_voters = BTreeSet::from([1, 2, 4]);
    view.raft_learners.clear();
    assert_eq!(action(&view, &nodes), Action::Settle);
}

#[test]
fn a_dead_node_without_a_replacement_costs_no_voter() {
    let mut nodes = live(&[1, 2, 3]);
    nodes[2].health = NodeHealth::Dead;
    assert_eq!(action(&range(&[1, 2, 3], &[]), &nodes), Action::Nothing);
}

#[test]
fn a_learner_whose_node_died_is_dropped() {
    let mut nodes = live(&[1, 2, 3]);
    nodes[1].health = NodeHealth::Dead;
    assert_eq!(action(&range(&[1], &[2, 3]), &nodes), Action::DropLearners { replicas: vec![2] });
}

#[test]
fn an_even_number_of_voters_is_not_aimed_at() {
    // The third node died before its copy had caught up.
    let mut nodes = live(&[1, 2, 3]);
    nodes[2].health = NodeHealth::Dead;
    let mut view = range(&[1], &[2]);
    view.caught_up.insert(2);
    assert_eq!(action(&view, &nodes), Action::DropLearners { replicas: vec![2] });
    assert_eq!(action(&range(&[1], &[]), &nodes), Action::Nothing);
    // A fourth takes its place, if there is one.
    nodes.push(node(4, NodeHealth::Live, ""));
    assert_eq!(action(&view, &nodes), Action::Add { nodes: vec![4] });
    // What Raft has begun to count is carried through.
    view.raft_voters.insert(2);
    view.raft_learners.clear();
    assert_eq!(action(&view, &nodes), Action::Settle);
}

#[test]
fn a_learner_is_dropped_when_the_voter_it_was_to_replace_is_back() {
    let mut view = range(&[1, 2, 3], &[4]);
    view.caught_up.insert(4);
    assert_eq!(action(&view, &live(&[1, 2, 3, 4])), Action::DropLearners { replicas: vec![4] });
}

#[test]
fn a_voter_that_was_replaced_does_not_stay_because_its_node_is_back() {
    let mut view = range(&[1, 2, 3], &[4, 5]);
    view.raft_voters = BTreeSet::from([1, 4, 5]);
    view.raft_learners.clear();
    assert_eq!(action(&view, &live(&[1, 2, 3, 4, 5])), Action::Settle);
}

#[test]
fn an_interrupted_removal_is_finished() {
    let nodes = live(&[1, 2, 3, 4]);
    let mut view = range(&[1, 2, 4], &[]);
    view.raft_voters = BTreeSet::from([1, 2, 3, 4]);
    view.is_joint = true;
    assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![1, 2, 4] });
}

#[test]
fn a_full_disk_gets_no_copies() {
    let mut nodes = live(&[1, 2, 3, 4]);
    nodes[1].disk_full = true;
    assert_eq!(action(&range(&[1], &[]), &nodes), Action::Add { nodes: vec![3, 4] });
}

#[test]
fn a_large_range_is_split_once_its_copies_are_settled() {
    let nodes = live(&[1, 2, 3]);
    let mut view = range(&[1, 2, 3], &[]);
    view.bytes = 101;
    assert_eq!(action(&view, &nodes), Action::Split);
    view.split_above_bytes = None;
    assert_eq!(action(&view, &nodes), Action::Nothing);
}

#[test]
fn voters_above_the_target_leave_dead_ones_first() {
    let mut nodes = live(&[1, 2, 3, 4]);
    nodes[1].health = NodeHealth::Dead;
    let mut view = range(&[1, 2, 3, 4], &[]);
    assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![1, 3, 4] });
    view.raft_voters = BTreeSet::from([1, 3, 4]);
    assert_eq!(action(&view, &nodes), Action::Settle);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the nodes do, following the decisions never leaves fewer voters, and comes to rest.
        #[test]
        fn voters_never_fewer(healths in proptest::collection::vec(0..4u8, 1..7), voters in 1..4usize) {
            let nodes = nodes_of(&healths);
            let ids: Vec<u64> = (1..=voters.min(nodes.len()) as u64).collect();
            let mut view = range(&ids, &[]);
            for _ in 0..20 {
                let before = view.raft_voters.len();
                match action(&view, &nodes) {
                    Action::Nothing => return Ok(()),
                    other => simulate(&mut view, other),
                }
                let after = view.raft_voters.len();
                prop_assert!(after >= before);
                prop_assert!(after == before || after % 2 == 1, "an even number of voters was aimed at: {view:?}");
            }
            prop_assert!(false, "the decisions do not come to rest: {view:?}");
        }

        /// Nodes come and go between one step and the next, and changes of voters are left half done: Raft is asked for nothing that
        /// it would refuse, and once the nodes stay as they are it comes to rest.
        #[test]
        fn it_comes_to_rest_whatever_happened_in_between(
            storm in proptest::collection::vec((proptest::collection::vec(0..4u8, 6), any::<bool>()), 0..12),
            calm in proptest::collection::vec(0..4u8, 6),
        ) {
            let mut view = range(&[1, 2, 3], &[]);
            for (healths, is_interrupted) in &storm {
                let former = view.raft_voters.clone();
                let next = action(&view, &nodes_of(healths));
                simulate(&mut view, next);
                if *is_interrupted && view.raft_voters != former {
                    view.is_joint = true;
                    view.raft_voters.extend(former);
                }
            }
            for _ in 0..20 {
                match action(&view, &nodes_of(&calm)) {
                    Action::Nothing => return Ok(()),
                    other => simulate(&mut view, other),
                }
            }
            prop_assert!(false, "the decisions do not come to rest: {view:?}");
        }
    }

    fn nodes_of(healths: &[u8]) -> Vec<NodeView> {
        let health = |drawn: &u8| match drawn {
            0 | 1 => NodeHealth::Live,
            2 => NodeHealth::Suspect,
            _ => NodeHealth::Dead,
        };
        healths.iter().enumerate().map(|(index, drawn)| node(index as u64 + 1, health(drawn), "")).collect()
    }

    /// Carries an action out at once, if Raft would.
    fn simulate(view: &mut RangeView, action: Action) {
        match action {
            Action::Add { nodes } => {
                for node_id in nodes {
                    let replica_id = view.descriptor.next_replica_id;
                    view.descriptor.next_replica_id += 1;
                    let role = ReplicaRole::Learner.into();
                    view.descriptor.replicas.push(ReplicaDescriptor { replica_id, node_id, role });
                }
            }
            Action::JoinLearners { replicas } => {
                view.raft_learners.extend(&replicas);
                view.caught_up.extend(&replicas);
            }
            Action::ChangeVoters { voters } => {
                let is_member = |id: &u64| view.raft_voters.contains(id) || view.raft_learners.contains(id);
                assert!(voters.iter().all(is_member), "Raft does not know all of {voters:?}: {view:?}");
                view.is_joint = false;
                view.raft_voters = voters.into_iter().collect();
                view.raft_learners = view.raft_learners.difference(&view.raft_voters).copied().collect();
            }
            Action::DropLearners { replicas } => {
                view.raft_learners.retain(|id| !replicas.contains(id));
                view.descriptor.replicas.retain(|replica| !replicas.contains(&replica.replica_id));
            }
            Action::Settle => settle(view),
            Action::Nothing | Action::Wait | Action::Split => {}
        }
    }

    fn settle(view: &mut RangeView) {
        view.descriptor.replicas.retain(|replica| view.raft_voters.contains(&replica.replica_id));
        for replica in &mut view.descriptor.replicas {
            replica.role = ReplicaRole::Voter.into();
        }
    }
}
