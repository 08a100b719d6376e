//! What a newcomer waits for: the demo's first row, and pgbench's tables.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::{connect, find_binary, free_port_run};

/// How long the demo may take to get there.
const DEMO_TIMEOUT: Duration = Duration::from_secs(60);

/// Starts `meridian demo` and prints when it acknowledged its first row, and the first that three voters have.
pub(super) async fn demo(directory: &Path) -> Result<()> {
    let (sql_port, http_port) = (free_port_run(3)?, free_port_run(3)?);
    let begun = Instant::now();
    let demo = tokio::process::Command::new(find_binary()?)
        .args(["demo", "--sql-port", &sql_port.to_string(), "--http-port", &http_port.to_string(), "--log", "warn"])
        .args(["--data", &directory.join("demo").to_string_lossy()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("meridian demo did not start")?;
    let client = loop {
        match connect(sql_port).await {
            Ok(client) => break client,
            Err(_) if begun.elapsed() < DEMO_TIMEOUT => tokio::time::sleep(Duration::from_millis(2)).await,
            Err(error) => return Err(error.context("the demo does not answer")),
        }
    };
    client.batch_execute("CREATE TABLE first (k int PRIMARY KEY); INSERT INTO first VALUES (0)").await?;
    let first = begun.elapsed();
    let mut row = 0;
    let on_three = loop {
        row += 1;
        let replicated = is_replicated(http_port).await;
        client.batch_execute(&format!("INSERT INTO first VALUES ({row})")).await?;
        if replicated {
            break begun.elapsed();
        }
        if begun.elapsed() > DEMO_TIMEOUT {
            bail!("the demo's ranges have not got three voters within {} s", DEMO_TIMEOUT.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    println!(
        "meridian demo: first row acknowledged {} ms after exec, first row acknowledged by ranges of three voters {} ms after exec",
        first.as_millis(),
        on_three.as_millis()
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    if let Some(id) = demo.id() {
        println!("meridian demo: {} MiB resident (three nodes in one process)", resident_mib(id));
        let (before, wait) = (cpu_ticks(id), Duration::from_secs(5));
        tokio::time::sleep(wait).await;
        // A tick is a hundredth of a second wherever Linux runs today.
        let share = (cpu_ticks(id) - before) as f64 / wait.as_secs_f64();
        println!("meridian demo: {share:.1} % of one processor while idle");
    }
    Ok(())
}

/// Whether the nodes hold replicas of every range, and no leader misses a voter.
async fn is_replicated(http_port: u16) -> bool {
    let mut replicas = Vec::new();
    for node in 0..3 {
        let Ok(text) = get(http_port + node, "/metrics").await else { return false };
        let gauge = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        if gauge("meridian_ranges_underreplicated ") != Some(0) {
            return false;
        }
        replicas.push(gauge("meridian_replicas ").unwrap_or(0));
    }
    replicas[0] > 0 && replicas.iter().all(|count| *count == replicas[0])
}

async fn get(port: u16, target: &str) -> Result<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn resident_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// User and system time, in ticks.
fn cpu_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Runs `pgbench -i -s 10` without vacuuming, and prints how long it took.
pub(super) async fn pgbench_init(system: &str, port: u16) -> Result<()> {
    let begun = Instant::now();
    let output = tokio::process::Command::new("pgbench")
        .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string()])
        .args(["-i", "-q", "-I", "dtgp", "-s", "10", "postgres"])
        .kill_on_drop(true)
        .output()
        .await;
    let Ok(output) = output else {
        println!("pgbench is not installed here: its initialisation is not measured");
        return Ok(());
    };
    if !output.status.success() {
        bail!("pgbench -i on {system}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let parts = said
        .lines()
        .rev()
        .find_map(|line| line.split_once('('))
        .map_or("", |(_, parts)| parts.trim_end_matches([')', '.']));
    println!("{system}: pgbench -i -s 10 -I dtgp took {:.1} s ({parts})", begun.elapsed().as_secs_f64());
    Ok(())
}
