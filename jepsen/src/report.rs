//! What a run leaves behind: a folder that says what happened, to people and to programs.
//!
//! ```text
//!   history.jsonl   history.edn     every event, for other checkers and for this one
//!   verdict.json                    valid, invalid with its anomalies, or unknown with the reason
//!   report.html                     the same for people: one file, which needs nothing from elsewhere
//!   anomaly-1.svg …                 each cycle, drawn
//! ```
//!
//! The page shows throughput and latency over time with the faults shaded and the gaps marked, and the anomalies drawn; it has no
//! scripts, and follows the reader's choice of light or dark.

mod chart;
mod page;
pub(crate) mod style;
mod timeline;

use std::path::Path;

use crate::checker::{Verdict, dependency};
use crate::history::History;

/// Writes the folder.
///
/// # Errors
/// The disk's.
pub fn write(directory: &Path, title: &str, history: &History, verdict: &Verdict) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    history.write_into(directory)?;
    std::fs::write(directory.join("verdict.json"), serde_json::to_string_pretty(verdict)? + "\n")?;
    std::fs::write(directory.join("report.html"), page::html(title, history, verdict))?;
    let cycles = verdict.anomalies.iter().filter_map(|anomaly| anomaly.cycle.as_ref());
    for (number, cycle) in cycles.enumerate() {
        let picture = style::standalone(&dependency::svg(cycle));
        std::fs::write(directory.join(format!("anomaly-{}.svg", number + 1)), picture)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
