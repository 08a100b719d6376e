//! A database at a chosen isolation level: each connection asks for it first.

use async_trait::async_trait;

use super::{Client, Database, Dialect, Failure};

/// What a transaction is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Isolation {
    /// Each statement reads what is committed.
    ReadCommitted,
    /// All statements read from one snapshot.
    RepeatableRead,
    /// As if one after the other.
    Serializable,
}

impl Isolation {
    /// As SQL has it.
    pub fn sql(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "read committed",
            Isolation::RepeatableRead => "repeatable read",
            Isolation::Serializable => "serializable",
        }
    }
}

/// Another database, at a level.
pub struct AtIsolation<'a> {
    /// The database.
    pub inner: &'a dyn Database,
    /// The level.
    pub isolation: Isolation,
    /// What the database understands.
    pub dialect: Dialect,
}

#[async_trait]
impl Database for AtIsolation<'_> {
    fn nodes(&self) -> usize {
        self.inner.nodes()
    }

    fn dialect(&self) -> Dialect {
        self.dialect
    }

    async fn connect(&self, node: usize) -> Result<Box<dyn Client>, Failure> {
        let mut client = self.inner.connect(node).await?;
        client.run(&format!("SET default_transaction_isolation = '{}'", self.isolation.sql())).await?;
        if self.dialect == Dialect::PostgreSql {
            // It looks for deadlocks after a second, which would be most of a short run. Only a superuser may ask for less.
            let _ = client.run("SET deadlock_timeout = '20ms'").await;
        }
        Ok(client)
    }
}
