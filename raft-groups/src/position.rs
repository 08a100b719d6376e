//! Where an entry stands in a group's log.

/// The position of an entry: its index, and who put it there. Ordered by term, leader, index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// The term it was proposed in.
    pub term: u64,
    /// What tells leaders of one term apart; 0, since a term has at most one.
    pub leader: u64,
    /// Consecutive from 0.
    pub index: u64,
}
