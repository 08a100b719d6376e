//! The simple query protocol: a string of statements, run one after the other.

use clock::TimeSlice;
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};
use sql::{ExecuteOptions, Outcome, SqlError, Statement};
use tokio::io::{AsyncRead, AsyncWrite};

use super::rows::Formats;
use super::{Connection, Failure, watched};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    /// Runs all statements of a string, in one implicit transaction unless they say otherwise.
    pub(super) async fn simple_query(&mut self, text: String) -> Result<(), Failure> {
        // The unnamed statement and portal do not outlive a simple query.
        self.session.close_prepared("");
        self.portals.remove("");
        let statements = self.parse_text(text).await?;
        if statements.is_empty() {
            self.framed.send(&EmptyQueryResponse::new());
        }
        let last = statements.len().saturating_sub(1);
        let mut slice = TimeSlice::begin();
        for (index, statement) in statements.into_iter().enumerate() {
            slice.give_way().await;
            self.simple_statement(statement, index == last).await?;
        }
        self.session.sync().await?;
        Ok(self.ready().await?)
    }

    async fn simple_statement(&mut self, statement: Statement, is_last: bool) -> Result<(), Failure> {
        let cancel = self.begin_cancellable();
        let result = self.run_statement(statement, is_last, &cancel).await;
        self.end_cancellable();
        result
    }

    async fn run_statement(
        &mut self,
        statement: Statement,
        is_last: bool,
        cancel: &sql::CancelToken,
    ) -> Result<(), Failure> {
        let options = self.options(is_last, cancel);
        let prepared = watched(&mut self.framed, cancel, self.session.prepare(&statement, &[], &options)).await?;
        if let Some(index) = prepared.params.len().checked_sub(1) {
            return Err(SqlError::new("42P02", format!("there is no parameter ${}", index + 1)).into());
        }
        let work = self.session.execute(&prepared, Vec::new(), options);
        let outcome = watched(&mut self.framed, cancel, work).await?;
        self.send_outcome(outcome, is_last, cancel).await
    }

    /// Cuts a text into statements.
    pub(super) async fn parse_text(&mut self, text: String) -> Result<Vec<Statement>, Failure> {
        let cancel = self.begin_cancellable();
        let options = self.options(false, &cancel);
        let parsed = watched(&mut self.framed, &cancel, self.session.parse_in_time(text, &options)).await;
        self.end_cancellable();
        Ok(parsed?)
    }

    /// How the statement at hand is executed.
    pub(super) fn options(&self, end_of_implicit: bool, cancel: &sql::CancelToken) -> ExecuteOptions {
        ExecuteOptions { end_of_implicit, cancel: cancel.clone(), begun: Some(self.begun) }
    }

    async fn send_outcome(
        &mut self,
        outcome: Outcome,
        is_last: bool,
        cancel: &sql::CancelToken,
    ) -> Result<(), Failure> {
        let tag = match outcome {
            Outcome::Empty => {
                self.framed.send(&EmptyQueryResponse::new());
                return Ok(());
            }
            Outcome::Command { tag } => tag,
            Outcome::Rows { columns, mut rows, tag } => {
                let formats = Formats::text(columns.len());
                self.send_row_description(&columns, &formats);
                let count = self.send_rows(&columns, &formats, &mut rows, cancel).await?;
                drop(rows);
                if is_last {
                    self.session.sync().await?;
                }
                tag.render(count)
            }
            Outcome::CopyIn(copy) => Box::pin(self.copy_in(*copy, cancel)).await?,
            Outcome::CopyOut { columns, data } => Box::pin(self.copy_out(columns, data, cancel)).await?,
        };
        self.send_notices();
        self.framed.send(&CommandComplete::new(tag));
        self.shared.metrics.statement_done(self.begun.elapsed());
        Ok(self.framed.flush_if_full().await?)
    }

    /// Makes the statement that is about to run one that can be cancelled.
    pub(super) fn begin_cancellable(&mut self) -> sql::CancelToken {
        self.begun = tokio::time::Instant::now();
        let token = sql::CancelToken::new();
        self.shared.cancels.set(self.key, Some(token.clone()));
        if self.guest.must_leave() {
            token.cancel();
        }
        token
    }

    /// The statement has ended.
    pub(super) fn end_cancellable(&mut self) {
        self.shared.cancels.set(self.key, None);
    }
}
