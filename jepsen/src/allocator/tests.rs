use super::Start;
use super::model::{Model, Outcome, Shape};

fn run(start: Start, nodes: usize, ranges: usize, seed: u64) -> Outcome {
    let outcome = Model::new(Shape { nodes, ranges, seed }, start).run();
    outcome.verdict().unwrap_or_else(|words| panic!("{start:?}, seed {seed}: {words}\n{outcome}"));
    outcome
}

/// It makes no more copies than so many percent of what must be made so that nodes have as many.
fn makes_at_most(percent: u64, outcome: &Outcome) {
    assert!(outcome.copied * 100 <= outcome.needed * percent, "{outcome}");
}

#[test]
fn nodes_that_join_get_their_part() {
    for seed in 1..4 {
        makes_at_most(220, &run(Start::Empty, 20, 1_000, seed));
    }
}

#[test]
fn copies_of_one_region_spread_over_four() {
    for seed in 1..4 {
        makes_at_most(120, &run(Start::Region, 20, 1_000, seed));
    }
}

#[test]
fn what_lost_nodes_had_is_made_anew() {
    for seed in 1..4 {
        run(Start::Lost, 20, 1_000, seed);
    }
}
