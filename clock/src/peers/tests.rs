use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;

fn at(reading_ms: u64, error_ms: u64) -> Interval {
    Interval::around(reading_ms * MS, Duration::from_millis(error_ms))
}

fn after(rounds: u32, disagreeing: &[u64], agreeing: &[u64]) -> PeerClocks {
    let mut clocks = PeerClocks::default();
    for _ in 0..rounds {
        disagreeing.iter().for_each(|peer| clocks.note(*peer, Comparison::Disagree, None));
        agreeing.iter().for_each(|peer| clocks.note(*peer, Comparison::Agree, None));
    }
    clocks
}

#[test]
fn only_a_gap_between_the_bounds_is_a_disagreement() {
    let (asked, answered) = (at(1_000, 10), at(1_004, 10));
    assert_eq!(Comparison::of(asked, at(1_002, 10), answered), Comparison::Agree);
    assert_eq!(Comparison::of(asked, at(980, 10), answered), Comparison::Agree, "990 may have been true");
    assert_eq!(Comparison::of(asked, at(979, 10), answered), Comparison::Disagree);
    assert_eq!(Comparison::of(asked, at(1_024, 10), answered), Comparison::Agree, "1014 may have been true");
    assert_eq!(Comparison::of(asked, at(1_025, 10), answered), Comparison::Disagree);
    assert_eq!(
        Comparison::of(asked, at(5_000, 10), at(6_000, 10)),
        Comparison::Agree,
        "an answer may be under way for long"
    );
}

#[test]
fn one_wrong_clock_among_three_fences_itself_only() {
    let wrong = after(ROUNDS, &[1, 3], &[]);
    assert_eq!(wrong.verdict(&[1, 3]), Some(ClockFault::PeersDisagree { disagreeing: 2, peers: 2, worst: None }));
    let right = after(ROUNDS, &[2], &[3]);
    assert_eq!(right.verdict(&[2, 3]), None);
}

#[test]
fn of_two_clocks_neither_can_know() {
    assert!(after(ROUNDS, &[2], &[]).verdict(&[2]).is_some());
    assert_eq!(after(ROUNDS, &[], &[]).verdict(&[]), None, "a clock alone has nobody to disagree with");
}

#[test]
fn it_takes_several_rounds_in_a_row() {
    assert_eq!(after(ROUNDS - 1, &[1, 3], &[]).verdict(&[1, 3]), None);
    let mut clocks = after(ROUNDS - 1, &[1, 3], &[]);
    clocks.note(1, Comparison::Agree, None);
    clocks.note(1, Comparison::Disagree, None);
    clocks.note(3, Comparison::Unknown, None);
    clocks.note(3, Comparison::Disagree, None);
    assert_eq!(clocks.verdict(&[1, 3]), None, "the first agreed in between, the third was only silent");
    assert!(clocks.verdict(&[3]).is_some(), "and the third has disagreed often enough");
}

#[test]
fn peers_that_left_do_not_count() {
    let clocks = after(ROUNDS, &[2, 3], &[4]);
    assert!(clocks.verdict(&[2, 3, 4]).is_some(), "two of four clocks");
    assert_eq!(clocks.verdict(&[4]), None);
    assert_eq!(clocks.verdict(&[2, 4]), None);
}

#[test]
fn peers_that_are_silent_for_long_do_not_count() {
    let mut clocks = after(ROUNDS, &[2], &[3, 4]);
    assert_eq!(clocks.verdict(&[2, 3, 4]), None, "one of four clocks");
    for _ in 0..SILENCES {
        clocks.note(3, Comparison::Unknown, None);
        clocks.note(4, Comparison::Unknown, None);
    }
    assert!(clocks.verdict(&[2, 3, 4]).is_some(), "one of two");
}

proptest! {
    #[test]
    fn clocks_within_their_bounds_never_disagree(
        error_ms in 0u64..300,
        own_skew in -1.0f64..=1.0,
        their_skew in -1.0f64..=1.0,
        there_ms in 0u64..10_000,
        back_ms in 0u64..10_000,
    ) {
        let error = Duration::from_millis(error_ms);
        let read = |true_ms: u64, skew: f64| {
            let reading = (true_ms * MS).saturating_add_signed((skew * (error_ms * MS) as f64) as i64);
            Interval::around(reading, error)
        };
        let (asked, theirs) = (read(100_000, own_skew), read(100_000 + there_ms, their_skew));
        let answered = read(100_000 + there_ms + back_ms, own_skew);
        prop_assert_eq!(Comparison::of(asked, theirs, answered), Comparison::Agree);
    }
}

/// Rounds of a node among others: what each is asked of, and whether its verdict is a fault after so many rounds.
fn rounds(clocks: &mut PeerClocks, peers: &[u64], wrong: impl Fn(u64) -> bool, count: u32) -> Vec<Vec<u64>> {
    let round = |_| {
        let asked = clocks.next_asked(peers);
        for peer in &asked {
            clocks.note(*peer, if wrong(*peer) { Comparison::Disagree } else { Comparison::Agree }, None);
        }
        asked
    };
    (0..count).map(round).collect()
}

#[test]
fn while_nobody_disagrees_a_round_asks_a_few_in_turn() {
    let peers: Vec<u64> = (2..=101).collect();
    let asked = rounds(&mut PeerClocks::default(), &peers, |_| false, 25);
    assert!(asked.iter().all(|round| round.len() == ASKED), "{asked:?}");
    let mut all: Vec<u64> = asked.into_iter().flatten().collect();
    all.sort_unstable();
    let twice: Vec<u64> = peers.iter().flat_map(|peer| [*peer, *peer]).collect();
    assert_eq!(all, twice, "a hundred peers, eight a round, twenty-five rounds: each was asked twice");
    let few: Vec<u64> = (2..=6).collect();
    assert_eq!(rounds(&mut PeerClocks::default(), &few, |_| false, 1), [few]);
}

#[test]
fn a_wrong_clock_is_found_out_as_soon_among_many() {
    let peers: Vec<u64> = (2..=101).collect();
    let mut wrong = PeerClocks::default();
    rounds(&mut wrong, &peers, |_| true, ROUNDS + 1);
    assert!(wrong.verdict(&peers).is_some());
    // Who meets a wrong clock asks everybody until that one has fenced itself and is silent, and goes on as before.
    let mut right = PeerClocks::default();
    let asked = rounds(&mut right, &peers, |peer| peer == 3, ROUNDS + 1);
    assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [8, 100, 100, 100]);
    assert_eq!(right.verdict(&peers), None);
    right.note(3, Comparison::Unknown, None);
    assert_eq!(right.next_asked(&peers).len(), ASKED);
}

#[test]
fn the_fault_names_the_clock_that_is_furthest_off() {
    let mut clocks = PeerClocks::default();
    let skew = |peer, skew_ms: i64| Some(Disagreement { peer, skew_ns: Ok(skew_ms * MS as i64), bound_ns: 10 * MS });
    for _ in 0..ROUNDS {
        clocks.note(1, Comparison::Disagree, skew(1, 45));
        clocks.note(3, Comparison::Disagree, skew(3, -61));
        clocks.note(4, Comparison::Disagree, None);
    }
    let words = clocks.verdict(&[1, 3, 4]).expect("three of three disagree").to_string();
    let expected = "3 of the 3 other nodes disagree with this clock beyond what the bounds allow (the clock of n3 is 61.0 ms behind it; \
                    the bound is 10.0 ms for each clock): ";
    assert!(words.starts_with(expected), "{words}");
}

#[test]
fn skew_is_measured_from_the_middle_of_the_exchange() {
    let (asked, answered) = (at(1_000, 10), at(1_004, 10));
    assert_eq!(Comparison::skew_ns(asked, at(1_002, 10), answered), 0);
    assert_eq!(Comparison::skew_ns(asked, at(962, 5), answered), -40 * MS as i64);
    assert_eq!(Comparison::skew_ns(asked, at(1_102, 10), answered), 100 * MS as i64);
}
