//! Looks after the ranges this node leads, and after replicas that may have been removed unheard.
//!
//! ```text
//!   event or tick ─▶ each range led here, not yet being tended: anything to do? ─▶ a task that tends it until not
//!                    each replica that does not lead, now and then ─▶ is it still a member?
//!                    each replica ─▶ lets go of what was read long ago
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use clock::Timestamp;
use parking_lot::Mutex;

use super::learners::Learners;
use super::{Shared, tend};
use crate::directory;
use crate::keys;
use crate::placement::{Action, ClusterView, Decision, Openings, Shares};
use crate::store::Held;

/// At most so many times `replica_silent_after_ms` pass between a replica's questions whether it is a member.
const ASK_RARELY: u32 = 12;

/// How long a period lasts in which each leader moves its share of copies and leases. Nodes count them by their clocks, which agree well
/// enough.
const PERIOD_NS: u64 = 5_000_000_000;

/// So many decisions are remembered of each range.
const PAST_MAX: usize = 16;

/// How long a leaseholder remembers key by key what it served, in nanoseconds. Only transactions older than that are pushed by what
/// is forgotten. A range remembers many thousands of keys, and a node has many ranges.
const READS_KEPT_NS: u64 = 10_000_000_000;

/// What the keeper remembers between rounds.
#[derive(Default)]
pub(super) struct Keeper {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Ranges that a task is at.
    tended: BTreeSet<u64>,
    /// The generation of each range's descriptor that the directory was seen to have, and when.
    entered: BTreeMap<u64, (u64, Timestamp)>,
    /// When each range was last looked through for garbage.
    collected: BTreeMap<u64, Timestamp>,
    /// When each replica that does not lead asks next whether it is still a member, and how long it waits then.
    asks: BTreeMap<u64, (Timestamp, Duration)>,
    /// How the learners of ranges led here do.
    learners: Learners,
    /// What is left of this node's share of moves, and of which period it is.
    shares: (u64, Shares),
    /// How many actions of each kind this node has begun.
    actions: BTreeMap<&'static str, u64>,
    /// What was decided lately about each range, oldest first.
    past: BTreeMap<u64, VecDeque<PastDecision>>,
}

/// What was decided about a range, and begun.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PastDecision {
    pub at: Timestamp,
    pub decision: Decision,
}

impl State {
    /// Forgets ranges of which there is no replica here any more.
    fn keep_only(&mut self, is_held: impl Fn(u64) -> bool) {
        self.entered.retain(|range, _| is_held(*range));
        self.collected.retain(|range, _| is_held(*range));
        self.asks.retain(|range, _| is_held(*range));
        self.past.retain(|range, _| is_held(*range));
    }
}

impl Keeper {
    /// Whether the directory is known to have this generation, as of lately.
    pub(super) fn is_entered(&self, range_id: u64, generation: u64, not_before: Timestamp) -> bool {
        let state = self.state.lock();
        state.entered.get(&range_id).is_some_and(|(known, at)| *known >= generation && *at >= not_before)
    }

    /// The directory has this generation.
    pub(super) fn enter(&self, range_id: u64, generation: u64, now: Timestamp) {
        self.state.lock().entered.insert(range_id, (generation, now));
    }

    /// Whether it is time to look for garbage; if so, it is taken for done.
    pub(super) fn take_collection(&self, range_id: u64, now: Timestamp, interval: Duration) -> bool {
        let mut state = self.state.lock();
        let last = *state.collected.entry(range_id).or_insert(now);
        let is_due = last.plus(interval) <= now;
        if is_due {
            state.collected.insert(range_id, now);
        }
        is_due
    }

    /// Takes note of what is being done about a range.
    pub(super) fn note(&self, range_id: u64, at: Timestamp, decision: Decision) {
        let mut state = self.state.lock();
        *state.actions.entry(decision.action.word()).or_default() += 1;
        let past = state.past.entry(range_id).or_default();
        if past.len() == PAST_MAX {
            past.pop_front();
        }
        past.push_back(PastDecision { at, decision });
    }

    /// How many actions of each kind this node has begun.
    pub(super) fn actions(&self) -> BTreeMap<&'static str, u64> {
        self.state.lock().actions.clone()
    }

    /// What was done about a range lately, oldest first.
    pub(super) fn past(&self, range_id: u64) -> Vec<PastDecision> {
        self.state.lock().past.get(&range_id).map(|past| past.iter().cloned().collect()).unwrap_or_default()
    }

    /// Lets somebody look at what is remembered of learners.
    pub(super) fn with_learners<T>(&self, look: impl FnOnce(&mut Learners) -> T) -> T {
        look(&mut self.state.lock().learners)
    }

    fn begin(&self, range_id: u64) -> bool {
        self.state.lock().tended.insert(range_id)
    }

    /// A task is done with a range.
    pub(super) fn end(&self, range_id: u64) {
        self.state.lock().tended.remove(&range_id);
    }

    /// Whether it is time for a replica that no quorum follows to ask after its membership: soon after its start, then
    /// ever more rarely. A replica cannot tell a leader that fell silent from one that has nothing to say to it.
    fn take_asking(&self, range_id: u64, now: Timestamp, patience: Duration) -> bool {
        let mut state = self.state.lock();
        let (at, wait) = state.asks.entry(range_id).or_insert((now.plus(patience), patience));
        let is_due = *at <= now;
        if is_due {
            *wait = (*wait * 2).min(patience * ASK_RARELY);
            *at = now.plus(*wait);
        }
        is_due
    }
}

impl Shared {
    /// This node's idea of now, without moving the clock.
    pub(super) fn wall_now(&self) -> Timestamp {
        Timestamp::new(self.hlc.interval().latest_ns, 0)
    }

    /// Where this node may still move something in this period; nowhere before what the last period's moves did shows in what nodes say
    /// of themselves.
    pub(super) fn openings(&self, cluster: &ClusterView) -> Arc<Openings> {
        self.with_shares(cluster, |shares| Arc::new(shares.openings())).unwrap_or_default()
    }

    /// Takes a move out of this node's share; `false` when another range took the last one.
    pub(super) fn take_move(&self, cluster: &ClusterView, action: &Action) -> bool {
        let take = |shares: &mut Shares| match action {
            Action::Move { node, .. } => shares.take_copy(*node),
            Action::TransferLease { node, follows: false } => shares.take_lease(*node),
            _ => true,
        };
        self.with_shares(cluster, take).unwrap_or(false)
    }

    fn with_shares<T>(&self, cluster: &ClusterView, look: impl FnOnce(&mut Shares) -> T) -> Option<T> {
        let now_ns = self.wall_now().wall_ns;
        let period = now_ns / PERIOD_NS;
        let settled_ns = 2_000_000 * self.settings.liveness_interval_ms;
        if now_ns % PERIOD_NS < settled_ns.min(PERIOD_NS / 2) {
            return None;
        }
        let mut state = self.keeper.state.lock();
        if state.shares.0 != period {
            state.shares = (period, Shares::of(cluster, self.identity.node_id, period));
        }
        Some(look(&mut state.shares.1))
    }

    fn look_at_all(self: &Arc<Self>) {
        let cluster = self.registry.view();
        let openings = self.openings(&cluster);
        let now = self.wall_now();
        let forgotten = Timestamp::new(now.wall_ns.saturating_sub(READS_KEPT_NS), 0);
        let held = self.store.all();
        let is_held = |range: u64| held.binary_search_by_key(&range, |(id, _)| *id).is_ok();
        self.keeper.state.lock().keep_only(is_held);
        for (range_id, held) in held {
            held.replica.forget_reads_before(forgotten);
            held.replica.measure_load(now);
            if held.group.leader_term().is_none() {
                self.keeper.with_learners(|learners| learners.forget(range_id));
            } else if tend::has_something_to_do(self, &held, &cluster, &openings) && self.keeper.begin(range_id) {
                let shared = self.clone();
                self.tasks.spawn("tend", async move {
                    tend::tend(&shared, range_id, &held).await;
                    shared.keeper.end(range_id);
                });
            }
            self.look_after_membership(range_id, now);
        }
    }

    fn look_after_membership(self: &Arc<Self>, range_id: u64, now: Timestamp) {
        let Some(held) = self.store.held(range_id) else { return };
        let patience = Duration::from_millis(self.settings.replica_silent_after_ms);
        // One that leads in its own eyes only was perhaps removed by what it could not see committed.
        let leads = held.group.leader_term().is_some() && held.group.heard_quorum_within(patience);
        if !leads && self.keeper.take_asking(range_id, now, patience) {
            let shared = self.clone();
            self.tasks.spawn("membership", async move { shared.ask_membership(&held).await });
        }
    }

    /// A replica that hears nobody, or leads nobody, may have been removed without being told: the directory knows, and of the
    /// directory's own range the other nodes.
    async fn ask_membership(&self, held: &Held) {
        let own = held.replica.descriptor();
        let timeout_ms = self.settings.liveness_interval_ms;
        if own.range_id == directory::FIRST_RANGE_ID {
            // Not what this node knows: as long as the leaseholder that it knows answers, that may be as old as its replica.
            if let Some(first) = self.router.first_range_anew(Duration::from_millis(timeout_ms)).await {
                self.store.told_of_removal(&first);
            }
            return;
        }
        if own.replicas.is_empty() {
            // It was to be sent its data, and does not know where in the directory it stands.
            if let Ok(Some(entry)) = directory::find(&*self.router, own.range_id, timeout_ms).await {
                self.store.told_of_removal(&entry);
            }
            return;
        }
        let start = keys::meta_scan_start(&own.start);
        if let Ok(entries) = directory::lookup(&*self.router, start, timeout_ms).await {
            for entry in entries.iter().filter(|entry| entry.range_id == own.range_id) {
                if entry.generation > own.generation {
                    self.store.told_of_removal(entry);
                }
            }
        }
    }
}

/// The loop: at each event, and at each tick.
pub(super) async fn run(shared: Arc<Shared>) {
    let tick = Duration::from_millis(shared.settings.placement_interval_ms);
    loop {
        shared.look_at_all();
        // A tick is as good as an event.
        let _ = tokio::time::timeout(tick, shared.store.changed.notified()).await;
    }
}
