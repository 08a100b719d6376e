use super::*;

fn sees(cuts: &Cuts, nodes: usize, from: usize) -> usize {
    (0..nodes).filter(|to| !cuts.contains(&(from, *to))).count()
}

#[test]
fn halves_leave_a_majority() {
    for nodes in 3..8 {
        let order: Vec<usize> = (0..nodes).collect();
        let cuts = halves(&order);
        let majority = (0..nodes).filter(|node| sees(&cuts, nodes, *node) > nodes / 2).count();
        assert!(majority > nodes / 2 && majority < nodes, "{nodes} nodes: {cuts:?}");
    }
}

#[test]
fn in_a_ring_each_sees_a_majority_and_none_sees_all() {
    for nodes in [4, 5, 6, 7] {
        let order: Vec<usize> = (0..nodes).collect();
        let cuts = ring(&order);
        for node in 0..nodes {
            let seen = sees(&cuts, nodes, node);
            assert!(seen > nodes / 2 && seen < nodes, "{nodes} nodes, node {node} sees {seen}: {cuts:?}");
        }
        assert!(cuts.iter().all(|(from, to)| cuts.contains(&(*to, *from))));
    }
}

#[test]
fn a_bridge_is_seen_by_all() {
    let cuts = bridge(&[0, 1, 2, 3, 4]);
    assert_eq!(sees(&cuts, 5, 0), 5);
    assert!((1..5).all(|node| sees(&cuts, 5, node) == 3));
}

#[test]
fn one_way_means_one_way() {
    for seed in 0..20 {
        let (_, cuts) = one_way(3, &Random::from_seed(seed));
        assert_eq!(cuts.len(), 2);
        assert!(cuts.iter().all(|(from, to)| !cuts.contains(&(*to, *from))));
    }
}

#[test]
fn a_partition_cuts_something_whatever_the_seed() {
    for seed in 0..50 {
        for nodes in 3..7 {
            let (name, cuts) = partition(nodes, &Random::from_seed(seed));
            assert!(!cuts.is_empty(), "{name} of {nodes}");
        }
    }
}
