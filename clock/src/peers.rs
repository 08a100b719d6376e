//! Whether this node's clock and those of its peers can all be right.
//!
//! ```text
//!   own clock     [─ asked ─]                    [─ answered ─]
//!                      │                               │
//!   true time  ────────┼───────────── T ───────────────┼──────▶     the peer read its clock at some T in between
//!                      │              │                │
//!   peer's clock                [─ theirs ─]                        T is in there, if the peer's bound holds
//! ```
//!
//! If both bounds hold, `theirs` does not end before `asked` begins, and does not begin after `answered` ends, however long
//! the messages took and whoever was stopped meanwhile. If that fails, one of the two clocks is wrong. Which one, the others
//! tell: a node that disagrees with so many that it and those who agree with it are no majority of the clocks takes
//! its own for the wrong one (`clock_fencing`). Hence one wrong clock among three fences itself, and only itself; of two
//! that disagree, neither can know, and both are fenced.
//!
//! A disagreement counts once it was seen [`ROUNDS`] times in a row, so that a clock that was set in the middle of one
//! exchange ends nobody. While nobody disagrees, a round asks a few peers, in turn: what a cluster spends on this grows with its
//! nodes, not with their square. Once somebody does, the next rounds ask everybody, so that a wrong clock, which disagrees with
//! whomever it is compared with, is found out as soon among a thousand as among three. The module knows nothing of how
//! readings travel.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{ClockFault, Disagreement, Interval};

/// How often in a row a peer must have disagreed.
const ROUNDS: u32 = 3;

/// How many peers are asked in a round.
const ASKED: usize = 8;

/// A peer that was silent so often in a row is no witness any more. Counted, since a clock that may be wrong cannot tell how
/// long it was.
const SILENCES: u32 = 600;

/// What one exchange of readings with a peer showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Both clocks may be right.
    Agree,
    /// One of the two is wrong.
    Disagree,
    /// The peer did not answer, which says nothing.
    Unknown,
}

impl Comparison {
    /// Compares a peer's reading with the own ones before its question was sent and after the answer came.
    pub fn of(asked: Interval, theirs: Interval, answered: Interval) -> Self {
        if Comparison::apart(asked, theirs, answered).is_zero() { Comparison::Agree } else { Comparison::Disagree }
    }

    /// How far a peer's clock is ahead of the own one, in nanoseconds, give or take half the time that the exchange took.
    pub fn skew_ns(asked: Interval, theirs: Interval, answered: Interval) -> i64 {
        let middle = |interval: Interval| interval.earliest_ns / 2 + interval.latest_ns / 2;
        let own = middle(asked) / 2 + middle(answered) / 2;
        i64::try_from(i128::from(middle(theirs)) - i128::from(own)).unwrap_or(i64::MAX)
    }

    /// By how much the readings of two clocks miss each other, whatever their bounds allow for: what is lacking from a bound that both
    /// would keep.
    pub fn apart(asked: Interval, theirs: Interval, answered: Interval) -> Duration {
        let behind_ns = asked.earliest_ns.saturating_sub(theirs.latest_ns);
        let ahead_ns = theirs.earliest_ns.saturating_sub(answered.latest_ns);
        Duration::from_nanos(behind_ns.max(ahead_ns))
    }
}

/// How the peers' clocks compared lately.
#[derive(Debug, Default)]
pub struct PeerClocks {
    peers: BTreeMap<u64, Peer>,
    /// Who was asked last.
    asked: u64,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    /// How often in a row it disagreed.
    disagreed: u32,
    /// How often in a row it was silent.
    silent: u32,
    /// How far it was off when it disagreed last, if that was measured.
    skew: Option<Disagreement>,
}

impl PeerClocks {
    /// Whom to ask in the next round. `peers` are the others of the cluster, in order.
    pub fn next_asked(&mut self, peers: &[u64]) -> Vec<u64> {
        // Of one that disagreed and fell silent there is nothing to learn by asking others.
        let disagrees = |peer: &u64| self.peers.get(peer).is_some_and(|peer| peer.disagreed > 0 && peer.silent == 0);
        if peers.len() <= ASKED || peers.iter().any(disagrees) {
            return peers.to_vec();
        }
        let first = peers.partition_point(|peer| *peer <= self.asked);
        let chosen: Vec<u64> = peers[first..].iter().chain(&peers[..first]).take(ASKED).copied().collect();
        self.asked = chosen.last().copied().unwrap_or(0);
        chosen
    }

    /// Takes note of one exchange with a peer, and of how far its clock was off, where that was measured. Silence changes nothing,
    /// unless it lasts.
    pub fn note(&mut self, peer: u64, comparison: Comparison, skew: Option<Disagreement>) {
        let peer = self.peers.entry(peer).or_default();
        *peer = match comparison {
            Comparison::Agree => Peer::default(),
            Comparison::Disagree => {
                Peer { disagreed: peer.disagreed.saturating_add(1), silent: 0, skew: skew.or(peer.skew.take()) }
            }
            Comparison::Unknown => Peer { silent: peer.silent.saturating_add(1), ..std::mem::take(peer) },
        };
    }

    /// Why this node must take its own clock for the wrong one, if so. `peers` are the others of the cluster.
    pub fn verdict(&self, peers: &[u64]) -> Option<ClockFault> {
        let known = |peer: &u64| self.peers.get(peer).cloned().unwrap_or_default();
        let witnesses: Vec<Peer> = peers.iter().map(known).filter(|peer| peer.silent < SILENCES).collect();
        let disagree = || witnesses.iter().filter(|peer| peer.disagreed >= ROUNDS);
        let (disagreeing, clocks) = (disagree().count(), witnesses.len() + 1);
        let worst = disagree().filter_map(|peer| peer.skew.clone()).max_by_key(Disagreement::magnitude_ns);
        let fault = ClockFault::PeersDisagree { disagreeing, peers: witnesses.len(), worst };
        (2 * disagreeing >= clocks).then_some(fault)
    }
}

#[cfg(test)]
mod tests;
