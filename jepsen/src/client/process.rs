//! Connections to real processes.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::SimpleQueryMessage;

use super::{Client, Database, Failure, Rows};

/// Nodes by their SQL ports on loopback.
#[derive(Clone, Debug)]
pub struct ProcessDatabase {
    /// The ports.
    pub ports: Vec<u16>,
    /// An operation without an answer within this time counts as unknown.
    pub timeout: Duration,
}

impl ProcessDatabase {
    /// All nodes of a cluster.
    pub fn of(cluster: &crate::cluster::Cluster, timeout: Duration) -> Self {
        let ports = (0..cluster.len()).map(|index| cluster.node(index).ports().sql).collect();
        ProcessDatabase { ports, timeout }
    }
}

struct ProcessClient {
    client: tokio_postgres::Client,
    timeout: Duration,
}

#[async_trait]
impl Database for ProcessDatabase {
    fn nodes(&self) -> usize {
        self.ports.len()
    }

    async fn connect(&self, node: usize) -> Result<Box<dyn Client>, Failure> {
        let connect = crate::cluster::connect(self.ports[node]);
        match tokio::time::timeout(self.timeout, connect).await {
            Ok(Ok(client)) => Ok(Box::new(ProcessClient { client, timeout: self.timeout })),
            Ok(Err(error)) => Err(Failure { code: None, message: format!("{error:#}") }),
            Err(_) => Err(Failure { code: None, message: "the node did not accept a connection in time".to_owned() }),
        }
    }
}

#[async_trait]
impl Client for ProcessClient {
    async fn run(&mut self, sql: &str) -> Result<Rows, Failure> {
        let Ok(answer) = tokio::time::timeout(self.timeout, self.client.simple_query(sql)).await else {
            return Err(Failure { code: None, message: "no answer in time".to_owned() });
        };
        let messages = answer.map_err(|error| Failure {
            code: error.code().map(|code| code.code().to_owned()),
            message: error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned()),
        })?;
        let mut rows = Rows::new();
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(_) => rows.clear(),
                SimpleQueryMessage::Row(row) => {
                    rows.push((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect());
                }
                _ => {}
            }
        }
        Ok(rows)
    }
}
