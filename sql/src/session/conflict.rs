//! Conflicts in the words of their users: the layers below know keys as bytes, and transactions by numbers.

use txn::{Conflict, TxnId};

use super::Session;
use crate::catalog::key_in_words;
use crate::error::{SqlError, code};

impl Session {
    /// The error with what stood in the way put in words, if nobody has done that yet. Every error of a session goes through here, those
    /// of streams of rows by whoever reads them.
    pub fn in_words(&self, mut error: SqlError) -> SqlError {
        let Some(conflict) = error.take_conflict() else { return error };
        let (sentences, table) = match error.code {
            code::DEADLOCK_DETECTED => self.deadlock(&conflict),
            code::LOCK_NOT_AVAILABLE => self.lock_in_time(&conflict),
            _ => self.serialization(&conflict),
        };
        if !sentences.is_empty() {
            error = error.detail(sentences.join(" "));
        }
        match table {
            Some(table) => error.table(table),
            None => error,
        }
    }

    fn deadlock(&self, conflict: &Conflict) -> (Vec<String>, Option<String>) {
        let (key, table) = self.key_words(&conflict.key);
        let holder = conflict.other.map_or("another transaction".to_owned(), |other| self.transaction_words(other));
        let circle = format!("The transaction waited for {key}, held by {holder}, which waited for it in turn.");
        (vec![circle], table)
    }

    fn lock_in_time(&self, conflict: &Conflict) -> (Vec<String>, Option<String>) {
        let (key, table) = self.key_words(&conflict.key);
        let holder = conflict.other.map_or("another transaction".to_owned(), |other| self.transaction_words(other));
        (vec![format!("It waited for {key}, held by {holder}.")], table)
    }

    fn serialization(&self, conflict: &Conflict) -> (Vec<String>, Option<String>) {
        let (mut sentences, mut table) = (Vec::new(), None);
        if let Some(changed) = &conflict.changed {
            let (key, of) = self.key_words(changed);
            sentences.push(format!("The transaction has read {key}, which was written since."));
            table = of;
        }
        if !conflict.key.is_empty() && conflict.changed.as_ref() != Some(&conflict.key) {
            let (key, of) = self.key_words(&conflict.key);
            sentences.push(format!("The conflict was met at {key}."));
            table = table.or(of);
        }
        if let Some(other) = conflict.other {
            sentences.push(format!("It was with {}.", self.transaction_words(other)));
        }
        (sentences, table)
    }

    fn key_words(&self, key: &[u8]) -> (String, Option<String>) {
        key_in_words(&self.shared.manager.current(), key)
    }

    /// Another transaction, by what it runs where that is known here.
    fn transaction_words(&self, other: TxnId) -> String {
        match self.shared.manager.who_runs(other) {
            Some((pid, statement)) => format!("process {pid} with the statement \"{}\"", shortened(&statement)),
            None => "a transaction that has ended or is run by another node".to_owned(),
        }
    }
}

/// Characters of a statement that an error shows.
const MAX_SHOWN: usize = 200;

fn shortened(statement: &str) -> String {
    let statement = statement.trim();
    match statement.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", &statement[..end]),
        None => statement.to_owned(),
    }
}
