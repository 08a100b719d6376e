//! Columns and indexes are added while rows are inserted and updated: no row misses a default or an index entry.
//!
//! ```text
//!   one client:   ADD COLUMN c1 DEFAULT 1 ─▶ CREATE INDEX ─▶ ADD COLUMN c2 DEFAULT 2 ─▶ DROP INDEX ─▶ …
//!   the others:   INSERT (id, a)    UPDATE a    and, at the end, every row by its key, and by the index
//! ```
//!
//! Inserts name only the columns that were there from the beginning, so that each added column must have its default in every row,
//! whether the row was there before the column, came after it, or came between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use clock::Random;
use serde_json::{Value, json};

use super::clients::{self, Clients, Done, FinalRead, Step, Trouble, number};
use super::{Load, Workload};
use crate::checker::Verdict;
use crate::client::{Client, Database, Failure, Rows, run_anywhere};
use crate::history::{History, Kind, Recorder};

/// A table whose schema changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SchemaChange;

/// Rows are indexed by a number below this.
const CLASSES: u64 = 5;
/// At most so many columns are added.
const COLUMNS_MAX: u64 = 20;

#[async_trait]
impl Workload for SchemaChange {
    fn name(&self) -> &'static str {
        "ddl"
    }

    async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        run_anywhere(database, "DROP TABLE IF EXISTS changing").await?;
        run_anywhere(database, "CREATE TABLE IF NOT EXISTS changing (id bigint PRIMARY KEY, a bigint NOT NULL)")
            .await?;
        Ok(())
    }

    async fn run(&self, database: &dyn Database, load: Load, recorder: &Recorder) {
        let changers = Changers { next_row: AtomicU64::new(0), next_change: AtomicU64::new(0) };
        clients::work(&changers, database, load, recorder).await;
    }

    async fn finish(&self, database: &dyn Database, recorder: &Recorder) {
        // One more index, over rows that all kinds of statements left.
        let index = "CREATE INDEX IF NOT EXISTS changing_end ON changing (a)";
        clients::final_statement(database, recorder, "index", index).await;
        let by_index = (0..CLASSES).map(|class| FinalRead {
            f: "index-read",
            asked: json!(class),
            sql: format!("SELECT a, id FROM changing WHERE a = {class} ORDER BY id"),
            what: everything,
        });
        let all = "SELECT * FROM changing ORDER BY id".to_owned();
        let all = FinalRead { f: clients::FINAL_READ, asked: Value::Null, sql: all, what: everything };
        clients::final_reads(database, recorder, &by_index.chain([all]).collect::<Vec<_>>()).await;
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::on(history);
        if let Some(rows) = clients::require_final_read(history, &mut verdict) {
            check_rows(history, rows, &mut verdict);
            check_index(history, rows, &mut verdict);
        }
        verdict
    }
}

/// `[[id, a, c1, …], …]`
fn everything(rows: &Rows) -> Value {
    rows.iter().map(|row| (0..row.len()).map(|column| json!(number(row, column))).collect::<Value>()).collect()
}

struct Changers {
    next_row: AtomicU64,
    next_change: AtomicU64,
}

#[async_trait]
impl Clients for Changers {
    /// An insert or update is `[id, a]`; a change of schema is its SQL.
    fn next(&self, number: usize, random: &Random) -> Step {
        if number == 0 {
            let change = self.next_change.fetch_add(1, Ordering::Relaxed);
            let column = change / 3 % COLUMNS_MAX + 1;
            let sql = match change % 3 {
                0 => {
                    format!("ALTER TABLE changing ADD COLUMN IF NOT EXISTS c{column} bigint NOT NULL DEFAULT {column}")
                }
                1 => "CREATE INDEX IF NOT EXISTS changing_a ON changing (a)".to_owned(),
                _ => "DROP INDEX IF EXISTS changing_a".to_owned(),
            };
            return Step { f: "schema", value: json!(sql) };
        }
        let rows = self.next_row.load(Ordering::Relaxed);
        let class = random.range(0, CLASSES);
        if rows > 0 && random.chance(0.3) {
            return Step { f: "update", value: json!([random.range(0, rows), class]) };
        }
        Step { f: "insert", value: json!([self.next_row.fetch_add(1, Ordering::Relaxed), class]) }
    }

    async fn execute(&self, client: &mut dyn Client, step: &Step) -> Result<Done, Trouble> {
        let (id, a) = (&step.value[0], &step.value[1]);
        let sql = match step.f {
            "insert" => format!("INSERT INTO changing (id, a) VALUES ({id}, {a})"),
            "update" => format!("UPDATE changing SET a = {a} WHERE id = {id}"),
            _ => step.value.as_str().expect("a change of schema is its SQL").to_owned(),
        };
        client.run(&sql).await?;
        Ok(Done::Ok(step.value.clone()))
    }
}

/// Every acknowledged row is there, with the default in each added column.
fn check_rows(history: &History, rows: &Value, verdict: &mut Verdict) {
    let mut found = BTreeSet::new();
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    for row in rows {
        let columns = row.as_array().map(Vec::as_slice).unwrap_or_default();
        let id = columns.first().and_then(Value::as_u64);
        found.extend(id);
        for (place, value) in columns.iter().enumerate().skip(2) {
            // No two columns have the same default, so that what the first row has is it.
            let is_default = value.as_u64().is_some_and(|value| (1..=COLUMNS_MAX).contains(&value));
            if !is_default || *value != rows[0][place] {
                let said = format!("row {id:?} has {value} in column {place}, the first row has {}", rows[0][place]);
                verdict.found("missing default", said, Vec::new());
            }
        }
    }
    for operation in history.operations().iter().filter(|operation| operation.invoked.f == "insert") {
        let Some(id) = operation.invoked.value[0].as_u64() else { continue };
        let event = operation.last_event().index;
        match operation.outcome() {
            Kind::Ok if !found.contains(&id) => {
                verdict.found("lost row", format!("row {id} was acknowledged, and is not there"), vec![event]);
            }
            Kind::Fail if found.contains(&id) => {
                verdict.found("undead row", format!("row {id} failed, and is there"), vec![event]);
            }
            _ => {}
        }
    }
}

/// Reading by the index brings the same rows as reading all of them.
fn check_index(history: &History, rows: &Value, verdict: &mut Verdict) {
    let mut by_class: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for row in rows.as_array().into_iter().flatten() {
        if let (Some(id), Some(class)) = (row[0].as_u64(), row[1].as_u64()) {
            by_class.entry(class).or_default().push(id);
        }
    }
    let mut read = BTreeSet::new();
    for operation in history.operations().iter().filter(|operation| operation.invoked.f == "index-read") {
        let (event, Some(class)) = (operation.last_event(), operation.invoked.value.as_u64()) else { continue };
        if event.kind != Kind::Ok {
            continue;
        }
        read.insert(class);
        let indexed: Vec<u64> =
            event.value.as_array().into_iter().flatten().filter_map(|row| row[1].as_u64()).collect();
        let expected = by_class.get(&class).cloned().unwrap_or_default();
        if indexed != expected {
            let said =
                format!("by the index, {} rows have a = {class}; of all rows, {} have", indexed.len(), expected.len());
            verdict.found("index differs", said, vec![event.index]);
        }
    }
    if let Some(class) = (0..CLASSES).find(|class| !read.contains(class)) {
        verdict.cannot_tell(format!("rows with a = {class} were not read by the index"));
    }
}

#[cfg(test)]
mod tests;
