//! A small database that keeps what it promises, and no more: its random histories, and what becomes of them when they are changed.

use std::collections::BTreeMap;

use clock::Random;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;
use crate::checker::{Validity, second_opinion};
use crate::history::{Event, Kind, Process};

/// What the small database promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    /// Each transaction happens at once, within its time.
    Serializable,
    /// Each reads from a snapshot, and the first to write wins.
    Snapshot,
    /// Each statement reads what is committed.
    ReadCommitted,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub seed: u64,
    pub isolation: Isolation,
    pub model: Model,
    pub transactions: usize,
    pub processes: usize,
    pub keys_at_a_time: u64,
}

impl Settings {
    pub fn lists(seed: u64, isolation: Isolation) -> Self {
        Settings { seed, isolation, model: Model::Lists, transactions: 120, processes: 5, keys_at_a_time: 3 }
    }

    pub fn registers(seed: u64, isolation: Isolation) -> Self {
        Settings { model: Model::Registers, ..Settings::lists(seed, isolation) }
    }
}

/// Every key's values in the order of commits, each with the time of its commit.
type Store = BTreeMap<u64, Vec<(u64, u64)>>;

/// A transaction under way.
struct Running {
    asked: Vec<Value>,
    done: Vec<Value>,
    snapshot: u64,
    written: BTreeMap<u64, Vec<u64>>,
}

struct Database {
    settings: Settings,
    random: Random,
    store: Store,
    now: u64,
    next_value: u64,
    events: Vec<Event>,
    process_ids: Vec<u64>,
}

/// Runs transactions of as many processes at once, and records what they see.
pub(super) fn execute(settings: Settings) -> History {
    let mut database = Database {
        settings,
        random: Random::from_seed(settings.seed),
        store: Store::new(),
        now: 0,
        next_value: 1,
        events: Vec::new(),
        process_ids: (0..settings.processes as u64).collect(),
    };
    let mut running: Vec<Option<Running>> = (0..settings.processes).map(|_| None).collect();
    let mut begun = 0;
    while begun < settings.transactions || running.iter().any(Option::is_some) {
        let process = database.random.range(0, settings.processes as u64) as usize;
        match running[process].take() {
            None if begun < settings.transactions => {
                begun += 1;
                running[process] = Some(database.begin(process));
            }
            None => {}
            Some(transaction) if transaction.done.len() == transaction.asked.len() => {
                database.end(process, transaction)
            }
            Some(mut transaction) => {
                // One that happens at once does so at its first step.
                let steps = if settings.isolation == Isolation::Serializable { transaction.asked.len() } else { 1 };
                (0..steps).for_each(|_| database.step(&mut transaction));
                if settings.isolation == Isolation::Serializable {
                    database.install(&transaction);
                    transaction.snapshot = u64::MAX;
                }
                running[process] = Some(transaction);
            }
        }
    }
    History::new(database.events)
}

impl Database {
    fn record(&mut self, kind: Kind, process: usize, value: Vec<Value>) {
        let time = self.events.len() as u64;
        let process = Process::Client(self.process_ids[process]);
        let value = Value::Array(value);
        self.events.push(Event { index: time, kind, process, f: "txn".to_owned(), value, time, error: None });
    }

    fn begin(&mut self, process: usize) -> Running {
        let steps = self.random.range(1, 5);
        let write = if self.settings.model == Model::Lists { "append" } else { "w" };
        let oldest_key = self.next_value / 16;
        let mut asked = Vec::new();
        let mut written = Vec::new();
        for _ in 0..steps {
            let key = oldest_key + self.random.range(0, self.settings.keys_at_a_time);
            // Without a snapshot, where one's own writes will come among others' is open until the commit.
            let may_read = self.settings.isolation != Isolation::ReadCommitted || !written.contains(&key);
            if may_read && self.random.chance(0.5) {
                asked.push(json!(["r", key, null]));
            } else {
                self.next_value += 1;
                written.push(key);
                asked.push(json!([write, key, self.next_value]));
            }
        }
        self.record(Kind::Invoke, process, asked.clone());
        Running { asked, done: Vec::new(), snapshot: self.now, written: BTreeMap::new() }
    }

    fn step(&mut self, transaction: &mut Running) {
        let mut micro = transaction.asked[transaction.done.len()].clone();
        let key = micro[1].as_u64().expect("keys are numbers");
        if micro[0] != "r" {
            transaction.written.entry(key).or_default().push(micro[2].as_u64().expect("values are numbers"));
        } else {
            let limit = if self.settings.isolation == Isolation::Snapshot { transaction.snapshot } else { self.now };
            let committed = self.store.get(&key).into_iter().flatten();
            let visible = committed.filter(|(_, at)| *at <= limit).map(|(value, _)| *value);
            let own = transaction.written.get(&key).into_iter().flatten().copied();
            let seen: Vec<u64> = visible.chain(own).collect();
            micro[2] = if self.settings.model == Model::Lists { json!(seen) } else { json!(seen.last()) };
        }
        transaction.done.push(micro);
    }

    fn install(&mut self, transaction: &Running) {
        self.now += 1;
        for (key, values) in &transaction.written {
            self.store.entry(*key).or_default().extend(values.iter().map(|value| (*value, self.now)));
        }
    }

    fn end(&mut self, process: usize, transaction: Running) {
        let is_installed = transaction.snapshot == u64::MAX;
        let newest = |key| self.store.get(key).and_then(|values| values.last()).map_or(0, |(_, at)| *at);
        let loses = self.settings.isolation == Isolation::Snapshot
            && transaction.written.keys().any(|key| newest(key) > transaction.snapshot);
        let fate = self.random.range(0, 20);
        if !is_installed && (loses || fate == 0) {
            return self.record(Kind::Fail, process, transaction.asked);
        }
        if !is_installed {
            self.install(&transaction);
        }
        if fate == 1 {
            self.record(Kind::Info, process, transaction.asked);
            self.process_ids[process] += self.settings.processes as u64;
        } else {
            self.record(Kind::Ok, process, transaction.done);
        }
    }
}

const ASSUME: RegisterAssumptions = RegisterAssumptions { writes_follow_reads: true, linearizable_keys: true };

fn check(history: &History, model: Model) -> Verdict {
    let (verdict, second) = match model {
        Model::Lists => (check_append(history), second_opinion::on_lists(history)),
        Model::Registers => (check_register(history, ASSUME), second_opinion::on_registers(history, ASSUME)),
    };
    assert_eq!(second.disagreement(&verdict), None, "{verdict}");
    verdict
}

/// The acknowledged reads of at least one value: the place of the event and of the step.
fn reads(events: &[Event]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, event) in events.iter().enumerate().filter(|(_, event)| event.kind == Kind::Ok) {
        for (step, micro) in event.value.as_array().expect("a transaction has steps").iter().enumerate() {
            let is_empty = micro[2].as_array().is_some_and(Vec::is_empty) || micro[2].is_null();
            if micro[0] == "r" && !is_empty {
                found.push((at, step));
            }
        }
    }
    found
}

/// The event that acknowledged the write of a value.
fn acknowledgement(events: &[Event], key: &Value, value: &Value) -> Option<usize> {
    events.iter().position(|event| {
        let steps = event.value.as_array().into_iter().flatten();
        event.kind == Kind::Ok
            && steps.into_iter().any(|micro| micro[0] != "r" && micro[1] == *key && micro[2] == *value)
    })
}

fn invocation(events: &[Event], completion: usize) -> usize {
    let process = events[completion].process;
    let before = events[..completion].iter();
    before.enumerate().rfind(|(_, event)| event.process == process).expect("a completion has an invocation").0
}

/// Changes a history so that it is wrong for certain; `None` where there is no place to.
fn break_it(history: &History, model: Model, how: u64, random: &Random) -> Option<History> {
    let mut events = history.events().to_vec();
    let reads = reads(&events);
    let (at, step) = *reads.get(random.range(0, reads.len() as u64) as usize)?;
    let micro = events[at].value[step].clone();
    let (key, seen) = (&micro[1], &micro[2]);
    let last = seen.as_array().map_or(Some(seen), |list| list.last())?.clone();
    let writer = acknowledgement(&events, key, &last);
    match (how, model) {
        // Who wrote what was read has failed.
        (0, _) => {
            let writer = writer.filter(|writer| *writer != at)?;
            events[writer].kind = Kind::Fail;
        }
        // A read misses what was acknowledged before it began.
        (1, Model::Lists) => {
            writer.filter(|writer| *writer < invocation(&events, at))?;
            let mut shorter = seen.as_array()?.clone();
            shorter.pop();
            events[at].value[step][2] = Value::Array(shorter);
        }
        (1, Model::Registers) => {
            writer.filter(|writer| *writer < invocation(&events, at))?;
            events[at].value[step][2] = Value::Null;
        }
        // A list has an element twice, or two in another order than another read has them.
        (2, Model::Lists) => {
            let mut longer = seen.as_array()?.clone();
            longer.insert(0, last);
            events[at].value[step][2] = Value::Array(longer);
        }
        (_, Model::Lists) => {
            let mut turned = seen.as_array()?.clone();
            let length = turned.len();
            let is_other = |place: &(usize, usize)| {
                let other = &events[place.0].value[place.1];
                place.0 != at && other[1] == *key && other[2].as_array().is_some_and(|list| list.len() >= length)
            };
            (length >= 2).then(|| reads.iter().find(|place| is_other(place))).flatten()?;
            turned.swap(length - 2, length - 1);
            events[at].value[step][2] = Value::Array(turned);
        }
        // A register has a value that nobody wrote.
        (_, Model::Registers) => events[at].value[step][2] = json!(999_999_999),
    }
    Some(History::new(events))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_strictly_serializable_passes(seed in any::<u64>()) {
        for settings in [Settings::lists(seed, Isolation::Serializable), Settings::registers(seed, Isolation::Serializable)] {
            let verdict = check(&execute(settings), settings.model);
            prop_assert!(verdict.is_valid(), "{}", verdict);
        }
    }

    #[test]
    fn what_is_changed_is_caught(seed in any::<u64>(), how in 0u64..4) {
        for settings in [Settings::lists(seed, Isolation::Serializable), Settings::registers(seed, Isolation::Serializable)] {
            let history = execute(settings);
            let random = Random::from_seed(seed).fork("mutation");
            let Some(broken) = (0..20).find_map(|_| break_it(&history, settings.model, how, &random)) else { continue };
            let verdict = check(&broken, settings.model);
            prop_assert_eq!(verdict.validity(), Validity::Invalid, "{}", verdict);
        }
    }

    /// Snapshots allow write skew and nothing worse.
    #[test]
    fn snapshots_are_told_from_serializability(seed in any::<u64>()) {
        let settings = Settings::lists(seed, Isolation::Snapshot);
        let verdict = check(&execute(settings), settings.model);
        for name in verdict.names() {
            prop_assert!(name.starts_with("G2-item"), "{}", verdict);
        }
    }

    #[test]
    fn both_checkers_agree_on_what_is_merely_committed(seed in any::<u64>()) {
        let settings = Settings::lists(seed, Isolation::ReadCommitted);
        let verdict = check(&execute(settings), settings.model);
        for worse in ["G0", "G1a", "G1b", "G1c"] {
            prop_assert!(!verdict.names().contains(&worse), "{}", verdict);
        }
        let settings = Settings::registers(seed, Isolation::ReadCommitted);
        check(&execute(settings), settings.model);
    }
}

/// A checker that never finds anything would pass all of the above.
#[test]
fn weaker_promises_are_found_out_in_most_histories() {
    let count = |isolation, name: &str| {
        let names = |seed| check(&execute(Settings::lists(seed, isolation)), Model::Lists);
        (0..40).filter(|seed| names(*seed).names().iter().any(|found| found.starts_with(name))).count()
    };
    assert!(count(Isolation::ReadCommitted, "G-single") > 30);
    assert!(count(Isolation::ReadCommitted, "lost-update") > 10);
    assert!(count(Isolation::Snapshot, "G2-item") > 10);
}
