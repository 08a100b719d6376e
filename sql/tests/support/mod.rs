//! What tests of nodes and sessions have in common: nodes on one unreplicated range in memory.
#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Hlc, Random, SimulatedTime, Tasks, VolatileCeiling};
use sql::{
    CancelToken, CheckView, ClusterView, DecisionView, ExecuteOptions, NodeView, Outcome, RangeView, Row, Session,
    SessionParams, SettingView, SqlError, SqlNode, SqlNodeConfig, SqlSettings,
};

struct OneRange;

#[async_trait]
impl ClusterView for OneRange {
    async fn ranges(&self, _: Bytes, _: Bytes) -> Result<Vec<RangeView>, SqlError> {
        Ok(Vec::new())
    }
    async fn explain_range(&self, _: u64) -> Result<Vec<DecisionView>, SqlError> {
        Ok(Vec::new())
    }
    fn nodes(&self) -> Vec<NodeView> {
        Vec::new()
    }
    async fn split_at(&self, _: Bytes) -> Result<(), SqlError> {
        Ok(())
    }
    async fn check(&self, _: Bytes, _: Bytes) -> Result<Vec<CheckView>, SqlError> {
        Ok(Vec::new())
    }
    fn settings(&self) -> Vec<SettingView> {
        Vec::new()
    }
    async fn set_setting(&self, name: &str, _: Option<&str>) -> Result<(), SqlError> {
        Err(SqlError::no_cluster_setting(name))
    }
}

/// As many nodes as asked for, all on one range.
pub async fn nodes(count: u64, seed: u64, settings: SqlSettings) -> Vec<SqlNode> {
    let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
    nodes_on(count, seed, settings, tasks.clone(), tasks).await
}

/// Likewise, with their tasks and queries there.
pub async fn nodes_on(count: u64, seed: u64, settings: SqlSettings, tasks: Tasks, query_tasks: Tasks) -> Vec<SqlNode> {
    nodes_behind(count, seed, settings, tasks, query_tasks, |range| range).await
}

/// Likewise, with something between them and the range.
pub async fn nodes_behind(
    count: u64,
    seed: u64,
    settings: SqlSettings,
    tasks: Tasks,
    query_tasks: Tasks,
    between: impl FnOnce(Arc<dyn kv::api::Sender>) -> Arc<dyn kv::api::Sender>,
) -> Vec<SqlNode> {
    let time = SimulatedTime::starting_at(1_790_000_000_000_000_000, Duration::ZERO);
    let hlc = Arc::new(Hlc::new(Arc::new(time), Duration::ZERO, Arc::new(VolatileCeiling), clock::Timestamp::MIN));
    let random = Random::from_seed(seed);
    let sender = kv::local_range(hlc.clone(), tasks.clone(), random.fork("kv"), kv::Settings::default());
    let sender = between(sender);
    let mut nodes = Vec::new();
    for node_id in 1..=count {
        let random = random.fork(&format!("node {node_id}"));
        let (sender, hlc, tasks) = (sender.clone(), hlc.clone(), tasks.clone());
        let txn = txn::Settings::default();
        let database = txn::Database::new(sender, hlc, tasks.clone(), random.fork("txn"), node_id, txn);
        let (cluster, settings) = (Arc::new(OneRange), settings.clone());
        let config = SqlNodeConfig {
            database,
            cluster,
            node_id,
            tasks,
            query_tasks: query_tasks.clone(),
            random: random.fork("sql"),
            settings,
        };
        nodes.push(SqlNode::start(config).await.expect("the node starts"));
    }
    nodes
}

/// A session of the superuser.
pub async fn session(node: &SqlNode) -> Session {
    let params = SessionParams { user: "postgres".into(), database: "postgres".into(), ..SessionParams::default() };
    node.open_session(params).await.expect("the session opens")
}

/// Runs statements as one batch, until cancelled; the rows of the last one.
pub async fn run_until(session: &mut Session, text: &str, cancel: &CancelToken) -> Result<Vec<Row>, SqlError> {
    let result = async {
        let mut rows = Vec::new();
        let parsing = ExecuteOptions { cancel: cancel.clone(), ..ExecuteOptions::default() };
        let statements = session.parse_in_time(text.to_owned(), &parsing).await?;
        let last = statements.len() - 1;
        for (at, statement) in statements.iter().enumerate() {
            let options =
                ExecuteOptions { end_of_implicit: at == last, cancel: cancel.clone(), ..ExecuteOptions::default() };
            let prepared = session.prepare(statement, &[], &options).await?;
            if let Outcome::Rows { rows: stream, .. } = session.execute(&prepared, Vec::new(), options).await? {
                rows = stream.collect().await?;
            }
        }
        session.sync().await?;
        Ok(rows)
    };
    let result = result.await;
    if result.is_err() {
        session.fail().await;
    }
    result
}

/// Runs statements as one batch; the rows of the last one.
pub async fn run(session: &mut Session, text: &str) -> Result<Vec<Row>, SqlError> {
    run_until(session, text, &CancelToken::new()).await
}

/// A test in a runtime of its own.
pub fn in_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built").block_on(test);
}
