//! Named behaviours of the log, as scripts: `tests/scripts/wal`. `UPDATE_GOLDENFILES=1` rewrites their output.

use std::error::Error;
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::{Random, Tasks};
use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use parking_lot::Mutex;
use tokio::runtime::Runtime;

use super::answer;
use crate::disk::{Dir, SimDir, SimFaults};
use crate::wal::{LogEntry, Wal, WalError, WalOptions};
use crate::{GroupId, LogPosition};

#[test]
#[allow(clippy::disallowed_methods, reason = "the scripts are files of the source tree")]
fn scripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/wal");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the scripts are there")
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        goldenscript::run(&mut Machine::new(), &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// A machine with a disk, on which a log may be open.
struct Machine {
    runtime: Runtime,
    dir: SimDir,
    faults: SimFaults,
    wal: Option<Wal>,
    /// Work that was not waited for.
    waiting: Vec<Waiting>,
}

/// What the work is called, and its answer once there is one.
type Waiting = (String, Arc<Mutex<Option<Result<(), WalError>>>>);

type Outcome = Result<String, Box<dyn Error>>;

fn number<T: FromStr>(args: &mut ArgumentConsumer<'_>, key: &str, otherwise: T) -> Result<T, Box<dyn Error>>
where
    T::Err: Error + 'static,
{
    Ok(args.take_key(key).map(str::parse).transpose()?.unwrap_or(otherwise))
}

impl Machine {
    fn new() -> Machine {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        Machine {
            runtime: runtime.expect("a runtime without I/O starts"),
            dir: SimDir::new(Random::from_seed(1)),
            faults: SimFaults::default(),
            wal: None,
            waiting: Vec::new(),
        }
    }

    fn wal(&self) -> Result<Wal, Box<dyn Error>> {
        self.wal.clone().ok_or_else(|| "no log is open".into())
    }

    fn open(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let options = WalOptions {
            segment_bytes: number(args, "segment_bytes", 16 << 10)?,
            max_segments: number(args, "max_segments", 4)?,
            cache_bytes: number(args, "cache_bytes", 64 << 10)?,
        };
        let tasks = Tasks::deterministic(self.runtime.handle().clone());
        self.wal = Some(Wal::open(Arc::new(self.dir.clone()), options, tasks)?);
        Ok(String::new())
    }

    /// Lets the writer run, and tells what was answered since.
    fn settle(&mut self) -> String {
        self.runtime.block_on(async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        });
        self.answers()
    }

    fn answers(&mut self) -> String {
        let mut told = String::new();
        self.waiting.retain(|(name, place)| {
            let answer = place.lock();
            let Some(outcome) = &*answer else { return true };
            let outcome = outcome.as_ref().map_or_else(|error| format!("error: {error}"), |()| "synced".to_owned());
            writeln!(told, "{name}: {outcome}").expect("strings take anything");
            false
        });
        told
    }

    fn append(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let group = number(args, "group", 1)?;
        let log = self.wal()?.group(GroupId(group));
        let next = log.state().last.map_or(0, |last| last.index + 1);
        let from: u64 = number(args, "from", next)?;
        let term = number(args, "term", 1)?;
        let payload = Bytes::from(vec![b'x'; number(args, "bytes", 10)?]);
        let count = number(args, "count", 1)?;
        let position = |index| LogPosition::new(term, 0, index);
        let entries =
            (from..from + count).map(|index| LogEntry { position: position(index), payload: payload.clone() });
        let (on_synced, place) = answer();
        log.append(entries.collect(), on_synced);
        self.waiting.push((format!("append {from}..{}", from + count), place));
        Ok(String::new())
    }

    fn wait_for(&mut self, name: &str, work: impl Future<Output = Result<(), WalError>>) -> Outcome {
        let outcome = self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), work).await });
        outcome??;
        Ok(format!("{name}: synced\n"))
    }

    fn state(&self) -> Outcome {
        let wal = self.wal()?;
        let mut out = String::new();
        let show = |position: Option<LogPosition>| position.map_or("-".to_owned(), |position| position.to_string());
        for group in wal.groups() {
            let log = wal.group(group);
            let state = log.state();
            let vote = state.vote.map_or("-".to_owned(), |vote| String::from_utf8_lossy(&vote).into_owned());
            let (purged, last, committed) = (show(state.purged), show(state.last), show(state.committed));
            let synced = show(log.synced());
            writeln!(out, "{group} vote={vote} purged={purged} last={last} synced={synced} committed={committed}")?;
        }
        if out.is_empty() {
            out = "no groups\n".to_owned();
        }
        Ok(out)
    }

    fn read(&self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let log = self.wal()?.group(GroupId(number(args, "group", 1)?));
        let entries = log.read(number(args, "from", 0)?..number(args, "to", 1)?)?;
        let shown = entries.iter().map(|entry| format!("{} {} bytes\n", entry.position, entry.payload.len()));
        Ok(shown.collect())
    }

    fn set_faults(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        self.faults = SimFaults {
            sync_error: number(args, "sync_error", 0.0)?,
            capacity_bytes: args.take_key("capacity").map(str::parse).transpose()?,
            power_loss_after: match args.take_key("power_loss_after") {
                Some(after) => Some(self.dir.operations() + after.parse::<u64>()?),
                None => None,
            },
            ..SimFaults::default()
        };
        self.dir.set_faults(self.faults.clone());
        Ok(String::new())
    }

    fn lose(&mut self, after: impl FnOnce(&SimDir) -> SimDir) -> Outcome {
        self.dir = after(&self.dir);
        self.wal = None;
        self.waiting.clear();
        Ok(String::new())
    }

    fn run_log(&mut self, command: &Command, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let group = number(args, "group", 1)?;
        let log = self.wal()?.group(GroupId(group));
        let position = |args: &mut ArgumentConsumer<'_>| -> Result<LogPosition, Box<dyn Error>> {
            Ok(LogPosition::new(number(args, "term", 1)?, 0, number(args, "index", 0)?))
        };
        match command.name.as_str() {
            "vote" => {
                let vote = Bytes::from(args.next_pos().ok_or("a vote is missing")?.to_owned());
                return self.wait_for("vote", async { log.save_vote(vote).await });
            }
            "destroy" => return self.wait_for("destroy", async { log.destroy().await }),
            "truncate" => {
                let after = args.take_key("after").map(str::parse).transpose()?;
                let (on_synced, place) = answer();
                log.truncate_after(after, on_synced);
                self.waiting.push(("truncate".to_owned(), place));
            }
            "committed" => log.save_committed(position(args)?),
            "purge" => log.purge(position(args)?),
            other => return Err(format!("unknown command {other}").into()),
        }
        Ok(String::new())
    }
}

impl Runner for Machine {
    type Command = Command;

    fn run(&mut self, command: &Command, _context: &Context) -> Outcome {
        let mut args = command.consume_args();
        let output = match command.name.as_str() {
            "open" => self.open(&mut args),
            "close" => {
                let wal = self.wal.take().ok_or("no log is open")?;
                self.runtime.block_on(wal.close());
                Ok(self.answers())
            }
            "kill" => self.lose(SimDir::kill),
            "crash" => self.lose(SimDir::crash),
            "faults" => self.set_faults(&mut args),
            "corrupt" => {
                let name = args.next_pos().ok_or("a file is missing")?;
                self.dir.corrupt(name, number(&mut args, "offset", 0)?, 1)?;
                Ok(String::new())
            }
            "remove" => {
                self.dir.remove(args.next_pos().ok_or("a file is missing")?)?;
                Ok(String::new())
            }
            "files" => Ok(self.dir.list()?.iter().map(|name| format!("{name}\n")).collect()),
            "append" => self.append(&mut args),
            "settle" => Ok(self.settle()),
            "sleep" => {
                let time = Duration::from_millis(number(&mut args, "ms", 300)?);
                self.runtime.block_on(async { tokio::time::sleep(time).await });
                Ok(self.settle())
            }
            "state" => self.state(),
            "read" => self.read(&mut args),
            "stats" => {
                let stats = self.wal()?.stats();
                let full = if stats.waits_for_space { ", waiting for space" } else { "" };
                Ok(format!("{} batches, {} segments, {} spares{full}\n", stats.batches, stats.segments, stats.spares))
            }
            "repeat" => {
                let (times, bytes) = (number(&mut args, "times", 1)?, number(&mut args, "bytes", 1000)?);
                self.repeat(GroupId(number(&mut args, "group", 1)?), times, bytes)
            }
            _ => self.run_log(command, &mut args),
        };
        args.reject_next()?;
        output
    }
}

impl Machine {
    /// Appends entry after entry, purging all before the one before the last.
    fn repeat(&mut self, group: GroupId, times: u64, bytes: usize) -> Outcome {
        let log = self.wal()?.group(group);
        for _ in 0..times {
            let index = log.state().last.map_or(0, |last| last.index + 1);
            let entry = LogEntry { position: LogPosition::new(1, 0, index), payload: Bytes::from(vec![b'y'; bytes]) };
            let (told, synced) = tokio::sync::oneshot::channel();
            log.append(vec![entry], Box::new(move |outcome| drop(told.send(outcome))));
            self.runtime.block_on(synced)??;
            if index > 0 {
                log.purge(LogPosition::new(1, 0, index - 1));
            }
        }
        Ok(format!("last {}\n", log.state().last.expect("something was appended")))
    }
}
