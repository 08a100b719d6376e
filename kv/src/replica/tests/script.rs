//! Runs scripts: the prefix of a command is its transaction; `bg=<name>` runs it beside, `await <name>` waits for it.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::{Hlc, Random, SimulatedTime, Tasks, Timestamp, VolatileCeiling};
use goldenscript::{Argument, Command, Context};
use tokio::task::JoinHandle;

use crate::api::*;
use crate::settings::Settings;

pub struct Runner {
    runtime: tokio::runtime::Runtime,
    hlc: Arc<Hlc>,
    sender: Arc<dyn Sender>,
    txns: BTreeMap<String, TxnMeta>,
    running: BTreeMap<String, JoinHandle<String>>,
}

type Outcome = Result<String, Box<dyn Error>>;

fn key(name: &str) -> Bytes {
    Bytes::from([&[crate::keys::TABLE], name.as_bytes()].concat())
}

fn name(key: &[u8]) -> String {
    key.get(1..).unwrap_or_default().escape_ascii().to_string()
}

impl Runner {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime starts");
        let entered = runtime.enter();
        let time = SimulatedTime::starting_at(1_000_000_000_000, Duration::ZERO);
        let hlc = Arc::new(Hlc::new(Arc::new(time), Duration::ZERO, Arc::new(VolatileCeiling), Timestamp::MIN));
        let tasks = Tasks::deterministic(runtime.handle().clone());
        let sender = crate::local_range(hlc.clone(), tasks, Random::from_seed(7), Settings::default());
        drop(entered);
        Runner { runtime, hlc, sender, txns: BTreeMap::new(), running: BTreeMap::new() }
    }

    fn begin(&mut self, txn: &str, command: &Command) -> Outcome {
        let mut args = command.consume_args();
        let now = self.hlc.now()?;
        let priority = args.take_key("priority").map_or(Ok(1), str::parse)?;
        let meta = TxnMeta {
            id: TxnId::from_random(txn.trim_start_matches('t').parse::<u64>()?.into()),
            anchor: key(args.take_key("anchor").unwrap_or("a")),
            priority,
            sequence: 9,
            read_timestamp: now,
            write_timestamp: now,
            uncertainty_limit: now,
            begin_timestamp: now,
            ..TxnMeta::default()
        };
        self.txns.insert(txn.to_owned(), meta);
        Ok(String::new())
    }

    fn requests(&mut self, txn: Option<&str>, command: &Command) -> Result<Vec<Request>, Box<dyn Error>> {
        let mut args = command.consume_args();
        let lock = |locked: bool| if locked { LockStrength::Exclusive } else { LockStrength::None } as i32;
        let locked = args.take_key("lock").is_some();
        let sequence = args.take_key("sequence").map_or(Ok(1), str::parse)?;
        let one_phase = args.take_key("one_phase").is_some();
        let forward = args.take_key("forward").is_some();
        let all_written = args.take_key("all_written").is_some();
        let intents = args.take_key("intents").map(|keys| keys.split('/').map(key).collect::<Vec<_>>());
        let words: Vec<String> = std::iter::from_fn(|| args.next_pos()).map(str::to_owned).collect();
        let pair = |argument: &Argument| match argument {
            Argument::KeyValue(key, value) if key.len() == 1 => Some((key.clone(), value.clone())),
            _ => None,
        };
        let puts: Vec<(String, String)> = command.args.iter().filter_map(pair).collect();
        let mut kinds: Vec<RequestKind> = Vec::new();
        match command.name.as_str() {
            "get" => kinds.extend(words.iter().map(|k| RequestKind::Get(Get { key: key(k), lock: lock(locked) }))),
            "scan" => {
                let (start, end) = (key(&words[0]), key(&words[1]));
                kinds.push(RequestKind::Scan(Scan { start, end, reverse: false, lock: lock(locked) }));
            }
            "del" => kinds.extend(words.iter().map(|k| RequestKind::Delete(Delete { key: key(k), sequence }))),
            "add" => kinds.push(RequestKind::Increment(Increment { key: key(&words[0]), by: words[1].parse()? })),
            "refresh" => {
                let meta = txn.and_then(|txn| self.txns.get(txn)).ok_or("whose reads?")?;
                let span = Span { start: key(&words[0]), end: key(&words[1]) };
                kinds.push(RequestKind::Refresh(Refresh { span, from: meta.begin_timestamp }));
            }
            "gc" => {
                let threshold = self.hlc.now()?;
                kinds.push(RequestKind::CollectGarbage(CollectGarbage { key: key(""), threshold }));
            }
            // Goes back over what was written above a sequence number: intents in which nothing else is left are removed.
            "go_back" => {
                let meta = txn.and_then(|txn| self.txns.get(txn)).ok_or("whose writes?")?;
                kinds.extend(words.iter().map(|name| go_back(meta, key(name), sequence)));
            }
            // By somebody who met an intent of it once, and knows no more.
            "push" => {
                let pushee = self.txns.get(&words[0]).ok_or("push whom?")?.clone();
                kinds.push(RequestKind::PushTxn(PushTxn { pushee, ..PushTxn::default() }));
            }
            "heartbeat" => kinds.push(RequestKind::HeartbeatTxn(HeartbeatTxn { now: self.hlc.now()? })),
            "put" | "commit" | "rollback" => {}
            other => return Err(format!("no command {other}").into()),
        }
        for (k, value) in puts {
            kinds.push(RequestKind::Put(Put { key: key(&k), value: value.into(), sequence, invisible: false }));
        }
        if matches!(command.name.as_str(), "commit" | "rollback") {
            let spans =
                intents.unwrap_or_default().into_iter().map(|start| Span { start, end: Bytes::new() }).collect();
            let commit = command.name == "commit";
            kinds.push(RequestKind::EndTxn(EndTxn {
                commit,
                intents: spans,
                can_forward_timestamp: forward,
                one_phase,
                all_written,
            }));
        }
        Ok(kinds.into_iter().map(Request::from).collect())
    }

    fn send(&mut self, txn: Option<&str>, command: &Command) -> Outcome {
        let requests = self.requests(txn, command)?;
        let mut args = command.consume_args();
        let meta = match txn {
            Some(txn) => Some(self.txns.get(txn).ok_or("begin it first")?.clone()),
            None => None,
        };
        let header = BatchHeader {
            txn: meta,
            no_wait: args.take_key("no_wait").is_some(),
            timeout_ms: args.take_key("timeout_ms").map_or(Ok(0), str::parse)?,
            ..BatchHeader::default()
        };
        let batch = BatchRequest { header, requests };
        let (sender, before) = (self.sender.clone(), batch.header.txn.as_ref().map(|txn| txn.write_timestamp));
        let work = async move {
            match sender.send(batch).await {
                Ok(response) => (tell(&response, before), response.write_timestamp),
                Err(error) => (format!("{}\n", tell_error(&error)), Timestamp::MIN),
            }
        };
        match args.take_key("bg") {
            Some(name) => {
                let running = self.runtime.handle().spawn(async move { work.await.0 });
                self.running.insert(name.to_owned(), running);
                self.runtime.block_on(tokio::time::sleep(Duration::from_millis(1)));
                Ok(String::new())
            }
            None => {
                let (told, stands) = self.runtime.block_on(work);
                if let Some(meta) = txn.and_then(|txn| self.txns.get_mut(txn)) {
                    meta.write_timestamp = meta.write_timestamp.max(stands);
                }
                Ok(told)
            }
        }
    }
}

/// Takes back what a transaction wrote to a key above a sequence number.
fn go_back(meta: &TxnMeta, start: Bytes, above: u32) -> RequestKind {
    let (span, status) = (Span { start, end: Bytes::new() }, TxnStatus::Pending as i32);
    let ignored = vec![SequenceSpan { above, through: meta.sequence }];
    RequestKind::ResolveIntents(ResolveIntents { span, txn: meta.id, status, ignored, ..ResolveIntents::default() })
}

fn tell_error(error: &KvError) -> String {
    match error {
        KvError::Deadlock(conflict) | KvError::LockUnavailable(conflict) => {
            let other = conflict.other.map_or("-".into(), |other| format!("t{}", other.low));
            format!("error: {} ({} at {})", what(error), other, name(&conflict.key))
        }
        other => format!("error: {}", what(other)),
    }
}

fn what(error: &KvError) -> &'static str {
    match error {
        KvError::WriteTooOld(_) => "write too old",
        KvError::RefreshFailed(_) => "refresh failed",
        KvError::CommitPushed(_) => "commit pushed",
        KvError::TxnAborted(_) => "aborted",
        KvError::AlreadyCommitted(_) => "already committed",
        KvError::Deadlock(_) => "deadlock",
        KvError::LockUnavailable(_) => "lock unavailable",
        KvError::NotOnePhase(_) => "not one phase",
        KvError::Uncertain(_) => "uncertain",
        KvError::BelowGcThreshold(_) => "below the gc threshold",
        KvError::Forgotten(_) => "forgotten",
        KvError::Invalid(_) => "invalid",
        _ => "other",
    }
}

fn tell(response: &BatchResponse, before: Option<Timestamp>) -> String {
    let mut out = String::new();
    for response in &response.responses {
        let line = match response.kind.as_ref().expect("a response says what it is") {
            ResponseKind::Value(Value { value: Some(value) }) => value.escape_ascii().to_string(),
            ResponseKind::Value(Value { value: None }) => "none".to_owned(),
            ResponseKind::Rows(rows) => {
                let row = |row: &KeyValue| format!("{}={}", name(&row.key), row.value.escape_ascii());
                rows.rows.iter().map(row).collect::<Vec<_>>().join(" ")
            }
            ResponseKind::Ended(ended) if ended.status == TxnStatus::Committed as i32 => {
                format!("committed{}", if ended.one_phase { " in one phase" } else { "" })
            }
            ResponseKind::Ended(_) => "rolled back".to_owned(),
            ResponseKind::Counter(counter) => counter.value.to_string(),
            ResponseKind::Record(record) => {
                let presumed = if record.presumed_at.is_some() { "presumed " } else { "" };
                format!("{presumed}{:?}", record.status())
            }
            _ => "done".to_owned(),
        };
        out.push_str(&line);
        out.push('\n');
    }
    if before.is_some_and(|before| response.write_timestamp > before) {
        out.push_str("pushed\n");
    }
    out
}

impl goldenscript::Runner for Runner {
    type Command = Command;

    fn run(&mut self, command: &Command, context: &Context) -> Outcome {
        let prefix = context.prefix.as_deref();
        let handle = self.runtime.handle().clone();
        let _entered = handle.enter();
        match command.name.as_str() {
            "begin" => self.begin(prefix.ok_or("whose?")?, command),
            "sleep" => {
                let ms: u64 = command.consume_args().next_pos().ok_or("how many ms?")?.parse()?;
                self.runtime.block_on(tokio::time::sleep(Duration::from_millis(ms)));
                Ok(String::new())
            }
            "restart" => {
                let now = self.hlc.now()?;
                let meta = self.txns.get_mut(prefix.ok_or("whose?")?).ok_or("begin it first")?;
                (meta.read_timestamp, meta.write_timestamp, meta.uncertainty_limit) = (now, now, now);
                Ok(String::new())
            }
            "done" => {
                let name = command.consume_args().next_pos().ok_or("which?")?.to_owned();
                let running = self.running.get(&name).ok_or("nothing runs by that name")?;
                Ok(format!("{}\n", if running.is_finished() { "done" } else { "waiting" }))
            }
            "await" => {
                let name = command.consume_args().next_pos().ok_or("which?")?.to_owned();
                let running = self.running.remove(&name).ok_or("nothing runs by that name")?;
                Ok(self.runtime.block_on(running)?)
            }
            _ => self.send(prefix, command),
        }
    }
}
