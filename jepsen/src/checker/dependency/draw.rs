//! A cycle, drawn: as text, and as a picture.
//!
//! ```text
//!   T7 = [["r",1,[]],["append",2,1]]
//!   T9 = [["r",2,[]],["append",1,1]]
//!   T7 ─rw▶ T9: T7 did not see T9's append of 1 to 1
//!   T9 ─rw▶ T7: T9 did not see T7's append of 1 to 2
//! ```

use std::f64::consts::TAU;
use std::fmt::Write as _;

use crate::checker::Cycle;

/// A cycle in lines of text.
pub fn text(cycle: &Cycle) -> String {
    let mut out = String::new();
    let count = cycle.transactions.len();
    let names: Vec<&str> = cycle.transactions.iter().map(|member| member.name.as_str()).collect();
    let _ = writeln!(out, "{} ─▶ {}: each must come before the next", names.join(" ─▶ "), names[0]);
    for member in &cycle.transactions {
        let _ = writeln!(out, "  {} = {}", member.name, member.shown);
    }
    for (place, edge) in cycle.edges.iter().enumerate() {
        let _ = writeln!(out, "  {} ─{}▶ {}: {}", names[place], edge.kind, names[(place + 1) % count], edge.why);
    }
    out
}

const BOX_WIDTH: f64 = 250.0;
const BOX_HEIGHT: f64 = 46.0;
const LETTERS_MAX: usize = 38;

/// A cycle as a picture, in SVG that takes its colours from classes: `box`, `name`, `does`, `edge` with `ww`, `wr`, `rw`, `process` or
/// `realtime`, `kind`.
pub fn svg(cycle: &Cycle) -> String {
    let count = cycle.transactions.len();
    let radius = if count == 2 { 120.0 } else { (count as f64 * 48.0).max(150.0) };
    // Those of three stand on two feet, a quarter of the way up.
    let lift = if count == 3 { radius / 2.0 } else { 0.0 };
    let (width, height) = (2.0 * radius * 1.5 + BOX_WIDTH + 40.0, 2.0 * radius + BOX_HEIGHT + 60.0 - lift);
    let center = |place: usize| {
        let angle = TAU * place as f64 / count as f64 - TAU / 4.0;
        (width / 2.0 + 1.5 * radius * angle.cos(), (height + lift) / 2.0 + radius * angle.sin())
    };
    let mut out = format!(
        "<svg class=\"cycle\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" role=\"img\">"
    );
    for (place, edge) in cycle.edges.iter().enumerate() {
        arrow(center(place), center((place + 1) % count), &edge.kind, &edge.why, &mut out);
    }
    for (place, member) in cycle.transactions.iter().enumerate() {
        let (x, y) = center(place);
        let (left, top) = (x - BOX_WIDTH / 2.0, y - BOX_HEIGHT / 2.0);
        let _ = write!(
            out,
            "<g><title>{}</title><rect class=\"box\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"6\"/>\
             <text class=\"name\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"does\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text></g>",
            escape(&member.shown),
            y - 5.0,
            escape(&member.name),
            y + 13.0,
            escape(&shorten(&member.shown))
        );
    }
    out.push_str("</svg>");
    out
}

/// An arrow from the edge of one box to that of another, bent to the left, so that two of them between the same boxes are apart.
fn arrow(from: (f64, f64), to: (f64, f64), kind: &str, why: &str, out: &mut String) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy).max(1.0);
    let bend = 0.18 * length;
    let middle = ((from.0 + to.0) / 2.0 + dy / length * bend, (from.1 + to.1) / 2.0 - dx / length * bend);
    let (start, end) = (rim(from, middle), rim(to, middle));
    let (ex, ey) = (end.0 - middle.0, end.1 - middle.1);
    let reach = ex.hypot(ey).max(1.0);
    let (ux, uy) = (ex / reach, ey / reach);
    let tip = |along: f64, aside: f64| {
        format!("{:.1},{:.1}", end.0 - along * ux - aside * uy, end.1 - along * uy + aside * ux)
    };
    let _ = write!(
        out,
        "<g class=\"edge {kind}\"><title>{}</title><path d=\"M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}\" fill=\"none\"/>\
         <polygon points=\"{} {} {}\"/><text class=\"kind\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{kind}</text></g>",
        escape(why),
        start.0,
        start.1,
        middle.0,
        middle.1,
        end.0,
        end.1,
        tip(0.0, 0.0),
        tip(11.0, 5.0),
        tip(11.0, -5.0),
        (from.0 + to.0) / 4.0 + middle.0 / 2.0,
        (from.1 + to.1) / 4.0 + middle.1 / 2.0 - 4.0,
    );
}

/// Where the line from the middle of a box to a point leaves the box.
fn rim(center: (f64, f64), toward: (f64, f64)) -> (f64, f64) {
    let (dx, dy) = (toward.0 - center.0, toward.1 - center.1);
    let across = (BOX_WIDTH / 2.0 + 3.0) / dx.abs().max(0.001);
    let down = (BOX_HEIGHT / 2.0 + 3.0) / dy.abs().max(0.001);
    let scale = across.min(down).min(1.0);
    (center.0 + dx * scale, center.1 + dy * scale)
}

fn shorten(shown: &str) -> String {
    if shown.chars().count() <= LETTERS_MAX {
        return shown.to_owned();
    }
    let mut short: String = shown.chars().take(LETTERS_MAX - 1).collect();
    short.push('…');
    short
}

/// Text in XML and HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
