//! Golden scripts: SQL text against sessions of one node, over one unreplicated range in memory.
//!
//! Each block's statements are raw lines (`> SELECT 1`); `b:> SELECT 1` speaks in another session. COPY data follows its statement
//! as `copy <text>` lines, where `\t` and `\n` stand for themselves, ended by `copy` alone. How long things took is left out.
#![allow(missing_docs, clippy::disallowed_methods, reason = "a test reads its own scripts")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Hlc, Random, SimulatedTime, Tasks, VolatileCeiling};
use goldenscript::{Command, Context};
use sql::types::{Datum, to_text};
use sql::{
    CheckView, ClusterView, CopyIn, DecisionView, ExecuteOptions, NodeView, Outcome, RangeView, Session, SessionParams,
    SettingView, SqlError, SqlNode, SqlNodeConfig, SqlSettings,
};

struct OneRange;

#[async_trait]
impl ClusterView for OneRange {
    async fn ranges(&self, start: Bytes, end: Bytes) -> Result<Vec<RangeView>, SqlError> {
        // An empty end is no end: as the cluster sees it, such a span holds nothing.
        if start >= end {
            return Ok(Vec::new());
        }
        let requests = Some(12.34);
        Ok(vec![RangeView { range_id: 1, replicas: vec![1], leaseholder: Some(1), requests, ..RangeView::default() }])
    }
    async fn explain_range(&self, range_id: u64) -> Result<Vec<DecisionView>, SqlError> {
        if range_id != 1 {
            return Err(SqlError::new("22023", format!("there is no range {range_id}")));
        }
        let (action, reason) = ("split".to_owned(), "11 bytes are more than 10".to_owned());
        let past = DecisionView { node_id: 1, at: Some(1_790_000_000_000_000), action, reason };
        let (action, reason) = ("nothing".to_owned(), "as it should be".to_owned());
        Ok(vec![past, DecisionView { node_id: 1, at: None, action, reason }])
    }
    fn nodes(&self) -> Vec<NodeView> {
        vec![NodeView {
            node_id: 1,
            address: "localhost:7433".into(),
            locality: "region=a".into(),
            live: true,
            membership: "active",
            replicas: Some(1),
            leases: Some(1),
            bytes: Some(70),
            requests: Some(12),
        }]
    }
    async fn split_at(&self, _: Bytes) -> Result<(), SqlError> {
        Ok(())
    }
    async fn check(&self, start: Bytes, end: Bytes) -> Result<Vec<CheckView>, SqlError> {
        let detail = "n1: checksum 0000abcd, 7 entries, 70 bytes at index 9".to_owned();
        Ok(vec![CheckView { range_id: 1, start, end, status: "consistent", detail }])
    }
    fn settings(&self) -> Vec<SettingView> {
        let setting = |(name, value)| SettingView { name, value, description: "what it does" };
        let rows = [("cluster.replication_factor", "3"), ("server.consistency_check.interval", "24h")];
        rows.map(|(name, value)| setting((name, value.to_owned()))).into()
    }
    async fn set_setting(&self, name: &str, value: Option<&str>) -> Result<(), SqlError> {
        let known = self.settings().iter().any(|setting| setting.name == name);
        match value {
            _ if !known => Err(SqlError::no_cluster_setting(name)),
            Some("4") => Err(SqlError::new("22023", "expected an odd number")),
            _ => Ok(()),
        }
    }
}

struct Runner {
    runtime: tokio::runtime::Runtime,
    node: SqlNode,
    sessions: BTreeMap<String, Session>,
    copying: Option<CopyIn>,
}

impl Runner {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        let node = runtime.block_on(async {
            let time = SimulatedTime::starting_at(1_790_000_000_000_000_000, Duration::ZERO);
            let hlc = Hlc::new(Arc::new(time), Duration::ZERO, Arc::new(VolatileCeiling), clock::Timestamp::MIN);
            let hlc = Arc::new(hlc);
            let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
            let random = Random::from_seed(7);
            let sender = kv::local_range(hlc.clone(), tasks.clone(), random.fork("kv"), kv::Settings::default());
            let database =
                txn::Database::new(sender, hlc, tasks.clone(), random.fork("txn"), 1, txn::Settings::default());
            let config = SqlNodeConfig {
                database,
                cluster: Arc::new(OneRange),
                node_id: 1,
                query_tasks: tasks.clone(),
                tasks,
                random: random.fork("sql"),
                settings: SqlSettings::default(),
            };
            SqlNode::start(config).await.expect("the node starts")
        });
        Runner { runtime, node, sessions: BTreeMap::new(), copying: None }
    }
}

impl goldenscript::Runner for Runner {
    type Command = Command;

    fn run(&mut self, command: &Command, context: &Context) -> Result<String, Box<dyn Error>> {
        let name = context.prefix.clone().unwrap_or_default();
        let node = self.node.clone();
        let (runtime, sessions, copying) = (&self.runtime, &mut self.sessions, &mut self.copying);
        runtime.block_on(async {
            if !sessions.contains_key(&name) {
                let params = SessionParams {
                    user: "postgres".into(),
                    database: "postgres".into(),
                    backend_pid: 1,
                    ..SessionParams::default()
                };
                sessions.insert(name.clone(), node.open_session(params).await?);
            }
            let session = sessions.get_mut(&name).expect("it was opened above");
            let mut out = String::new();
            if command.name == "copy" {
                copy(session, copying, command, &mut out).await;
            } else if command.name == "sleep" {
                tokio::time::sleep(Duration::from_millis(500)).await;
            } else {
                simple_query(session, &command.name, copying, &mut out).await;
            }
            for notice in session.take_notices() {
                writeln!(out, "{}: {}", notice.severity, notice.error.message)?;
            }
            for (name, value) in session.take_parameter_changes() {
                writeln!(out, "{name} = {value}")?;
            }
            Ok(out)
        })
    }
}

async fn copy(session: &mut Session, copying: &mut Option<CopyIn>, command: &Command, out: &mut String) {
    let result = if command.args.is_empty() {
        match copying.take() {
            Some(copy) => match copy.finish().await {
                Ok(tag) => session.sync().await.map(|()| Some(tag)),
                Err(error) => Err(error),
            },
            None => Ok(None),
        }
    } else if let Some(copy) = copying {
        let text = command
            .args
            .iter()
            .map(|argument| match argument {
                goldenscript::Argument::Positional(text) | goldenscript::Argument::KeyValue(text, _) => text.clone(),
                _ => String::new(),
            })
            .collect::<Vec<_>>()
            .join("\t");
        copy.write(Bytes::from(text)).await.map(|()| None)
    } else {
        Ok(None)
    };
    match result {
        Ok(Some(tag)) => out.push_str(&format!("{tag}\n")),
        Ok(None) => {}
        Err(error) => {
            *copying = None;
            session.fail().await;
            print_error(&error, out);
        }
    }
}

async fn simple_query(session: &mut Session, text: &str, copying: &mut Option<CopyIn>, out: &mut String) {
    let result = async {
        let statements = session.parse(text)?;
        let count = statements.len();
        for (at, statement) in statements.iter().enumerate() {
            let options = ExecuteOptions { end_of_implicit: at + 1 == count, ..ExecuteOptions::default() };
            let prepared = session.prepare(statement, &[], &options).await?;
            match session.execute(&prepared, Vec::new(), options).await? {
                Outcome::Empty => out.push_str("(empty)\n"),
                Outcome::Command { tag } => out.push_str(&format!("{tag}\n")),
                Outcome::Rows { columns, rows, tag } => {
                    let rows = rows.collect().await?;
                    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                    out.push_str(&format!("{}\n", names.join(" | ")));
                    let view = session.view();
                    for row in &rows {
                        let values: Vec<String> = row
                            .iter()
                            .zip(columns.iter())
                            .map(|(value, column)| match value {
                                Datum::Null => "NULL".to_owned(),
                                value => without_times(to_text(value, column.ty, column.typmod, &view.types)),
                            })
                            .collect();
                        out.push_str(&format!("  {}\n", values.join(" | ")));
                    }
                    out.push_str(&format!("{}\n", tag.render(rows.len() as u64)));
                }
                Outcome::CopyIn(copy) => {
                    out.push_str(&format!("copy in, {} columns\n", copy.columns));
                    *copying = Some(*copy);
                    return Ok(());
                }
                Outcome::CopyOut { mut data, .. } => {
                    while let Some(chunk) = data.next().await? {
                        for line in chunk.lines {
                            out.push_str(&String::from_utf8_lossy(&line));
                        }
                    }
                }
            }
        }
        session.sync().await
    };
    if let Err(error) = result.await {
        session.fail().await;
        print_error(&error, out);
    }
}

/// What EXPLAIN ANALYZE says, but for how long it took.
fn without_times(line: String) -> String {
    let time = line.strip_suffix(" ms").and_then(|rest| rest.rsplit_once(' '));
    match time.filter(|(_, number)| number.parse::<f64>().is_ok()) {
        Some((before, _)) => format!("{before} … ms"),
        None => line,
    }
}

fn print_error(error: &SqlError, out: &mut String) {
    out.push_str(&format!("ERROR {}: {}", error.code, error.message));
    if let Some(position) = error.position {
        out.push_str(&format!(" (at {position})"));
    }
    out.push('\n');
    for (what, text) in [("DETAIL", &error.detail), ("HINT", &error.hint), ("CONTEXT", &error.context)] {
        if let Some(text) = text {
            out.push_str(&format!("{what}: {text}\n"));
        }
    }
}

#[test]
fn scripts() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let wanted = std::env::var("SCRIPT").unwrap_or_default();
    let mut paths = Vec::new();
    for group in std::fs::read_dir(folder).expect("the scripts are there").flatten() {
        paths.extend(std::fs::read_dir(group.path()).expect("groups are folders").flatten().map(|entry| entry.path()));
    }
    paths.sort();
    for path in paths.iter().filter(|path| path.to_string_lossy().contains(&wanted)) {
        goldenscript::run(&mut Runner::new(), path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
