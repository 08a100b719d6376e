//! A database as a workload sees it: nodes that take SQL text and answer rows of text, or fail.
//!
//! The same workload runs against real processes and in simulation, since it knows only these two traits and tokio's
//! clock, which the simulation makes virtual.

mod isolation;
mod process;
mod url;

use async_trait::async_trait;

pub use isolation::{AtIsolation, Isolation};
pub use process::ProcessDatabase;
pub use url::UrlDatabase;

/// Rows of text; `None` is NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// Why SQL brought no rows.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {message}", code.as_deref().unwrap_or("connection"))]
pub struct Failure {
    /// SQLSTATE; `None` when the connection broke.
    pub code: Option<String>,
    /// What was said.
    pub message: String,
}

impl Failure {
    /// Whether the transaction certainly had no effect.
    ///
    /// A broken connection says nothing, and neither do 40003 (unknown) nor class 08 (connection).
    pub fn is_definite(&self) -> bool {
        self.code.as_deref().is_some_and(|code| code != "40003" && !code.starts_with("08") && !code.starts_with("57P"))
    }

    /// Whether the connection is of no use any more.
    pub fn is_fatal(&self) -> bool {
        self.code.as_deref().is_none_or(|code| code.starts_with("08") || code.starts_with("57P"))
    }

    /// Whether it will be the same however often it is tried: the text is wrong, or the database lacks what it asks for.
    pub fn is_hopeless(&self) -> bool {
        matches!(self.code.as_deref(), Some("42601" | "0A000" | "42883"))
    }
}

/// What a database understands beyond SQL that every PostgreSQL understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Ours: ranges can be split, the past can be read.
    Meridian,
    /// PostgreSQL, as a control.
    PostgreSql,
}

/// One connection to one node.
#[async_trait]
pub trait Client: Send {
    /// Runs SQL text; returns the rows of its last statement.
    ///
    /// # Errors
    /// What the database says, or that the connection broke.
    async fn run(&mut self, sql: &str) -> Result<Rows, Failure>;
}

/// All nodes of a database.
#[async_trait]
pub trait Database: Send + Sync {
    /// How many nodes there are.
    fn nodes(&self) -> usize;

    /// What it understands.
    fn dialect(&self) -> Dialect {
        Dialect::Meridian
    }

    /// A connection to a node, counted from 0.
    ///
    /// # Errors
    /// When the node does not accept it.
    async fn connect(&self, node: usize) -> Result<Box<dyn Client>, Failure>;
}

/// Runs SQL on any node that takes it, trying all of them for up to half a minute: for setting up and for final reads. The text must
/// bear being run twice. One that the database does not understand fails at once.
///
/// # Errors
/// The last failure.
pub async fn run_anywhere(database: &dyn Database, sql: &str) -> Result<Rows, Failure> {
    Ok(run_all_anywhere(database, &[sql]).await?.pop().unwrap_or_default())
}

/// The same with several statements, one after the other on one connection; all of them again where one fails. Returns the rows of
/// each.
///
/// # Errors
/// The last failure.
pub async fn run_all_anywhere(database: &dyn Database, statements: &[&str]) -> Result<Vec<Rows>, Failure> {
    let mut last = Failure { code: None, message: "there are no nodes".to_owned() };
    for attempt in 0..120 {
        match run_all(database, attempt % database.nodes(), statements).await {
            Ok(rows) => return Ok(rows),
            Err(failure) if failure.is_hopeless() => return Err(failure),
            Err(failure) => last = failure,
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    Err(last)
}

async fn run_all(database: &dyn Database, node: usize, statements: &[&str]) -> Result<Vec<Rows>, Failure> {
    let mut client = database.connect(node).await?;
    let mut rows = Vec::with_capacity(statements.len());
    for sql in statements {
        rows.push(client.run(sql).await?);
    }
    Ok(rows)
}

/// Splits a table's ranges at a key, where there are ranges.
///
/// # Errors
/// What the database says.
pub async fn split(database: &dyn Database, table: &str, key: u64) -> Result<(), Failure> {
    if database.dialect() == Dialect::Meridian {
        run_anywhere(database, &format!("ALTER TABLE {table} SPLIT AT VALUES ({key})")).await?;
    }
    Ok(())
}
