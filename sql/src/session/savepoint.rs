//! SAVEPOINT, ROLLBACK TO, RELEASE: what of a session goes back along with the writes of its transaction.
//!
//! ```text
//!   BEGIN ── s1 ──────── s2 ── s1' ──▶        names may repeat: the newest one is meant
//!             │ settings, READ ONLY, what was changed in the catalog: kept by each savepoint as they were
//!             ▼
//!   ROLLBACK TO s2: s1' is gone, s2 stays; a failed transaction goes on
//! ```
//!
//! Values drawn from sequences, prepared statements and locks on tables stay, as in PostgreSQL. A savepoint does not make a
//! conflict good: after 40001 the whole transaction must be tried again.

use datafusion::sql::sqlparser::ast;

use super::settings::SettingsMark;
use super::transaction::DdlState;
use super::{ExecuteOptions, Outcome, Session};
use crate::bind::normalize;
use crate::error::{SqlError, code};
use crate::memory::Hold;

/// What a savepoint takes, beside its name and the settings it may go back to.
const SAVEPOINT_BYTES: usize = 512;

/// A savepoint that stands.
pub(super) struct Savepoint {
    name: String,
    mark: txn::Savepoint,
    settings: SettingsMark,
    read_only: Option<bool>,
    ddl: Option<DdlState>,
    /// How many tables were locked.
    locked: usize,
    /// What the savepoint itself takes.
    _hold: Hold,
}

impl Session {
    /// SAVEPOINT.
    pub(super) async fn set_savepoint(
        &mut self,
        name: &ast::Ident,
        options: &ExecuteOptions,
    ) -> Result<Outcome, SqlError> {
        self.require_block("SAVEPOINT")?;
        // Where it begins the transaction proper, that may have to wait.
        self.deadline(options).hold(&options.cancel, async { self.handle().await.map(|_| ()) }).await?;
        let hold = self.memory.hold(SAVEPOINT_BYTES + name.value.len() + self.settings.held_bytes())?;
        let handle = self.handle().await?;
        let mark = handle.transaction.savepoint()?;
        let ddl = handle.ddl.clone();
        self.open.savepoints.push(Savepoint {
            name: normalize(name),
            mark,
            settings: self.settings.mark(),
            read_only: self.open.read_only,
            ddl,
            locked: self.open.locked.len(),
            _hold: hold,
        });
        // From here on the transaction cannot be begun anew behind the client's back.
        self.open.statements += 1;
        super::done("SAVEPOINT")
    }

    /// RELEASE SAVEPOINT.
    pub(super) async fn release_savepoint(&mut self, name: &ast::Ident) -> Result<Outcome, SqlError> {
        self.require_block("RELEASE SAVEPOINT")?;
        let at = self.find_savepoint(name)?;
        let mark = self.open.savepoints[at].mark;
        self.handle().await?.transaction.release(mark)?;
        self.open.savepoints.truncate(at);
        super::done("RELEASE")
    }

    /// ROLLBACK TO SAVEPOINT; mends a failed transaction. Locks that the ranges do not release in time stay until the end.
    pub(super) async fn roll_back_to_savepoint(
        &mut self,
        name: &ast::Ident,
        options: &ExecuteOptions,
    ) -> Result<Outcome, SqlError> {
        let mut deadline = self.deadline(options);
        self.require_block("ROLLBACK TO SAVEPOINT")?;
        let at = self.find_savepoint(name)?;
        self.open.savepoints.truncate(at + 1);
        let savepoint = &self.open.savepoints[at];
        let (mark, locked) = (savepoint.mark, savepoint.locked);
        let handle = self.open.handle.as_mut().ok_or_else(|| SqlError::internal("a savepoint without transaction"))?;
        let held = handle.transaction.roll_back_to(mark)?;
        let release = async {
            handle.transaction.release_held(held).await;
            Ok(())
        };
        if let Err(error) = deadline.hold(&options.cancel, release).await {
            tracing::debug!(%error, "locks stay until the end of their transaction");
        }
        let undone = std::mem::replace(&mut handle.ddl, savepoint.ddl.clone());
        if let Some(undone) = undone {
            let kept = handle.ddl.as_ref().map(|ddl| &ddl.fresh);
            self.open
                .abandoned
                .extend(undone.fresh.into_iter().filter(|index| kept.is_none_or(|kept| !kept.contains(index))));
        }
        self.settings.go_back(&savepoint.settings, &mut self.parameter_changes);
        self.open.read_only = savepoint.read_only;
        // Tables locked since stay so: what is known of them must say it.
        let since: Vec<u32> = self.open.locked.tables().skip(locked).collect();
        for table in since {
            deadline.hold(&options.cancel, self.take_in_locked(table)).await?;
        }
        self.open.failed = false;
        super::done("ROLLBACK")
    }

    /// Whether nobody but this transaction can see an index, nor this transaction itself at a savepoint it may go back to.
    pub(crate) fn is_fresh(&self, table_id: u32, index_id: u32) -> bool {
        let made = |ddl: &DdlState| ddl.fresh.contains(&(table_id, index_id));
        let now = self.open.handle.as_ref().and_then(|handle| handle.ddl.as_ref());
        now.is_some_and(made) && !self.open.savepoints.iter().any(|savepoint| savepoint.ddl.as_ref().is_some_and(made))
    }

    fn require_block(&self, what: &str) -> Result<(), SqlError> {
        if self.open.explicit {
            return Ok(());
        }
        Err(SqlError::new(code::NO_ACTIVE_SQL_TRANSACTION, format!("{what} can only be used in transaction blocks")))
    }

    fn find_savepoint(&self, name: &ast::Ident) -> Result<usize, SqlError> {
        let name = normalize(name);
        self.open.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| {
            SqlError::new(code::INVALID_SAVEPOINT_SPECIFICATION, format!("savepoint \"{name}\" does not exist"))
        })
    }
}
