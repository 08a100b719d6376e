//! Histories as scripts: `jepsen/tests/scripts/checker/*`.
//!
//! Each line is a transaction: `ok`, `fail` or `info` with its steps. Those between two `then` are concurrent; `process=N` says who did
//! it, `for=N` how many `then` it outlives. `lists` and `registers` end a script: they print the verdict, and what adya found.

use std::error::Error;

use serde_json::{Value, json};

use super::super::*;
use crate::checker::second_opinion;
use crate::history::{Event, Kind, Process};

#[derive(Default)]
struct Script {
    events: Vec<Event>,
    /// Completions of the transactions that run now, each with how many `then` it outlives.
    running: Vec<(u64, Event)>,
    processes: u64,
}

impl Script {
    fn transaction(&mut self, command: &goldenscript::Command) -> Result<(), Box<dyn Error>> {
        let mut arguments = command.consume_args();
        let process = arguments.take_key("process").map(str::parse).transpose()?.unwrap_or(100 + self.processes);
        let outlives = arguments.take_key("for").map(str::parse).transpose()?.unwrap_or(0);
        self.processes += 1;
        let mut done = Vec::new();
        while let Some(step) = arguments.next_pos() {
            done.push(micro(step)?);
        }
        let mut asked = done.clone();
        for step in asked.iter_mut().filter(|step| step[0] == "r") {
            step[2] = Value::Null;
        }
        arguments.reject_next()?;
        let kind = match command.name.as_str() {
            "ok" => Kind::Ok,
            "fail" => Kind::Fail,
            _ => Kind::Info,
        };
        let event = |kind, value: Vec<Value>| Event {
            index: 0,
            kind,
            process: Process::Client(process),
            f: "txn".to_owned(),
            value: Value::Array(value),
            time: 0,
            error: None,
        };
        self.events.push(event(Kind::Invoke, asked.clone()));
        self.running.push((outlives, event(kind, if kind == Kind::Ok { done } else { asked })));
        Ok(())
    }

    /// Whoever does not outlive this is done.
    fn then(&mut self) {
        let (done, running) = std::mem::take(&mut self.running).into_iter().partition(|(outlives, _)| *outlives == 0);
        self.events.extend(Vec::into_iter(done).map(|(_, event)| event));
        self.running = Vec::into_iter(running).map(|(outlives, event)| (outlives - 1, event)).collect();
    }

    fn history(&mut self) -> History {
        while !self.running.is_empty() {
            self.then();
        }
        for (index, event) in self.events.iter_mut().enumerate() {
            event.time = index as u64;
        }
        History::new(std::mem::take(&mut self.events))
    }
}

/// `append x 1`, `r x [1,2]`, `w x 1`, `r x 1`, `r x nil`
fn micro(text: &str) -> Result<Value, Box<dyn Error>> {
    let mut words = text.splitn(3, ' ');
    let (Some(f), Some(key), Some(value)) = (words.next(), words.next(), words.next()) else {
        return Err(format!("expected a step, a key and a value, found {text:?}").into());
    };
    let value: Value = if value == "nil" { Value::Null } else { serde_json::from_str(value)? };
    Ok(json!([f, key, value]))
}

impl goldenscript::Runner for Script {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _: &goldenscript::Context) -> Result<String, Box<dyn Error>> {
        let (verdict, second) = match command.name.as_str() {
            "ok" | "fail" | "info" => return self.transaction(command).map(|()| String::new()),
            "then" => {
                self.then();
                return Ok(String::new());
            }
            "lists" => {
                let history = self.history();
                (check_append(&history), second_opinion::on_lists(&history))
            }
            "registers" => {
                let mut arguments = command.consume_args();
                let mut assume = RegisterAssumptions::default();
                while let Some(argument) = arguments.next_pos() {
                    match argument {
                        "wfr" => assume.writes_follow_reads = true,
                        "linearizable" => assume.linearizable_keys = true,
                        other => return Err(format!("no assumption is called {other}").into()),
                    }
                }
                arguments.reject_next()?;
                let history = self.history();
                (check_register(&history, assume), second_opinion::on_registers(&history, assume))
            }
            other => return Err(format!("no command is called {other}").into()),
        };
        let mut out = format!("{:?}: {}\n", verdict.validity(), verdict.names().join(", "));
        for anomaly in &verdict.anomalies {
            out.push_str(&format!("{}: {}\n", anomaly.name, anomaly.explanation.trim_end()));
        }
        verdict.unknown.iter().for_each(|why| out.push_str(&format!("cannot tell: {why}\n")));
        out.push_str(&format!("adya: {second}\n"));
        if let Some(disagreement) = second.disagreement(&verdict) {
            return Err(format!("{out}{disagreement}").into());
        }
        Ok(out)
    }
}

#[test]
fn seeded_histories() {
    let folder = std::path::Path::new("tests/scripts/checker");
    let mut count = 0;
    for entry in folder.read_dir().expect("the scripts are there") {
        let path = entry.expect("the folder is readable").path();
        goldenscript::run(&mut Script::default(), &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        count += 1;
    }
    assert!(count >= 20, "only {count} scripts were found");
}
