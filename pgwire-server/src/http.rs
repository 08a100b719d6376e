//! The HTTP port: `/health` for load balancers, `/metrics` for Prometheus, and, only with fault hooks switched on,
//! `POST /faults/…` for tests.

mod faults;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clock::Tasks;
use kv::node::{Admin, Waiting};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::faults::Hooks;
use crate::metrics::{Metrics, Readings};

/// What the HTTP port answers from.
#[derive(Clone)]
pub struct HttpState {
    /// The node, once it has started; a connection that is kept open does not keep it.
    pub admin: Arc<OnceLock<Weak<dyn Admin>>>,
    /// What it waits for until then.
    pub waiting: Waiting,
    /// Its counters.
    pub metrics: Arc<Metrics>,
    /// What the node may be made to suffer, where that may be set from outside.
    pub faults: Option<Hooks>,
}

impl HttpState {
    /// The node, or what to answer without one.
    fn admin(&self) -> Result<Arc<dyn Admin>, Response> {
        match self.admin.get() {
            Some(admin) => admin.upgrade().ok_or_else(stopped),
            None => Err(self.starting()),
        }
    }

    /// The node has not started yet: whom it hears, or whether its clock may be relied on, is for it to say.
    fn starting(&self) -> Response {
        let body = serde_json::json!({ "status": "starting", "reason": self.waiting.told() });
        let kind = [(header::CONTENT_TYPE, "application/json")];
        (StatusCode::SERVICE_UNAVAILABLE, kind, format!("{body}\n")).into_response()
    }
}

/// Serves on a bound listener until the task is ended.
pub fn serve(listener: TcpListener, state: HttpState, tasks: &Tasks) -> JoinHandle<()> {
    let router = Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/faults/link", post(faults::set_link))
        .route("/faults/clock", post(faults::set_clock))
        .route("/faults/disk", post(faults::set_disk))
        .with_state(state);
    tasks.spawn("http", async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the HTTP port stopped");
        }
    })
}

/// Where the HTTP port listens.
///
/// # Errors
/// When the address cannot be bound.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// 200 while the node takes part in the cluster, 503 before it does, when it refuses writes, drains, or cannot go on.
async fn health(State(state): State<HttpState>) -> Response {
    let admin = match state.admin() {
        Ok(admin) => admin,
        Err(answer) => return answer,
    };
    let status = admin.status();
    let hindrances = [
        (status.failure.is_some(), "failed"),
        (status.clock_fault.is_some(), "clock fenced"),
        (status.draining, "draining"),
        (status.disk_full, "disk full"),
    ];
    let (code, words) = match hindrances.into_iter().find(|(applies, _)| *applies) {
        Some((_, words)) => (StatusCode::SERVICE_UNAVAILABLE, words),
        None => (StatusCode::OK, "ok"),
    };
    let body = serde_json::json!({
        "status": words,
        "reason": status.failure.or(status.clock_fault),
        "cluster_id": format!("{:032x}", status.cluster_id),
        "node_id": status.node_id,
        "replicas": status.replicas,
        "leases": status.leases,
        "ranges_underreplicated": status.underreplicated,
    });
    (code, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

fn stopped() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the node has stopped\n").into_response()
}

async fn metrics(State(state): State<HttpState>) -> Response {
    let admin = match state.admin() {
        Ok(admin) => admin,
        // Whoever watches sees that it does not serve, and whether that is for its clock's sake.
        Err(_) if state.admin.get().is_none() => {
            return rendered(
                &state.metrics,
                Readings { clock_fenced: state.waiting.told().is_some().into(), ..Readings::default() },
            );
        }
        Err(answer) => return answer,
    };
    let status = admin.status();
    let live_nodes = admin.nodes().iter().filter(|node| node.live).count();
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let as_gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let readings = Readings {
        replicas: count(status.replicas),
        leases: count(status.leases),
        requests: as_gauge(status.requests),
        actions: status.actions.into_iter().map(|(action, count)| (action, as_gauge(count))).collect(),
        underreplicated: count(status.underreplicated),
        disk_free_bytes: i64::try_from(status.free_bytes).unwrap_or(i64::MAX),
        live_nodes: count(live_nodes),
        clock_fenced: status.clock_fault.is_some().into(),
        checks: [
            ("consistent", as_gauge(status.checks.consistent)),
            ("indeterminate", as_gauge(status.checks.indeterminate)),
            ("inconsistent", as_gauge(status.checks.inconsistent)),
        ],
    };
    rendered(&state.metrics, readings)
}

fn rendered(metrics: &Metrics, readings: Readings) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.render(readings)).into_response()
}
