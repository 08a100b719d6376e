//! Keeps a node's catalog current, and its lease good.

mod locks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;
use txn::{LockStrength, Transaction, TxnId, TxnOptions};

use super::lease::Lease;
use super::{Catalog, keys, store};
use crate::error::{RetryScope, SqlError, code};
use crate::node::SqlSettings;

/// A node's catalog.
pub(crate) struct CatalogManager {
    database: txn::Database,
    node: u64,
    incarnation: u64,
    settings: SqlSettings,
    current: ArcSwap<Catalog>,
    /// Tells the version of `current`.
    changed: watch::Sender<u64>,
    /// What running transactions use.
    pins: Mutex<Pins>,
    /// The lease in force ends here, in nanoseconds; 0 before there is one.
    lease_expiration_ns: AtomicU64,
    /// The lease as last written; also makes reloads and renewals take turns.
    written: tokio::sync::Mutex<Lease>,
    /// What the last attempt to read the catalog or to renew the lease met, unless it went well.
    obstacle: Mutex<Option<String>>,
}

#[derive(Default)]
struct Pins {
    next: u64,
    open: BTreeMap<u64, Use>,
}

/// What a running transaction uses.
struct Use {
    version: u64,
    tables: Vec<u32>,
    by: Arc<Activity>,
}

/// As much of a statement as others are told: PostgreSQL's `track_activity_query_size`.
const KEPT_STATEMENT_BYTES: usize = 1 << 10;

/// What a session is at, for those whom it is in the way of.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// `pg_backend_pid()`.
    pub backend_pid: u32,
    now: Mutex<(Option<TxnId>, Option<Arc<str>>)>,
}

impl Activity {
    /// Nothing yet.
    pub fn new(backend_pid: u32) -> Arc<Activity> {
        Arc::new(Activity { backend_pid, now: Mutex::default() })
    }

    /// A statement begins. What it says is kept until the next one, so of a long one only the beginning is.
    pub fn runs(&self, statement: &Arc<str>) {
        let kept = match statement.len() > KEPT_STATEMENT_BYTES {
            true => Arc::from(&statement[..statement.floor_char_boundary(KEPT_STATEMENT_BYTES)]),
            false => statement.clone(),
        };
        self.now.lock().1 = Some(kept);
    }

    /// A transaction begins.
    pub fn begins(&self, transaction: TxnId) {
        self.now.lock().0 = Some(transaction);
    }
}

/// Says which tables a running transaction uses, as of which version; until dropped.
pub(crate) struct Pin {
    manager: Arc<CatalogManager>,
    id: u64,
    /// The tables noted already, so that the shared list is not locked again for them.
    noted: Vec<u32>,
}

impl Pin {
    /// Notes that the transaction uses a table. Returns whether it did not before.
    pub fn note(&mut self, table_id: u32) -> bool {
        if self.noted.contains(&table_id) {
            return false;
        }
        self.noted.push(table_id);
        if let Some(used) = self.manager.pins.lock().open.get_mut(&self.id) {
            used.tables.push(table_id);
        }
        true
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.manager.pins.lock().open.remove(&self.id);
    }
}

impl CatalogManager {
    /// Reads the catalog, creating it in a new cluster, takes the lease, and keeps both current in the background.
    pub async fn start(
        database: txn::Database,
        node: u64,
        tasks: &clock::Tasks,
        settings: SqlSettings,
    ) -> Result<Arc<CatalogManager>, SqlError> {
        let incarnation = database.now()?.wall_ns;
        let manager = Arc::new(CatalogManager {
            database,
            node,
            incarnation,
            settings,
            current: ArcSwap::from_pointee(Catalog::default()),
            changed: watch::Sender::new(0),
            pins: Mutex::default(),
            lease_expiration_ns: AtomicU64::new(0),
            written: tokio::sync::Mutex::default(),
            obstacle: Mutex::default(),
        });
        manager.bootstrap().await?;
        manager.refresh().await?;
        let weak = Arc::downgrade(&manager);
        let pause = Duration::from_millis(manager.settings.catalog_poll_ms);
        tasks.spawn("catalog lease", async move {
            loop {
                tokio::time::sleep(pause).await;
                let Some(manager) = weak.upgrade() else { return };
                if let Err(error) = manager.refresh().await {
                    tracing::debug!(%error, "the catalog could not be refreshed");
                }
            }
        });
        Ok(manager)
    }

    /// The catalog in force.
    pub fn current(&self) -> Arc<Catalog> {
        self.current.load_full()
    }

    /// The version of the catalog in force.
    pub fn version(&self) -> u64 {
        self.current.load().version
    }

    /// This node and its incarnation.
    pub fn holder(&self) -> (u64, u64) {
        (self.node, self.incarnation)
    }

    /// The catalog in force, noted as used by a transaction that begins now.
    pub fn pin(self: &Arc<Self>, by: &Arc<Activity>) -> (Arc<Catalog>, Pin) {
        let mut pins = self.pins.lock();
        // Loaded under the lock: whoever installs a newer catalog and then looks at the pins sees this one.
        let catalog = self.current.load_full();
        let id = pins.next;
        pins.next += 1;
        pins.open.insert(id, Use { version: catalog.version, tables: Vec::new(), by: by.clone() });
        (catalog, Pin { manager: self.clone(), id, noted: Vec::new() })
    }

    /// Who runs a transaction on this node, and the statement it has come to: process ID and text.
    pub fn who_runs(&self, transaction: TxnId) -> Option<(u32, Arc<str>)> {
        let pins = self.pins.lock();
        pins.open.values().find_map(|used| {
            let now = used.by.now.lock();
            let statement = now.1.clone().filter(|_| now.0 == Some(transaction))?;
            Some((used.by.backend_pid, statement))
        })
    }

    /// The catalog as a transaction of the past sees it, but for indexes that were dropped since: nothing is left in them.
    ///
    /// # Errors
    /// What reading it meets; 55000 when there was none yet.
    pub async fn catalog_of(&self, past: &Transaction, known: Arc<Catalog>) -> Result<Arc<Catalog>, SqlError> {
        let version = store::read_counter(past, keys::version_key(), LockStrength::None).await?;
        if version == Some(known.version) {
            return Ok(known);
        }
        let mut loaded = store::load(past, &known).await?.ok_or_else(|| {
            SqlError::new(code::OBJECT_NOT_IN_PREREQUISITE_STATE, "the cluster did not exist at that time")
        })?;
        loaded.forget_dropped_indexes(&known);
        Ok(Arc::new(loaded))
    }

    /// Returns once the lease is good for a statement.
    ///
    /// # Errors
    /// 58000 when it could not be renewed in time.
    pub async fn ensure_lease(&self) -> Result<(), SqlError> {
        let margin_ns = self.settings.catalog_lease_ms * 1_000_000 / 5;
        if self.database.now()?.wall_ns + margin_ns < self.lease_expiration_ns.load(Ordering::Acquire) {
            return Ok(());
        }
        let bound = Duration::from_millis(self.settings.ddl_wait_ms);
        match tokio::time::timeout(bound, Box::pin(self.refresh())).await {
            Ok(renewed) => renewed,
            Err(_) => {
                let obstacle = self.obstacle.lock().clone();
                let obstacle =
                    obstacle.unwrap_or_else(|| "The range that holds the catalog does not answer.".to_owned());
                Err(SqlError::new(code::SYSTEM_ERROR, "the node's lease on the catalog could not be renewed")
                    .detail(obstacle))
            }
        }
    }

    /// A new OID.
    pub async fn allocate_id(&self) -> Result<u32, SqlError> {
        store::allocate_id(&self.database).await
    }

    /// Looks for a newer catalog now, and renews the lease if it is time.
    pub async fn refresh(&self) -> Result<(), SqlError> {
        let result = self.read_and_renew().await;
        *self.obstacle.lock() = result.as_ref().err().map(ToString::to_string);
        result
    }

    async fn read_and_renew(&self) -> Result<(), SqlError> {
        let mut written = self.written.lock().await;
        let now_ns = self.database.now()?.wall_ns;
        let transaction = self.database.begin(TxnOptions::default())?;
        let version = store::read_counter(&transaction, keys::version_key(), LockStrength::None).await?.unwrap_or(0);
        let known = self.current();
        if version != known.version {
            let loaded = store::load(&transaction, &known).await?;
            let loaded = loaded.ok_or_else(|| SqlError::internal("the catalog has disappeared"))?;
            let pins = self.pins.lock();
            self.current.store(Arc::new(loaded));
            drop(pins);
            self.changed.send_replace(version);
        }
        transaction.commit().await?;
        let lease_ns = self.settings.catalog_lease_ms * 1_000_000;
        let wanted = Lease {
            incarnation: self.incarnation,
            version,
            expiration_ns: now_ns + lease_ns,
            pins: self.older_pins(version),
        };
        let fresh = written.expiration_ns > now_ns + lease_ns / 2;
        if fresh && written.version == wanted.version && written.pins == wanted.pins {
            return Ok(());
        }
        let transaction = self.database.begin(TxnOptions::default())?;
        transaction.put(keys::lease_key(self.node), wanted.encode()?).await?;
        transaction.commit().await?;
        self.lease_expiration_ns.store(wanted.expiration_ns, Ordering::Release);
        *written = wanted;
        Ok(())
    }

    /// Tables that running transactions use as of versions older than `version`: table and oldest version.
    fn older_pins(&self, version: u64) -> Vec<(u32, u64)> {
        let mut oldest: BTreeMap<u32, u64> = BTreeMap::new();
        for used in self.pins.lock().open.values() {
            if used.version < version {
                for table in &used.tables {
                    let pinned = used.version;
                    oldest.entry(*table).and_modify(|at| *at = (*at).min(pinned)).or_insert(pinned);
                }
            }
        }
        oldest.into_iter().collect()
    }

    async fn bootstrap(&self) -> Result<(), SqlError> {
        loop {
            let transaction = self.database.begin(TxnOptions::default())?;
            let attempt = async {
                if store::read_counter(&transaction, keys::version_key(), LockStrength::None).await?.is_none() {
                    store::bootstrap(&transaction).await?;
                }
                transaction.commit().await?;
                Ok::<(), SqlError>(())
            };
            match attempt.await {
                Ok(()) => return Ok(()),
                Err(error) if error.retry != RetryScope::None => transaction.rollback().await,
                Err(error) => return Err(error),
            }
        }
    }
}

impl std::fmt::Debug for CatalogManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CatalogManager").field("version", &self.version()).finish_non_exhaustive()
    }
}
