mod balance;
mod properties;

use bytes::Bytes;

use super::*;
use crate::descriptor::ReplicaDescriptor;

fn node(node_id: u64, health: NodeHealth, locality: &str) -> NodeView {
    let locality = locality.parse().expect("a valid locality");
    let (disk_full, is_leaving) = (false, false);
    NodeView {
        node_id,
        locality,
        health,
        replicas: 0,
        receiving: 0,
        bytes: 0,
        leases: 0,
        requests: 0,
        disk_full,
        is_leaving,
    }
}

fn live(ids: &[u64]) -> Vec<NodeView> {
    ids.iter().map(|id| node(*id, NodeHealth::Live, "")).collect()
}

/// `voters` and `learners` of the descriptor; replica IDs equal node IDs. Raft agrees.
fn range(voters: &[u64], learners: &[u64]) -> RangeView {
    let replica = |id: &u64, role: ReplicaRole| ReplicaDescriptor {
        replica_id: *id,
        node_id: *id,
        role: role.into(),
        replaces: 0,
    };
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
        leader: voters[0],
        caught_up: BTreeSet::new(),
        stuck: BTreeSet::new(),
        avoided: BTreeSet::new(),
        target: 3,
        bytes: 0,
        split_above_bytes: Some(100),
        holds_lease: true,
        heirs: voters[1..].iter().copied().collect(),
        load: None,
        openings: Arc::default(),
    }
}

fn action(range: &RangeView, nodes: &[NodeView]) -> Action {
    decide(range, &ClusterView::new(nodes.to_vec())).action
}

/// Something may be moved to any node.
fn all_open() -> Arc<Openings> {
    Arc::new(Openings { copies: (1..=9).collect(), leases: (1..=9).collect() })
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
    // Of two that are as good, some ranges take the one and some the other.
    let mut chosen = BTreeSet::new();
    for range_id in 1..20 {
        let mut view = range(&[1], &[]);
        view.descriptor.range_id = range_id;
        let Action::Add { nodes } = action(&view, &nodes) else { panic!("there is room for two copies") };
        chosen.insert(nodes);
    }
    assert_eq!(chosen, BTreeSet::from([vec![3, 5], vec![4, 5]]));
}

#[test]
fn copies_go_to_nodes_with_fewer_of_them() {
    let mut nodes = live(&[1, 2, 3, 4, 5]);
    for (node, replicas) in nodes.iter_mut().zip([9, 9, 9, 2, 3]) {
        node.replicas = replicas;
    }
    assert_eq!(action(&range(&[1], &[]), &nodes), Action::Add { nodes: vec![4, 5] });
}

#[test]
fn five_copies_where_there_are_five_nodes() {
    let mut view = range(&[1, 2, 3], &[]);
    view.target = 5;
    assert_eq!(action(&view, &live(&[1, 2, 3, 4])), Action::Nothing, "four are no better than three");
    let mut nodes = live(&[1, 2, 3, 4, 5]);
    assert_eq!(action(&view, &nodes), Action::Add { nodes: vec![4, 5] });
    // The second lot need not wait for the first.
    let mut growing = range(&[1], &[2, 3]);
    growing.target = 5;
    assert_eq!(action(&growing, &nodes), Action::Add { nodes: vec![4, 5] });
    growing = range(&[1], &[2, 3, 4, 5]);
    growing.target = 5;
    growing.caught_up = BTreeSet::from([2, 4, 5]);
    assert_eq!(action(&growing, &nodes), Action::ChangeVoters { voters: vec![1, 2, 4] });
    // A dead node's copy stays while there is no sixth node: one fewer would be no better.
    let mut whole = range(&[1, 2, 3, 4, 5], &[]);
    whole.target = 5;
    nodes[2].health = NodeHealth::Dead;
    assert_eq!(action(&whole, &nodes), Action::Nothing);
}

#[test]
fn a_learner_that_gets_nowhere_gives_way_to_another_node() {
    let nodes = live(&[1, 2, 3, 4]);
    let mut view = range(&[1, 2], &[3]);
    assert_eq!(action(&view, &nodes), Action::Wait);
    view.stuck.insert(3);
    assert_eq!(action(&view, &nodes), Action::DropLearners { replicas: vec![3] });
    // The node is not tried again at once.
    let mut view = range(&[1, 2], &[]);
    view.avoided.insert(3);
    assert_eq!(action(&view, &nodes), Action::Add { nodes: vec![4] });
    assert_eq!(action(&view, &nodes[..3]), Action::Add { nodes: vec![3] }, "better than none");
    // Nor is it left out where the other nodes are too few: with one of them there would be two voters, so one.
    let mut young = range(&[1], &[]);
    young.avoided.insert(3);
    assert_eq!(action(&young, &nodes[..3]), Action::Add { nodes: vec![2, 3] });
    assert_eq!(action(&young, &nodes), Action::Add { nodes: vec![2, 4] });
}

#[test]
fn one_stuck_learner_keeps_nothing_else_from_being_done() {
    let mut nodes = live(&[1, 2, 3, 4]);
    nodes[2].health = NodeHealth::Dead;
    // There is nowhere else to go: it stays, and the range is split all the same.
    let mut view = range(&[1, 2, 3], &[4]);
    view.stuck.insert(4);
    assert_eq!(action(&view, &nodes), Action::Nothing);
    view.bytes = 101;
    assert_eq!(action(&view, &nodes), Action::Split);
    // Once its disk is full, or it is not heard of any more, there is nothing to wait for.
    for (health, disk_full) in [(NodeHealth::Live, true), (NodeHealth::Suspect, false)] {
        let mut nodes = nodes.clone();
        (nodes[3].health, nodes[3].disk_full) = (health, disk_full);
        assert_eq!(action(&view, &nodes), Action::DropLearners { replicas: vec![4] });
    }
    // Before it is known to be stuck, too: what grows is copied ever more slowly.
    view.stuck.clear();
    assert_eq!(action(&view, &nodes), Action::Split);
    // A dead node's copy is replaced beside it.
    let mut view = range(&[1, 2, 3], &[4, 5]);
    view.stuck.insert(4);
    view.caught_up.insert(5);
    let nodes = [nodes, live(&[5])].concat();
    assert_eq!(action(&view, &nodes), Action::DropLearners { replicas: vec![4] }, "nobody needs it any more");
    view.target = 5;
    assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![1, 2, 5] });
    view.raft_voters = BTreeSet::from([1, 2, 5]);
    view.raft_learners = BTreeSet::from([4]);
    assert_eq!(action(&view, &nodes), Action::Settle);
}

#[test]
fn a_copy_moves_to_where_there_are_fewer_one_at_a_time() {
    let mut nodes = live(&[1, 2, 3, 4]);
    for (node, replicas) in nodes.iter_mut().zip([5, 5, 4, 2]) {
        node.replicas = replicas;
    }
    let mut view = range(&[1, 2, 3], &[]);
    assert_eq!(action(&view, &nodes), Action::Nothing);
    view.openings = all_open();
    assert_eq!(action(&view, &nodes), Action::Move { node: 4, replaces: 2 });
    let mut view = range(&[1, 2, 3], &[4]);
    nodes[3].replicas = 3;
    assert_eq!(action(&view, &nodes), Action::Wait);
    view.caught_up.insert(4);
    // Of two nodes with as many copies, not the leader's.
    assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![1, 3, 4] });
    // What Raft has half done is ended in the same way.
    view.is_joint = true;
    view.raft_voters.insert(4);
    view.raft_learners.clear();
    assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![1, 3, 4] });
    // A move that gets nowhere is given up, even if there is no other node.
    let mut stuck = range(&[1, 2, 3], &[4]);
    stuck.stuck.insert(4);
    assert_eq!(action(&stuck, &nodes), Action::DropLearners { replicas: vec![4] });
    // Meanwhile the others have lost as many: back, and no even number of voters.
    nodes.iter_mut().for_each(|node| node.replicas = 3);
    assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![1, 2, 3] });
}

#[test]
fn a_copy_moves_to_another_place_whatever_the_numbers() {
    let mut nodes = vec![
        node(1, NodeHealth::Live, "region=a"),
        node(2, NodeHealth::Live, "region=a"),
        node(3, NodeHealth::Live, "region=b"),
        node(4, NodeHealth::Live, "region=c"),
    ];
    nodes[3].replicas = 9;
    let mut view = range(&[1, 2, 3], &[]);
    view.openings = all_open();
    assert_eq!(action(&view, &nodes), Action::Move { node: 4, replaces: 2 });
    let mut view = range(&[1, 2, 3], &[4]);
    view.caught_up.insert(4);
    assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![1, 3, 4] });
    let mut apart = range(&[1, 3, 4], &[]);
    apart.openings = all_open();
    assert_eq!(action(&apart, &nodes), Action::Nothing, "fewer copies are no reason to stand closer together");
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
fn copies_leave_a_node_that_is_being_decommissioned() {
    let mut nodes = live(&[1, 2, 3, 4]);
    nodes[1].is_leaving = true;
    let mut view = range(&[1, 2, 3], &[]);
    assert_eq!(action(&view, &nodes), Action::Add { nodes: vec![4] });
    // While there is no other node it stays: it still serves.
    assert_eq!(action(&view, &nodes[..3]), Action::Nothing);
    view = range(&[1, 2, 3], &[4]);
    view.caught_up.insert(4);
    assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![1, 3, 4] });
    // The leader's own copy is replaced like any other.
    view.leader = 2;
    assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![1, 3, 4] });
    // A dead node's copy goes first: it does not answer.
    nodes[2].health = NodeHealth::Dead;
    assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![1, 2, 4] });
    // It gets no copies, and those on their way to it are given up.
    assert_eq!(action(&range(&[1], &[]), &nodes), Action::Nothing);
    assert_eq!(action(&range(&[1], &[2]), &nodes), Action::DropLearners { replicas: vec![2] });
    // Where there are to be fewer copies, it is the first to go, though it leads.
    let mut large = range(&[1, 2, 3, 4, 5], &[]);
    let mut nodes = live(&[1, 2, 3, 4, 5]);
    nodes[0].is_leaving = true;
    let Action::ChangeVoters { voters } = action(&large, &nodes) else { panic!("there are two too many") };
    assert!(voters.len() == 3 && !voters.contains(&1), "{voters:?}");
    large.target = 5;
    assert_eq!(action(&large, &nodes), Action::Nothing);
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

/// Carries an action out at once, if Raft would.
fn simulate(view: &mut RangeView, action: Action) {
    match action {
        Action::Add { nodes } => nodes.into_iter().for_each(|node_id| add(view, node_id, 0)),
        Action::Move { node, replaces } => add(view, node, replaces),
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
        Action::Nothing | Action::Wait | Action::Split | Action::TransferLease { .. } => {}
    }
}

fn add(view: &mut RangeView, node_id: u64, replaces: u64) {
    let replica_id = view.descriptor.next_replica_id;
    view.descriptor.next_replica_id += 1;
    let role = ReplicaRole::Learner.into();
    view.descriptor.replicas.push(ReplicaDescriptor { replica_id, node_id, role, replaces });
}

fn settle(view: &mut RangeView) {
    let (voters, learners) = (&view.raft_voters, &view.raft_learners);
    let is_member = |id: &u64| voters.contains(id) || learners.contains(id);
    view.descriptor.replicas.retain(|replica| is_member(&replica.replica_id));
    for replica in &mut view.descriptor.replicas {
        let is_voter = voters.contains(&replica.replica_id);
        replica.role = if is_voter { ReplicaRole::Voter } else { ReplicaRole::Learner }.into();
    }
}
