//! The seam between the session and the planner of queries.
//!
//! ```text
//!   session ── QueryContext {transaction, catalog, parameters, settings} ──▶ QueryPlanner::plan ──▶ QueryPlan
//!                                                                            QueryPlan::execute ──▶ RowStream
//! ```
//!
//! The session serves single-table statements on a key by itself and hands every other query over. A plan is used again
//! as long as the catalog version it was made for is current; it holds no transaction.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::sql::sqlparser::ast;

use crate::catalog::Catalog;
use crate::error::SqlError;
use crate::memory::ClientMemory;
use crate::node::SessionSequences;
use crate::session::{Column, RowStream, SessionView};
use crate::types::{Datum, PgType};

/// Plans queries. One serves all sessions of a node.
#[async_trait]
pub trait QueryPlanner: Send + Sync + 'static {
    /// Plans a query. `given_types` are the parameter types the client fixed; the others are inferred.
    ///
    /// # Errors
    /// Whatever binding meets: unknown names, types that do not fit, unsupported clauses.
    async fn plan(
        &self,
        query: &ast::Query,
        given_types: &[Option<PgType>],
        context: &QueryContext,
    ) -> Result<Arc<dyn QueryPlan>, SqlError>;
}

/// A planned query.
#[async_trait]
pub trait QueryPlan: Send + Sync + 'static {
    /// What its rows consist of.
    fn columns(&self) -> Arc<[Column]>;

    /// The types of its parameters, `$1` first.
    fn params(&self) -> &[PgType];

    /// The tables it reads, by ID.
    fn tables(&self) -> &[u32];

    /// A function in it that moves sequences, if there is one.
    fn moves_sequences(&self) -> Option<&'static str>;

    /// Starts it.
    ///
    /// # Errors
    /// Whatever computing the first rows meets.
    async fn execute(&self, context: &QueryContext) -> Result<RowStream, SqlError>;

    /// The plan as EXPLAIN prints it, a line each; `analyze` executes it first and adds what it came to.
    ///
    /// # Errors
    /// As [`QueryPlan::execute`].
    async fn explain(&self, context: &QueryContext, options: ExplainOptions) -> Result<Vec<String>, SqlError>;
}

/// What EXPLAIN was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExplainOptions {
    /// Execute it and report rows, time and ranges.
    pub analyze: bool,
    /// Say more.
    pub verbose: bool,
}

/// What a query is planned and executed in.
#[derive(Clone)]
pub struct QueryContext {
    /// The transaction to read in; `None` while only planning.
    pub transaction: Option<Arc<txn::Transaction>>,
    /// The tables, as this transaction sees them.
    pub catalog: Arc<Catalog>,
    /// The parameters' values, `$1` first; empty while only planning.
    pub params: Arc<[Datum]>,
    /// The session's settings.
    pub session: Arc<SessionView>,
    /// The sequences it draws from.
    pub(crate) sequences: SessionSequences,
    /// What its client holds.
    pub(crate) memory: ClientMemory,
}
