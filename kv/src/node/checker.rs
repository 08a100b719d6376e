//! Has the replicas of the ranges led here compared: now and then, and when somebody asks. See [`crate::consistency`].
//!
//! ```text
//!   tick ─▶ the range led here that is due, one at a time ─┐
//!   CHECK REPLICAS ─▶ the range's leader ──────────────────┴▶ check in the log ─▶ every replica asked until it answers ─▶ judge
//!       inconsistent ─▶ told ─▶ the first difference looked for, and told ─▶ those that differ from a majority condemned
//! ```
//!
//! Each range is due once an interval, at a time drawn when it is first led here, so that a cluster that starts does not check all it
//! has at once. When a range was checked last is not kept over a restart.

mod difference;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clock::{Random, Timestamp};
use parking_lot::Mutex;
use prost::Message;
use raft_groups::{Class, NodeId};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Shared;
use super::message::{
    AskCheck, CheckRange, CheckState, NodeAnswer, NodeAnswerKind, NodeRequest, NodeRequestKind, RangeChecked,
    ReadChecked,
};
use crate::api::{KvError, Span, error_detail};
use crate::consistency::{Answer, CheckStatus, Piece, Verdict, judge, now};
use crate::descriptor::{RangeDescriptor, ReplicaDescriptor};
use crate::replica::CheckAnswer;
use crate::store::Held;

/// How often it is looked which range is due, at most and at least.
const TICK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long to wait between two questions to a replica, at first and at most.
const ASK_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How long a replica may take to answer one question.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// A replica that does not know of the check, or is not heard of, for so long is not compared.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(10);

/// How much longer than at the bound of its node alone a check may take: others are under way beside it.
const SLOWNESS_MAX: u32 = 16;

/// Checks that somebody asked for at a time, on one node.
const ASKED_FOR_MAX: usize = 2;

/// What a node remembers of its checks.
pub(super) struct Checker {
    random: Random,
    /// When each range led here is due.
    due: Mutex<BTreeMap<u64, Timestamp>>,
    asked_for: Semaphore,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    consistent: AtomicU64,
    indeterminate: AtomicU64,
    inconsistent: AtomicU64,
}

/// What the checks begun by a node came to, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckCounts {
    /// All replicas were alike.
    pub consistent: u64,
    /// Some did not answer, or the check did not get through.
    pub indeterminate: u64,
    /// Some were not like others.
    pub inconsistent: u64,
}

/// What the check of a range came to.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckInfo {
    /// The range.
    pub descriptor: RangeDescriptor,
    /// In short.
    pub status: CheckStatus,
    /// In words: which replicas hold what.
    pub detail: String,
}

impl Checker {
    pub fn new(random: Random) -> Self {
        let (due, asked_for, counts) = (Mutex::default(), Semaphore::new(ASKED_FOR_MAX), Counts::default());
        Checker { random, due, asked_for, counts }
    }

    pub fn counts(&self) -> CheckCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { consistent, indeterminate, inconsistent } = &self.counts;
        CheckCounts { consistent: of(consistent), indeterminate: of(indeterminate), inconsistent: of(inconsistent) }
    }

    fn count(&self, status: CheckStatus) {
        let count = match status {
            CheckStatus::Consistent => &self.counts.consistent,
            CheckStatus::Indeterminate => &self.counts.indeterminate,
            CheckStatus::Inconsistent => &self.counts.inconsistent,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The range of these that has been due for the longest; it is due again an interval later.
    fn take_due(&self, led: &BTreeSet<u64>, now: Timestamp, interval: Duration) -> Option<u64> {
        let mut due = self.due.lock();
        due.retain(|range, _| led.contains(range));
        for range in led {
            let within_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
            due.entry(*range).or_insert_with(|| now.plus(Duration::from_millis(self.random.range(0, within_ms))));
        }
        let (range, at) = due.iter().min_by_key(|(_, at)| **at).map(|(range, at)| (*range, *at))?;
        // The interval may have been shortened since.
        if at > now.plus(interval) {
            due.insert(range, now.plus(interval));
        }
        (at <= now).then(|| {
            due.insert(range, now.plus(interval));
            range
        })
    }
}

/// The loop: one range after the other.
pub(super) async fn run(shared: std::sync::Arc<Shared>) {
    loop {
        let interval = Duration::from_millis(shared.registry.cluster().get().check_interval_ms);
        tokio::time::sleep((interval / 8).clamp(TICK.0, TICK.1)).await;
        if interval.is_zero() {
            continue;
        }
        let led = shared.store.all().into_iter().filter(|(_, held)| held.group.leader_term().is_some());
        let led = led.map(|(range_id, _)| range_id).collect();
        if let Some(range_id) = shared.checker.take_due(&led, shared.wall_now(), interval) {
            match shared.compare(range_id).await {
                Ok(checked) => {
                    tracing::debug!(range_id, status = checked.status().word(), checked.detail, "replicas compared")
                }
                Err(error) => tracing::debug!(range_id, %error, "replicas were not compared"),
            }
        }
    }
}

impl Shared {
    /// Compares the replicas of a range led here, for somebody who asks.
    ///
    /// # Errors
    /// `NotLeaseholder` when it is led elsewhere.
    pub(super) async fn check_range(&self, range_id: u64) -> Result<RangeChecked, KvError> {
        let _turn = self.checker.asked_for.acquire().await;
        self.compare(range_id).await
    }

    async fn compare(&self, range_id: u64) -> Result<RangeChecked, KvError> {
        let held = self.store.held(range_id).filter(Held::is_initialized);
        let leads = held.as_ref().is_some_and(|held| held.group.leader_term().is_some());
        let Some(held) = held.filter(|_| leads) else { return Err(self.led_elsewhere(range_id)) };
        let begun = self.compare_led(&held).await;
        self.checker.count(begun.as_ref().map_or(CheckStatus::Indeterminate, |verdict| verdict.status));
        begun.map(|verdict| RangeChecked::of(verdict.status, verdict.detail))
    }

    fn led_elsewhere(&self, range_id: u64) -> KvError {
        let holder = self.store.held(range_id).and_then(|held| held.group.leader()).map_or(0, |(_, node)| node.0);
        let node = self.identity.node_id;
        KvError::NotLeaseholder(error_detail::NotLeaseholder { range_id, node, holder, descriptor: None })
    }

    async fn compare_led(&self, held: &Held) -> Result<Verdict, KvError> {
        let check_id = held.replica.begin_check(false).await?;
        let range = held.replica.descriptor();
        let answers = self.ask_all(&range, check_id, self.time_for(held)).await;
        let verdict = judge(&range, &answers);
        if verdict.status == CheckStatus::Inconsistent {
            self.differs(held, &range, &verdict).await;
        }
        Ok(verdict)
    }

    /// How long a check of the range may take.
    fn time_for(&self, held: &Held) -> Duration {
        let bytes = u64::try_from(held.replica.stats().total_bytes()).unwrap_or(0);
        self.time_to_check(bytes)
    }

    fn time_to_check(&self, bytes: u64) -> Duration {
        let rate = self.registry.cluster().get().check_bytes_a_second.max(1);
        UNKNOWN_PATIENCE + SLOWNESS_MAX * Duration::from_secs_f64(bytes as f64 / rate as f64)
    }

    /// Asks every replica of the range, until each has answered or may be given up.
    async fn ask_all(&self, range: &RangeDescriptor, check_id: u64, time: Duration) -> BTreeMap<u64, Answer> {
        let end = now() + time;
        let asked = range.replicas.iter().map(|replica| async move {
            (replica.replica_id, self.ask_until(range.range_id, replica, check_id, end).await)
        });
        futures::future::join_all(asked).await.into_iter().collect()
    }

    /// Asks one replica until it says something that does not change.
    async fn ask_until(&self, range_id: u64, replica: &ReplicaDescriptor, check_id: u64, end: Instant) -> Answer {
        let ask = AskCheck { range_id, replica_id: replica.replica_id, check_id };
        let (mut pause, mut heard) = (ASK_PAUSE.0, now());
        // Whoever is not there is not waited for: a check of many ranges would wait for it as often.
        let patience = if self.registry.is_live(replica.node_id) { UNKNOWN_PATIENCE } else { ANSWER_TIMEOUT };
        loop {
            let why = match self.ask_check(replica.node_id, ask).await {
                Ok(CheckAnswer::Computed(index, digest)) => return Answer::Holds(index, digest),
                Ok(CheckAnswer::Refused(words)) => return Answer::Nothing(words),
                Ok(CheckAnswer::Begun) => {
                    heard = now();
                    "it takes too long".to_owned()
                }
                Ok(CheckAnswer::Unknown) => "it has not applied the check".to_owned(),
                Err(words) => words,
            };
            if heard.elapsed() > patience || now() >= end {
                return Answer::Nothing(why);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(ASK_PAUSE.1);
        }
    }

    async fn ask_check(&self, node: u64, ask: AskCheck) -> Result<CheckAnswer, String> {
        if node == self.identity.node_id {
            return Ok(self.answer_check(ask));
        }
        match self.ask_node(node, NodeRequestKind::AskCheck(ask), ANSWER_TIMEOUT).await? {
            NodeAnswerKind::Check(state) => Ok(CheckState::into(state)),
            _ => Err("it answered with something else".to_owned()),
        }
    }

    async fn ask_node(&self, node: u64, kind: NodeRequestKind, timeout: Duration) -> Result<NodeAnswerKind, String> {
        let body = NodeRequest::encode_kind(kind);
        let answer =
            self.transport.call(NodeId(node), Class::Kv, body, timeout).await.map_err(|error| error.to_string())?;
        let answer = NodeAnswer::decode(answer).map_err(|error| error.to_string())?;
        answer.kind.ok_or_else(|| "its answer is of a newer version".to_owned())
    }

    /// What this node's replica says of a check.
    pub(super) fn answer_check(&self, ask: AskCheck) -> CheckAnswer {
        match self.meant(ask) {
            Some(held) => held.replica.check_answer(ask.check_id),
            None => CheckAnswer::Unknown,
        }
    }

    /// What a part of what this node's replica held at a check looks like.
    pub(super) async fn answer_piece(&self, read: ReadChecked) -> Result<Piece, String> {
        let held = self.meant(read.check).ok_or("the replica is not here, or no more")?;
        let ReadChecked { check, start, end, entries_max, with_entries } = read;
        held.replica.read_checked(check.check_id, start, end, entries_max, with_entries).await
    }

    fn meant(&self, ask: AskCheck) -> Option<Held> {
        self.store.held(ask.range_id).filter(|held| held.replica.replica_id() == ask.replica_id)
    }

    /// Replicas of a range are not alike: that is told, and those that cannot be right leave service.
    async fn differs(&self, held: &Held, range: &RangeDescriptor, verdict: &Verdict) {
        let range_id = range.range_id;
        tracing::error!(
            range_id,
            start = %range.start.escape_ascii(),
            end = %range.end.escape_ascii(),
            differing = ?verdict.differing,
            detail = verdict.detail,
            "replica_equality: the replicas of a range differ"
        );
        tracing::trace!(target: "audit", event = "differs", node = self.identity.node_id, range = range_id);
        match self.first_difference(held, range, verdict).await {
            Ok(difference) => tracing::error!(range_id, difference, "the first difference between its replicas"),
            Err(reason) => tracing::warn!(range_id, reason, "the first difference between its replicas was not found"),
        }
        if verdict.differing.is_empty() {
            return;
        }
        let condemned = held.replica.condemn(verdict.differing.clone(), verdict.detail.clone()).await;
        match condemned {
            Ok(()) => {
                tracing::error!(range_id, replicas = ?verdict.differing, "those that differ from a majority leave service")
            }
            Err(error) => {
                tracing::warn!(range_id, %error, "those that differ are not told to leave service; the next check is")
            }
        }
    }

    /// Compares the replicas of every range that overlaps a span, one range after the other.
    pub(super) async fn check_span(&self, span: Span) -> Result<Vec<CheckInfo>, KvError> {
        let mut checked = Vec::new();
        for range in self.measured_ranges(span).await? {
            let (descriptor, holder) = (range.descriptor, range.leaseholder);
            let time = self.time_to_check(range.bytes.unwrap_or(0)) * 2;
            let (status, detail) = match self.check_anywhere(&descriptor, holder, time).await {
                Ok(checked) => (checked.status(), checked.detail),
                Err(words) => (CheckStatus::Indeterminate, words),
            };
            checked.push(CheckInfo { descriptor, status, detail });
        }
        Ok(checked)
    }

    /// Asks one node after the other, until one leads the range.
    async fn check_anywhere(
        &self,
        range: &RangeDescriptor,
        holder: Option<u64>,
        time: Duration,
    ) -> Result<RangeChecked, String> {
        let mut nodes: Vec<u64> = range.replicas.iter().map(|replica| replica.node_id).collect();
        nodes.sort_by_key(|node| (holder != Some(*node), !self.registry.is_live(*node), *node));
        let mut words = "the range has no replicas".to_owned();
        for node in nodes {
            let own = node == self.identity.node_id;
            let checked = match own {
                true => self.check_range(range.range_id).await.map_err(|error| error.to_string()),
                false => match self
                    .ask_node(node, NodeRequestKind::CheckRange(CheckRange { range_id: range.range_id }), time)
                    .await
                {
                    Ok(NodeAnswerKind::RangeChecked(checked)) => Ok(checked),
                    Ok(NodeAnswerKind::Error(error)) => {
                        Err(error.kind.map_or_else(|| "refused".to_owned(), |error| error.to_string()))
                    }
                    Ok(_) => Err("it answered with something else".to_owned()),
                    Err(words) => Err(words),
                },
            };
            match checked {
                Ok(checked) => return Ok(checked),
                Err(why) => words = format!("n{node}: {why}"),
            }
        }
        Err(words)
    }
}

/// Everything of the engine's keys, from the first on.
const FROM_THE_START: Bytes = Bytes::new();
