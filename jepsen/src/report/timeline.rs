//! A history in numbers over time.

use std::collections::BTreeMap;

use crate::history::{History, Kind};

/// One operation that ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// When it ended, in seconds.
    pub at: f64,
    /// How long it took, in seconds.
    pub took: f64,
    pub outcome: Kind,
}

/// Of the operations of one name: how they ended, and how long the acknowledged ones took.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub ok: u64,
    pub failed: u64,
    pub unknown: u64,
    /// In seconds, sorted.
    pub took: Vec<f64>,
}

impl Row {
    /// A quantile of how long they took, in seconds.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let place = ((self.took.len() as f64 * part) as usize).min(self.took.len().checked_sub(1)?);
        Some(self.took[place])
    }
}

/// What the page is drawn from.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    /// From the first event to the last, in seconds.
    pub seconds: f64,
    pub points: Vec<Point>,
    /// Name, beginning and end of each fault.
    pub faults: Vec<(String, f64, f64)>,
    /// Beginning and end of each time of at least a second without an acknowledged write.
    pub gaps: Vec<(f64, f64)>,
    /// By the name of the operation.
    pub rows: BTreeMap<String, Row>,
}

const NS: f64 = 1e9;
const GAP_SECONDS_MIN: f64 = 1.0;

impl Timeline {
    pub fn of(history: &History) -> Self {
        let mut timeline = Timeline { seconds: 0.001, ..Timeline::default() };
        if let Some(last) = history.events().last() {
            timeline.seconds = timeline.seconds.max(last.time as f64 / NS);
        }
        for operation in history.operations() {
            let row = timeline.rows.entry(operation.invoked.f.clone()).or_default();
            let Some(completed) = operation.completed else {
                row.unknown += 1;
                continue;
            };
            let took = completed.time.saturating_sub(operation.invoked.time) as f64 / NS;
            match completed.kind {
                Kind::Ok => {
                    row.ok += 1;
                    row.took.push(took);
                }
                Kind::Fail => row.failed += 1,
                Kind::Info | Kind::Invoke => row.unknown += 1,
            }
            timeline.points.push(Point { at: completed.time as f64 / NS, took, outcome: completed.kind });
        }
        timeline.rows.values_mut().for_each(|row| row.took.sort_by(f64::total_cmp));
        timeline.faults =
            history.faults().into_iter().map(|(name, from, to)| (name, from as f64 / NS, to as f64 / NS)).collect();
        let gaps = history.gaps().into_iter().map(|(from, to)| (from.as_secs_f64(), to.as_secs_f64()));
        timeline.gaps = gaps.filter(|(from, to)| to - from >= GAP_SECONDS_MIN).collect();
        timeline
    }

    /// All acknowledged operations in one row.
    pub fn total(&self) -> Row {
        let mut total = Row::default();
        for row in self.rows.values() {
            total.ok += row.ok;
            total.failed += row.failed;
            total.unknown += row.unknown;
            total.took.extend(&row.took);
        }
        total.took.sort_by(f64::total_cmp);
        total
    }
}
