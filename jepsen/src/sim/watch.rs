//! Who looks on while a cluster runs: folds what happens into the trace, writes the timeline, and checks the invariants.
//!
//! ```text
//!   network ─ every message ──┐
//!   clients ─ every answer ───┼─▶ Watch ─▶ trace hash · timeline · invariants ─▶ the first violation ends the run
//!   nodes ─ audit events ─────┤
//!   stores ─ looked at, now and then
//! ```
//!
//! The watch changes nothing: a run with and without a timeline is the same run.

use std::sync::Arc;
use std::time::Duration;

use clock::{SimulatedTime, Timestamp};
use parking_lot::Mutex;
use raft_groups::{Class, NodeId, Passage, SimNetwork, Stage, describe_message};
use tokio::sync::Notify;

use super::audit::Audited;
use super::cluster::{START_NS, SimCluster, SimSettings};
use super::invariants::{self, Invariant, Sample};
use super::trace::Trace;

/// How often the stores are looked at, in virtual time.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name.
    pub invariant: String,
    /// What shows that it is broken.
    pub witness: String,
    /// Virtual time since the start.
    pub at: Duration,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} broken at {:.3} s: {}", self.invariant, self.at.as_secs_f64(), self.witness)
    }
}

/// Takes the lines of a timeline.
pub type Timeline = Box<dyn FnMut(&str) + Send>;

/// See the module. Clones are the same watch.
#[derive(Clone)]
pub struct Watch(Arc<Inner>);

struct Inner {
    trace: Trace,
    broken: Notify,
    state: Mutex<State>,
    timeline: Option<Mutex<Timeline>>,
}

struct State {
    time: Option<SimulatedTime>,
    violations: Vec<Violation>,
    invariants: Vec<Box<dyn Invariant>>,
}

impl Watch {
    /// A watch over one run.
    pub fn new(timeline: Option<Timeline>) -> Watch {
        let state = State { time: None, violations: Vec::new(), invariants: Vec::new() };
        let inner = Inner {
            trace: Trace::default(),
            broken: Notify::new(),
            state: Mutex::new(state),
            timeline: timeline.map(Mutex::new),
        };
        Watch(Arc::new(inner))
    }

    /// The trace so far.
    pub fn trace(&self) -> &Trace {
        &self.0.trace
    }

    /// What was found broken so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.0.state.lock().violations.clone()
    }

    /// Returns once something is found broken.
    pub async fn broken(&self) {
        loop {
            let notified = self.0.broken.notified();
            if !self.0.state.lock().violations.is_empty() {
                return;
            }
            notified.await;
        }
    }

    /// Something is broken.
    pub fn report(&self, invariant: &str, witness: &str) {
        let at = self.elapsed();
        self.note(&format!("{invariant} BROKEN: {witness}"));
        let violation = Violation { invariant: invariant.to_owned(), witness: witness.to_owned(), at };
        self.0.state.lock().violations.push(violation);
        self.0.broken.notify_waiters();
    }

    /// The same from within a panic, which may have begun anywhere.
    pub(super) fn report_later(&self, invariant: &str, witness: &str) {
        let Some(mut state) = self.0.state.try_lock() else { return };
        let at = state.time.as_ref().map_or(Duration::ZERO, |time| Duration::from_nanos(time.true_ns() - START_NS));
        state.violations.push(Violation { invariant: invariant.to_owned(), witness: witness.to_owned(), at });
        drop(state);
        self.0.broken.notify_waiters();
    }

    /// A node begins a new life.
    pub(super) fn begins_anew(&self, node: NodeId) {
        self.check(|invariant| {
            invariant.begins_anew(node);
            Ok(())
        });
    }

    /// A node has started, and its clock reads this.
    pub(super) fn started(&self, node: NodeId, now: Timestamp) {
        self.check(|invariant| invariant.started(node, now));
    }

    /// A node's clock is wrong from now on.
    pub(super) fn clock_went_wrong(&self, node: NodeId) {
        self.check(|invariant| {
            invariant.clock_went_wrong(node);
            Ok(())
        });
    }

    /// The run is over, all is healed and applied.
    pub fn look_back(&self, cluster: &SimCluster) {
        let sample = Sample::take(cluster);
        self.check(|invariant| invariant.end(&sample));
    }

    /// Something worth a line of the timeline.
    pub fn note(&self, what: &str) {
        self.0.trace.record(what.as_bytes());
        self.write(|| format!("           *** {what}"));
    }

    /// A client had an answer.
    pub fn answered(&self, node: usize, what: impl Fn() -> String) {
        let what = what();
        self.0.trace.record(&self.now_ns().to_le_bytes());
        self.0.trace.record(what.as_bytes());
        self.write(|| format!("client → n{}       {what}", node + 1));
    }

    fn write(&self, line: impl Fn() -> String) {
        if let Some(timeline) = &self.0.timeline {
            let line = format!("{:>12.6} {}", self.elapsed().as_secs_f64(), line());
            (timeline.lock())(&line);
        }
    }

    fn now_ns(&self) -> u64 {
        self.0.state.lock().time.as_ref().map_or(START_NS, SimulatedTime::true_ns)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now_ns() - START_NS)
    }

    /// The run begins.
    pub(super) fn begin(&self, time: &SimulatedTime, network: &SimNetwork, settings: &SimSettings) {
        {
            let mut state = self.0.state.lock();
            state.time = Some(time.clone());
            let retention = Duration::from_millis(settings.kv.record_retention_ms);
            state.invariants = invariants::all(settings.clock_error, retention);
        }
        let watch = self.clone();
        network.observe(Arc::new(move |passage| watch.passage(passage)));
    }

    /// Looks at the stores of the cluster from now on.
    pub(super) fn attend(&self, cluster: &SimCluster) {
        let (watch, looked_at) = (self.clone(), cluster.clone());
        let looking = async move {
            loop {
                tokio::time::sleep(SAMPLE_INTERVAL).await;
                watch.look_at(&looked_at);
            }
        };
        cluster.spawn("watch", looking);
    }

    /// Looks at the stores now.
    pub fn look_at(&self, cluster: &SimCluster) {
        let sample = Sample::take(cluster);
        self.check(|invariant| invariant.sample(&sample));
    }

    fn check(&self, mut check: impl FnMut(&mut dyn Invariant) -> Result<(), String>) {
        let mut found = Vec::new();
        {
            let mut state = self.0.state.lock();
            for invariant in &mut state.invariants {
                if let Err(witness) = check(&mut **invariant) {
                    found.push((invariant.name(), witness));
                }
            }
        }
        for (name, witness) in found {
            self.report(name, &witness);
        }
    }

    fn passage(&self, passage: &Passage<'_>) {
        let now_ns = self.now_ns();
        let trace = &self.0.trace;
        trace.number(now_ns);
        trace.number(passage.stage as u64 | (passage.class as u64) << 8 | u64::from(passage.is_answer) << 16);
        trace.number(passage.from.0 << 32 | passage.to.0);
        trace.number(passage.timestamp.wall_ns);
        trace.record(passage.body);
        if passage.stage == Stage::Sent {
            self.check(|invariant| invariant.sent(passage, now_ns));
            return;
        }
        self.write(|| {
            let arrow = if passage.stage == Stage::Lost { "-x " } else { "→ " };
            let what = match passage.class {
                Class::Kv => kv::node::message::describe(passage.body, passage.is_answer),
                class => describe_message(passage.body, passage.is_answer, class == Class::Bulk),
            };
            let (mark, exchange) = (if passage.is_answer { "<" } else { ">" }, passage.exchange);
            format!("n{} {arrow}n{}  {mark}{exchange:<6} {what}", passage.from.0, passage.to.0)
        });
    }

    /// A node told what it did.
    pub(super) fn audited(&self, audited: &Audited) {
        let now_ns = self.now_ns();
        self.check(|invariant| invariant.audited(audited, now_ns));
    }
}
