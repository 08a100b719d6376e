//! The extended query protocol: prepared statements and portals.

use std::sync::Arc;

use bytes::Bytes;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};
use sql::types::{self, Datum, PgType, TypeSettings};
use sql::{Column, Hold, Outcome, Prepared, Row, RowStream, RowsTag, SqlError, Statement, TransactionStatus};
use tokio::io::{AsyncRead, AsyncWrite};

use super::rows::{Formats, append_rows, describe_columns, next_batch};
use super::{Connection, Failure, PROTOCOL_VIOLATION, watched};
use crate::wire::{Bind, Parse, Target};

/// What a portal takes, beside its name and its parameters.
const PORTAL_BYTES: usize = 512;

/// A statement with its parameters, and how far it has run.
pub(super) struct Portal {
    prepared: Arc<Prepared>,
    params: Vec<Datum>,
    formats: Vec<i16>,
    progress: Progress,
    /// What the name and the parameters take.
    _hold: Hold,
}

enum Progress {
    /// It was not executed yet.
    Bound,
    /// It returns rows, and some may be left.
    Running(Running),
    /// There is nothing more to come.
    Done,
}

struct Running {
    columns: Arc<[Column]>,
    formats: Formats,
    rows: RowStream,
    /// Rows taken from the stream and not yet sent.
    held: std::vec::IntoIter<Row>,
    tag: RowsTag,
    sent: u64,
}

impl Portal {
    /// A portal that runs outside a transaction block ends with its implicit transaction.
    pub fn is_of_implicit_transaction(&self) -> bool {
        matches!(self.progress, Progress::Done)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    pub(super) async fn parse(&mut self, parse: Parse) -> Result<(), Failure> {
        let types = parse.types.iter().map(|oid| parameter_type(*oid)).collect::<Result<Vec<_>, _>>()?;
        let mut statements = self.parse_text(parse.query).await?;
        if statements.len() > 1 {
            return Err(SqlError::new("42601", "cannot insert multiple commands into a prepared statement").into());
        }
        let statement = statements.pop().unwrap_or_else(Statement::empty);
        let cancel = self.begin_cancellable();
        let options = self.options(false, &cancel);
        let prepared = watched(&mut self.framed, &cancel, self.session.prepare(&statement, &types, &options)).await;
        self.end_cancellable();
        let prepared = prepared?;
        if parse.name.is_empty() {
            // Each Parse replaces the unnamed statement; a named one must be closed first.
            self.session.close_prepared("");
        }
        self.session.store_prepared(&parse.name, prepared)?;
        self.framed.send(&ParseComplete::new());
        Ok(())
    }

    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), Failure> {
        let prepared = self.session.prepared(&bind.statement)?;
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            return Err(SqlError::new("42P03", format!("portal \"{}\" already exists", bind.portal)).into());
        }
        let given: usize = bind.parameters.iter().flatten().map(Bytes::len).sum();
        let params_bytes = 2 * given + bind.parameters.len() * size_of::<Datum>();
        let hold = self.session.memory().hold(PORTAL_BYTES + bind.portal.len() + params_bytes)?;
        let params = decode_parameters(&bind, &prepared.params, &self.session.view().types)?;
        let portal = Portal { prepared, params, formats: bind.result_formats, progress: Progress::Bound, _hold: hold };
        if let Some(columns) = &portal.prepared.columns {
            Formats::of(&portal.formats, columns.len())?;
        }
        self.portals.insert(bind.portal, portal);
        self.framed.send(&BindComplete::new());
        Ok(())
    }

    pub(super) fn describe(&mut self, target: &Target) -> Result<(), Failure> {
        let (prepared, formats) = match target {
            Target::Statement(name) => {
                let prepared = self.session.prepared(name)?;
                let oids = prepared.params.iter().map(|ty| ty.oid()).collect();
                self.framed.send(&ParameterDescription::new(oids));
                (prepared, Vec::new())
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (Arc::clone(&portal.prepared), portal.formats.clone())
            }
        };
        match &prepared.columns {
            Some(columns) => {
                let formats = Formats::of(&formats, columns.len())?;
                self.framed.send(&describe_columns(columns, &formats));
            }
            None => self.framed.send(&NoData::new()),
        }
        Ok(())
    }

    pub(super) async fn execute_portal(&mut self, name: &str, max_rows: u32) -> Result<(), Failure> {
        // The portal is taken out while it runs: an error must not leave it half run.
        let mut portal = self.portals.remove(name).ok_or_else(|| no_portal(name))?;
        let cancel = self.begin_cancellable();
        let result = self.run_portal(&mut portal, max_rows, &cancel).await;
        self.end_cancellable();
        result?;
        self.portals.insert(name.to_owned(), portal);
        Ok(self.framed.flush_if_full().await?)
    }

    async fn run_portal(
        &mut self,
        portal: &mut Portal,
        max_rows: u32,
        cancel: &sql::CancelToken,
    ) -> Result<(), Failure> {
        // A statement that is directly followed by Sync may commit with its own work, in one round.
        let end_of_implicit = self.framed.peek_kind() == Some(b'S');
        if matches!(portal.progress, Progress::Bound) {
            let params = std::mem::take(&mut portal.params);
            let options = self.options(end_of_implicit, cancel);
            portal.progress = Progress::Done;
            let work = self.session.execute(&portal.prepared, params, options);
            let tag = match watched(&mut self.framed, cancel, work).await? {
                Outcome::Rows { columns, rows, tag } => {
                    let formats = Formats::of(&portal.formats, columns.len())?;
                    let held = Vec::new().into_iter();
                    portal.progress = Progress::Running(Running { columns, formats, rows, held, tag, sent: 0 });
                    return self.run_rows(portal, max_rows, end_of_implicit, cancel).await;
                }
                Outcome::Empty => {
                    self.framed.send(&EmptyQueryResponse::new());
                    return Ok(());
                }
                Outcome::Command { tag } => tag,
                Outcome::CopyIn(copy) => Box::pin(self.copy_in(*copy, cancel)).await?,
                Outcome::CopyOut { columns, data } => Box::pin(self.copy_out(columns, data, cancel)).await?,
            };
            self.complete(tag);
            return Ok(());
        }
        self.run_rows(portal, max_rows, end_of_implicit, cancel).await
    }

    /// Sends up to `max_rows` rows of a portal (0: all), then says whether more are left.
    async fn run_rows(
        &mut self,
        portal: &mut Portal,
        max_rows: u32,
        end_of_implicit: bool,
        cancel: &sql::CancelToken,
    ) -> Result<(), Failure> {
        let Progress::Running(running) = &mut portal.progress else {
            // Executing a portal that has ended is no error: it returns no rows.
            self.complete("SELECT 0".to_owned());
            return Ok(());
        };
        self.scratch.settings = self.session.view().types.clone();
        let mut left = if max_rows == 0 { u64::MAX } else { u64::from(max_rows) };
        while left > 0 {
            if running.held.len() == 0 {
                match next_batch(&mut self.framed, &mut running.rows, cancel).await? {
                    Some(batch) => running.held = batch.into_iter(),
                    None => break,
                }
            }
            let some = running.held.by_ref().take(usize::try_from(left).unwrap_or(usize::MAX));
            let sent =
                append_rows(&mut self.framed, &mut self.scratch, some, &running.columns, &running.formats).await?;
            running.sent += sent;
            left -= sent;
        }
        if left == 0 {
            self.framed.send(&PortalSuspended::new());
            return Ok(());
        }
        let tag = running.tag.render(running.sent);
        portal.progress = Progress::Done;
        if end_of_implicit && self.session.transaction_status() == TransactionStatus::Idle {
            self.session.sync().await?;
        }
        self.complete(tag);
        Ok(())
    }

    fn complete(&mut self, tag: String) {
        self.send_notices();
        self.framed.send(&CommandComplete::new(tag));
        self.shared.metrics.statement_done(self.begun.elapsed());
    }

    pub(super) fn close(&mut self, target: Target) {
        match target {
            Target::Statement(name) => self.session.close_prepared(&name),
            Target::Portal(name) => drop(self.portals.remove(&name)),
        }
        self.framed.send(&CloseComplete::new());
    }
}

fn no_portal(name: &str) -> SqlError {
    SqlError::new("34000", format!("portal \"{name}\" does not exist"))
}

/// The type a client declares for a parameter; `None` when it leaves that to us (OID 0, or `unknown`).
fn parameter_type(oid: u32) -> Result<Option<PgType>, SqlError> {
    const UNKNOWN: u32 = 705;
    match oid {
        0 | UNKNOWN => Ok(None),
        oid => PgType::from_oid(oid)
            .map(Some)
            .ok_or_else(|| SqlError::new("0A000", format!("parameters of the type with OID {oid} are not supported"))),
    }
}

fn decode_parameters(bind: &Bind, types: &[PgType], settings: &TypeSettings) -> Result<Vec<Datum>, SqlError> {
    if bind.parameters.len() != types.len() {
        let message = format!(
            "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
            bind.parameters.len(),
            bind.statement,
            types.len()
        );
        return Err(SqlError::new(PROTOCOL_VIOLATION, message));
    }
    let formats = &bind.parameter_formats;
    if formats.len() > 1 && formats.len() != types.len() {
        let message = format!("bind message has {} parameter formats but {} parameters", formats.len(), types.len());
        return Err(SqlError::new(PROTOCOL_VIOLATION, message));
    }
    let format_of = |index: usize| formats.get(if formats.len() == 1 { 0 } else { index }).copied().unwrap_or(0);
    let decode = |(index, (value, ty)): (usize, (&Option<Bytes>, &PgType))| match value {
        None => Ok(Datum::Null),
        Some(bytes) if format_of(index) == 1 => types::decode_binary(bytes, *ty, -1),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => types::parse_text(text, *ty, -1, settings),
            Err(_) => Err(SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\"")),
        },
    };
    bind.parameters.iter().zip(types).enumerate().map(decode).collect()
}
