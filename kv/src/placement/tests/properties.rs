//! Whatever nodes and ranges do, decisions come to rest.

use proptest::prelude::*;

use super::*;

proptest! {
    /// Whatever the nodes do, following the decisions never leaves fewer voters, and comes to rest.
    #[test]
    fn voters_never_fewer(healths in proptest::collection::vec(0..5u8, 1..7), voters in 1..4usize) {
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

    /// Some nodes live and never catch up. Whatever else happens, it comes to rest; a range that is too large is split, and
    /// every copy that can be replaced is.
    #[test]
    fn stuck_learners_stop_nothing(
        healths in proptest::collection::vec(0..5u8, 1..8),
        lame in proptest::collection::vec(any::<bool>(), 8),
        voters in 1..6usize,
        target in prop_oneof![Just(3usize), Just(5)],
        is_large in any::<bool>(),
    ) {
        let nodes = nodes_of(&healths);
        let ids: Vec<u64> = (1..=voters.min(nodes.len()) as u64).collect();
        let mut view = range(&ids, &[]);
        (view.target, view.bytes) = (target, if is_large { 101 } else { 0 });
        let mut last = Action::Wait;
        for _ in 0..60 {
            last = action(&view, &nodes);
            if matches!(last, Action::Nothing | Action::Split) {
                break;
            }
            simulate(&mut view, last.clone());
            let is_lame = |replica: &ReplicaDescriptor| lame[usize::try_from(replica.node_id).unwrap_or(0) - 1];
            let learners = view.descriptor.replicas.iter().filter(|replica| view.raft_learners.contains(&replica.replica_id));
            for replica in learners.filter(|replica| is_lame(replica)).copied().collect::<Vec<_>>() {
                view.caught_up.remove(&replica.replica_id);
                view.stuck.insert(replica.replica_id);
                view.avoided.insert(replica.node_id);
            }
        }
        let expected = if is_large { Action::Split } else { Action::Nothing };
        prop_assert_eq!(last, expected, "{:?}", &view);
        let is_voter = |node: u64| view.descriptor.voters().any(|replica| replica.node_id == node);
        let is_good = |node: &&NodeView| choose::takes_copies(node) && !lame[usize::try_from(node.node_id).unwrap_or(0) - 1];
        let stays = |r: &&ReplicaDescriptor| !choose::loses_copies(&nodes[usize::try_from(r.node_id).unwrap_or(0) - 1]);
        let live = view.descriptor.voters().filter(stays).count();
        let spare = nodes.iter().filter(is_good).filter(|node| !is_voter(node.node_id)).count();
        let lost = view.descriptor.voters().count() - live;
        prop_assert!(lost == 0 || spare == 0, "a lost node's copy could be replaced: {:?}", &view);
        let count = view.descriptor.voters().count();
        prop_assert!(count >= target || spare < 1 + count % 2, "there could be more voters: {:?}", &view);
    }

    /// Nodes come and go between one step and the next, and changes of voters are left half done: Raft is asked for nothing that
    /// it would refuse, and once the nodes stay as they are it comes to rest.
    #[test]
    fn it_comes_to_rest_whatever_happened_in_between(
        storm in proptest::collection::vec((proptest::collection::vec(0..5u8, 6), any::<bool>()), 0..12),
        calm in proptest::collection::vec(0..5u8, 6),
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
        0 | 1 | 4 => NodeHealth::Live,
        2 => NodeHealth::Suspect,
        _ => NodeHealth::Dead,
    };
    let of = |(index, drawn): (usize, &u8)| NodeView {
        is_leaving: *drawn == 4,
        ..node(index as u64 + 1, health(drawn), "")
    };
    healths.iter().enumerate().map(of).collect()
}

/// Twelve ranges on three nodes, and two nodes join: in the end each node has about as many copies.
#[test]
fn copies_spread_over_the_nodes_that_join() {
    let mut views: Vec<RangeView> = (1..=12).map(|_| range(&[1, 2, 3], &[])).collect();
    for (range_id, view) in (1..).zip(&mut views) {
        (view.descriptor.range_id, view.openings) = (range_id, all_open());
    }
    let copies = |views: &[RangeView]| -> Vec<u64> {
        let on = |id: u64| views.iter().flat_map(|view| &view.descriptor.replicas).filter(|r| r.node_id == id).count();
        (1..=5).map(|id| on(id) as u64).collect()
    };
    for _ in 0..200 {
        let mut nodes = live(&[1, 2, 3, 4, 5]);
        for (node, copies) in nodes.iter_mut().zip(copies(&views)) {
            node.replicas = copies;
        }
        // One move at a time: the first range that has something to do is followed to its end.
        let Some(view) = views.iter_mut().find(|view| action(view, &nodes) != Action::Nothing) else { break };
        let next = action(view, &nodes);
        simulate(view, next);
        // The group's leader may have left.
        view.leader = *view.raft_voters.first().expect("a range has voters");
    }
    let spread = copies(&views);
    assert!(spread.iter().all(|copies| (7..=8).contains(copies)), "{spread:?}");
    assert!(views.iter().all(|view| view.raft_voters.len() == 3 && view.descriptor.replicas.len() == 3));
}
