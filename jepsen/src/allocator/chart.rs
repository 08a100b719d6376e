//! What nodes carry over time, as SVG: the band from the least to the most, and the mean.

use std::fmt::Write as _;

use super::model::{Sample, Spread};

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 28.0;

/// What one plot shows.
pub(super) struct Plot {
    /// What it is called.
    pub name: &'static str,
    /// What is read off each sample.
    pub of: fn(&Sample) -> Spread,
    /// What it is divided by.
    pub unit: f64,
}

/// Draws a plot.
pub(super) fn draw(plot: &Plot, samples: &[Sample]) -> String {
    let seconds = samples.last().map_or(1, |sample| sample.at).max(1) as f64;
    let most = samples.iter().map(|sample| (plot.of)(sample).most).fold(0.0, f64::max).max(1.0);
    let x = |at: u64| LEFT + at as f64 / seconds * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / most * (HEIGHT - TOP - BOTTOM);
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{} over time\">", plot.name);
    for part in [0.0, 0.5, 1.0] {
        let at = y(most * part);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0,
            most * part / plot.unit
        );
    }
    for part in 0..=5 {
        let at = (seconds * f64::from(part) / 5.0) as u64;
        let anchor = if part == 5 { "end" } else { "middle" };
        let _ = write!(
            out,
            "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{at} s</text>",
            x(at),
            HEIGHT - 8.0
        );
    }
    let above = samples.iter().map(|sample| (x(sample.at), y((plot.of)(sample).most)));
    let below = samples.iter().rev().map(|sample| (x(sample.at), y((plot.of)(sample).least)));
    let points = |points: &mut dyn Iterator<Item = (f64, f64)>| -> String {
        points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
    };
    let band = points(&mut above.chain(below));
    let mean = points(&mut samples.iter().map(|sample| (x(sample.at), y((plot.of)(sample).mean))));
    let _ =
        write!(out, "<polygon class=\"band\" points=\"{band}\"/><polyline class=\"mean\" points=\"{mean}\"/></svg>");
    out
}
