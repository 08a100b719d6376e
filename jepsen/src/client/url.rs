//! Somebody else's database, by its URL.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::NoTls;

use super::process::{TIMEOUT, TextClient};
use super::{Client, Database, Dialect, Failure};

/// One server, as if it were a cluster of one node.
#[derive(Clone, Debug)]
pub struct UrlDatabase {
    url: String,
    dialect: Dialect,
}

impl UrlDatabase {
    /// Connects once, to learn what the server understands.
    ///
    /// # Errors
    /// When the server does not take the connection.
    pub async fn open(url: &str) -> Result<Self, Failure> {
        let probe = UrlDatabase { url: url.to_owned(), dialect: Dialect::PostgreSql };
        let rows = probe.connect(0).await?.run("SELECT version()").await?;
        let version = rows.first().and_then(|row| row.first()).and_then(Option::as_deref).unwrap_or_default();
        let dialect = if version.contains("Meridian") { Dialect::Meridian } else { Dialect::PostgreSql };
        Ok(UrlDatabase { dialect, ..probe })
    }
}

#[async_trait]
impl Database for UrlDatabase {
    fn nodes(&self) -> usize {
        1
    }

    fn dialect(&self) -> Dialect {
        self.dialect
    }

    async fn connect(&self, _node: usize) -> Result<Box<dyn Client>, Failure> {
        let connect = tokio_postgres::connect(&self.url, NoTls);
        let failed = |message: String| Failure { code: None, message };
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect).await;
        let connected = connected.map_err(|_| failed("the server did not accept a connection in time".to_owned()))?;
        let (client, connection) = connected.map_err(|error| failed(error.to_string()))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
        });
        Ok(Box::new(TextClient { client, timeout: TIMEOUT }))
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
