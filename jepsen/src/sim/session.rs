//! SQL sessions of simulated nodes, as clients.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use sql::{CancelToken, ExecuteOptions, Outcome, Session, SessionParams, SqlError, SqlNode, TransactionStatus, types};

use super::Trace;
use crate::client::{Client, Database, Failure, Rows};

/// An operation without an answer within this virtual time counts as unknown.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The SQL side of every node that runs now.
#[derive(Clone)]
pub(super) struct SimDatabase {
    pub nodes: Arc<Mutex<Vec<Option<SqlNode>>>>,
    pub trace: Trace,
}

#[async_trait]
impl Database for SimDatabase {
    fn nodes(&self) -> usize {
        self.nodes.lock().len()
    }

    async fn connect(&self, node: usize) -> Result<Box<dyn Client>, Failure> {
        let sql = self.nodes.lock()[node].clone();
        let sql = sql.ok_or_else(|| broken("the node is down"))?;
        let params = SessionParams { user: "postgres".into(), database: "postgres".into(), ..SessionParams::default() };
        let opened = tokio::time::timeout(TIMEOUT, sql.open_session(params)).await;
        let session = opened.map_err(|_| broken("no session in time"))?.map_err(failure)?;
        Ok(Box::new(SimClient { database: self.clone(), node, session: Some(session) }))
    }
}

struct SimClient {
    database: SimDatabase,
    node: usize,
    session: Option<Session>,
}

#[async_trait]
impl Client for SimClient {
    async fn run(&mut self, sql: &str) -> Result<Rows, Failure> {
        let Some(session) = &mut self.session else { return Err(broken("the connection is broken")) };
        let result = tokio::time::timeout(TIMEOUT, run(session, sql)).await;
        // A session whose statement was cut off, or whose node is gone, is of no use any more.
        let result = match result {
            Ok(result) if self.database.nodes.lock()[self.node].is_some() => result.map_err(failure),
            _ => {
                self.session = None;
                Err(broken("no answer"))
            }
        };
        let now = tokio::time::Instant::now().duration_since(start()).as_nanos();
        self.database.trace.record(&format!("{now} n{} {sql} => {result:?}", self.node + 1));
        result
    }
}

/// When the runtime's virtual time began, as far as this run is concerned: the first time it is asked.
fn start() -> tokio::time::Instant {
    thread_local! {
        static START: std::cell::OnceCell<tokio::time::Instant> = const { std::cell::OnceCell::new() };
    }
    START.with(|start| *start.get_or_init(tokio::time::Instant::now))
}

fn broken(message: &str) -> Failure {
    Failure { code: None, message: message.to_owned() }
}

fn failure(error: SqlError) -> Failure {
    Failure { code: Some(error.code.to_owned()), message: error.message.clone() }
}

async fn run(session: &mut Session, text: &str) -> Result<Rows, SqlError> {
    let result = run_all(session, text).await;
    match result {
        Ok(rows) => Ok(rows),
        Err(error) => {
            session.fail().await;
            Err(error)
        }
    }
}

async fn run_all(session: &mut Session, text: &str) -> Result<Rows, SqlError> {
    let statements = session.parse(text)?;
    let last = statements.len().saturating_sub(1);
    let mut answer = Rows::new();
    for (index, statement) in statements.iter().enumerate() {
        let prepared = session.prepare(statement, &[]).await?;
        let options = ExecuteOptions { end_of_implicit: index == last, cancel: CancelToken::new() };
        if let Outcome::Rows { columns, mut rows, .. } = session.execute(&prepared, Vec::new(), options).await? {
            let settings = session.view().types.clone();
            answer.clear();
            while let Some(batch) = rows.next().await? {
                for row in batch {
                    let text = |(datum, column): (&types::Datum, &sql::Column)| match datum {
                        types::Datum::Null => None,
                        datum => Some(types::to_text(datum, column.ty, column.typmod, &settings)),
                    };
                    answer.push(row.iter().zip(columns.iter()).map(text).collect());
                }
            }
        }
    }
    if session.transaction_status() == TransactionStatus::Idle {
        session.sync().await?;
    }
    Ok(answer)
}
