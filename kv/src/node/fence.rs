//! A node whose clock must not be relied on stops serving before it exits (`clock_fencing`).
//!
//! ```text
//!   the source's own word (the kernel, say) ─┐
//!   readings of the peers' clocks ───────────┴▶ a fault ─▶ clock fenced, leases dropped ─▶ told: the process ends
//! ```
//!
//! Leases are dropped, not handed over: a transfer would take its start from the very clock that is wrong. With the clock
//! fenced no message leaves the node any more, so that the others elect leaders among themselves, and wait the leases out by
//! their own clocks.

use std::sync::Arc;
use std::time::Duration;

use clock::{ClockFault, Comparison, Interval, PeerClocks};
use prost::Message;
use raft_groups::{Class, NetworkError, NodeId};

use super::Shared;
use super::message::{ClockReading, NodeAnswer, NodeAnswerKind, NodeRequest, NodeRequestKind, Ping};

/// How often the source is asked for its own word.
const SOURCE_INTERVAL: Duration = Duration::from_millis(50);

/// The peers' clocks are read once in so many rounds.
const ROUNDS_A_READING: u32 = 10;

/// How long a peer may take to answer: it is only said to be silent then.
const READING_TIMEOUT: Duration = Duration::from_millis(400);

/// The loop that watches the clock, until it has to be fenced.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut clocks = PeerClocks::default();
    let mut round = 0_u32;
    loop {
        let mut fault = shared.hlc.fault();
        round = round.wrapping_add(1);
        if fault.is_none() && round.is_multiple_of(ROUNDS_A_READING) {
            fault = shared.compare_clocks(&mut clocks).await;
        }
        if let Some(fault) = fault {
            return shared.fence(fault);
        }
        tokio::time::sleep(SOURCE_INTERVAL).await;
    }
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
        tracing::trace!(target: "audit", event = "fenced", node = self.identity.node_id);
        self.fenced.send_replace(Some(fault));
    }

    /// Reads the clocks of some others, or of all, once.
    async fn compare_clocks(&self, clocks: &mut PeerClocks) -> Option<ClockFault> {
        let own = self.identity.node_id;
        // Whoever is known: which of them live, a wrong clock cannot tell.
        let peers: Vec<u64> = self.registry.nodes().into_iter().filter(|node| *node != own).collect();
        let asked = clocks.next_asked(&peers);
        let comparisons = futures::future::join_all(asked.iter().map(|peer| self.compare_clock(*peer))).await;
        for (peer, comparison) in asked.iter().zip(comparisons) {
            clocks.note(*peer, comparison);
        }
        clocks.verdict(&peers)
    }

    async fn compare_clock(&self, peer: u64) -> Comparison {
        let question = NodeRequest::encode_kind(NodeRequestKind::ReadClock(Ping {}));
        let asked = self.hlc.interval();
        let answer = self.transport.call(NodeId(peer), Class::Kv, question, READING_TIMEOUT).await;
        let answered = self.hlc.interval();
        match answer.map(NodeAnswer::decode) {
            Ok(Ok(NodeAnswer { kind: Some(NodeAnswerKind::Clock(ClockReading { earliest_ns, latest_ns })) })) => {
                let theirs = Interval { earliest_ns, latest_ns };
                let comparison = Comparison::of(asked, theirs, answered);
                if comparison == Comparison::Disagree {
                    let beyond_ms = Comparison::apart(asked, theirs, answered).as_millis() as u64;
                    let bound_ms = self.hlc.max_clock_error().as_millis() as u64;
                    tracing::warn!(peer, beyond_ms, bound_ms, "its clock and this node's cannot both be right");
                }
                comparison
            }
            // Its timestamps, or ours, come from further ahead than a clock within its bound could make them.
            Err(NetworkError::Clock { reason, .. }) => {
                tracing::warn!(peer, reason, "its clock and this node's cannot both be right");
                Comparison::Disagree
            }
            _ => Comparison::Unknown,
        }
    }
}
