//! Transactions as a history tells them.

use std::collections::HashMap;

use serde_json::Value;

use crate::history::{History, Kind, Process};

/// What a transaction read or wrote, by number; [`Transactions::key_name`] has its name.
pub(super) type Key = u32;

/// One step of a transaction. Reads that nobody was told the result of are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Micro {
    /// Put an element at the end of a list.
    Append(Key, u64),
    /// Set a register.
    Write(Key, u64),
    /// Saw a list.
    ReadList(Key, Vec<u64>),
    /// Saw a register; `None` is one that was never written.
    ReadRegister(Key, Option<u64>),
}

/// One transaction.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub micros: Vec<Micro>,
    pub outcome: Kind,
    pub process: Process,
    /// The index of its invocation.
    pub invoked: u64,
    /// The index of its acknowledgement, if it got one.
    pub acknowledged: Option<u64>,
    /// The event that says most of it; it is named after this.
    pub event: u64,
    /// What it did, as the history has it.
    pub shown: String,
}

impl Transaction {
    /// What people call it.
    pub fn name(&self) -> String {
        format!("T{}", self.event)
    }

    /// Whether it may have happened.
    pub fn is_possible(&self) -> bool {
        self.outcome != Kind::Fail
    }
}

/// What kind of values the transactions of a history are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// `["append", key, element]` and `["r", key, [elements]]`
    Lists,
    /// `["w", key, value]` and `["r", key, value]`
    Registers,
}

/// All transactions of a history.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    pub list: Vec<Transaction>,
    keys: Vec<String>,
    numbers: HashMap<String, Key>,
}

impl Transactions {
    /// Reads them out of a history.
    ///
    /// # Errors
    /// What is no transaction of this model.
    pub fn read(history: &History, model: Model) -> Result<Self, String> {
        let mut all = Transactions::default();
        for operation in history.operations().iter().filter(|operation| operation.invoked.f == "txn") {
            let event = operation.last_event();
            // What failed or is unknown tells what it meant to write, but not what it read.
            let is_known = operation.outcome() == Kind::Ok;
            let micros = if is_known { &event.value } else { &operation.invoked.value };
            let mut transaction = Transaction {
                micros: Vec::new(),
                outcome: operation.outcome(),
                process: operation.invoked.process,
                invoked: operation.invoked.index,
                acknowledged: operation.acknowledged(),
                event: event.index,
                shown: micros.to_string(),
            };
            let malformed = |micro: &Value| format!("event {} has no micro-operation {micro}", event.index);
            for micro in micros.as_array().ok_or_else(|| malformed(micros))? {
                let read = all.micro(micro, model, is_known).ok_or_else(|| malformed(micro))?;
                transaction.micros.extend(read);
            }
            all.list.push(transaction);
        }
        Ok(all)
    }

    /// What a micro-operation did; `Some(None)` if nobody knows, `None` if it is none.
    fn micro(&mut self, micro: &Value, model: Model, is_known: bool) -> Option<Option<Micro>> {
        let key = match micro.get(1)? {
            Value::String(name) => self.key(name.clone()),
            Value::Number(number) => self.key(number.to_string()),
            _ => return None,
        };
        let value = micro.get(2)?;
        Some(match (micro.get(0)?.as_str()?, model) {
            ("append", Model::Lists) => Some(Micro::Append(key, value.as_u64()?)),
            ("w", Model::Registers) => Some(Micro::Write(key, value.as_u64()?)),
            ("r", _) if !is_known => None,
            ("r", Model::Lists) if value.is_null() => Some(Micro::ReadList(key, Vec::new())),
            ("r", Model::Lists) => {
                let elements: Option<Vec<u64>> = value.as_array()?.iter().map(Value::as_u64).collect();
                Some(Micro::ReadList(key, elements?))
            }
            ("r", Model::Registers) if value.is_null() => Some(Micro::ReadRegister(key, None)),
            ("r", Model::Registers) => Some(Micro::ReadRegister(key, Some(value.as_u64()?))),
            _ => return None,
        })
    }

    fn key(&mut self, name: String) -> Key {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let number = self.keys.len() as Key;
        self.keys.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// What a key is called in the history.
    pub fn key_name(&self, key: Key) -> &str {
        &self.keys[key as usize]
    }

    /// Those that may have happened, with their numbers.
    pub fn possible(&self) -> impl Iterator<Item = (u32, &Transaction)> {
        self.numbered().filter(|(_, transaction)| transaction.is_possible())
    }

    /// Those that were acknowledged, with their numbers.
    pub fn acknowledged(&self) -> impl Iterator<Item = (u32, &Transaction)> {
        self.numbered().filter(|(_, transaction)| transaction.outcome == Kind::Ok)
    }

    /// All of them, with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Transaction)> {
        self.list.iter().enumerate().map(|(number, transaction)| (number as u32, transaction))
    }
}
