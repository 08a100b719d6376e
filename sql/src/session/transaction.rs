//! A session's open transaction.
//!
//! ```text
//!   none ──statement──▶ implicit ──sync──▶ none            BEGIN ──▶ explicit ──COMMIT──▶ none
//!                          └──fail──▶ none                              └──fail──▶ failed ──ROLLBACK──▶ none
//! ```
//!
//! The transaction proper begins with the first statement that needs one: BEGIN alone takes no snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use txn::{CommitOutcome, Transaction, TxnOptions};

use super::as_of::AsOf;
use super::savepoint::Savepoint;
use super::table_locks::TableLocks;
use super::{Running, Session, SessionView};
use crate::catalog::{Catalog, CatalogWriter, Descriptor, Pin, Table, TableLock};
use crate::error::{RetryScope, SqlError, code};
use crate::memory::Hold;
use crate::stack::{PANICKED, contained_async};
use crate::types::Datum;

/// Where a session's transaction stands.
#[derive(Default)]
pub(crate) struct Open {
    /// BEGIN was given, and no COMMIT yet.
    pub explicit: bool,
    /// A statement of the explicit transaction failed: nothing but its end is accepted.
    pub failed: bool,
    /// READ ONLY or READ WRITE, where one was asked for.
    pub read_only: Option<bool>,
    /// The past that it reads.
    pub as_of: Option<AsOf>,
    /// Statements completed in it.
    pub statements: u64,
    /// Times it was tried before; raises its priority.
    pub attempts: u32,
    /// Existing tables that are locked, to be altered.
    pub locked: TableLocks,
    /// The savepoints that stand, the newest last. There are none without a transaction proper.
    pub savepoints: Vec<Savepoint>,
    /// Indexes (table, index) that were made and undone by going back to a savepoint: cleared when the transaction ends.
    pub abandoned: BTreeSet<(u32, u32)>,
    /// The transaction proper.
    pub handle: Option<Handle>,
}

/// A transaction and what it sees.
pub(crate) struct Handle {
    pub transaction: Arc<Transaction>,
    pub catalog: Arc<Catalog>,
    pub pin: Pin,
    pub view: Arc<SessionView>,
    /// What its writes held after the last statement.
    pub buffered: Hold,
    /// What it has changed in the catalog.
    pub ddl: Option<DdlState>,
}

/// How often the clearing of an index is tried: what was cleared by one attempt need not be by the next.
const CLEAR_ATTEMPTS: u32 = 20;
/// Bounds of how long it rests in between.
const CLEAR_PAUSE_MIN: Duration = Duration::from_secs(1);
const CLEAR_PAUSE_MAX: Duration = Duration::from_secs(60);

/// What a transaction has changed in the catalog.
#[derive(Clone)]
pub(crate) struct DdlState {
    pub writer: CatalogWriter,
    /// Tables that it has made itself, which nobody else can use and it need not lock.
    pub created: BTreeSet<u32>,
    /// Tables and indexes (table, index) that nobody else can see before the commit.
    pub fresh: BTreeSet<(u32, u32)>,
    /// Indexes (table, index) that nobody uses after the commit.
    pub stale: BTreeSet<(u32, u32)>,
}

impl DdlState {
    /// Nothing yet.
    pub fn new(writer: CatalogWriter) -> Self {
        DdlState { writer, created: BTreeSet::new(), fresh: BTreeSet::new(), stale: BTreeSet::new() }
    }

    /// After the commit: the indexes (table, index) that nobody uses, those of statements that were repeated among them.
    fn unused(mut self) -> BTreeSet<(u32, u32)> {
        let catalog = &self.writer.catalog;
        let is_used = |table: u32, index: u32| {
            catalog.table(table).is_some_and(|table| table.all_indexes().any(|used| used.index_id == index))
        };
        self.stale.extend(self.fresh.iter().filter(|(table, index)| !is_used(*table, *index)));
        self.stale
    }
}

impl Handle {
    /// The catalog as the transaction sees it, its own changes included.
    pub fn catalog(&self) -> &Arc<Catalog> {
        self.ddl.as_ref().map_or(&self.catalog, |ddl| &ddl.writer.catalog)
    }
}

impl Session {
    /// The transaction proper, begun if there is none.
    pub(crate) async fn handle(&mut self) -> Result<&mut Handle, SqlError> {
        if self.open.handle.is_none() {
            self.shared.manager.ensure_lease().await?;
            let (mut catalog, pin) = self.shared.manager.pin(&self.activity);
            let options = TxnOptions {
                relaxed: self.settings.relaxed(),
                priority: 1 + self.open.attempts,
                lock_timeout: self.settings.timeouts().lock,
                as_of: self.open.as_of.as_ref().map(|as_of| as_of.timestamp),
            };
            let transaction = self.shared.database.begin(options)?;
            self.activity.begins(transaction.id());
            if transaction.is_historical() {
                catalog = self.shared.manager.catalog_of(&transaction, catalog).await?;
            }
            let micros = i64::try_from(transaction.begin_timestamp().wall_ns / 1_000).unwrap_or(i64::MAX);
            let view = Arc::new(self.settings.view(micros, &catalog));
            self.open.handle =
                Some(Handle { transaction, catalog, pin, view, buffered: self.memory.nothing(), ddl: None });
        }
        let handle = self.open.handle.as_mut().expect("it was put there above");
        if !self.settings.are_seen_by(&handle.view) {
            let micros = handle.view.types.transaction_micros;
            handle.view = Arc::new(self.settings.view(micros, handle.catalog()));
        }
        Ok(handle)
    }

    /// Notes that the transaction uses tables.
    ///
    /// # Errors
    /// 40001 to be retried when one has changed since the transaction began; 55P03 when one stays locked.
    pub(crate) async fn use_tables(&mut self, tables: &[u32]) -> Result<(), SqlError> {
        let Some(handle) = &mut self.open.handle else { return Ok(()) };
        // Whoever alters a table waits for the transactions that use it already.
        let mut new = tables.iter().filter(|id| handle.pin.note(**id)).copied().collect::<Vec<_>>();
        if new.is_empty() {
            return Ok(());
        }
        let current = self.shared.manager.current();
        if handle.transaction.is_historical() {
            let busy = still_there(&handle.catalog, &current, &new)?;
            return match busy {
                Some(table) => Err(self.restart_behind(&table).await?),
                None => Ok(()),
            };
        }
        if Arc::ptr_eq(&current, &handle.catalog) && new.iter().all(|id| is_unlocked(&handle.catalog, *id)) {
            return Ok(());
        }
        new.retain(|id| !self.open.locked.contains(*id));
        let changed = new.iter().find(|id| {
            let Some(known) = handle.catalog.table(**id) else { return false };
            known.lock.is_some() || current.table(**id).is_none_or(|now| now.version != known.version)
        });
        let Some(id) = changed else { return Ok(()) };
        let name = handle.catalog.table(*id).cloned();
        match name {
            Some(table) => Err(self.restart_behind(&table).await?),
            None => Ok(()),
        }
    }

    /// The error that has the transaction begin anew once nobody alters the table any more.
    async fn restart_behind(&mut self, table: &Table) -> Result<SqlError, SqlError> {
        // Whoever waits must not be waited for.
        if !self.open.explicit || self.open.statements == 0 {
            if let Some(handle) = self.open.handle.take() {
                handle.transaction.rollback().await;
            }
            Box::pin(self.shared.manager.wait_unlocked(table, self.settings.timeouts().lock)).await?;
        }
        let message = format!("restart transaction: relation \"{}\" was altered since it began", table.name);
        let error = SqlError::new(code::SERIALIZATION_FAILURE, message);
        Ok(error.hint("Roll back, and try the transaction again.").retrying(RetryScope::Transaction))
    }

    /// Counts what the transaction's writes hold. Where there is no room for them here, the ranges take them.
    pub(super) async fn hold_writes(&mut self) -> Result<(), SqlError> {
        let Some(handle) = &mut self.open.handle else { return Ok(()) };
        if handle.buffered.resize(handle.transaction.buffered_bytes()).is_ok() {
            return Ok(());
        }
        Box::pin(handle.transaction.spill()).await?;
        handle.buffered.resize(handle.transaction.buffered_bytes())
    }

    /// What a statement runs in. REQUIRES: the transaction has begun.
    pub(crate) fn running(&self, params: Arc<[Datum]>) -> Running {
        let handle = self.open.handle.as_ref().expect("the transaction has begun");
        Running {
            transaction: handle.transaction.clone(),
            catalog: handle.catalog().clone(),
            view: self.view(),
            params,
            sequences: self.sequences.clone(),
            shared: self.shared.clone(),
            memory: self.memory.clone(),
        }
    }

    /// Commits what is open, explicit or not. Whatever becomes of it, nothing is open afterwards. Tells how a transaction proper
    /// was committed that did not change the catalog.
    pub(super) async fn commit(&mut self) -> Result<Option<CommitOutcome>, SqlError> {
        let Open { failed, handle, locked, abandoned, .. } = std::mem::take(&mut self.open);
        self.settings.end_transaction(!failed, &mut self.parameter_changes);
        let Some(mut handle) = handle else { return Ok(None) };
        let ddl = handle.ddl.take();
        if ddl.is_none() && locked.is_empty() {
            let result = contained_commit(async { Ok(handle.transaction.commit().await?) }).await;
            drop(handle);
            self.clear(abandoned);
            return Ok(Some(result?));
        }
        let (result, ddl) = Box::pin(self.commit_ddl(&handle.transaction, ddl, &locked)).await;
        drop(handle);
        self.clear(abandoned);
        match &result {
            Ok(()) => {
                if ddl.is_some() {
                    locked.forget();
                } else {
                    locked.release().await;
                }
                if let Err(error) = Box::pin(self.shared.manager.refresh()).await {
                    tracing::warn!(%error, "the catalog could not be read after changing it");
                }
                self.clear(ddl.map(DdlState::unused).unwrap_or_default());
            }
            Err(error) => {
                // What became of an ambiguous commit is not known: what it made must stay then.
                let known = error.code != code::STATEMENT_COMPLETION_UNKNOWN;
                let fresh = ddl.filter(|_| known).map(|ddl| ddl.fresh).unwrap_or_default();
                locked.release().await;
                self.clear(fresh);
            }
        }
        result.map(|()| None)
    }

    async fn commit_ddl(
        &self,
        transaction: &Transaction,
        ddl: Option<DdlState>,
        locked: &TableLocks,
    ) -> (Result<(), SqlError>, Option<DdlState>) {
        let Some(mut ddl) = ddl else {
            return (contained_commit(async { Ok(transaction.commit().await.map(|_| ())?) }).await, None);
        };
        let sealed = async {
            for id in locked.tables() {
                let still = ddl.writer.catalog.table(id).filter(|table| table.lock.is_some()).cloned();
                if let Some(table) = still {
                    let mut descriptor = table.descriptor().clone();
                    descriptor.lock = None;
                    descriptor.version += 1;
                    ddl.writer.put(transaction, Descriptor::Table(Box::new(descriptor))).await?;
                }
            }
            ddl.writer.seal(transaction).await?;
            transaction.commit().await?;
            Ok::<(), SqlError>(())
        };
        let result = contained_commit(sealed).await;
        if result.is_err() {
            transaction.rollback().await;
        }
        (result, Some(ddl))
    }

    /// Rolls back what is open. Nothing is open afterwards.
    pub(super) async fn roll_back(&mut self) {
        let Open { handle, locked, abandoned, .. } = std::mem::take(&mut self.open);
        self.settings.end_transaction(false, &mut self.parameter_changes);
        self.discard(handle).await;
        locked.release().await;
        self.clear(abandoned);
    }

    /// Rolls back a transaction proper; its locks on tables stay.
    pub(super) async fn discard(&mut self, handle: Option<Handle>) {
        let Some(mut handle) = handle else { return };
        handle.transaction.rollback().await;
        if let Some(ddl) = handle.ddl.take() {
            self.clear(ddl.fresh);
        }
    }

    /// Removes the contents of indexes that nobody uses, in the background.
    pub(super) fn clear(&self, indexes: BTreeSet<(u32, u32)>) {
        if indexes.is_empty() {
            return;
        }
        let database = self.shared.database.clone();
        self.shared.tasks.spawn("clear dropped indexes", async move {
            for (table, index) in indexes {
                let (start, end) = crate::catalog::index_span(table, index);
                let mut pause = CLEAR_PAUSE_MIN;
                for attempt in 1..=CLEAR_ATTEMPTS {
                    match database.clear_span(txn::Span { start: start.clone(), end: end.clone() }).await {
                        Ok(()) => break,
                        Err(error) if attempt < CLEAR_ATTEMPTS => {
                            tracing::info!(%error, table, index, "a dropped index is not cleared yet");
                        }
                        Err(error) => tracing::warn!(%error, table, index, "a dropped index could not be cleared"),
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(CLEAR_PAUSE_MAX);
                }
            }
        });
    }
}

/// Whether what a transaction of the past is to read is still there: the rows of a table that was dropped, truncated or rewritten
/// are cleared soon after, those of their time included. Gives a table that is being altered at the moment, for which to wait;
/// whoever wants to alter one from here on waits for the transaction.
fn still_there(past: &Catalog, current: &Catalog, tables: &[u32]) -> Result<Option<Arc<Table>>, SqlError> {
    for table in tables.iter().filter_map(|id| past.table(*id)) {
        let now = current.table(table.id);
        let has = |index_id| now.is_some_and(|now| now.all_indexes().any(|index| index.index_id == index_id));
        if !has(table.primary.index_id) {
            let message = format!("the rows that relation \"{}\" had at that time are gone", table.name);
            return Err(SqlError::new(code::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .detail("It was dropped, truncated or rewritten since."));
        }
        // One that has lost an index is planned for anew, without it.
        if now.is_some_and(|now| now.lock.is_some()) || !table.all_indexes().all(|index| has(index.index_id)) {
            return Ok(Some(table.clone()));
        }
    }
    Ok(None)
}

fn is_unlocked(catalog: &Catalog, id: u32) -> bool {
    catalog.table(id).is_none_or(|table| table.lock.is_none())
}

impl Session {
    /// The open transaction proper. REQUIRES: it has begun.
    pub(crate) fn open_handle(&mut self) -> &mut Handle {
        self.open.handle.as_mut().expect("the statement in hand has begun the transaction")
    }

    /// Locks an existing table against everybody else, so that this transaction can alter it.
    pub(crate) async fn lock_for_ddl(&mut self, table: &Table) -> Result<(), SqlError> {
        let patience = self.settings.timeouts().lock;
        let statements = self.open.statements;
        let handle = self.open.handle.as_mut().expect("the statement in hand has begun the transaction");
        if handle.ddl.as_ref().is_some_and(|ddl| ddl.created.contains(&table.id)) {
            return Ok(());
        }
        if self.open.locked.contains(table.id) {
            return self.take_in_locked(table.id).await;
        }
        handle.pin.note(table.id);
        let lock = TableLocks::ask(&self.shared, table.id);
        if let Err(error) = lock.take(table, &handle.pin, patience).await {
            // The lock may stand all the same: the answer to writing it was lost, or what should have removed it failed.
            lock.release().await;
            return Err(error);
        }
        self.open.locked.join(lock);
        if statements == 0 && handle.ddl.is_none() {
            // Nothing was done yet: a snapshot above the lock saves going over it again.
            let old = self.open.handle.take();
            self.discard(old).await;
            self.handle().await?;
        }
        self.take_in_locked(table.id).await
    }

    /// Reads a locked table as it is now.
    ///
    /// # Errors
    /// 40001 when the lock was lost.
    pub(super) async fn take_in_locked(&mut self, table: u32) -> Result<(), SqlError> {
        self.begin_ddl().await?;
        let (handle, locked) = (self.open.handle.as_mut(), &self.open.locked);
        let handle = handle.expect("the statement in hand has begun the transaction");
        let ddl = handle.ddl.as_mut().ok_or_else(|| SqlError::internal("the catalog is changed unprepared"))?;
        // It may be set later than the transaction began.
        handle.transaction.set_lock_timeout(self.settings.timeouts().lock);
        let is_own = |lock: &TableLock| locked.holds(table, lock);
        let Some(lock) = ddl.writer.take_in(&handle.transaction, table, is_own).await? else { return Ok(()) };
        if lock.as_ref().is_some_and(is_own) {
            return Ok(());
        }
        let message = "restart transaction: the lock on a relation that it changes was lost";
        Err(SqlError::new(code::SERIALIZATION_FAILURE, message)
            .detail("The other nodes did not hear from this one for so long that they thought it dead.")
            .hint("Roll back, and try the transaction again."))
    }
}

/// A commit in which a panic is an error. Whether it happened all the same is not known then.
async fn contained_commit<T>(commit: impl Future<Output = Result<T, SqlError>>) -> Result<T, SqlError> {
    let result = contained_async(0, commit).await;
    result.map_err(|error| match (error.code, error.message.as_str()) {
        (code::INTERNAL_ERROR, PANICKED) => {
            let unknown = SqlError::new(code::STATEMENT_COMPLETION_UNKNOWN, PANICKED);
            unknown.detail(error.detail.clone().unwrap_or_default())
        }
        _ => error,
    })
}
