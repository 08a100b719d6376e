//! SHOW and EXPLAIN.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::sql::sqlparser::ast;
use txn::CommitOutcome;

use super::super::plan::{Plan, Planned, find_table};
use super::super::settings::Settings;
use super::super::statement::{Statement, StatementKind};
use super::super::{Column, Outcome, Row, RowStream, RowsTag, Session, Source};
use crate::bind::name_parts;
use crate::catalog::{RelationRef, Table, readable_end, readable_key};
use crate::error::SqlError;
use crate::query::ExplainOptions;
use crate::types::{Datum, PgType, format_type};

/// A range that serves fewer requests a second is not hot.
const REQUESTS_SHOWN_MIN: f64 = 1.0;

/// What the rows of a SHOW consist of.
pub(super) fn columns(kind: &StatementKind) -> Option<Arc<[Column]>> {
    let texts = |names: &[&str]| -> Option<Arc<[Column]>> {
        Some(names.iter().map(|name| Column::computed(*name, PgType::Text)).collect())
    };
    match kind {
        StatementKind::ShowSetting { name } if name == "all" => texts(&["name", "setting", "description"]),
        StatementKind::ShowSetting { name } => texts(&[&Settings::name_of(name)]),
        StatementKind::ShowRanges { .. } => Some(Arc::from([
            Column::computed("range_id", PgType::Int8),
            Column::computed("start_key", PgType::Text),
            Column::computed("end_key", PgType::Text),
            Column::computed("replicas", PgType::Text),
            Column::computed("voting_replicas", PgType::Text),
            Column::computed("live_voters", PgType::Text),
            Column::computed("leaseholder", PgType::Int8),
            Column::computed("bytes", PgType::Int8),
            Column::computed("keys", PgType::Int8),
            Column::computed("requests_per_second", PgType::Float8),
        ])),
        StatementKind::ShowNodes => Some(Arc::from([
            Column::computed("node_id", PgType::Int8),
            Column::computed("address", PgType::Text),
            Column::computed("locality", PgType::Text),
            Column::computed("is_live", PgType::Bool),
            Column::computed("membership", PgType::Text),
            Column::computed("replicas", PgType::Int8),
            Column::computed("leases", PgType::Int8),
            Column::computed("bytes", PgType::Int8),
            Column::computed("requests_per_second", PgType::Int8),
        ])),
        StatementKind::ShowObjects { what, .. } => match *what {
            "tables" | "sequences" => texts(&["schema_name", "name", "type", "owner"]),
            "schemas" => texts(&["schema_name", "owner"]),
            "databases" => texts(&["database_name", "owner"]),
            "indexes" => texts(&["table_name", "index_name", "unique", "columns"]),
            "columns" => texts(&["column_name", "data_type", "nullable", "default"]),
            "create" => texts(&["table_name", "create_statement"]),
            _ => texts(&["user_name"]),
        },
        _ => None,
    }
}

impl Session {
    pub(super) async fn show(&mut self, kind: &StatementKind) -> Result<Outcome, SqlError> {
        let rows = match kind {
            StatementKind::ShowSetting { name } if name == "all" => {
                self.settings.all().iter().map(|(name, value)| vec![text(name), text(value), text("")]).collect()
            }
            StatementKind::ShowSetting { name } if name == "transaction_read_only" => {
                vec![vec![text(if self.is_read_only() { "on" } else { "off" })]]
            }
            StatementKind::ShowSetting { name } => vec![vec![text(&self.settings.show(name)?.1)]],
            StatementKind::ShowRanges { table, hot } => self.ranges(table.as_ref(), *hot).await?,
            StatementKind::ShowNodes => self
                .shared
                .cluster
                .nodes()
                .into_iter()
                .map(|node| {
                    vec![
                        Datum::Int8(node.node_id as i64),
                        Datum::Text(node.address),
                        Datum::Text(node.locality),
                        Datum::Bool(node.live),
                        text(node.membership),
                        number(node.replicas),
                        number(node.leases),
                        number(node.bytes),
                        number(node.requests),
                    ]
                })
                .collect(),
            StatementKind::ShowObjects { what, table } => self.objects(what, table.as_ref())?,
            _ => return Err(SqlError::internal("not a SHOW statement")),
        };
        Ok(Outcome::Rows {
            columns: columns(kind).unwrap_or_else(|| Arc::from([])),
            rows: RowStream::few(rows),
            tag: RowsTag::Fixed("SHOW"),
        })
    }

    /// The ranges, all of them in key order or only those that serve something, the busiest first.
    async fn ranges(&mut self, table: Option<&ast::ObjectName>, hot: bool) -> Result<Vec<Row>, SqlError> {
        let (start, end) = match table {
            None => (Bytes::from_static(txn::keys::MIN), Bytes::from_static(txn::keys::MAX)),
            Some(name) => self.shown_table(name)?.span(),
        };
        let mut ranges = self.shared.cluster.ranges(start, end).await?;
        if hot {
            ranges.retain(|range| range.requests.is_some_and(|requests| requests >= REQUESTS_SHOWN_MIN));
            ranges.sort_by(|one, other| other.requests.partial_cmp(&one.requests).unwrap_or(std::cmp::Ordering::Equal));
        }
        let catalog = self.running(Arc::from([])).catalog;
        let nodes =
            |ids: &[u64]| Datum::Text(format!("{{{}}}", ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",")));
        Ok(ranges
            .into_iter()
            .map(|range| {
                vec![
                    Datum::Int8(range.range_id as i64),
                    Datum::Text(readable_key(&catalog, &range.start)),
                    Datum::Text(readable_end(&catalog, &range.end)),
                    nodes(&range.replicas),
                    nodes(&range.voters),
                    range.live_voters.as_deref().map_or(Datum::Null, nodes),
                    number(range.leaseholder),
                    number(range.bytes),
                    number(range.keys),
                    range.requests.map_or(Datum::Null, |requests| Datum::Float8((requests * 10.0).round() / 10.0)),
                ]
            })
            .collect())
    }

    pub(super) fn shown_table(&self, name: &ast::ObjectName) -> Result<Arc<Table>, SqlError> {
        let running = self.running(Arc::from([]));
        find_table(&running.catalog, &running.view, &name_parts(name)?)
    }

    fn objects(&self, what: &str, table: Option<&ast::ObjectName>) -> Result<Vec<Row>, SqlError> {
        let running = self.running(Arc::from([]));
        let (catalog, database) = (&running.catalog, running.view.database_id);
        let schemas = || catalog.schemas().filter(move |schema| schema.database_id == database);
        Ok(match what {
            "databases" => {
                let mut rows: Vec<Row> =
                    catalog.databases().map(|database| vec![text(&database.name), text(&database.owner)]).collect();
                rows.sort_by(|left, right| left[0].as_str().cmp(&right[0].as_str()));
                rows
            }
            "schemas" => schemas().map(|schema| vec![text(&schema.name), text(&schema.owner)]).collect(),
            "tables" | "sequences" => {
                let mut rows = Vec::new();
                for schema in schemas() {
                    for (name, relation) in catalog.relations_in(schema.id) {
                        let kind = match relation {
                            RelationRef::Table(_) if what == "tables" => "table",
                            RelationRef::Sequence(_) => "sequence",
                            _ => continue,
                        };
                        if what == "tables" || kind == "sequence" {
                            rows.push(vec![text(&schema.name), text(name), text(kind), text(&schema.owner)]);
                        }
                    }
                }
                rows
            }
            "users" | "roles" => vec![vec![text("postgres")], vec![text("root")]],
            _ => {
                let name = table.ok_or_else(|| SqlError::syntax(format!("SHOW {what} needs FROM and a table")))?;
                {
                    let table = self.shown_table(name)?;
                    about_table(&table, what)
                }
            }
        })
    }
}

fn about_table(table: &Table, what: &str) -> Vec<Row> {
    match what {
        "indexes" => table
            .primary_key()
            .into_iter()
            .chain(&table.indexes)
            .map(|index| {
                let columns: Vec<&str> =
                    table.index_positions(index).iter().map(|at| table.columns[*at].name.as_str()).collect();
                let unique = if index.unique { "t" } else { "f" };
                vec![text(&table.name), text(&index.name), text(unique), text(&columns.join(", "))]
            })
            .collect(),
        "columns" => table
            .visible_positions
            .iter()
            .map(|at| {
                let column = &table.columns[*at];
                let default = column.default.as_ref().map_or(Datum::Null, |value| text(value));
                let nullable = if column.nullable { "t" } else { "f" };
                vec![text(&column.name), text(&format_type(column.ty, column.typmod)), text(nullable), default]
            })
            .collect(),
        _ => vec![vec![text(&table.name), text(&crate::ddl::create_statement(table))]],
    }
}

fn number(value: Option<u64>) -> Datum {
    value.map_or(Datum::Null, |value| Datum::Int8(value as i64))
}

fn text(value: &str) -> Datum {
    Datum::Text(value.to_owned())
}

/// The lines of EXPLAIN.
pub(super) async fn explain(
    session: &mut Session,
    planned: &Planned,
    statement: &Statement,
    analyze: bool,
    verbose: bool,
    params: &Arc<[Datum]>,
) -> Result<Vec<String>, SqlError> {
    let running = session.running(params.clone());
    if let Plan::Rows(Source::Query(plan)) = &planned.plan {
        return plan.explain(&running.query_context(), ExplainOptions { analyze, verbose }).await;
    }
    let mut lines = match &planned.plan {
        Plan::Rows(Source::Select(plan)) => match &plan.source {
            None => vec!["Result".to_owned()],
            Some((table, access)) => vec![access.describe(table)],
        },
        Plan::Insert(plan) => vec![format!("Insert on {}", plan.table.name)],
        Plan::Change(plan, word) => {
            vec![format!("{} on {}", capitalized(word), plan.table.name), format!("  ->  {}", plan.describe())]
        }
        Plan::Joined(plan, word) => vec![format!("{} on {}", capitalized(word), plan.table.name)],
        Plan::Empty | Plan::Utility | Plan::Rows(Source::Query(_)) => vec!["Utility Statement".to_owned()],
    };
    if analyze {
        let start = session.shared.database.now()?;
        let outcome = Box::pin(session.run(planned, statement, params)).await?;
        let mut count = 0;
        match outcome {
            Outcome::Rows { mut rows, .. } => {
                while let Some(batch) = rows.next().await? {
                    count += batch.len();
                }
            }
            Outcome::Command { tag } => {
                count = tag.rsplit(' ').next().and_then(|rows| rows.parse().ok()).unwrap_or(0);
            }
            _ => {}
        }
        let took_ns = session.shared.database.now()?.wall_ns.saturating_sub(start.wall_ns);
        lines.push(format!("Rows: {count}"));
        lines.push(format!("Execution Time: {:.3} ms", took_ns as f64 / 1e6));
        lines.push(ranges_line(&running.transaction.ranges_touched()));
    }
    Ok(lines)
}

/// Adds to what EXPLAIN ANALYZE prints how its statement was committed.
pub(in crate::session) fn tell_commit(
    statement: &Statement,
    mut outcome: Outcome,
    committed: Option<CommitOutcome>,
    took_ns: u64,
) -> Outcome {
    let is_explain = matches!(statement.ast(), Some(ast::Statement::Explain { .. }));
    if let (true, Some(committed), Outcome::Rows { rows, .. }) =
        (is_explain, committed.filter(|committed| committed.wrote), &mut outcome)
        && let Some(lines) = rows.ready_rows()
    {
        let phases = if committed.one_phase { "one phase" } else { "two phases" };
        // The ranges so far stand last.
        lines.pop();
        lines.push(vec![text(&format!("Commit: {phases}, {:.3} ms", took_ns as f64 / 1e6))]);
        lines.push(vec![text(&ranges_line(&committed.ranges))]);
    }
    outcome
}

fn ranges_line(ranges: &[u64]) -> String {
    let names: Vec<String> = ranges.iter().map(u64::to_string).collect();
    format!("Ranges Touched: {} ({})", ranges.len(), names.join(", "))
}

fn capitalized(word: &str) -> String {
    let lower = word.to_lowercase();
    let mut chars = lower.chars();
    chars.next().map(|first| first.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}
