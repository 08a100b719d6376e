//! psql.

use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, tied_command};

/// Runs psql with a script on standard input's place; returns what it prints.
async fn psql(port: u16, script: &str) -> Result<Output> {
    let output = tied_command("psql")
        .args(["-h", "127.0.0.1", "-U", "postgres", "-d", "postgres", "-X", "-v", "ON_ERROR_STOP=1", "-p"])
        .arg(port.to_string())
        .args(script.lines().flat_map(|line| ["-c", line]))
        .output();
    tokio::time::timeout(Duration::from_secs(60), output)
        .await
        .context("psql did not end")?
        .context("psql cannot be run; .ci/tools installs it")
}

/// `\d` and its kin say what was created.
pub(super) async fn describe(cluster: &mut Cluster) -> Result<String> {
    let script = "DROP TABLE IF EXISTS described
CREATE TABLE described (id serial PRIMARY KEY, name varchar(20) NOT NULL DEFAULT 'x', amount numeric(8,2) CHECK (amount > 0))
CREATE UNIQUE INDEX described_name ON described (name)
INSERT INTO described (name, amount) VALUES ('a', 1.5), ('b', 2)
\\d described
\\dt
\\di
\\dn
\\l
\\du
SELECT name, amount FROM described ORDER BY id";
    let output = psql(cluster.node(0).ports().sql, script).await?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{said}\n{complained}");
    for expected in [
        "character varying(20)",
        "'x'::character varying",
        "not null",
        "numeric(8,2)",
        "\"described_pkey\" PRIMARY KEY, btree (id)",
        "\"described_name\" UNIQUE, btree (name)",
        "CHECK (",
        "defaultdb",
        "2.00",
    ] {
        ensure!(said.contains(expected), "`{expected}` is missing in:\n{said}");
    }
    Ok(String::new())
}

/// A long statement ends soon after it is cancelled, and the connection goes on.
pub(super) async fn cancel(cluster: &mut Cluster) -> Result<String> {
    let client = cluster.connect(0).await?;
    let token = client.cancel_token();
    let begun = Instant::now();
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(tokio_postgres::NoTls).await
    };
    let (result, cancelled) = tokio::join!(client.simple_query("SELECT pg_sleep(20)"), cancel);
    cancelled?;
    let error = result.err().context("the statement was not cancelled")?;
    let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
    ensure!(code == "57014", "it failed with {code}, not 57014: {error}");
    ensure!(begun.elapsed() < Duration::from_secs(5), "it took {:?} to be cancelled", begun.elapsed());
    client.simple_query("SELECT 1").await.context("the connection does not go on")?;
    Ok(format!("after {} ms", begun.elapsed().as_millis()))
}
