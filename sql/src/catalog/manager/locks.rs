//! Locking a table against everybody else, for as long as it takes to change it.
//!
//! ```text
//!   lock: small transaction writes `lock` into the descriptor ─▶ version n
//!         wait: each other node's lease says ≥ n and pins nothing older of the table, or has run out; own sessions likewise
//!   work: the client's transaction
//!   done: its commit writes the descriptor without the lock; or, after a rollback, a small transaction removes it
//! ```
//!
//! `lock_timeout` counts the time in which somebody stands in the way: another lock, a transaction that uses the table. How long it
//! takes the other nodes to hear of the lock does not count: nobody could set it low enough for the one and high enough for the other.

use std::sync::Arc;
use std::time::Duration;

use clock::Timestamp;
use clock::mutation::{self, Mutant};
use txn::{LockStrength, ScanRequest, Transaction, TxnOptions};

use super::super::lease::Lease;
use super::super::{Descriptor, Table, TableLock, keys, store};
use super::{CatalogManager, Pin};
use crate::error::{RetryScope, SqlError, code};

/// How often the leases of the others are looked at while waiting for them.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What became of one attempt to write a lock.
enum Attempt {
    /// It stands, as of this version.
    Locked(u64),
    /// Somebody alive holds one.
    Busy,
    /// There is no such table any more.
    Gone,
}

/// Who keeps a table from being changed.
enum Behind {
    /// A transaction that uses the table as it was.
    User,
    /// A node that has not heard of the lock yet.
    Node,
}

/// How long somebody waits for those in the way.
struct Patience {
    limit: Duration,
    waited: Duration,
    /// The error when it is over.
    over: SqlError,
}

impl Patience {
    /// Waits a moment, during which somebody is in the way.
    async fn wait(&mut self) -> Result<(), SqlError> {
        if self.waited >= self.limit {
            return Err(self.over.clone());
        }
        let step = LOOK_AGAIN.min(self.limit - self.waited);
        tokio::time::sleep(step).await;
        self.waited += step;
        Ok(())
    }
}

impl CatalogManager {
    /// Takes a lock on a table. Returns once nobody else uses it; those in the way are waited for at most `lock_timeout`. After an
    /// error, or when it is stopped, the lock may stand: the caller unlocks.
    ///
    /// # Errors
    /// 55P03 when others keep it for too long; 42P01 when it was dropped meanwhile.
    pub async fn lock_table(
        &self,
        table: &Table,
        lock: &TableLock,
        own: &Pin,
        lock_timeout: Option<Duration>,
    ) -> Result<(), SqlError> {
        let in_use = format!("relation \"{}\" is in use by other transactions", table.name);
        let mut patience = self.patience(lock_timeout, in_use, "Try again once they have ended.");
        let over = patience.over.clone();
        let bound = patience.limit + Duration::from_millis(self.settings.ddl_wait_ms);
        let waited = tokio::time::timeout(bound, async {
            let version = loop {
                match self.try_lock(table.id, lock).await? {
                    Attempt::Locked(version) => break version,
                    Attempt::Busy => patience.wait().await?,
                    Attempt::Gone => {
                        return Err(SqlError::new(
                            code::UNDEFINED_TABLE,
                            format!("relation \"{}\" does not exist", table.name),
                        ));
                    }
                }
            };
            self.refresh().await?;
            while let Some(behind) = self.who_is_behind(version, table.id, own).await? {
                match behind {
                    Behind::User => patience.wait().await?,
                    Behind::Node => tokio::time::sleep(LOOK_AGAIN).await,
                }
            }
            Ok(())
        });
        waited.await.unwrap_or(Err(over))
    }

    fn patience(&self, lock_timeout: Option<Duration>, who: String, hint: &str) -> Patience {
        let over = match lock_timeout {
            Some(_) => SqlError::lock_timeout().detail(capitalized(&who)),
            None => SqlError::new(code::LOCK_NOT_AVAILABLE, who),
        };
        let limit = lock_timeout.unwrap_or(Duration::from_millis(self.settings.ddl_wait_ms));
        Patience { limit, waited: Duration::ZERO, over: over.hint(hint) }
    }

    /// Removes locks where they still stand.
    pub async fn unlock_tables<'a>(&'a self, locks: &'a [(u32, TableLock)]) -> Result<(), SqlError> {
        self.retrying(|transaction| async move {
            let mut changed = false;
            for (id, lock) in locks {
                if let Some(Descriptor::Table(mut table)) = store::get(&transaction, *id).await?
                    && table.lock.as_ref() == Some(lock)
                {
                    table.lock = None;
                    table.version += 1;
                    store::put(&transaction, &Descriptor::Table(table)).await?;
                    changed = true;
                }
            }
            if changed {
                store::bump_version(&transaction).await?;
            }
            Ok(())
        })
        .await?;
        self.refresh().await
    }

    /// Returns once the table is no longer locked; gives up after `lock_timeout`.
    ///
    /// # Errors
    /// 55P03.
    pub async fn wait_unlocked(&self, table: &Table, lock_timeout: Option<Duration>) -> Result<(), SqlError> {
        let altered = format!("relation \"{}\" is being altered by another transaction", table.name);
        let patience = self.patience(lock_timeout, altered, "Try again once it has ended.");
        let waited = tokio::time::timeout(patience.limit, async {
            let mut changes = self.changed.subscribe();
            while self.current().table(table.id).is_some_and(|table| table.lock.is_some()) {
                let step = Duration::from_millis(self.settings.catalog_poll_ms * 2);
                if tokio::time::timeout(step, changes.changed()).await.is_err() {
                    self.break_dead_lock(table.id).await?;
                }
            }
            Ok(())
        });
        waited.await.unwrap_or(Err(patience.over))
    }

    /// Runs a small transaction until it goes through.
    async fn retrying<T, W>(&self, mut work: impl FnMut(Arc<Transaction>) -> W) -> Result<T, SqlError>
    where
        W: Future<Output = Result<T, SqlError>>,
    {
        loop {
            let transaction = self.database.begin(TxnOptions::default())?;
            let attempt = match work(Arc::clone(&transaction)).await {
                Ok(value) => transaction.commit().await.map(|_| value).map_err(SqlError::from),
                Err(error) => Err(error),
            };
            match attempt {
                Err(error) if error.retry != RetryScope::None => {
                    transaction.rollback().await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err(error) => {
                    transaction.rollback().await;
                    return Err(error);
                }
                done => return done,
            }
        }
    }

    async fn try_lock<'a>(&'a self, table_id: u32, own: &'a TableLock) -> Result<Attempt, SqlError> {
        self.retrying(|transaction| async move {
            let Some(Descriptor::Table(mut table)) = store::get(&transaction, table_id).await? else {
                return Ok(Attempt::Gone);
            };
            if let Some(lock) = &table.lock
                && lock != own
                && self.is_alive(&transaction, lock).await?
            {
                return Ok(Attempt::Busy);
            }
            table.lock = Some(own.clone());
            table.version += 1;
            store::put(&transaction, &Descriptor::Table(table)).await?;
            Ok(Attempt::Locked(store::bump_version(&transaction).await?))
        })
        .await
    }

    async fn break_dead_lock(&self, table_id: u32) -> Result<(), SqlError> {
        self.retrying(|transaction| async move {
            if let Some(Descriptor::Table(mut table)) = store::get(&transaction, table_id).await?
                && let Some(lock) = table.lock.take()
                && !self.is_alive(&transaction, &lock).await?
            {
                table.version += 1;
                store::put(&transaction, &Descriptor::Table(table)).await?;
                store::bump_version(&transaction).await?;
            }
            Ok(())
        })
        .await?;
        self.refresh().await
    }

    /// Whether the holder of a lock may still be at work.
    async fn is_alive(&self, transaction: &Transaction, lock: &TableLock) -> Result<bool, SqlError> {
        let Some(value) = transaction.get(keys::lease_key(lock.node), LockStrength::None).await? else {
            return Ok(false);
        };
        let lease = Lease::decode(&value)?;
        Ok(lease.incarnation == lock.incarnation && !self.has_run_out(&lease, transaction.read_timestamp()))
    }

    /// Whether a lease has certainly run out, whatever its holder's clock says.
    fn has_run_out(&self, lease: &Lease, now: Timestamp) -> bool {
        now.wall_ns > lease.expiration_ns + self.settings.catalog_lease_ms * 1_000_000 / 2
    }

    /// Who may still use the table as it was before `version`.
    async fn who_is_behind(&self, version: u64, table_id: u32, own: &Pin) -> Result<Option<Behind>, SqlError> {
        if mutation::is(Mutant::AlterWaitsForNobody) {
            return Ok(None);
        }
        let in_use_here = self
            .pins
            .lock()
            .open
            .iter()
            .any(|(id, used)| *id != own.id && used.version < version && used.tables.contains(&table_id));
        if in_use_here {
            tracing::debug!(node = self.node, version, table_id, "a transaction of this node uses an older catalog");
            return Ok(Some(Behind::User));
        }
        let transaction = self.database.begin(TxnOptions::default())?;
        let (start, end) = keys::lease_span();
        let page = transaction.scan(&ScanRequest::over(start, end)).await?;
        let now = transaction.read_timestamp();
        transaction.rollback().await;
        let own_key = keys::lease_key(self.node);
        for row in page.rows.iter().filter(|row| row.key != own_key) {
            let lease = Lease::decode(&row.value)?;
            if !self.has_run_out(&lease, now) && !lease.has_reached(version, &[table_id]) {
                tracing::debug!(node = self.node, version, table_id, ?lease, "another node uses an older catalog");
                return Ok(Some(if lease.version >= version { Behind::User } else { Behind::Node }));
            }
        }
        Ok(None)
    }
}

/// A message as a sentence of its own.
fn capitalized(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}
