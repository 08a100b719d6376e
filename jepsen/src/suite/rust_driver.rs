//! tokio-postgres: create, insert, query, fail, roll back, go on.

use anyhow::{Result, bail, ensure};
use tokio_postgres::error::SqlState;

use crate::cluster::Cluster;

pub(super) async fn check(cluster: &mut Cluster) -> Result<String> {
    let mut client = cluster.connect(0).await?;
    client.batch_execute("DROP TABLE IF EXISTS rust_check").await?;
    client.batch_execute("CREATE TABLE rust_check (id bigint PRIMARY KEY, name text, note varchar(5))").await?;
    let insert = client.prepare("INSERT INTO rust_check VALUES ($1, $2, $3)").await?;
    for id in 0..20i64 {
        client.execute(&insert, &[&id, &format!("name {id}"), &"note"]).await?;
    }
    let row = client.query_one("SELECT name, note FROM rust_check WHERE id = $1", &[&7i64]).await?;
    ensure!(row.get::<_, String>(0) == "name 7" && row.get::<_, String>(1) == "note", "another row came: {row:?}");

    let transaction = client.transaction().await?;
    transaction.execute("UPDATE rust_check SET name = 'changed' WHERE id = 7", &[]).await?;
    match transaction.execute(&insert, &[&7i64, &"again", &"note"]).await {
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {}
        other => bail!("a duplicate key gave {other:?}"),
    }
    match transaction.query("SELECT 1", &[]).await {
        Err(error) if error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => {}
        other => bail!("a failed transaction gave {other:?}"),
    }
    transaction.rollback().await?;
    let row = client.query_one("SELECT name FROM rust_check WHERE id = $1", &[&7i64]).await?;
    ensure!(row.get::<_, String>(0) == "name 7", "the rollback left something behind");
    match client.execute(&insert, &[&100i64, &"name", &"too long"]).await {
        Err(error) if error.code() == Some(&SqlState::STRING_DATA_RIGHT_TRUNCATION) => {}
        other => bail!("a value too long gave {other:?}"),
    }

    // What one gateway acknowledged, every other gateway sees at once.
    for node in 0..cluster.len() {
        let id = 1_000 + node as i64;
        client.execute(&insert, &[&id, &"fresh", &"note"]).await?;
        let other = cluster.connect(node).await?;
        let count: i64 = other.query_one("SELECT count(*) FROM rust_check WHERE id = $1", &[&id]).await?.get(0);
        ensure!(count == 1, "node {} does not see row {id}, which was acknowledged before it was asked", node + 1);
    }
    Ok(String::new())
}
