//! A node whose clock must not be relied on stops serving before it exits (`clock_fencing`), and waits when it comes back.
//!
//! ```text
//!   the source's own word (the kernel, say) ─┐
//!   readings of the peers' clocks ───────────┴▶ a fault ─▶ clock fenced, leases dropped ─▶ told: the process ends
//!
//!   next life ─▶ waits, twice as long each time ─▶ compares clocks ─┬▶ they agree: it starts
//!                        └────────────── they do not: it says so ◀──┘
//! ```
//!
//! Leases are dropped, not handed over: a transfer would take its start from the very clock that is wrong. With the clock
//! fenced no message leaves the node any more, so that the others elect leaders among themselves, and wait the leases out by
//! their own clocks.
//!
//! Were a node to serve again at once, with a clock that is as wrong as before, it would take leases, be fenced a moment later, and
//! so on: each time the others wait. Hence it compares clocks first, before it answers anybody.

use std::sync::Arc;
use std::time::Duration;

use clock::{ClockFault, Comparison, Disagreement, Hlc, Interval, PeerClocks};
use prost::Message;
use raft_groups::{Class, NetworkError, NodeId, Transport};

use super::message::{ClockReading, NodeAnswer, NodeAnswerKind, NodeRequest, NodeRequestKind, Ping};
use super::{NodeConfig, NodeError, Shared};
use crate::engine::{EngineError, WriteBatch};
use crate::liveness::Registry;
use crate::store::Fencings;

/// How often the source is asked for its own word.
const SOURCE_INTERVAL: Duration = Duration::from_millis(50);

/// The peers' clocks are read once in so many rounds.
const ROUNDS_A_READING: u32 = 10;

/// How long a peer may take to answer: it is only said to be silent then.
const READING_TIMEOUT: Duration = Duration::from_millis(400);

/// How long a node whose clock was fenced waits before it compares clocks again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// So often clocks are compared then: more often than it takes to find that they disagree.
const COMPARISONS: u32 = 4;

/// A clock that was not fenced for so long has been mended.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The loop that watches the clock, until it has to be fenced.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut clocks = PeerClocks::default();
    let mut round = 0_u32;
    loop {
        let mut fault = shared.hlc.fault();
        round = round.wrapping_add(1);
        if fault.is_none() && round.is_multiple_of(ROUNDS_A_READING) {
            fault = shared.readings().compare(&mut clocks).await;
        }
        if let Some(fault) = fault {
            return shared.fence(fault);
        }
        tokio::time::sleep(SOURCE_INTERVAL).await;
    }
}

/// How long to wait after so many fencings in a row.
fn pause_after(in_a_row: u32) -> Duration {
    let doubled = 1_u32.checked_shl(in_a_row.saturating_sub(1)).unwrap_or(u32::MAX);
    PAUSE.0.saturating_mul(doubled).min(PAUSE.1)
}

/// Before a node starts whose clock was fenced in its former life: waits, and goes on once clocks agree.
pub(super) async fn until_clocks_agree(config: &NodeConfig, registry: &Registry, own: u64) -> Result<(), NodeError> {
    let mut fencings = Fencings::load(&*config.engine.snapshot())?;
    let readings = Readings { own, hlc: &config.hlc, transport: &*config.transport, registry };
    while fencings.in_a_row > 0 {
        let (now_ns, pause) = (config.hlc.interval().latest_ns, pause_after(fencings.in_a_row));
        if now_ns.abs_diff(fencings.last_ns) > u64::try_from(FORGOTTEN_AFTER.as_nanos()).unwrap_or(u64::MAX) {
            return Ok(());
        }
        tracing::warn!(
            ?pause,
            in_a_row = fencings.in_a_row,
            "this node's clock was fenced: it waits, and compares clocks, before it serves"
        );
        config.waiting.tell(|| {
            format!(
                "its clock was fenced {} times in a row: it compares clocks in {pause:?}, and serves once they agree",
                fencings.in_a_row
            )
        });
        tokio::time::sleep(pause).await;
        let mut clocks = PeerClocks::default();
        let mut fault = None;
        for _ in 0..COMPARISONS {
            fault = config.hlc.fault().or(readings.compare(&mut clocks).await).or(fault);
            tokio::time::sleep(ROUNDS_A_READING * SOURCE_INTERVAL).await;
        }
        let Some(fault) = fault else { break };
        tracing::error!(%fault, "clock_fencing: this node's clock is still wrong: it does not serve");
        config.waiting.tell(|| format!("its clock must not be relied on: {fault}"));
        fencings = count_fencing(&config.hlc, &*config.engine)?;
    }
    config.waiting.end();
    Ok(())
}

/// One more; the first of a row, if the last one is long ago.
fn count_fencing(hlc: &Hlc, engine: &dyn crate::engine::Engine) -> Result<Fencings, EngineError> {
    let last_ns = hlc.interval().latest_ns;
    let former = Fencings::load(&*engine.snapshot())?;
    let is_long_ago = last_ns.abs_diff(former.last_ns) > u64::try_from(FORGOTTEN_AFTER.as_nanos()).unwrap_or(u64::MAX);
    let in_a_row = if is_long_ago { 1 } else { former.in_a_row.saturating_add(1) };
    let fencings = Fencings { in_a_row, last_ns };
    let mut batch = WriteBatch::new();
    fencings.save(&mut batch);
    engine.write(batch)?;
    Ok(fencings)
}

impl Shared {
    /// Drops all leases, and sees to it that no timestamp is served or sent any more.
    fn fence(&self, fault: ClockFault) {
        tracing::error!(%fault, "clock_fencing: this node drops its leases and stops serving");
        // In this order: a fenced clock lets nobody acquire another one.
        self.hlc.fence(fault.clone());
        for (_, held) in self.store.all() {
            held.replica.drop_lease();
        }
        if let Err(error) = count_fencing(&self.hlc, &**self.store.engine()) {
            tracing::warn!(%error, "that the clock was fenced is not kept");
        }
        tracing::trace!(target: "audit", event = "fenced", node = self.identity.node_id);
        self.fenced.send_replace(Some(fault));
    }

    fn readings(&self) -> Readings<'_> {
        let (hlc, transport, registry) = (&self.hlc, &*self.transport, &*self.registry);
        Readings { own: self.identity.node_id, hlc, transport, registry }
    }
}

/// Whose clocks are compared, and how they are read.
struct Readings<'a> {
    own: u64,
    hlc: &'a Hlc,
    transport: &'a dyn Transport,
    registry: &'a Registry,
}

impl Readings<'_> {
    /// Reads the clocks of some others, or of all, once.
    async fn compare(&self, clocks: &mut PeerClocks) -> Option<ClockFault> {
        // Whoever is known: which of them live, a wrong clock cannot tell.
        let peers: Vec<u64> = self.registry.nodes().into_iter().filter(|node| *node != self.own).collect();
        let asked = clocks.next_asked(&peers);
        let comparisons = futures::future::join_all(asked.iter().map(|peer| self.compare_with(*peer))).await;
        for (peer, (comparison, skew)) in asked.iter().zip(comparisons) {
            clocks.note(*peer, comparison, skew);
        }
        clocks.verdict(&peers)
    }

    async fn compare_with(&self, peer: u64) -> (Comparison, Option<Disagreement>) {
        let question = NodeRequest::encode_kind(NodeRequestKind::ReadClock(Ping {}));
        let asked = self.hlc.interval();
        let answer = self.transport.call(NodeId(peer), Class::Kv, question, READING_TIMEOUT).await;
        let answered = self.hlc.interval();
        let bound_ns = u64::try_from(self.hlc.max_clock_error().as_nanos()).unwrap_or(u64::MAX);
        let compared = match answer.map(NodeAnswer::decode) {
            Ok(Ok(NodeAnswer { kind: Some(NodeAnswerKind::Clock(ClockReading { earliest_ns, latest_ns })) })) => {
                let theirs = Interval { earliest_ns, latest_ns };
                let comparison = Comparison::of(asked, theirs, answered);
                let skew_ns = Ok(Comparison::skew_ns(asked, theirs, answered));
                let disagreement = Disagreement { peer, skew_ns, bound_ns };
                (comparison, (comparison == Comparison::Disagree).then_some(disagreement))
            }
            // Its timestamps, or ours, come from further ahead than a clock within its bound could make them.
            Err(NetworkError::Clock { reason, .. }) => {
                (Comparison::Disagree, Some(Disagreement { peer, skew_ns: Err(reason), bound_ns }))
            }
            _ => (Comparison::Unknown, None),
        };
        if let (_, Some(disagreement)) = &compared {
            tracing::warn!(%disagreement, "this node's clock and another one cannot both be right");
        }
        compared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fencing_in_a_row_doubles_the_pause_up_to_a_bound() {
        let pauses_s = [1, 2, 3, 6, 7, 8, 40, u32::MAX].map(|in_a_row| pause_after(in_a_row).as_secs());
        assert_eq!(pauses_s, [1, 2, 4, 32, 60, 60, 60, 60]);
    }
}
