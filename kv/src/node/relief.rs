//! A node whose disk is full, or that drains, leaves what it leads to nodes that have room.
//!
//! ```text
//!   below the floor            ─▶ leases are handed over, and leadership with them: the new holders take writes
//!   no room for any write      ─▶ a lease handed over would not apply here: leadership alone, and whoever gets it waits until the
//!                                 lease has run out
//!   every other voter is full, or is to go  ─▶ nothing: reads go on here
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use raft_groups::ReplicaId;

use super::Shared;
use crate::api::{RequestKind, TransferLease};
use crate::placement::NodeHealth;
use crate::store::Held;

/// How long handing over one range may take before the next look.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(1);

/// A voter that was not heard of for longer gets nothing.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

impl Shared {
    /// Hands over every range led here that a node with room has a voter of.
    pub(super) async fn leave_to_others(&self) {
        let own = self.identity.node_id;
        let has_room = |node: &crate::placement::NodeView| {
            node.node_id != own && node.health == NodeHealth::Live && !node.disk_full && !node.is_leaving
        };
        let roomy: BTreeSet<u64> =
            self.registry.view().nodes().iter().filter(|node| has_room(node)).map(|node| node.node_id).collect();
        let led = self.store.all().into_iter().filter(|(_, held)| held.group.leader_term().is_some());
        let heirs = led.filter_map(|(_, held)| heir(&held, &roomy).map(|heir| (held, heir)));
        let leaving = heirs.map(|(held, (replica, node))| async move {
            let handed_over = tokio::time::timeout(HAND_OVER_TIMEOUT, self.hand_over(&held, replica, node)).await;
            if let Ok(Err(reason)) = handed_over {
                tracing::debug!(range = held.replica.range_id(), reason, "a range was not handed over");
            }
        });
        futures::future::join_all(leaving).await;
    }

    async fn hand_over(&self, held: &Held, replica: ReplicaId, node: u64) -> Result<(), String> {
        if !self.store.disk().has_room() {
            return held.group.transfer_leadership(replica).await.map_err(|error| error.to_string());
        }
        let transfer = TransferLease { key: held.replica.descriptor().start, target_node: node };
        self.send_one(RequestKind::TransferLease(transfer)).await.map(drop).map_err(|error| error.to_string())
    }
}

/// Of the voters on these nodes the one whose log goes furthest.
fn heir(held: &Held, nodes: &BTreeSet<u64>) -> Option<(ReplicaId, u64)> {
    let status = held.group.status();
    let candidates = status.voters.iter().filter(|(_, node)| nodes.contains(&node.0)).filter_map(|(replica, node)| {
        let peer = status.peers.get(replica)?;
        peer.heard_ago.filter(|ago| *ago <= HEARD_WITHIN)?;
        Some((peer.matched, *replica, node.0))
    });
    candidates.max().map(|(_, replica, node)| (replica, node))
}
