//! The page with the figures and plots of all starts.

use std::fmt::Write as _;

use super::Start;
use super::chart::{self, Plot};
use super::model::{Outcome, Shape};
use crate::report;

const PLOTS: [Plot; 4] = [
    Plot { name: "copies a node", of: |sample| sample.copies, unit: 1.0 },
    Plot { name: "MiB a node", of: |sample| sample.bytes, unit: 1_048_576.0 },
    Plot { name: "leases a node", of: |sample| sample.leases, unit: 1.0 },
    Plot { name: "requests a second a node", of: |sample| sample.requests, unit: 1.0 },
];

const STYLE: &str = ".band{fill:var(--ok);opacity:.25;stroke:var(--ok);stroke-width:1}.mean{fill:none;stroke:var(--ink);stroke-width:1.4}";

/// The page, whole.
pub(super) fn html(shape: Shape, outcomes: &[(Start, Outcome)]) -> String {
    let sheet = report::style::sheet();
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Allocator</title><style>{sheet}{STYLE}</style><main><h1>Allocator</h1><p class=\"lead\">{} nodes in 4 regions, {} ranges of 3 copies, seed {}. The band goes from the node with the least to the one with the most; the line is the mean.</p>",
        shape.nodes, shape.ranges, shape.seed
    );
    for (start, outcome) in outcomes {
        let _ = write!(page, "<h2>{}</h2><pre>{outcome}</pre>", start.words());
        for plot in &PLOTS {
            let drawn = chart::draw(plot, &outcome.samples);
            let _ = write!(page, "<figure><figcaption>{}</figcaption>{drawn}</figure>", plot.name);
        }
    }
    page.push_str("</main></html>\n");
    page
}
