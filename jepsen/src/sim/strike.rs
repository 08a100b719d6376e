//! What hits a node at an exact step of it, not at a time.
//!
//! ```text
//!   call     the n-th write or sync of its engine    ─▶ it fails, and poisons the engine · the process dies before it is done, or
//!                                                       after · the process stands still right after
//!   poll     the n-th poll of the node's tasks       ─▶ the process dies
//! ```
//!
//! Virtual time stands still while a node works, so that a time cannot be put between two pieces of a long local step, such as an
//! installed snapshot, a removal or the founding of the cluster; a count can. One that is armed while the node does not run, or for
//! several lives, counts from the start of each.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use clock::Gate;
use kv::engine::{CallFate, EngineCall, MemoryEngine};
use parking_lot::Mutex;

use super::cluster::{Death, SimCluster, Standing};

/// How soon a process that died of a strike which hits again is started again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Blow {
    /// A call of the engine fails, and none of its later writes succeeds.
    Fails {
        /// Why.
        error: ErrorKind,
        /// Whether a batch that was refused is found all the same when the store is opened anew.
        survives: bool,
    },
    /// The process ends before a call of the engine is done.
    DiesBefore(Death),
    /// The process ends after a call of the engine is done.
    DiesAfter(Death),
    /// The process stands still for so long after a call of the engine is done.
    Stalls(Duration),
    /// The process ends between two polls of its tasks.
    DiesBetweenPolls(Death),
}

/// What hits a node, at which step, and how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strike {
    /// Calls, or polls, that are let pass first.
    pub after: u64,
    /// What happens then.
    pub blow: Blow,
    /// In how many lives of the node.
    pub lives: u32,
}

impl Blow {
    /// The call it hits is done by then.
    fn is_after(self) -> bool {
        matches!(self, Blow::DiesAfter(_) | Blow::Stalls(_))
    }
}

impl SimCluster {
    /// Arms a life of a node: its engine's calls, or its tasks' polls, are counted from now on.
    pub(super) fn arm(&self, index: usize, life: u64, engine: &MemoryEngine, gate: &Gate, strike: Strike) {
        if let Blow::DiesBetweenPolls(death) = strike.blow {
            gate.end_after(Some(strike.after));
            let (cluster, gate) = (self.clone(), gate.clone());
            self.spawn("strike", async move {
                gate.ended().await;
                // Whatever else ended it has put it down before.
                if cluster.life(index).0 == life && cluster.standing(index) != Standing::Down {
                    cluster.watch().note(&format!("node {} dies after {} polls", index + 1, strike.after));
                    cluster.landed(index, life, death);
                }
            });
            return;
        }
        // The engine belongs to the cluster, so it must not keep it.
        let (cluster, left) = (self.downgrade(), Mutex::new(Some(strike.after)));
        engine.interfere(Some(Arc::new(move |call: EngineCall| {
            if call.is_done != strike.blow.is_after() {
                return CallFate::Succeeds;
            }
            let is_hit = {
                let mut left = left.lock();
                let is_hit = *left == Some(0);
                *left = if is_hit { None } else { left.map(|left| left - 1) };
                is_hit
            };
            match cluster.upgrade() {
                Some(cluster) if is_hit => cluster.hit(index, life, strike.blow, call),
                _ => CallFate::Succeeds,
            }
        })));
    }

    /// A call of the engine is hit.
    fn hit(&self, index: usize, life: u64, blow: Blow, call: EngineCall) -> CallFate {
        let what = if call.is_sync { "sync" } else { "write" };
        self.watch().note(&format!("node {}: a {what} of its engine is hit: {blow:?}", index + 1));
        match blow {
            Blow::Fails { error, survives } => {
                self.use_up_strike(index);
                return CallFate::Fails { error, survives };
            }
            Blow::DiesBefore(death) | Blow::DiesAfter(death) => self.landed(index, life, death),
            Blow::Stalls(time) => {
                self.use_up_strike(index);
                self.pause(index);
                let cluster = self.clone();
                self.spawn("stall", async move {
                    tokio::time::sleep(time).await;
                    cluster.resume(index);
                });
            }
            Blow::DiesBetweenPolls(_) => {}
        }
        CallFate::Succeeds
    }

    /// The process ends by a strike; if that hits again, it is started again at once.
    fn landed(&self, index: usize, life: u64, death: Death) {
        self.die(index, Some(life), death);
        if self.use_up_strike(index) {
            let cluster = self.clone();
            self.spawn("restart", async move {
                tokio::time::sleep(AGAIN_AFTER).await;
                let _ = cluster.start_node(index).await;
            });
        }
    }
}
