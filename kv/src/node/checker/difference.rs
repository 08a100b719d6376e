//! Where two replicas of a range begin to differ.
//!
//! ```text
//!   View in the log ─▶ both keep a snapshot ─▶ digests of one piece after the other ─▶ the first that differs: its entries
//!                                                                                   └▶ the first key, with all its versions
//! ```
//!
//! It is looked for in snapshots of a later entry than that of the check: what differed there differs still, unless somebody has
//! overwritten and collected it since.

use bytes::Bytes;
use prost::Message;

use super::{ANSWER_TIMEOUT, FROM_THE_START, Shared, UNKNOWN_PATIENCE};
use crate::consistency::{Entry, Piece, Verdict, describe_key, differing, now};
use crate::descriptor::{RangeDescriptor, ReplicaDescriptor};
use crate::keys;
use crate::mvcc::key;
use crate::node::message::{AskCheck, NodeAnswerKind, NodeRequestKind, ReadChecked};
use crate::replica::CheckAnswer;
use crate::store::Held;

/// Entries of a piece whose digests are compared, and of one whose entries are.
const PIECE_ENTRIES: u64 = 1_024;

/// Entries of one key that are told, at most.
const TOLD_MAX: u64 = 16;

/// Two snapshots of the same entry.
struct Pair<'a> {
    range: &'a RangeDescriptor,
    check_id: u64,
    one: ReplicaDescriptor,
    other: ReplicaDescriptor,
}

impl Shared {
    /// The first difference between a sound replica and one that differs, or between two that do, in words.
    pub(super) async fn first_difference(
        &self,
        held: &Held,
        range: &RangeDescriptor,
        verdict: &Verdict,
    ) -> Result<String, String> {
        let replica = |id: u64| range.replicas.iter().find(|replica| replica.replica_id == id).copied();
        let voters: Vec<u64> = range.voters().map(|voter| voter.replica_id).collect();
        let pair = match (verdict.sound, verdict.differing.first()) {
            (Some(sound), Some(differing)) => (Some(sound), Some(*differing)),
            _ => (voters.first().copied(), voters.get(1).copied()),
        };
        let (Some(one), Some(other)) = (pair.0.and_then(replica), pair.1.and_then(replica)) else {
            return Err("there are no two replicas to compare".to_owned());
        };
        let check_id = held.replica.begin_check(true).await.map_err(|error| error.to_string())?;
        let pair = Pair { range, check_id, one, other };
        self.until_kept(&pair).await?;
        self.search(&pair).await
    }

    /// Waits until both keep their snapshot.
    async fn until_kept(&self, pair: &Pair<'_>) -> Result<(), String> {
        let begun = now();
        for replica in [pair.one, pair.other] {
            loop {
                match self.ask_check(replica.node_id, pair.ask(replica)).await {
                    Ok(CheckAnswer::Begun) => break,
                    Ok(CheckAnswer::Refused(words)) => return Err(words),
                    answer if begun.elapsed() > UNKNOWN_PATIENCE => {
                        return Err(format!("n{} keeps no snapshot: {answer:?}", replica.node_id));
                    }
                    _ => tokio::time::sleep(super::ASK_PAUSE.0).await,
                }
            }
        }
        Ok(())
    }

    async fn search(&self, pair: &Pair<'_>) -> Result<String, String> {
        let mut start = FROM_THE_START;
        loop {
            let one = self.piece(pair, pair.one, (start.clone(), Bytes::new()), PIECE_ENTRIES, false).await?;
            let end = one.next.clone().unwrap_or_default();
            let other = self.piece(pair, pair.other, (start.clone(), end.clone()), 4 * PIECE_ENTRIES, false).await?;
            let differs = one.digest != other.digest || other.next.is_some();
            if differs && let Some(found) = self.search_in(pair, start, end.clone()).await? {
                return Ok(found);
            }
            if end.is_empty() {
                return Ok(
                    "there is none in what they replicate now: it was in their bounds, or is overwritten".to_owned()
                );
            }
            start = end;
        }
    }

    /// Among the entries of a piece that is not alike.
    async fn search_in(&self, pair: &Pair<'_>, mut start: Bytes, end: Bytes) -> Result<Option<String>, String> {
        loop {
            let bounds = || (start.clone(), end.clone());
            let one = self.piece(pair, pair.one, bounds(), PIECE_ENTRIES, true).await?;
            let other = self.piece(pair, pair.other, bounds(), PIECE_ENTRIES, true).await?;
            if let Some(found) = differing(&one, &other) {
                return self.tell(pair, found).await.map(Some);
            }
            // As far as both went they are alike.
            match [one.next, other.next].into_iter().flatten().min() {
                Some(next) => start = next,
                None => return Ok(None),
            }
        }
    }

    /// A key of the engine that is not alike, with what each of the two has of the key it belongs to.
    async fn tell(&self, pair: &Pair<'_>, found: Bytes) -> Result<String, String> {
        let whole = match key::decode(&found) {
            Ok((user, _)) if found.first() != Some(&keys::LOCAL) => {
                let prefix = key::prefix(&user);
                (Bytes::from(prefix.clone()), keys::prefix_end(&prefix))
            }
            _ => (found.clone(), keys::next(&found)),
        };
        let mut words = format!("at {}", describe_key(&found));
        for replica in [pair.one, pair.other] {
            let Piece { entries, next, .. } = self.piece(pair, replica, whole.clone(), TOLD_MAX, true).await?;
            let entries: Vec<String> = entries.iter().map(Entry::to_string).collect();
            let more = if next.is_some() { ", and more" } else { "" };
            words = format!("{words}; n{} has [{}{more}]", replica.node_id, entries.join(", "));
        }
        Ok(words)
    }

    async fn piece(
        &self,
        pair: &Pair<'_>,
        replica: ReplicaDescriptor,
        (start, end): (Bytes, Bytes),
        entries_max: u64,
        with_entries: bool,
    ) -> Result<Piece, String> {
        let read = ReadChecked { check: pair.ask(replica), start, end, entries_max, with_entries };
        if replica.node_id == self.identity.node_id {
            return self.answer_piece(read).await;
        }
        // What is read is paced there.
        let timeout = 5 * ANSWER_TIMEOUT + self.time_to_check(read.encoded_len() as u64);
        match self.ask_node(replica.node_id, NodeRequestKind::ReadChecked(read), timeout).await? {
            NodeAnswerKind::Piece(piece) => Ok(piece),
            _ => Err("it answered with something else".to_owned()),
        }
    }
}

impl Pair<'_> {
    fn ask(&self, replica: ReplicaDescriptor) -> AskCheck {
        AskCheck { range_id: self.range.range_id, replica_id: replica.replica_id, check_id: self.check_id }
    }
}
