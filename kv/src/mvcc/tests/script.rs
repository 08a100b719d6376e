//! The language of the scripts. Keys and values are words; `at=5` is the timestamp of wall time 5, `at=5.2` with logical 2.
//!
//! ```text
//!   begin a at=5 [limit=9] [epoch=1] [relaxed]   a transaction that reads and writes at 5; again to move or restart it
//!   a: ignore 2 5                                its writes above 2, through 5, do not count
//!   [a:] get k [at=5] [limit=9] [seq=2]          a prefix makes the transaction act
//!   [a:] scan k z [at=5] [reverse] [rows=2] [bytes=9]
//!   put k v at=5 [relaxed] · del k at=5          committed at once;   a: put k v · a: del k     intents
//!   resolve a commit|abort|push at=7 [k [z]]     of transaction a, on a key or span or everywhere
//!   [a:] refresh k z from=3 to=5 · gc at=5 [max=1] · clear k z [max=1] · split bytes=9 [row=1] · dump · stats
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use bytes::Bytes;
use clock::Timestamp;
use goldenscript::{Argument, Command, Context};

use super::remove_all;
use crate::api::{SequenceSpan, TxnId, TxnMeta, TxnStatus};
use crate::engine::{Engine as _, MemoryEngine, Overlay};
use crate::mvcc::*;

#[derive(Default)]
pub(super) struct Runner {
    engine: MemoryEngine,
    stats: MvccStats,
    txns: BTreeMap<String, TxnMeta>,
}

/// The arguments of a command: words, timestamps, switches.
struct Args<'a> {
    words: Vec<&'a str>,
    timestamps: Vec<Timestamp>,
    keyed: BTreeMap<&'a str, u64>,
}

impl<'a> Args<'a> {
    fn parse(command: &'a Command) -> Result<Self, Box<dyn Error>> {
        let mut args = Args { words: Vec::new(), timestamps: Vec::new(), keyed: BTreeMap::new() };
        for argument in &command.args {
            match argument {
                Argument::KeyValue(key, value) if matches!(key.as_str(), "at" | "from" | "to") => {
                    let (wall, logical) = value.split_once('.').unwrap_or((value, "0"));
                    args.timestamps.push(Timestamp::new(wall.parse()?, logical.parse()?));
                }
                Argument::KeyValue(key, value) => {
                    args.keyed.insert(key, value.parse()?);
                }
                Argument::Positional(value) => args.words.push(value),
                other => return Err(format!("unexpected argument {other}").into()),
            }
        }
        Ok(args)
    }

    fn word(&self, at: usize) -> Result<&'a str, Box<dyn Error>> {
        self.words.get(at).copied().ok_or_else(|| "a word is missing".into())
    }

    fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    fn number(&self, key: &str) -> u64 {
        self.keyed.get(key).copied().unwrap_or(0)
    }

    fn timestamp(&self, at: usize) -> Result<Timestamp, Box<dyn Error>> {
        self.timestamps.get(at).copied().ok_or_else(|| "a timestamp is missing".into())
    }
}

fn show(timestamp: Timestamp) -> String {
    if timestamp.logical == 0 {
        format!("@{}", timestamp.wall_ns)
    } else {
        format!("@{}.{}", timestamp.wall_ns, timestamp.logical)
    }
}

fn show_value(value: Option<&[u8]>) -> String {
    value.map_or("none".into(), |value| value.escape_ascii().to_string())
}

fn show_span(span: &crate::api::Span) -> String {
    format!("{}..{}", span.start.escape_ascii(), span.end.escape_ascii())
}

fn show_key(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

impl Runner {
    fn txn_name(&self, id: TxnId) -> &str {
        self.txns.iter().find(|(_, txn)| txn.id == id).map_or("?", |(name, _)| name)
    }

    fn show_blocked(&self, found: &FoundIntent) -> String {
        format!(
            "blocked by {} on {} {}",
            self.txn_name(found.txn.id),
            show_key(&found.key),
            show(found.txn.write_timestamp)
        )
    }

    fn begin(&mut self, args: &Args<'_>) -> Result<String, Box<dyn Error>> {
        let name = args.word(0)?;
        let id = self.txns.get(name).map_or(TxnId { high: 0, low: self.txns.len() as u64 + 1 }, |txn| txn.id);
        let at = args.timestamp(0)?;
        let limit = args.keyed.get("limit").map_or(at, |limit| Timestamp::new(*limit, 0));
        let txn = TxnMeta {
            id,
            epoch: args.number("epoch") as u32,
            read_timestamp: at,
            write_timestamp: at,
            uncertainty_limit: limit,
            relaxed: args.has("relaxed"),
            ..TxnMeta::default()
        };
        self.txns.insert(name.to_owned(), txn);
        Ok(String::new())
    }

    /// Runs `change` on an overlay and writes what came of it.
    fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Overlay<'_>, &mut MvccStats) -> Result<T, crate::engine::EngineError>,
    ) -> Result<T, Box<dyn Error>> {
        let reader = self.engine.snapshot();
        let mut overlay = Overlay::new(&*reader);
        let mut stats = self.stats;
        let outcome = change(&mut overlay, &mut stats)?;
        self.engine.write(overlay.into_batch())?;
        self.stats = stats;
        let computed = compute_stats(&*self.engine.snapshot(), b"", b"")?;
        assert_eq!(self.stats, computed, "stats_exact");
        Ok(outcome)
    }

    fn write(&mut self, txn: Option<&str>, args: &Args<'_>, value: Option<Bytes>) -> Result<String, Box<dyn Error>> {
        let key = args.word(0)?;
        let acting = txn.map(|name| self.txns.get_mut(name).ok_or("no such transaction")).transpose()?;
        let acting = acting.map(|txn| {
            txn.sequence = args.keyed.get("seq").map_or(txn.sequence + 1, |sequence| *sequence as u32);
            txn.clone()
        });
        let mode = match (&acting, args.timestamps.first()) {
            (Some(txn), None) => WriteMode::Intent { txn, sequence: txn.sequence },
            (txn, Some(at)) => {
                WriteMode::Committed { commit_timestamp: *at, relaxed: args.has("relaxed"), txn: txn.as_ref() }
            }
            (None, None) => return Err("a timestamp is missing".into()),
        };
        let outcome = self.change(|overlay, stats| write(overlay, stats, key.as_bytes(), value, mode))?;
        Ok(match outcome {
            WriteOutcome::Written { write_timestamp, newest } if newest.is_min() => {
                format!("written {}", show(write_timestamp))
            }
            WriteOutcome::Written { write_timestamp, newest } => {
                format!("written {} above {}", show(write_timestamp), show(newest))
            }
            WriteOutcome::TooOld { newest } => format!("too old: newest {}", show(newest)),
            WriteOutcome::Blocked(found) => self.show_blocked(&found),
            WriteOutcome::StaleEpoch => "stale epoch".into(),
        })
    }

    fn read_at<'t>(txn: Option<&'t TxnMeta>, args: &Args<'_>) -> Result<ReadAt<'t>, Box<dyn Error>> {
        let mut at = match txn {
            Some(txn) => ReadAt::txn(txn),
            None => ReadAt::timestamp(args.timestamp(0)?),
        };
        if let Some(limit) = args.keyed.get("limit") {
            at.uncertainty_limit = Timestamp::new(*limit, 0);
        }
        Ok(at)
    }

    fn reader_txn(&self, txn: Option<&str>, args: &Args<'_>) -> Option<TxnMeta> {
        let mut txn = txn.and_then(|name| self.txns.get(name)).cloned()?;
        txn.sequence = args.keyed.get("seq").map_or(txn.sequence, |sequence| *sequence as u32);
        Some(txn)
    }

    fn get(&self, txn: Option<&str>, args: &Args<'_>) -> Result<String, Box<dyn Error>> {
        let txn = self.reader_txn(txn, args);
        let found = get(&*self.engine.snapshot(), args.word(0)?.as_bytes(), &Self::read_at(txn.as_ref(), args)?)?;
        let mut line = match &found.blocked {
            Some(found) => self.show_blocked(found),
            None => show_value(found.value.as_deref()),
        };
        if !found.observed.is_min() {
            write!(line, ", observed {}", show(found.observed))?;
        }
        if let Some(at) = found.uncertain {
            write!(line, ", uncertain {}", show(at))?;
        }
        Ok(line)
    }

    fn scan(&self, txn: Option<&str>, args: &Args<'_>) -> Result<String, Box<dyn Error>> {
        let txn = self.reader_txn(txn, args);
        let limits = ScanLimits { max_rows: args.number("rows"), max_bytes: args.number("bytes") };
        let at = Self::read_at(txn.as_ref(), args)?;
        let (start, end) = (args.word(0)?.as_bytes(), args.word(1)?.as_bytes());
        let found = scan(&*self.engine.snapshot(), start, end, args.has("reverse"), &at, limits)?;
        let mut out = String::new();
        for row in &found.rows {
            writeln!(out, "{}={}", show_key(&row.key), show_value(Some(&row.value)))?;
        }
        for blocked in &found.blocked {
            writeln!(out, "{}", self.show_blocked(blocked))?;
        }
        if let Some((key, at)) = &found.uncertain {
            writeln!(out, "uncertain {} on {}", show(*at), show_key(key))?;
        }
        if let Some(rest) = &found.resume {
            writeln!(out, "resume {}", show_span(rest))?;
        }
        if !found.observed.is_min() {
            writeln!(out, "observed {}", show(found.observed))?;
        }
        Ok(out)
    }

    fn resolve(&mut self, args: &Args<'_>) -> Result<String, Box<dyn Error>> {
        let txn = self.txns.get(args.word(0)?).ok_or("no such transaction")?;
        let status = match args.word(1)? {
            "commit" => TxnStatus::Committed,
            "abort" => TxnStatus::Aborted,
            "push" => TxnStatus::Pending,
            other => return Err(format!("unknown status {other}").into()),
        };
        let timestamp = args.timestamps.first().copied().unwrap_or(txn.write_timestamp);
        let resolution = Resolution { txn: txn.id, epoch: txn.epoch, status, timestamp, ignored: txn.ignored.clone() };
        let words = args.words[2..].to_vec();
        let max = args.number("max");
        let outcome = self.change(|overlay, stats| match words[..] {
            [key] => resolve_key(overlay, stats, key.as_bytes(), &resolution)
                .map(|found| ResolveOutcome { resolved: u64::from(found), resume: None }),
            [start, end] => {
                resolve_span(overlay, stats, start.as_bytes(), end.as_bytes(), &resolution, max, usize::MAX)
            }
            _ => resolve_span(overlay, stats, b"", b"", &resolution, max, usize::MAX),
        })?;
        let rest = outcome.resume.as_ref().map_or(String::new(), |rest| format!(", resume {}", show_span(rest)));
        Ok(format!("{} resolved{rest}", outcome.resolved))
    }

    fn dump(&self) -> Result<String, Box<dyn Error>> {
        let reader = self.engine.snapshot();
        let mut cursor = reader.cursor(b"", b"", false);
        let mut out = String::new();
        while cursor.advance()? {
            let (key, timestamp) = key::decode(cursor.key())?;
            match timestamp {
                None => {
                    let intent = find_intent(&*reader, &key)?.ok_or("an intent is there")?;
                    let name = self.txn_name(intent.txn.id);
                    let (epoch, at) = (intent.txn.epoch, show(intent.txn.write_timestamp));
                    write!(out, "{} intent of {name} epoch {epoch} {at}:", show_key(&key))?;
                    for past in &intent.history {
                        write!(out, " {}={}", past.sequence, show_value(past.value.as_deref()))?;
                    }
                    writeln!(out, " {}={}", intent.txn.sequence, show_value(intent.value.as_deref()))?;
                }
                Some(at) => {
                    let version = value::VersionRef::decode(cursor.value())?;
                    let mark = if version.is_relaxed() { " relaxed" } else { "" };
                    writeln!(out, "{} {}{mark}: {}", show_key(&key), show(at), show_value(version.value()))?;
                }
            }
        }
        Ok(out)
    }
}

impl goldenscript::Runner for Runner {
    type Command = Command;

    fn run(&mut self, command: &Command, context: &Context) -> Result<String, Box<dyn Error>> {
        let args = Args::parse(command)?;
        let txn = context.prefix.as_deref();
        match command.name.as_str() {
            "begin" => self.begin(&args),
            "ignore" => {
                let acting = txn.and_then(|name| self.txns.get_mut(name)).ok_or("no such transaction")?;
                acting.ignored.push(SequenceSpan { above: args.word(0)?.parse()?, through: args.word(1)?.parse()? });
                Ok(String::new())
            }
            "put" => self.write(txn, &args, Some(Bytes::copy_from_slice(args.word(1)?.as_bytes()))),
            "del" => self.write(txn, &args, None),
            "get" => self.get(txn, &args),
            "scan" => self.scan(txn, &args),
            "resolve" => self.resolve(&args),
            "refresh" => {
                let own = txn.and_then(|name| self.txns.get(name)).map(|txn| txn.id);
                let (start, end) = (args.word(0)?.as_bytes(), args.word(1)?.as_bytes());
                let reader = self.engine.snapshot();
                Ok(match refresh(&*reader, start, end, args.timestamp(0)?, args.timestamp(1)?, own)? {
                    RefreshOutcome::Unchanged => "unchanged".into(),
                    RefreshOutcome::Changed { key, timestamp } => {
                        format!("changed: {} {}", show_key(&key), show(timestamp))
                    }
                    RefreshOutcome::Blocked(found) => {
                        found.iter().map(|found| self.show_blocked(found)).collect::<Vec<_>>().join("\n")
                    }
                })
            }
            "gc" => {
                let (threshold, max) = (args.timestamp(0)?, args.number("max"));
                let max_versions = if max == 0 { usize::MAX } else { max as usize };
                let limits = GarbageLimits { max_versions, max_entries: usize::MAX };
                let garbage = find_garbage(&*self.engine.snapshot(), b"", b"", threshold, limits)?;
                let removed = self.change(|overlay, stats| remove_all(overlay, stats, &garbage))?;
                let rest = garbage.resume.map_or(String::new(), |key| format!(", resume {}", show_key(&key)));
                let next = match garbage.next_threshold {
                    Timestamp::MAX => String::new(),
                    next => format!(", more at {}", show(next)),
                };
                Ok(format!("{removed} removed{rest}{next}"))
            }
            "clear" => {
                let (start, end) = (args.word(0)?.as_bytes(), args.word(1)?.as_bytes());
                let max = args.number("max");
                let rest = self.change(|overlay, stats| clear_span(overlay, stats, start, end, max))?;
                Ok(rest.map_or("cleared".into(), |rest| format!("resume {}", show_span(&rest))))
            }
            "split" => {
                let row_length = args.keyed.get("row").map_or(usize::MAX, |length| *length as usize);
                let row_start = move |key: &Bytes| key.slice(..key.len().min(row_length));
                let left_bytes = args.number("bytes");
                let found = find_split_key(&*self.engine.snapshot(), b"", b"", left_bytes, &row_start)?;
                Ok(found.map_or("nowhere".into(), |key| show_key(&key)))
            }
            "dump" => self.dump(),
            "stats" => {
                Ok(format!("{:?}", self.stats).replace(", ", "\n").replace("MvccStats { ", "").replace(" }", ""))
            }
            other => Err(format!("unknown command {other}").into()),
        }
    }
}
