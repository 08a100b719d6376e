//! Throughput and latency over time, as SVG.

use std::fmt::Write as _;

use super::timeline::{Point, Timeline};
use crate::checker::dependency::escape;
use crate::history::Kind;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 26.0;
/// More dots than this only make the page heavy.
const DOTS_MAX: usize = 6_000;

/// The classes that colour an outcome.
fn class(outcome: Kind) -> &'static str {
    match outcome {
        Kind::Ok => "ok",
        Kind::Fail => "fail",
        Kind::Info | Kind::Invoke => "info",
    }
}

struct Frame<'a> {
    timeline: &'a Timeline,
    height: f64,
    out: String,
}

impl<'a> Frame<'a> {
    fn new(timeline: &'a Timeline, height: f64, label: &str) -> Self {
        let out = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">", escape(label));
        let mut frame = Frame { timeline, height, out };
        frame.faults();
        frame.seconds();
        frame
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + seconds / self.timeline.seconds * (WIDTH - LEFT - RIGHT)
    }

    /// From 0 at the bottom to 1 at the top.
    fn y(&self, part: f64) -> f64 {
        self.height - BOTTOM - part * (self.height - TOP - BOTTOM)
    }

    /// Each fault is a shade over the whole height, with its name where there is room for it.
    fn faults(&mut self) {
        let mut free = 0.0;
        for (name, from, to) in &self.timeline.faults {
            let (left, right) = (self.x(*from), self.x(*to));
            let height = self.height - TOP - BOTTOM;
            let width = (right - left).max(1.0);
            let title = escape(name);
            let _ = write!(
                self.out,
                "<rect class=\"fault\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{title}, {from:.1} s to {to:.1} s</title></rect>"
            );
            if left >= free {
                let _ = write!(
                    self.out,
                    "<text class=\"fault-name\" x=\"{left:.1}\" y=\"{:.1}\">{title}</text>",
                    TOP - 6.0
                );
                free = left + 7.0 * name.len() as f64 + 8.0;
            }
        }
    }

    fn seconds(&mut self) {
        let step = nice(self.timeline.seconds / 10.0);
        for tick in 0..=(self.timeline.seconds / step) as u64 {
            let at = tick as f64 * step;
            let (x, y) = (self.x(at), self.height - BOTTOM + 16.0);
            let _ = write!(
                self.out,
                "<text class=\"axis\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{} s</text>",
                shown(at)
            );
        }
    }

    fn level(&mut self, part: f64, name: &str) {
        let y = self.y(part);
        let _ = write!(
            self.out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 4.0
        );
    }

    fn finish(mut self) -> String {
        self.out.push_str("</svg>");
        self.out
    }
}

/// The next of 1, 2, 5, 10, 20, … above.
fn nice(least: f64) -> f64 {
    let decade = 10f64.powf(least.max(1e-6).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * decade).find(|step| *step >= least).unwrap_or(10.0 * decade)
}

/// A number with no more digits than it needs.
fn shown(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Operations a second, stacked by outcome, with the gaps.
pub(super) fn throughput(timeline: &Timeline) -> String {
    let mut frame = Frame::new(timeline, 260.0, "operations a second over time");
    let bucket = nice(timeline.seconds / 120.0);
    let count = (timeline.seconds / bucket).ceil().max(1.0) as usize;
    let mut counts = vec![[0u64; 3]; count];
    for point in &timeline.points {
        let place = ((point.at / bucket) as usize).min(count - 1);
        let kind = match point.outcome {
            Kind::Ok => 0,
            Kind::Fail => 1,
            Kind::Info | Kind::Invoke => 2,
        };
        counts[place][kind] += 1;
    }
    let most = counts.iter().map(|all| all.iter().sum::<u64>()).max().unwrap_or(0).max(1) as f64 / bucket;
    let step = nice(most / 5.0);
    let top = (most / step).ceil() * step;
    for tick in 0..=(top / step).round() as u64 {
        frame.level(tick as f64 * step / top, &shown(tick as f64 * step));
    }
    for (place, kinds) in counts.iter().enumerate() {
        let (left, right) =
            (frame.x(place as f64 * bucket), frame.x(((place + 1) as f64 * bucket).min(timeline.seconds)));
        let mut below = 0.0;
        for (kind, count) in [Kind::Ok, Kind::Fail, Kind::Info].into_iter().zip(kinds).filter(|(_, count)| **count > 0)
        {
            let part = *count as f64 / bucket / top;
            let (y, height) = (frame.y(below + part), frame.y(below) - frame.y(below + part));
            let _ = write!(
                frame.out,
                "<rect class=\"bar {}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.2}\"/>",
                class(kind),
                (right - left - 0.8).max(0.4)
            );
            below += part;
        }
    }
    let floor = frame.y(0.0) + 3.0;
    for (from, to) in &timeline.gaps {
        let (left, right) = (frame.x(*from), frame.x(*to));
        let _ = write!(
            frame.out,
            "<line class=\"gap\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{floor}\" y2=\"{floor}\"/><text class=\"gap-name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.1} s</text>",
            (left + right) / 2.0,
            floor - 6.0,
            to - from
        );
    }
    frame.finish()
}

/// How long each operation took, on a logarithmic scale.
pub(super) fn latency(timeline: &Timeline) -> String {
    let mut frame = Frame::new(timeline, 300.0, "latency over time");
    let floor = |took: f64| took.max(1e-5);
    let least = timeline.points.iter().map(|point| floor(point.took)).fold(1.0, f64::min).log10().floor();
    let most =
        timeline.points.iter().map(|point| floor(point.took)).fold(1e-3, f64::max).log10().ceil().max(least + 1.0);
    for decade in least as i32..=most as i32 {
        let seconds = 10f64.powi(decade);
        let name = if seconds < 1.0 { format!("{} ms", shown(seconds * 1e3)) } else { format!("{} s", shown(seconds)) };
        frame.level((f64::from(decade) - least) / (most - least), &name);
    }
    for outcome in [Kind::Ok, Kind::Fail, Kind::Info] {
        let all: Vec<&Point> = timeline.points.iter().filter(|point| point.outcome == outcome).collect();
        let dots = thinned(&all);
        if dots.is_empty() {
            continue;
        }
        let mut path = String::new();
        for point in dots {
            let part = (floor(point.took).log10() - least) / (most - least);
            let _ = write!(path, "M{:.1} {:.1}h0", frame.x(point.at), frame.y(part));
        }
        let _ = write!(frame.out, "<path class=\"dot {}\" d=\"{path}\"/>", class(outcome));
    }
    frame.finish()
}

/// Enough of the points: the slowest, and every so many of the rest.
fn thinned<'a>(all: &[&'a Point]) -> Vec<&'a Point> {
    if all.len() <= DOTS_MAX {
        return all.to_vec();
    }
    let mut took: Vec<f64> = all.iter().map(|point| point.took).collect();
    took.sort_by(f64::total_cmp);
    let slow = took[took.len() - DOTS_MAX / 4];
    let every = all.len().div_ceil(DOTS_MAX / 2);
    let wanted = |(place, point): (usize, &&'a Point)| (point.took > slow || place % every == 0).then_some(*point);
    all.iter().enumerate().filter_map(wanted).collect()
}
