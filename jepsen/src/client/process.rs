//! Connections to real processes.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::SimpleQueryMessage;

use super::{Client, Database, Failure, Rows};
use crate::cluster::{self, Cluster};

/// An operation without an answer counts as unknown after this time: longer than a statement waits for a quorum.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);

/// Nodes by their SQL addresses.
#[derive(Clone, Debug)]
pub struct ProcessDatabase {
    /// The addresses.
    pub addresses: Vec<SocketAddr>,
    /// An operation without an answer within this time counts as unknown.
    pub timeout: Duration,
}

impl ProcessDatabase {
    /// The nodes of a cluster.
    pub fn of(cluster: &Cluster) -> Self {
        let addresses = (0..cluster.len()).map(|index| cluster.sql_address(index)).collect();
        ProcessDatabase { addresses, timeout: TIMEOUT }
    }
}

/// A connection that sends statements as text.
pub(super) struct TextClient {
    pub client: tokio_postgres::Client,
    pub timeout: Duration,
}

#[async_trait]
impl Database for ProcessDatabase {
    fn nodes(&self) -> usize {
        self.addresses.len()
    }

    async fn connect(&self, node: usize) -> Result<Box<dyn Client>, Failure> {
        let connect = cluster::connect_to(self.addresses[node]);
        match tokio::time::timeout(self.timeout, connect).await {
            Ok(Ok(client)) => Ok(Box::new(TextClient { client, timeout: self.timeout })),
            Ok(Err(error)) => Err(Failure { code: None, message: format!("{error:#}") }),
            Err(_) => Err(Failure { code: None, message: "the node did not accept a connection in time".to_owned() }),
        }
    }
}

#[async_trait]
impl Client for TextClient {
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
