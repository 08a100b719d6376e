//! What a node counts, in Prometheus's text format.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The counters of one node.
pub struct Metrics {
    registry: Mutex<Registry>,
    connections: Gauge,
    connections_total: Counter,
    statements: Counter,
    statement_seconds: Histogram,
    errors: Family<ErrorLabel, Counter>,
    replicas: Gauge,
    leases: Gauge,
    requests: Gauge,
    actions: Family<ActionLabel, Gauge>,
    underreplicated: Gauge,
    disk_free_bytes: Gauge,
    live_nodes: Gauge<i64, std::sync::atomic::AtomicI64>,
    checks: Family<CheckLabel, Gauge>,
    clock_fenced: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabel {
    action: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabel {
    code: String,
}

/// What the gauges read when they are asked for.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// Replicas on this node.
    pub replicas: i64,
    /// Leases this node holds.
    pub leases: i64,
    /// Requests a second served under them.
    pub requests: i64,
    /// Actions on ranges begun by this node, by kind.
    pub actions: Vec<(&'static str, i64)>,
    /// Ranges led from here that have too few live voters.
    pub underreplicated: i64,
    /// Free room on the disk.
    pub disk_free_bytes: i64,
    /// Nodes heard of lately.
    pub live_nodes: i64,
    /// Checks of replicas begun by this node, by result.
    pub checks: [(&'static str, i64); 3],
    /// 1 while the node does not serve for its clock's sake.
    pub clock_fenced: i64,
}

impl Metrics {
    /// Counters at zero.
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("meridian");
        let metrics = Metrics {
            connections: Gauge::default(),
            connections_total: Counter::<u64, AtomicU64>::default(),
            statements: Counter::default(),
            // From a quarter of a millisecond to about half a minute.
            statement_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 18)),
            errors: Family::default(),
            replicas: Gauge::default(),
            leases: Gauge::default(),
            requests: Gauge::default(),
            actions: Family::default(),
            underreplicated: Gauge::default(),
            disk_free_bytes: Gauge::default(),
            live_nodes: Gauge::default(),
            checks: Family::default(),
            clock_fenced: Gauge::default(),
            registry: Mutex::new(Registry::default()),
        };
        registry.register("sql_connections", "Open SQL connections", metrics.connections.clone());
        registry.register("sql_connections_opened", "SQL connections ever opened", metrics.connections_total.clone());
        registry.register("sql_statements", "Statements that ended well", metrics.statements.clone());
        registry.register(
            "sql_statement_seconds",
            "How long statements that ended well took, until their last row was on its way",
            metrics.statement_seconds.clone(),
        );
        registry.register("sql_errors", "Statements that failed, by SQLSTATE", metrics.errors.clone());
        registry.register("replicas", "Replicas on this node", metrics.replicas.clone());
        registry.register("leases", "Leases this node holds", metrics.leases.clone());
        registry.register(
            "requests_per_second",
            "Requests to ranges that this node serves a second, under its leases",
            metrics.requests.clone(),
        );
        registry.register(
            "range_actions",
            "What this node has begun to do about its ranges since it started, by kind",
            metrics.actions.clone(),
        );
        registry.register(
            "ranges_underreplicated",
            "Ranges led from here with fewer voters that answer than wanted",
            metrics.underreplicated.clone(),
        );
        registry.register("disk_free_bytes", "Free room on the store's disk", metrics.disk_free_bytes.clone());
        registry.register("live_nodes", "Nodes heard of lately", metrics.live_nodes.clone());
        registry.register(
            "replica_checks",
            "Ranges whose replicas this node has compared since it started, by result",
            metrics.checks.clone(),
        );
        registry.register(
            "clock_fenced",
            "1 while the node serves nothing since its clock must not be relied on",
            metrics.clock_fenced.clone(),
        );
        *metrics.registry.lock() = registry;
        Arc::new(metrics)
    }

    /// A connection was opened.
    pub fn connection_opened(&self) {
        self.connections.inc();
        self.connections_total.inc();
    }

    /// A connection was closed.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// A statement ended well, after so long.
    pub fn statement_done(&self, took: Duration) {
        self.statements.inc();
        self.statement_seconds.observe(took.as_secs_f64());
    }

    /// A statement failed with this SQLSTATE.
    pub fn statement_failed(&self, code: &str) {
        self.errors.get_or_create(&ErrorLabel { code: code.to_owned() }).inc();
    }

    /// The text that Prometheus reads.
    pub fn render(&self, readings: Readings) -> String {
        self.replicas.set(readings.replicas);
        self.leases.set(readings.leases);
        self.requests.set(readings.requests);
        for (action, count) in readings.actions {
            self.actions.get_or_create(&ActionLabel { action }).set(count);
        }
        self.underreplicated.set(readings.underreplicated);
        self.disk_free_bytes.set(readings.disk_free_bytes);
        self.live_nodes.set(readings.live_nodes);
        self.clock_fenced.set(readings.clock_fenced);
        for (result, count) in readings.checks.into_iter().filter(|(result, _)| !result.is_empty()) {
            self.checks.get_or_create(&CheckLabel { result }).set(count);
        }
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry.lock()) {
            Ok(()) => text,
            Err(error) => format!("# {error}\n"),
        }
    }
}
