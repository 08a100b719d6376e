//! Copies and leases that move only because it is better so.

use super::*;

fn loaded(node_id: u64, replicas: u64, mib: u64) -> NodeView {
    NodeView { replicas, bytes: mib << 20, ..node(node_id, NodeHealth::Live, "") }
}

#[test]
fn a_large_copy_moves_to_where_there_are_fewer_bytes() {
    let nodes = [loaded(1, 40, 4_000), loaded(2, 40, 2_000), loaded(3, 40, 2_000), loaded(4, 40, 400)];
    let mut view = range(&[1, 2, 3], &[]);
    view.openings = all_open();
    view.split_above_bytes = None;
    assert_eq!(action(&view, &nodes), Action::Nothing, "an empty range's copy makes nothing better");
    view.bytes = 200 << 20;
    assert_eq!(action(&view, &nodes), Action::Move { node: 4, replaces: 1 });
    // It leaves the node with most of them.
    let mut view = range(&[1, 2, 3], &[4]);
    (view.bytes, view.split_above_bytes, view.leader) = (200 << 20, None, 2);
    view.caught_up.insert(4);
    let mut nodes = nodes;
    (nodes[3].replicas, nodes[3].bytes) = (41, 600 << 20);
    assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![2, 3, 4] });
}

#[test]
fn small_differences_are_left_alone() {
    let mut view = range(&[1, 2, 3], &[]);
    view.openings = all_open();
    // Four of a hundred fewer, and a few MiB where there are hundreds.
    let nodes = [loaded(1, 102, 60), loaded(2, 100, 10), loaded(3, 101, 10), loaded(4, 98, 0)];
    assert_eq!(action(&view, &nodes), Action::Nothing);
    let nodes = [loaded(1, 106, 60), loaded(2, 100, 10), loaded(3, 101, 10), loaded(4, 97, 0)];
    assert_eq!(action(&view, &nodes), Action::Move { node: 4, replaces: 1 });
}

#[test]
fn nothing_moves_beyond_the_leaders_share() {
    let nodes = [loaded(1, 9, 0), loaded(2, 9, 0), loaded(3, 9, 0), loaded(4, 0, 0), loaded(5, 1, 0)];
    let mut view = range(&[1, 2, 3], &[]);
    assert_eq!(action(&view, &nodes), Action::Nothing);
    Arc::make_mut(&mut view.openings).copies.insert(5);
    assert!(matches!(action(&view, &nodes), Action::Move { node: 5, .. }));
}

/// A copy that is on its way takes the place of the voter that it was announced for, whoever leads by then.
#[test]
fn a_move_goes_on_under_another_leader() {
    let mut nodes = live(&[1, 2, 3, 4]);
    nodes.iter_mut().for_each(|node| node.replicas = 5);
    let mut view = range(&[1, 2, 3], &[4]);
    view.caught_up.insert(4);
    view.descriptor.replicas[3].replaces = 1;
    for leader in [1, 2, 3] {
        view.leader = leader;
        assert_eq!(action(&view, &nodes), Action::ChangeVoters { voters: vec![2, 3, 4] });
    }
    // Unless it has become worse there, or the voter has left otherwise.
    nodes[3].replicas = 8;
    assert_eq!(action(&view, &nodes), Action::DropLearners { replicas: vec![4] });
    nodes[3].replicas = 5;
    view.descriptor.replicas[3].replaces = 9;
    assert_eq!(action(&view, &nodes), Action::DropLearners { replicas: vec![4] });
}

/// The leader's copy moves where no other voter would do: the lease goes with it.
#[test]
fn a_copy_moves_for_its_lease() {
    let mut nodes = [in_regions(), vec![node(4, NodeHealth::Live, "region=a")]].concat();
    for (node, leases) in nodes.iter_mut().zip([60, 20, 20, 10]) {
        (node.replicas, node.leases, node.requests) = (80, leases, 10 * leases);
    }
    let home = led(&[("region=a", 0.9), ("region=b", 0.1)]);
    assert_eq!(action(&home, &nodes), Action::Move { node: 4, replaces: 1 });
    let anywhere = led(&[("region=a", 0.4), ("region=b", 0.3), ("region=c", 0.3)]);
    assert!(matches!(action(&anywhere, &nodes), Action::TransferLease { .. }));
}

/// Ten leases here, none elsewhere, and requests through the nodes of these places.
fn led(origins: &[(&str, f64)]) -> RangeView {
    let mut view = range(&[1, 2, 3], &[]);
    let origin = |(place, part): &(&str, f64)| Origin {
        node_id: 0,
        locality: place.parse().expect("a valid locality"),
        part: *part,
    };
    let origins = origins.iter().map(origin);
    view.load = Some(RangeLoad { requests: 50.0, origins: origins.collect() });
    view.openings = all_open();
    view
}

fn in_regions() -> Vec<NodeView> {
    ["region=a", "region=b", "region=c"]
        .into_iter()
        .zip(1..)
        .map(|(place, id)| NodeView { replicas: 10, leases: 10, requests: 500, ..node(id, NodeHealth::Live, place) })
        .collect()
}

#[test]
fn a_lease_goes_to_where_there_are_fewer() {
    let mut nodes = live(&[1, 2, 3]);
    for (node, (leases, requests)) in nodes.iter_mut().zip([(10, 500), (8, 400), (3, 150)]) {
        (node.leases, node.requests) = (leases, requests);
    }
    let mut view = led(&[("", 1.0)]);
    assert_eq!(action(&view, &nodes), Action::TransferLease { node: 3, follows: false });
    view.heirs.remove(&3);
    assert_eq!(action(&view, &nodes), Action::TransferLease { node: 2, follows: false }, "n3 lags, or does not answer");
    Arc::make_mut(&mut view.openings).leases.clear();
    assert_eq!(action(&view, &nodes), Action::Nothing);
    // Nor where the lease is another's, or what the range serves is not known yet.
    for change in [|view: &mut RangeView| view.holds_lease = false, |view: &mut RangeView| view.load = None] {
        let mut view = led(&[("", 1.0)]);
        change(&mut view);
        assert_eq!(action(&view, &nodes), Action::Nothing);
    }
}

#[test]
fn a_lease_goes_to_where_there_are_fewer_requests() {
    let mut nodes = live(&[1, 2, 3]);
    for (node, requests) in nodes.iter_mut().zip([9_000, 100, 5_000]) {
        (node.leases, node.requests) = (40, requests);
    }
    let mut view = led(&[("", 1.0)]);
    view.load.as_mut().expect("known").requests = 2_000.0;
    assert_eq!(action(&view, &nodes), Action::TransferLease { node: 2, follows: false });
    // One that is nearly all there is would only be elsewhere then.
    view.load.as_mut().expect("known").requests = 8_900.0;
    assert_eq!(action(&view, &nodes), Action::Nothing);
}

#[test]
fn a_lease_follows_its_requests() {
    let nodes = in_regions();
    assert_eq!(action(&led(&[("region=a", 0.6), ("region=b", 0.4)]), &nodes), Action::Nothing);
    let mostly = led(&[("region=a", 0.2), ("region=b", 0.8)]);
    assert_eq!(action(&mostly, &nodes), Action::TransferLease { node: 2, follows: true });
    // It does not leave the place again so that the nodes hold as many.
    let mut nodes = nodes;
    nodes[0].leases = 30;
    assert_eq!(action(&led(&[("region=a", 0.9), ("region=b", 0.1)]), &nodes), Action::Nothing);
    let evenly = led(&[("region=a", 0.34), ("region=b", 0.33), ("region=c", 0.33)]);
    assert_eq!(action(&evenly, &nodes), Action::TransferLease { node: 3, follows: false });
    // What is hardly used may be anywhere.
    let mut idle = mostly;
    idle.load.as_mut().expect("known").requests = 0.5;
    Arc::make_mut(&mut idle.openings).leases.clear();
    assert_eq!(action(&idle, &nodes), Action::Nothing);
}

/// Where places do not tell nodes apart, a lease stays with the node that its requests come through, and goes there.
#[test]
fn a_lease_stays_with_its_gateway() {
    let mut nodes = live(&[1, 2, 3]);
    (nodes[0].leases, nodes[1].leases, nodes[2].leases) = (20, 1, 1);
    let through = |parts: [f64; 3]| {
        let mut view = led(&[]);
        let origins = (1..).zip(parts).map(|(node_id, part)| Origin { node_id, locality: Default::default(), part });
        view.load.as_mut().expect("known").origins = origins.collect();
        view
    };
    assert_eq!(action(&through([1.0, 0.0, 0.0]), &nodes), Action::Nothing);
    assert_eq!(action(&through([0.1, 0.1, 0.8]), &nodes), Action::TransferLease { node: 3, follows: true });
    assert!(matches!(action(&through([0.4, 0.3, 0.3]), &nodes), Action::TransferLease { follows: false, .. }));
}

#[test]
fn a_lease_goes_to_no_node_that_is_to_be_emptied() {
    let mut nodes = live(&[1, 2, 3]);
    (nodes[0].leases, nodes[1].leases, nodes[2].leases) = (10, 0, 0);
    (nodes[1].is_leaving, nodes[2].health) = (true, NodeHealth::Draining);
    assert_eq!(action(&led(&[("", 1.0)]), &nodes), Action::Nothing);
}

mod properties {
    use proptest::prelude::*;

    use super::*;
    use crate::placement::Shares;

    proptest! {
        /// All leaders together send a node no more than it lacks, in any one period; and whatever it lacks, in a few.
        #[test]
        fn shares_add_up(copies in proptest::collection::vec(0..40u64, 2..9), period in 0..1_000u64) {
            let nodes: Vec<NodeView> = (1..).zip(&copies).map(|(id, copies)| loaded(id, *copies, 0)).collect();
            let cluster = ClusterView::new(nodes.clone());
            let mean = copies.iter().sum::<u64>() as f64 / copies.len() as f64;
            for node in &nodes {
                let sent = |period: u64| -> u64 {
                    let others = nodes.iter().filter(|other| other.node_id != node.node_id);
                    others.map(|other| {
                        let mut shares = Shares::of(&cluster, other.node_id, period);
                        (0..).take_while(|_| shares.take_copy(node.node_id)).count() as u64
                    }).sum()
                };
                let lack = ((mean - node.replicas as f64).ceil() as i64).clamp(1, 16) as u64;
                prop_assert!(sent(period) <= lack);
                let count = nodes.len() as u64;
                let whole: u64 = (period..period + count).map(sent).sum();
                // Its own share is nobody's.
                prop_assert!(whole >= lack * (count - 1), "{whole} of {lack} in {count} periods");
            }
        }

        /// Whatever is moved, the nodes' loads have become more alike: moves come to an end.
        #[test]
        fn moves_end(
            sizes in proptest::collection::vec((1..400u64, proptest::sample::subsequence(vec![1u64, 2, 3, 4, 5, 6], 3)), 1..40),
        ) {
            let mut views: Vec<RangeView> = (1..).zip(&sizes).map(|(id, (mib, voters))| {
                let mut view = range(voters, &[]);
                view.descriptor.range_id = id;
                (view.bytes, view.split_above_bytes, view.openings) = (mib << 20, None, all_open());
                view
            }).collect();
            let nodes_of = |views: &[RangeView]| -> Vec<NodeView> {
                (1..=6).map(|id| {
                    let here = views.iter().filter(|view| view.descriptor.replicas.iter().any(|r| r.node_id == id));
                    let (copies, bytes) = here.fold((0, 0), |(copies, bytes), view| (copies + 1, bytes + view.bytes));
                    NodeView { replicas: copies, bytes, ..node(id, NodeHealth::Live, "") }
                }).collect()
            };
            let mut moves = 0;
            loop {
                let nodes = nodes_of(&views);
                let next = views.iter_mut().map(|view| (action(view, &nodes), view)).find(|(action, _)| *action != Action::Nothing);
                let Some((next, view)) = next else { break };
                if let Action::Move { node, replaces } = next {
                    // There and back again in one go, as if the snapshot took no time.
                    moves += 1;
                    prop_assert!(moves < 500, "the copies do not come to rest");
                    add(view, node, replaces);
                    let id = view.descriptor.next_replica_id - 1;
                    view.raft_learners.insert(id);
                    view.caught_up.insert(id);
                } else {
                    simulate(view, next);
                    view.leader = *view.raft_voters.first().expect("a range has voters");
                }
            }
            for view in &views {
                prop_assert_eq!(view.descriptor.replicas.len(), 3);
            }
        }
    }
}
