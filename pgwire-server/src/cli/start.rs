//! `meridian start` and `meridian start-single-node`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clock::{Adjtimex, Interval, KernelClock, KernelTime, SystemTime, TimeSource};

use super::args::Start;
use crate::node::{Beginning, NodeOptions, Runtimes, StartingNode};

pub(super) fn run_single(start: Start) -> Result<()> {
    if !start.join.is_empty() {
        bail!("a single node joins nobody: leave --join out, or use `meridian start`");
    }
    run_node(start, Beginning::Bootstrap)
}

pub(super) fn run(start: Start) -> Result<()> {
    if start.join.is_empty() {
        bail!("--join is missing: name the RPC addresses of some nodes, or use `meridian start-single-node`");
    }
    let join = start.join.clone();
    run_node(start, Beginning::Join(join))
}

fn run_node(start: Start, beginning: Beginning) -> Result<()> {
    check_exposure(&start)?;
    let options = options(start, beginning)?;
    announce_clock_error(options.time.now());
    let runtimes = Runtimes::start()?;
    let result = runtimes.clients.block_on(async {
        let node = StartingNode::open(options, &runtimes).await?;
        tracing::info!(rpc = node.rpc_address(), "listening for other nodes");
        let mut stop = std::pin::pin!(stop_signal());
        let node = tokio::select! {
            node = node.serve() => node?,
            signal = &mut stop => return signal,
        };
        tracing::info!(
            node_id = node.node_id(),
            sql = %node.sql_addr(),
            http = %node.http_addr(),
            "ready: psql -h {} -p {} -U postgres",
            node.sql_addr().ip(),
            node.sql_addr().port()
        );
        let fault = tokio::select! {
            signal = &mut stop => {
                signal?;
                tracing::info!("stopping");
                None
            }
            fault = node.fenced() => Some(fault),
            failure = node.failed() => {
                node.abandon().await;
                bail!("this node cannot go on: {failure}");
            }
        };
        node.shutdown().await?;
        match fault {
            None => Ok(()),
            Some(fault) => Err(anyhow::Error::new(fault).context("this node's clock must not be relied on any more")),
        }
    });
    runtimes.stop();
    result
}

/// Returns when the process is asked to stop.
pub(super) async fn stop_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be received")?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("signals cannot be received")?,
    }
    Ok(())
}

/// Without passwords and encryption, only this machine may connect, unless the operator says otherwise.
fn check_exposure(start: &Start) -> Result<()> {
    let exposed = |address: &SocketAddr| !address.ip().is_loopback();
    let addresses = [start.sql_addr, start.rpc_addr, start.http_addr];
    match addresses.iter().find(|address| exposed(address)) {
        Some(address) if !start.insecure => bail!(
            "{address} can be reached from other machines, and connections are neither encrypted nor asked for a password yet: \
             listen on 127.0.0.1, or accept that with --insecure"
        ),
        Some(address) => {
            tracing::warn!(%address, "INSECURE: anyone who reaches this address may read and change everything")
        }
        None => tracing::warn!("connections from this machine are trusted without a password"),
    }
    Ok(())
}

/// Each commit waits for about as long as the clock's interval is wide.
fn announce_clock_error(interval: Interval) {
    let error = Duration::from_nanos((interval.latest_ns - interval.earliest_ns) / 2);
    if error >= Duration::from_millis(50) {
        tracing::warn!(
            "clock error bound {} ms: each commit waits up to {} ms before it is acknowledged. Where a time daemon keeps the clocks \
             closer, lower it on all nodes, for example --clock-error 1ms",
            error.as_millis(),
            2 * error.as_millis()
        );
    }
}

fn options(start: Start, beginning: Beginning) -> Result<NodeOptions> {
    let locality = start.locality.parse().with_context(|| format!("--locality {}", start.locality))?;
    let settings = kv::Settings {
        replication_target: start.replication_factor,
        range_split_bytes: start.range_split_mib << 20,
        disk_floor_bytes: start.disk_floor_mib << 20,
        node_dead_after_ms: u64::try_from(start.node_dead_after.as_millis())?,
        ..kv::Settings::default()
    };
    Ok(NodeOptions {
        data: start.data,
        sql_addr: start.sql_addr,
        rpc_addr: start.rpc_addr,
        advertise_addr: start.advertise_addr,
        http_addr: start.http_addr,
        locality,
        time: time_source(start.clock_error, start.maintained_clock.then(|| Arc::new(Adjtimex) as _))?,
        max_clock_error: start.clock_error,
        settings,
        sql_memory_bytes: usize::try_from(u64::from(start.max_sql_memory_mib) << 20)?,
        faulty: false,
        fault_hooks: start.fault_hooks,
        beginning,
    })
}

/// The clock with the error bound that was configured, or, where a daemon maintains it, with the one that the kernel vouches
/// for.
fn time_source(error: Duration, maintained: Option<Arc<dyn KernelClock>>) -> Result<Arc<dyn TimeSource>> {
    let Some(kernel) = maintained else { return Ok(Arc::new(SystemTime::with_error(error))) };
    let time = KernelTime::start(kernel, error).with_context(|| {
        format!(
            "--maintained-clock asks for a clock that the kernel knows to be within --clock-error ({} ms): run a time daemon such \
             as chrony, raise --clock-error on all nodes, or leave --maintained-clock out",
            error.as_micros() as f64 / 1_000.0
        )
    })?;
    let interval = time.now();
    tracing::info!(bound_us = (interval.latest_ns - interval.earliest_ns) / 2_000, "the kernel vouches for the clock");
    Ok(Arc::new(time))
}

#[cfg(test)]
mod tests;
