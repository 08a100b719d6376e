//! SQL sessions of simulated nodes, as clients.
//!
//! Clients begin transactions at a common rate, so that a simulated second costs about the same whatever the workload and
//! however fast the cluster: whoever begins one waits for its turn. In some runs they think before they go on with one, so
//! that what it has locked is met by others, who push it.
//!
//! A statement runs as a task of the node, as it does behind a connection: a client that no longer waits for its answer leaves it
//! running, and its session is closed once it has ended.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::{Random, SimulatedTime, Tasks};
use parking_lot::Mutex;
use sql::{ExecuteOptions, Outcome, Session, SessionParams, SqlError, SqlNode, TransactionStatus, types};
use tokio::sync::oneshot;

use super::watch::Watch;
use crate::client::{Client, Database, Failure, Rows};

/// An operation without an answer within this virtual time counts as unknown.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How long a client that met a node that is down takes to find out, and so do not come back at once.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

/// The SQL side of every node that runs now.
#[derive(Clone)]
pub(super) struct SimDatabase {
    nodes: Arc<Mutex<Vec<Option<Life>>>>,
    watch: Watch,
    pacer: Option<Pacer>,
    clients: Clients,
}

/// How clients are.
#[derive(Clone)]
pub(super) struct Clients {
    /// Transactions that they begin a simulated second, all together.
    pub rate: Option<u64>,
    /// How long they think, at most, before they go on with a transaction.
    pub thinking: Duration,
    /// What each session asks for first.
    pub prelude: Option<&'static str>,
    pub random: Random,
}

impl Clients {
    async fn think(&self) {
        let most_us = u64::try_from(self.thinking.as_micros()).unwrap_or(u64::MAX);
        if most_us > 0 {
            tokio::time::sleep(Duration::from_micros(self.random.range(0, most_us))).await;
        }
    }
}

/// A node that takes sessions.
#[derive(Clone)]
struct Life {
    number: u64,
    sql: SqlNode,
    /// Those of the node, which end with its life.
    tasks: Tasks,
}

/// Hands out turns.
#[derive(Clone)]
struct Pacer {
    time: SimulatedTime,
    interval_ns: u64,
    next_ns: Arc<Mutex<u64>>,
}

impl Pacer {
    async fn turn(&self) {
        let now_ns = self.time.true_ns();
        let at_ns = {
            let mut next_ns = self.next_ns.lock();
            let at_ns = (*next_ns).max(now_ns);
            *next_ns = at_ns + self.interval_ns;
            at_ns
        };
        tokio::time::sleep(Duration::from_nanos(at_ns - now_ns)).await;
    }
}

impl SimDatabase {
    pub fn new(watch: Watch, time: SimulatedTime, clients: Clients) -> SimDatabase {
        let pacer = |rate: u64| Pacer { time, interval_ns: 1_000_000_000 / rate.max(1), next_ns: Arc::default() };
        SimDatabase { nodes: Arc::default(), watch, pacer: clients.rate.map(pacer), clients }
    }

    pub fn add_node(&self) {
        self.nodes.lock().push(None);
    }

    pub fn node_is_up(&self, index: usize, number: u64, sql: SqlNode, tasks: Tasks) {
        self.nodes.lock()[index] = Some(Life { number, sql, tasks });
    }

    pub fn node_is_down(&self, index: usize) {
        self.nodes.lock()[index] = None;
    }

    fn life(&self, node: usize) -> Option<Life> {
        self.nodes.lock()[node].clone()
    }
}

#[async_trait]
impl Database for SimDatabase {
    fn nodes(&self) -> usize {
        self.nodes.lock().len()
    }

    async fn connect(&self, node: usize) -> Result<Box<dyn Client>, Failure> {
        let Some(life) = self.life(node) else {
            tokio::time::sleep(REFUSED_PAUSE).await;
            return Err(broken("the node is down"));
        };
        let params = SessionParams { user: "postgres".into(), database: "postgres".into(), ..SessionParams::default() };
        let sql = life.sql.clone();
        let opening = life.tasks.spawn("session", async move { sql.open_session(params).await });
        let Ok(Ok(opened)) = tokio::time::timeout(TIMEOUT, opening).await else {
            return Err(broken("no session in time"));
        };
        let session = opened.map_err(failure)?;
        let mut client = SimClient { database: self.clone(), node, life, session: Some(session) };
        if let Some(prelude) = self.clients.prelude {
            client.run(prelude).await?;
        }
        Ok(Box::new(client))
    }
}

struct SimClient {
    database: SimDatabase,
    node: usize,
    life: Life,
    session: Option<Session>,
}

impl SimClient {
    async fn begin_turn(&self) {
        match self.session.as_ref().map(Session::transaction_status) {
            Some(TransactionStatus::Idle) => {
                if let Some(pacer) = &self.database.pacer {
                    pacer.turn().await;
                }
            }
            Some(TransactionStatus::InTransaction) => self.database.clients.think().await,
            _ => {}
        }
    }

    fn is_alive(&self) -> bool {
        self.database.life(self.node).is_some_and(|life| life.number == self.life.number)
    }
}

#[async_trait]
impl Client for SimClient {
    async fn run(&mut self, sql: &str) -> Result<Rows, Failure> {
        self.begin_turn().await;
        let Some(mut session) = self.session.take() else { return Err(broken("the connection is broken")) };
        let (answer_to, answer) = oneshot::channel();
        let text = sql.to_owned();
        drop(self.life.tasks.spawn("statement", async move {
            let result = run(&mut session, &text).await;
            if let Err((session, _)) = answer_to.send((session, result)) {
                session.close().await;
            }
        }));
        let result = match tokio::time::timeout(TIMEOUT, answer).await {
            Ok(Ok((session, result))) => {
                self.session = Some(session);
                // What a process that is gone has said did not arrive.
                if self.is_alive() { result.map_err(failure) } else { Err(broken("no answer")) }
            }
            _ => Err(broken("no answer")),
        };
        if !self.is_alive() {
            self.session = None;
        }
        self.database.watch.answered(self.node, || format!("{sql} => {result:?}"));
        result
    }
}

impl Drop for SimClient {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            drop(self.life.tasks.spawn("session end", session.close()));
        }
    }
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
        let options = ExecuteOptions { end_of_implicit: index == last, ..ExecuteOptions::default() };
        let prepared = session.prepare(statement, &[], &options).await?;
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
