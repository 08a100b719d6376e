//! What is wrong with the links between the nodes of a cluster, and how they are told.
//!
//! A cut is made by what the cluster stands on where that can, and by the nodes' own fault hook otherwise; a delay is always
//! the hook's. A process that was started anew knows of no faults, so what is wrong is kept here, too.

use std::time::Duration;

use anyhow::Result;

use super::Cluster;
use super::ground::Ground;

/// A link, in one direction.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    cut: bool,
    /// Beyond what the distance of the regions takes.
    delay: Duration,
}

/// All links of a cluster.
#[derive(Debug)]
pub(super) struct Links {
    ground: Ground,
    /// By sender, then by receiver.
    faults: Vec<Vec<Link>>,
}

impl Links {
    pub fn new(ground: Ground, nodes: usize) -> Links {
        Links { ground, faults: vec![vec![Link::default(); nodes]; nodes] }
    }
}

impl Cluster {
    /// How links are cut here, in words.
    pub fn cutter(&self) -> &'static str {
        self.links.ground.cutter()
    }

    /// Cuts or heals one direction of a link. Does nothing when it is so already.
    ///
    /// # Errors
    /// When whoever cuts links here refuses.
    pub async fn set_cut(&mut self, from: usize, to: usize, cut: bool) -> Result<()> {
        if from == to || self.links.faults[from][to].cut == cut {
            return Ok(());
        }
        self.links.faults[from][to].cut = cut;
        if self.links.ground.cuts_links() {
            self.links.ground.set_cut(from, to, cut).await
        } else {
            self.set_hook(from, to).await
        }
    }

    /// Delays one direction of a link, beyond the distance of its regions.
    ///
    /// # Errors
    /// When the node does not take the order.
    pub async fn set_delay(&mut self, from: usize, to: usize, delay: Duration) -> Result<()> {
        self.links.faults[from][to].delay = delay;
        self.set_hook(from, to).await
    }

    /// Tells a node all that is wrong with its links.
    pub(super) async fn set_hooks(&self, from: usize) -> Result<()> {
        for to in 0..self.len() {
            self.set_hook(from, to).await?;
        }
        Ok(())
    }

    async fn set_hook(&self, from: usize, to: usize) -> Result<()> {
        let fault = self.links.faults[from][to];
        let apart = self.nodes[from].region() != self.nodes[to].region();
        let distance = if apart { self.config.latency / 2 } else { Duration::ZERO };
        let cut = fault.cut && !self.links.ground.cuts_links();
        let nothing_to_say = !self.config.fault_hooks && !cut && (distance + fault.delay).is_zero();
        if from == to || nothing_to_say {
            return Ok(());
        }
        self.nodes[from].set_link(self.node_ids[to], distance + fault.delay, cut).await
    }
}
