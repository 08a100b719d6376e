//! The page for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::timeline::{Row, Timeline};
use super::{chart, style};
use crate::checker::dependency::{escape, svg};
use crate::checker::{Anomaly, Validity, Verdict};
use crate::history::History;

/// The whole page.
pub(super) fn html(title: &str, history: &History, verdict: &Verdict) -> String {
    let timeline = Timeline::of(history);
    let mut out = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    let _ = write!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{}</title><style>{}</style></head><body><main>",
        escape(title),
        style::sheet()
    );
    head(title, &timeline, verdict, &mut out);
    charts(&timeline, &mut out);
    anomalies(verdict, &mut out);
    operations(&timeline, &mut out);
    let _ = write!(
        out,
        "<footer>{} events. The whole history lies beside this page, as history.jsonl and history.edn, the verdict as verdict.json.</footer></main></body></html>",
        history.events().len()
    );
    out
}

fn head(title: &str, timeline: &Timeline, verdict: &Verdict, out: &mut String) {
    let (class, word) = match verdict.validity() {
        Validity::Valid => ("valid", "valid"),
        Validity::Invalid => ("invalid", "invalid"),
        Validity::Unknown => ("unknown", "unknown"),
    };
    let counts = verdict.counts;
    let total = timeline.total();
    let _ = write!(
        out,
        "<h1>{}<span class=\"badge {class}\">{word}</span></h1><p class=\"lead\">{}</p><ul class=\"figures\">",
        escape(title),
        escape(&lead(verdict))
    );
    let gap = counts.longest_gap.as_secs_f64();
    let figures = [
        (grouped(counts.ok), "acknowledged", false),
        (grouped(counts.failed), "certainly failed", false),
        (grouped(counts.unknown), "outcome unknown", false),
        (format!("{:.0}/s", counts.ok as f64 / timeline.seconds), "acknowledged, on average", false),
        (milliseconds(total.quantile(0.5)), "median latency", false),
        (milliseconds(total.quantile(0.99)), "99% took at most", false),
        (format!("{gap:.1} s"), "longest gap without a write", gap >= 5.0),
        (counts.faults.to_string(), "faults", false),
    ];
    for (figure, name, is_bad) in figures {
        let class = if is_bad { " class=\"bad\"" } else { "" };
        let _ = write!(out, "<li{class}><b>{figure}</b><span>{name}</span></li>");
    }
    out.push_str("</ul>");
    for why in &verdict.unknown {
        let _ = write!(out, "<p class=\"why\">Cannot tell: {}</p>", escape(why));
    }
}

/// The verdict in a sentence.
fn lead(verdict: &Verdict) -> String {
    match verdict.validity() {
        Validity::Valid => "Nothing that this workload promises was broken.".to_owned(),
        Validity::Unknown => "Nothing was found broken, but the checker cannot tell.".to_owned(),
        Validity::Invalid => {
            let found: Vec<String> = verdict.found.iter().map(|(name, count)| format!("{count} × {name}")).collect();
            format!("What must not happen did: {}.", found.join(", "))
        }
    }
}

fn charts(timeline: &Timeline, out: &mut String) {
    let keys = "<span class=\"key ok\"></span>acknowledged<span class=\"key fail\"></span>failed<span class=\"key info\"></span>unknown<span class=\"key shaded\"></span>fault";
    let _ = write!(
        out,
        "<h2>Over time</h2><figure><figcaption>Operations a second {keys}; times of a second and more without an acknowledged write are marked below.</figcaption>{}</figure>\
         <figure><figcaption>Latency of each operation {keys}</figcaption>{}</figure>",
        chart::throughput(timeline),
        chart::latency(timeline)
    );
    if timeline.faults.is_empty() {
        return;
    }
    let mut by_name: BTreeMap<&str, (u64, f64)> = BTreeMap::new();
    for (name, from, to) in &timeline.faults {
        let entry = by_name.entry(name).or_default();
        *entry = (entry.0 + 1, entry.1 + to - from);
    }
    out.push_str("<table><thead><tr><th>fault</th><th>times</th><th>held, in all</th></tr></thead><tbody>");
    for (name, (times, held)) in by_name {
        let _ = write!(out, "<tr><td>{}</td><td>{times}</td><td>{held:.1} s</td></tr>", escape(name));
    }
    out.push_str("</tbody></table>");
}

/// Of each name, so many anomalies are shown unfolded.
const OPEN_MAX: usize = 2;

fn anomalies(verdict: &Verdict, out: &mut String) {
    if verdict.anomalies.is_empty() {
        return;
    }
    out.push_str("<h2>Anomalies</h2>");
    for (name, count) in &verdict.found {
        let kept: Vec<&Anomaly> = verdict.anomalies.iter().filter(|anomaly| anomaly.name == *name).collect();
        let _ = write!(out, "<article><h3>{} <small>({count})</small></h3>", escape(name));
        if let Some(meaning) = meaning(name) {
            let _ = write!(out, "<p>{meaning}</p>");
        }
        let (open, folded) = kept.split_at(kept.len().min(OPEN_MAX));
        open.iter().for_each(|anomaly| one(anomaly, out));
        if !folded.is_empty() {
            let _ = write!(out, "<details><summary>{} more</summary>", folded.len());
            folded.iter().for_each(|anomaly| one(anomaly, out));
            out.push_str("</details>");
        }
        out.push_str("</article>");
    }
}

fn one(anomaly: &Anomaly, out: &mut String) {
    if let Some(cycle) = &anomaly.cycle {
        let _ = write!(out, "<figure>{}</figure>", svg(cycle));
    }
    let events: Vec<String> = anomaly.events.iter().take(20).map(u64::to_string).collect();
    let witness = if events.is_empty() { String::new() } else { format!("\nevents {}", events.join(", ")) };
    let _ = write!(out, "<pre>{}{witness}</pre>", escape(anomaly.explanation.trim_end()));
}

/// What an anomaly of a name means, for those that have not read the literature.
fn meaning(name: &str) -> Option<&'static str> {
    let base = name.trim_end_matches("-realtime").trim_end_matches("-process");
    Some(match base {
        "G0" => "Writes of transactions interleave: each overwrote the other.",
        "G1a" => "Something was read that never came to be: its transaction failed.",
        "G1b" => "A transaction was seen half done.",
        "G1c" => "Transactions each saw what the other did: neither can have come first.",
        "G-single" => "A transaction saw part of another's effects and missed part: there is no moment that it saw.",
        "G-nonadjacent" => "Transactions saw independent writes in different orders.",
        "G2-item" => "Transactions each missed what the other did: write skew, which no serial order allows.",
        "lost-update" => "Several read the same and then each changed it: all but one of the changes went unseen.",
        "dirty-update" => "Something was built on what a failed transaction left.",
        "internal" => "A transaction did not see what it had itself done or seen.",
        "cyclic-versions" => "A key went back to an older value.",
        "incompatible-order" => "Two reads of a list show different orders.",
        "causal reverse" => "A later write was visible without an earlier one that it had waited for.",
        _ => return None,
    })
}

fn operations(timeline: &Timeline, out: &mut String) {
    out.push_str("<h2>Operations</h2><table><thead><tr><th>operation</th><th>acknowledged</th><th>failed</th><th>unknown</th><th>median</th><th>99%</th><th>slowest</th></tr></thead><tbody>");
    for (name, row) in &timeline.rows {
        let Row { ok, failed, unknown, .. } = row;
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(name),
            grouped(*ok),
            grouped(*failed),
            grouped(*unknown),
            milliseconds(row.quantile(0.5)),
            milliseconds(row.quantile(0.99)),
            milliseconds(row.quantile(1.0))
        );
    }
    out.push_str("</tbody></table>");
}

fn milliseconds(seconds: Option<f64>) -> String {
    match seconds {
        None => "–".to_owned(),
        Some(seconds) if seconds >= 1.0 => format!("{seconds:.1} s"),
        Some(seconds) => format!("{:.1} ms", seconds * 1e3),
    }
}

/// A number in groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}
