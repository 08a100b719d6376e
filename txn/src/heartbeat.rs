//! Keeps the records of this gateway's transactions alive: one task for all of them.
//!
//! A transaction registers when it first holds something (a lock, an intent), and its record is written, or kept alive, once an
//! interval from then on. Short transactions are over before their first heartbeat and never have a record for its sake.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use clock::{Hlc, Tasks};
use futures::future::join_all;
use kv::api::{BatchHeader, BatchRequest, HeartbeatTxn, RequestKind, ResponseKind, Sender, TxnId, TxnStatus};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Transaction;

/// The transactions that hold something.
pub(crate) struct Heartbeats {
    live: Mutex<BTreeMap<TxnId, Beating>>,
    first_registered: Notify,
}

struct Beating {
    transaction: Weak<Transaction>,
    /// By the gateway's clock.
    last_ns: u64,
}

impl Heartbeats {
    /// Starts the task. It ends when the last reference to the registry goes.
    pub fn start(sender: Arc<dyn Sender>, hlc: Arc<Hlc>, tasks: &Tasks, interval: Duration) -> Arc<Self> {
        let heartbeats = Arc::new(Heartbeats { live: Mutex::default(), first_registered: Notify::new() });
        let registry = Arc::downgrade(&heartbeats);
        tasks.spawn("transaction heartbeats", async move {
            loop {
                if !wait_for_work(&registry, interval / 2).await {
                    return;
                }
                let Some(heartbeats) = registry.upgrade() else { return };
                heartbeats.beat(&sender, &hlc, interval).await;
            }
        });
        heartbeats
    }

    /// From an interval from now on, keeps the transaction's record alive until [`Heartbeats::remove`], or until it is dropped.
    pub fn register(&self, id: TxnId, transaction: Weak<Transaction>, now_ns: u64) {
        let mut live = self.live.lock();
        live.entry(id).or_insert(Beating { transaction, last_ns: now_ns });
        if live.len() == 1 {
            self.first_registered.notify_one();
        }
    }

    pub fn remove(&self, id: TxnId) {
        self.live.lock().remove(&id);
    }

    /// Sends the heartbeats that are due.
    pub async fn beat(&self, sender: &Arc<dyn Sender>, hlc: &Arc<Hlc>, interval: Duration) {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let now_ns = hlc.interval().latest_ns;
        let due: Vec<Arc<Transaction>> = {
            let mut live = self.live.lock();
            live.retain(|_, beating| beating.transaction.strong_count() > 0);
            let due = live.values_mut().filter(|beating| now_ns.saturating_sub(beating.last_ns) >= interval_ns);
            due.filter_map(|beating| {
                beating.last_ns = now_ns;
                beating.transaction.upgrade()
            })
            .collect()
        };
        let beats = join_all(due.iter().map(|transaction| beat_once(transaction, sender, hlc)));
        // One range without a quorum must not keep the others' records from being kept alive.
        let _ = tokio::time::timeout(interval, beats).await;
    }
}

/// Waits a tick, or until something is registered. False when the registry is gone.
async fn wait_for_work(registry: &Weak<Heartbeats>, tick: Duration) -> bool {
    let idle = match registry.upgrade() {
        Some(heartbeats) => heartbeats.live.lock().is_empty(),
        None => return false,
    };
    if idle {
        // Weak, and looked at anew each minute, so that an idle database can be dropped.
        let Some(heartbeats) = registry.upgrade() else { return false };
        let registered = heartbeats.first_registered.notified();
        let _ = tokio::time::timeout(Duration::from_secs(60), registered).await;
    } else {
        tokio::time::sleep(tick).await;
    }
    true
}

async fn beat_once(transaction: &Arc<Transaction>, sender: &Arc<dyn Sender>, hlc: &Arc<Hlc>) {
    let Some(meta) = transaction.begin_heartbeat() else { return };
    let Ok(now) = hlc.now() else { return };
    let header = BatchHeader { txn: Some(meta), ..BatchHeader::default() };
    let requests = vec![RequestKind::HeartbeatTxn(HeartbeatTxn { now }).into()];
    match sender.send(BatchRequest { header, requests }).await {
        Ok(response) => {
            if let Some(ResponseKind::Record(record)) = response.responses.into_iter().next().and_then(|r| r.kind) {
                transaction.heartbeat_answered(record.txn.write_timestamp, record.status() == TxnStatus::Aborted);
            }
        }
        Err(kv::api::KvError::TxnAborted(_) | kv::api::KvError::Forgotten(_)) => {
            transaction.heartbeat_answered(clock::Timestamp::MIN, true)
        }
        Err(error) => tracing::debug!(%error, "a heartbeat failed"),
    }
}
