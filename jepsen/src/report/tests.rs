use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::checker::dependency::check_append;
use crate::history::{Event, Kind, Process};

/// Twenty seconds of appends, with two faults, a gap and a lost update.
fn sample() -> History {
    let mut events = Vec::new();
    let mut push = |kind, process, f: &str, value: Value, time: u64| {
        events.push(Event { index: 0, kind, process, f: f.to_owned(), value, time: time * 1_000_000, error: None });
    };
    for number in 0..2_000u64 {
        let (at, process) = (number * 10, Process::Client(number % 8));
        match number {
            300 => push(Kind::Info, Process::Nemesis, "start-kill", json!("n2"), at),
            600 => push(Kind::Info, Process::Nemesis, "stop-kill", json!("n2"), at),
            1_200 => push(Kind::Info, Process::Nemesis, "start-partition <one|way>", json!("n1"), at),
            1_500 => push(Kind::Info, Process::Nemesis, "stop-partition <one|way>", json!("n1"), at),
            _ => {}
        }
        // Nothing is acknowledged for some time after the kill.
        if (310..490).contains(&number) {
            continue;
        }
        let outcome = if number % 97 == 5 {
            Kind::Fail
        } else if number % 311 == 7 {
            Kind::Info
        } else {
            Kind::Ok
        };
        let txn = json!([["append", number, number]]);
        push(Kind::Invoke, process, "txn", txn.clone(), at);
        push(outcome, process, "txn", txn, at + 2 + number * number % 37);
    }
    let mut pair = |first, second| {
        let asked = |element| json!([["r", 5_000, null], ["append", 5_000, element]]);
        let done = |element| json!([["r", 5_000, []], ["append", 5_000, element]]);
        push(Kind::Invoke, Process::Client(100), "txn", asked(first), 20_000);
        push(Kind::Invoke, Process::Client(101), "txn", asked(second), 20_000);
        push(Kind::Ok, Process::Client(100), "txn", done(first), 20_010);
        push(Kind::Ok, Process::Client(101), "txn", done(second), 20_020);
    };
    pair(9_001, 9_002);
    events.sort_by_key(|event| event.time);
    History::new(events)
}

fn written() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("there is room for a report");
    let history = sample();
    write(directory.path(), "append under <kill> & partition", &history, &check_append(&history)).unwrap();
    directory
}

#[test]
fn a_folder_has_history_verdict_page_and_pictures() {
    let directory = written();
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    let history = History::read_json(read("history.jsonl").as_bytes()).unwrap();
    assert_eq!(history, sample());
    let verdict: Value = serde_json::from_str(&read("verdict.json")).unwrap();
    assert_eq!(verdict["valid"], json!(false));
    assert!(verdict["found"]["lost-update"].is_number(), "{verdict}");
    assert!(read("anomaly-1.svg").contains("class=\"edge rw\""));
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_takes_no_text_for_markup() {
    let directory = written();
    let page = std::fs::read_to_string(directory.path().join("report.html")).unwrap();
    for foreign in ["<script", " src=", "@import", "url(", "<link"] {
        assert!(!page.contains(foreign), "the page contains {foreign}");
    }
    assert!(page.contains("append under &lt;kill&gt; &amp; partition"));
    assert!(page.contains("partition &lt;one|way&gt;"));
    for shown in [
        "class=\"fault\"",
        "class=\"gap\"",
        "class=\"bar ok\"",
        "class=\"dot info\"",
        "lost-update",
        "prefers-color-scheme",
    ] {
        assert!(page.contains(shown), "the page does not show {shown}");
    }
}

#[test]
fn an_empty_history_has_a_page_too() {
    let directory = tempfile::tempdir().unwrap();
    let history = History::default();
    write(directory.path(), "nothing", &history, &check_append(&history)).unwrap();
    let page = std::fs::read_to_string(directory.path().join("report.html")).unwrap();
    assert!(page.contains("badge unknown") && !page.contains("NaN") && !page.contains("\"inf"), "{page}");
}

/// In the real browser, where there is one: the page is laid out, asks for nothing, and says nothing on the console.
#[test]
fn chromium_shows_the_page() {
    let Some(chromium) =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser"].map(PathBuf::from).into_iter().find(|path| path.exists())
    else {
        println!("SKIPPED: there is no Chromium here");
        return;
    };
    let directory = written();
    let picture = directory.path().join("page.png");
    let output = std::process::Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
        ])
        .args(["--window-size=1100,2400", "--dump-dom"])
        .arg(format!("--user-data-dir={}", directory.path().join("profile").display()))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(format!("file://{}", directory.path().join("report.html").display()))
        .output()
        .expect("Chromium starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("CONSOLE") && !said.contains("ERR_FILE"), "{said}");
    let shown = std::fs::read(&picture).expect("it took a picture");
    // A blank page of this size takes some ten thousand bytes.
    assert!(shown.starts_with(b"\x89PNG") && shown.len() > 60_000, "a picture of {} bytes", shown.len());
}
