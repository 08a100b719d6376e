//! Runs scripts: each command prefix is a transaction, and every batch it causes is told.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::{Hlc, Random, Tasks, Timestamp, VolatileCeiling};
use goldenscript::{Argument, ArgumentConsumer, Command, Context};
use kv::api::{KvError, LockStrength, error_detail};

use crate::testing::{Fault, SerialRanges, TickingTime};
use crate::{Database, OwnWrites, Page, Savepoint, ScanRequest, Settings, StatementMark, Transaction, TxnOptions};

pub struct Runner {
    runtime: tokio::runtime::Runtime,
    ranges: Arc<SerialRanges>,
    time: Arc<TickingTime>,
    database: Database,
    open: BTreeMap<String, Open>,
}

struct Open {
    transaction: Arc<Transaction>,
    mark: Option<StatementMark>,
    savepoints: BTreeMap<String, Savepoint>,
}

impl Open {
    fn savepoint(&self, name: Option<&&str>) -> Result<Savepoint, Box<dyn Error>> {
        name.and_then(|name| self.savepoints.get(*name)).copied().ok_or_else(|| "which savepoint?".into())
    }
}

type Outcome = Result<String, Box<dyn Error>>;

impl Runner {
    pub fn new() -> Self {
        Self::with(0, settings())
    }

    fn with(error_ms: u64, settings: Settings) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime starts");
        let entered = runtime.enter();
        let ranges = Arc::new(SerialRanges::default());
        let time = Arc::new(TickingTime::new(error_ms));
        let error = Duration::from_millis(error_ms);
        let hlc = Arc::new(Hlc::new(time.clone(), error, Arc::new(VolatileCeiling), Timestamp::MIN));
        let tasks = Tasks::deterministic(runtime.handle().clone());
        let database = Database::new(ranges.clone(), hlc, tasks, Random::from_seed(1), 1, settings);
        drop(entered);
        Runner { runtime, ranges, time, database, open: BTreeMap::new() }
    }

    fn cluster(&mut self, command: &Command) -> Outcome {
        let mut args = command.consume_args();
        match command.name.as_str() {
            "split" => args.next_pos().into_iter().for_each(|key| self.ranges.split(bytes(key))),
            "cluster" => {
                let error_ms = parsed(&mut args, "clock_error_ms")?.unwrap_or(0);
                let mut settings = settings();
                if let Some(limit) = parsed(&mut args, "write_buffer_bytes")? {
                    (settings.write_buffer_bytes, settings.write_batch_bytes) = (limit, limit);
                }
                if let Some(limit) = parsed(&mut args, "read_span_bytes")? {
                    settings.read_span_bytes = limit;
                }
                let former = std::mem::replace(self, Self::with(error_ms, settings));
                drop(former);
            }
            "advance" => self.time.advance_ms(args.next_pos().ok_or("how many ms?")?.parse()?),
            "fault" => self.fault(command)?,
            "heal" => self.ranges.clear_faults(),
            "data" => return Ok(self.ranges.dump()),
            "heartbeats" => {
                let core = &self.database.core;
                self.runtime.block_on(core.heartbeats.beat(&core.sender, &core.hlc, Duration::from_secs(1)));
            }
            other => return Err(format!("no command {other}").into()),
        }
        Ok(String::new())
    }

    fn fault(&mut self, command: &Command) -> Result<(), Box<dyn Error>> {
        let mut args = command.consume_args();
        let kind = args.next_pos().ok_or("which fault?")?;
        let ended = || error_detail::Ended { message: "as the script asked".into(), other: None };
        let key = bytes(args.take_key("key").unwrap_or("k"));
        let at = Timestamp::new(parsed::<u64>(&mut args, "at")?.unwrap_or(0) * 1_000_000, 0);
        let conflict = error_detail::Conflict { key, actual: at, other: None };
        let (error, applies) = match kind {
            "lost_request" => (KvError::Ambiguous(ended()), false),
            "lost_answer" => (KvError::Ambiguous(ended()), true),
            "aborted" => (KvError::TxnAborted(ended()), false),
            "pushed" => (KvError::CommitPushed(conflict), false),
            "too_old" => (KvError::WriteTooOld(conflict), false),
            "uncertain" => (KvError::Uncertain(conflict), false),
            "outdated" => (KvError::BelowGcThreshold(conflict), false),
            "deadlock" => (KvError::Deadlock(conflict), false),
            "forgotten" => (KvError::Forgotten(ended()), false),
            "disk_full" => (KvError::DiskFull(ended()), false),
            // It arrived twice, and the copy that was refused is the one that is answered.
            "disk_full_for_copy" => (KvError::DiskFull(ended()), true),
            "unavailable" => {
                let message = "nodes 2, 3 do not answer".into();
                let lacking = error_detail::Unavailable { range_id: 7, message, missing_nodes: vec![2, 3] };
                (KvError::Unavailable(lacking), false)
            }
            other => return Err(format!("no fault {other}").into()),
        };
        let on = args.take_key("on").unwrap_or("end").to_owned();
        for _ in 0..parsed(&mut args, "times")?.unwrap_or(1) {
            self.ranges.inject(Fault { on: on.clone(), applies, error: error.clone() });
        }
        Ok(())
    }

    fn begin(&mut self, name: &str, command: &Command) -> Outcome {
        let mut args = command.consume_args();
        let as_of = parsed::<u64>(&mut args, "as_of")?.map(|ms| Timestamp::new(ms * 1_000_000, 0));
        let relaxed = parsed(&mut args, "relaxed")?.unwrap_or(false);
        let transaction =
            self.database.begin(TxnOptions { as_of, relaxed, lock_timeout: Some(Duration::ZERO), priority: 0 })?;
        let told = format!("reads at {}\n", ms(transaction.read_timestamp()));
        self.open.insert(name.into(), Open { transaction, mark: None, savepoints: BTreeMap::new() });
        Ok(told)
    }

    async fn transact(time: &TickingTime, open: &mut Open, command: &Command) -> Outcome {
        let transaction = open.transaction.clone();
        let flags: Vec<&str> = command.args.iter().filter_map(positional).collect();
        let lock = if flags.contains(&"lock") { LockStrength::Exclusive } else { LockStrength::None };
        let keys = || flags.iter().filter(|word| **word != "lock").map(|key| bytes(key));
        match command.name.as_str() {
            "get" => {
                let value = transaction.get(keys().next().ok_or("which key?")?, lock).await?;
                Ok(format!("{}\n", show(value)))
            }
            "get_many" => {
                let values = transaction.get_many(keys().collect(), lock).await?;
                Ok(format!("{}\n", values.into_iter().map(show).collect::<Vec<_>>().join(" ")))
            }
            "scan" => Ok(page(transaction.scan(&scan_request(command, lock)?).await?)),
            "put" | "load" => {
                for (key, value) in writes(command)? {
                    match command.name.as_str() {
                        "put" => transaction.put(key, value).await?,
                        _ => transaction.put_invisible(key, value).await?,
                    }
                }
                Ok(String::new())
            }
            "delete" => {
                for key in keys() {
                    transaction.delete(key).await?;
                }
                Ok(String::new())
            }
            "statement" => {
                open.mark = Some(transaction.statement());
                Ok(String::new())
            }
            "rewind" => {
                transaction.rewind(open.mark.ok_or("no statement")?)?;
                Ok(format!("reads at {}\n", ms(transaction.read_timestamp())))
            }
            "savepoint" => {
                let name = flags.first().ok_or("which name?")?;
                open.savepoints.insert((*name).into(), transaction.savepoint()?);
                Ok(String::new())
            }
            "rollback_to" => {
                let held = transaction.roll_back_to(open.savepoint(flags.first())?)?;
                transaction.release_held(held).await;
                Ok(String::new())
            }
            "release" => {
                transaction.release(open.savepoint(flags.first())?)?;
                Ok(String::new())
            }
            "commit" => {
                let outcome = transaction.commit().await?;
                let phases = if outcome.one_phase { "one phase" } else { "two phases" };
                let at = ms(outcome.commit_timestamp);
                Ok(format!(
                    "committed at {at} in {phases}, ranges {:?}, answered at {}\n",
                    outcome.ranges,
                    time.peek_ms()
                ))
            }
            "rollback" => {
                transaction.rollback().await;
                Ok(format!("answered at {}\n", time.peek_ms()))
            }
            other => Err(format!("no command {other}").into()),
        }
    }
}

impl goldenscript::Runner for Runner {
    type Command = Command;

    fn run(&mut self, command: &Command, context: &Context) -> Outcome {
        if command.name == "cluster" {
            return self.cluster(command);
        }
        let handle = self.runtime.handle().clone();
        let _entered = handle.enter();
        let outcome = match &context.prefix {
            None => self.cluster(command),
            Some(name) if command.name == "begin" => self.begin(name, command),
            Some(name) if command.name == "drop" => {
                self.open.remove(name);
                Ok(String::new())
            }
            Some(name) => {
                let open = self.open.get_mut(name).ok_or("begin it first")?;
                self.runtime.block_on(Self::transact(&self.time, open, command))
            }
        };
        // Cleaning up goes on beside the answer.
        self.runtime.block_on(async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        });
        let mut told = String::new();
        for line in collapse(self.ranges.take_trace()) {
            writeln!(told, "  {line}")?;
        }
        match outcome {
            Ok(result) => told += &result,
            Err(error) => writeln!(told, "error: {error}")?,
        }
        Ok(told)
    }
}

/// How often something is asked until a bound depends on the machine: repetitions are told once.
fn collapse(lines: Vec<String>) -> Vec<String> {
    let mut kept: Vec<(String, bool)> = Vec::new();
    for line in lines {
        match kept.last_mut() {
            Some((last, repeated)) if *last == line => *repeated = true,
            _ => kept.push((line, false)),
        }
    }
    kept.into_iter().map(|(line, repeated)| if repeated { format!("{line} (and again)") } else { line }).collect()
}

fn settings() -> Settings {
    Settings {
        // The script says when hearts beat.
        heartbeat_interval: Duration::from_secs(3600),
        ambiguous_commit_bound: Duration::from_millis(300),
        ..Settings::default()
    }
}

fn bytes(word: &str) -> Bytes {
    Bytes::copy_from_slice(word.as_bytes())
}

fn ms(timestamp: Timestamp) -> String {
    crate::testing::time(timestamp)
}

fn show(value: Option<Bytes>) -> String {
    value.as_ref().map_or("none".into(), crate::testing::value)
}

fn parsed<T: FromStr>(args: &mut ArgumentConsumer<'_>, key: &str) -> Result<Option<T>, Box<dyn Error>>
where
    T::Err: Error + 'static,
{
    Ok(args.take_key(key).map(T::from_str).transpose()?)
}

fn positional(argument: &Argument) -> Option<&str> {
    match argument {
        Argument::Positional(word) => Some(word),
        _ => None,
    }
}

fn writes(command: &Command) -> Result<Vec<(Bytes, Bytes)>, Box<dyn Error>> {
    let mut writes = Vec::new();
    for argument in &command.args {
        let Argument::KeyValue(key, value) = argument else { return Err("writes are key=value".into()) };
        // `bigN` stands for a value of N bytes.
        let value = match value.strip_prefix("big") {
            Some(length) => Bytes::from(vec![b'x'; length.parse()?]),
            None => bytes(value),
        };
        writes.push((bytes(key), value));
    }
    Ok(writes)
}

fn scan_request(command: &Command, lock: LockStrength) -> Result<ScanRequest, Box<dyn Error>> {
    let mut args = command.consume_args();
    let max_rows = parsed(&mut args, "max")?.unwrap_or(0);
    let words: Vec<&str> = command.args.iter().filter_map(positional).collect();
    let [start, end, flags @ ..] = &words[..] else { return Err("scan from and to".into()) };
    let before = flags.contains(&"before");
    Ok(ScanRequest {
        start: bytes(start),
        end: bytes(end),
        reverse: flags.contains(&"reverse"),
        max_rows,
        lock,
        own_writes: if before { OwnWrites::BeforeStatement } else { OwnWrites::All },
        guarded: flags.contains(&"guarded"),
        ..ScanRequest::default()
    })
}

fn page(page: Page) -> String {
    let rows: Vec<String> = page
        .rows
        .iter()
        .map(|row| format!("{}={}", row.key.escape_ascii(), crate::testing::value(&row.value)))
        .collect();
    let rest = match page.resume {
        Some(rest) => format!(" (then {}..{})", rest.start.escape_ascii(), rest.end.escape_ascii()),
        None => String::new(),
    };
    format!("{}{rest}\n", rows.join(" "))
}
