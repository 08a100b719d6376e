//! Shapes of partitions: which directions of which links are cut.

use std::collections::BTreeSet;

use clock::Random;

/// Directions of links, `(from, to)`.
pub(super) type Cuts = BTreeSet<(usize, usize)>;

/// A partition of so many nodes, with its name.
pub(super) fn partition(nodes: usize, random: &Random) -> (&'static str, Cuts) {
    let order = shuffled(nodes, random);
    match random.range(0, 4) {
        0 => ("isolated", between(&order[..1], &order[1..])),
        1 => ("halves", halves(&order)),
        2 if nodes >= 4 => ("bridge", bridge(&order)),
        3 if nodes >= 4 => ("ring", ring(&order)),
        _ => ("isolated", between(&order[..1], &order[1..])),
    }
}

/// All that one node sends is lost, or all that is sent to it.
pub(super) fn one_way(nodes: usize, random: &Random) -> (&'static str, Cuts) {
    let victim = random.range(0, nodes as u64) as usize;
    let others = (0..nodes).filter(|node| *node != victim);
    match random.range(0, 2) {
        0 => ("mute", others.map(|other| (victim, other)).collect()),
        _ => ("deaf", others.map(|other| (other, victim)).collect()),
    }
}

/// A minority on one side, the majority on the other.
fn halves(order: &[usize]) -> Cuts {
    let (minority, majority) = order.split_at((order.len() - 1) / 2);
    between(minority, majority)
}

/// Two halves that only one node sees both of.
fn bridge(order: &[usize]) -> Cuts {
    let rest = &order[1..];
    let (left, right) = rest.split_at(rest.len() / 2);
    between(left, right)
}

/// Each node sees the nearest on a ring, a majority that is another for each.
fn ring(order: &[usize]) -> Cuts {
    let count = order.len();
    let reach = (count / 2).div_ceil(2);
    let mut cuts = Cuts::new();
    for (place, from) in order.iter().enumerate() {
        for (other, to) in order.iter().enumerate() {
            let apart = place.abs_diff(other).min(count - place.abs_diff(other));
            if apart > reach {
                cuts.insert((*from, *to));
            }
        }
    }
    cuts
}

fn between(left: &[usize], right: &[usize]) -> Cuts {
    left.iter().flat_map(|one| right.iter().flat_map(move |other| [(*one, *other), (*other, *one)])).collect()
}

fn shuffled(count: usize, random: &Random) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for place in (1..count).rev() {
        order.swap(place, random.range(0, place as u64 + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests;
