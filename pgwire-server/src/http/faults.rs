//! Orders to suffer, from tests.

use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use raft_groups::NodeId;

use super::HttpState;
use crate::faults::{Hooks, LinkFault};

type Answer = (StatusCode, &'static str);

/// `POST /faults/link?node=2&delay_us=1000&cut=true`: the link from here to a node.
pub(super) async fn set_link(State(state): State<HttpState>, RawQuery(query): RawQuery) -> Answer {
    obey(&state, query, "expected ?node=<node ID>&delay_us=<microseconds>&cut=<true or false>\n", |hooks, query| {
        let (mut node, mut fault) = (None, LinkFault::default());
        for (name, value) in pairs(query) {
            match name {
                "node" => node = Some(NodeId(value.parse().ok()?)),
                "delay_us" => fault.delay = Duration::from_micros(value.parse().ok()?),
                "cut" => fault.cut = value.parse().ok()?,
                _ => return None,
            }
        }
        hooks.links.set(node?, fault);
        Some(())
    })
}

/// `POST /faults/clock?offset_us=-3000`: by how much the clock reads more than it should.
pub(super) async fn set_clock(State(state): State<HttpState>, RawQuery(query): RawQuery) -> Answer {
    obey(&state, query, "expected ?offset_us=<microseconds, may be negative>\n", |hooks, query| {
        let offset_us: i64 = only(query, "offset_us")?.parse().ok()?;
        hooks.clock.set_offset_ns(offset_us.checked_mul(1_000)?);
        Some(())
    })
}

/// `POST /faults/disk?sync_delay_us=20000`: by how much each sync of the log takes longer.
pub(super) async fn set_disk(State(state): State<HttpState>, RawQuery(query): RawQuery) -> Answer {
    obey(&state, query, "expected ?sync_delay_us=<microseconds>\n", |hooks, query| {
        hooks.disk.set_sync_delay_us(only(query, "sync_delay_us")?.parse().ok()?);
        Some(())
    })
}

fn obey(
    state: &HttpState,
    query: Option<String>,
    expected: &'static str,
    order: impl Fn(&Hooks, &str) -> Option<()>,
) -> Answer {
    let Some(hooks) = &state.faults else { return (StatusCode::FORBIDDEN, "fault hooks are switched off\n") };
    match order(hooks, query.as_deref().unwrap_or_default()) {
        Some(()) => (StatusCode::OK, "ok\n"),
        None => (StatusCode::BAD_REQUEST, expected),
    }
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter_map(|pair| pair.split_once('='))
}

/// The value of a query that names one thing.
fn only<'q>(query: &'q str, wanted: &str) -> Option<&'q str> {
    query.split_once('=').filter(|(name, _)| *name == wanted).map(|(_, value)| value)
}
