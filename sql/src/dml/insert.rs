//! INSERT.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use clock::TimeSlice;
use datafusion::sql::sqlparser::ast::{self, Expr, SetExpr, TableObject};
use txn::LockStrength;

use super::change::{Assignments, Changed};
use super::codec::{decode_row, index_entry, row_key, row_key_of_entry};
use super::rules::{Rules, default_of, refuse_generated};
use super::writer::Writer;
use crate::bind::{BindError, BindResult, Binder, Bound, Scope, ScopeColumn, name_parts, normalize};
use crate::catalog::Table;
use crate::error::{SqlError, code};
use crate::fastpath::select::Output;
use crate::memory::{Hold, PIECE_BYTES};
use crate::scalar::{EvalContext, Scalar};
use crate::session::{Column, Row, Running, Source};
use crate::types::{Datum, row_bytes};

/// Rows handled at a time.
const BATCH_ROWS: usize = 1024;

/// A bound INSERT.
pub(crate) struct InsertPlan {
    pub table: Arc<Table>,
    source: Input,
    rules: Rules,
    conflict: Option<OnConflict>,
    pub returning: Option<Output>,
}

/// Where new rows come from. Each has an expression for every column of the table.
enum Input {
    /// VALUES: expressions over nothing.
    Values(Vec<Vec<Scalar>>),
    /// A query: expressions over its rows.
    Query(Source, Vec<Scalar>),
}

struct OnConflict {
    /// The unique index that decides: the primary one, or a secondary one's place; all of them when none is named.
    arbiter: Option<Arbiter>,
    /// What to do with the row that is there; none for DO NOTHING. The expressions see the old row, then the proposed one.
    update: Option<(Assignments, Option<Scalar>)>,
}

/// The keys of the rows that a statement with ON CONFLICT has written.
struct Touched {
    keys: BTreeSet<Bytes>,
    held: Hold,
}

/// What a key takes besides its bytes.
const KEY_OVERHEAD_BYTES: usize = 64;

impl Touched {
    fn note(&mut self, key: Bytes) -> Result<(), SqlError> {
        self.held.grow(KEY_OVERHEAD_BYTES + key.len())?;
        self.keys.insert(key);
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Arbiter {
    Primary,
    Secondary(usize),
}

/// The query of an INSERT … SELECT, to be planned before the rest is bound.
pub(crate) fn query_of(insert: &ast::Insert) -> Option<&ast::Query> {
    insert.source.as_deref().filter(|query| !matches!(&*query.body, SetExpr::Values(_)))
}

impl InsertPlan {
    /// Binds an INSERT into a table. `source` is its query, planned already, if it has one.
    ///
    /// The parser's `overwrite` stands for OVERRIDING SYSTEM VALUE.
    pub fn bind(
        insert: &ast::Insert,
        table: &Arc<Table>,
        source: Option<Source>,
        binder: &mut Binder<'_>,
    ) -> BindResult<InsertPlan> {
        let targets = targets(insert, table)?;
        let defaults = table
            .columns
            .iter()
            .map(|column| default_of(column, binder.catalog, binder.view))
            .collect::<Result<Vec<_>, _>>()?;
        let input = match source {
            Some(source) => {
                if source.columns().len() < targets.len() && !insert.columns.is_empty() {
                    return Err(BindError::Sql(SqlError::syntax("INSERT has more target columns than expressions")));
                }
                let template = from_query(&source.columns(), table, &targets, insert.overwrite, defaults, binder)?;
                Input::Query(source, template)
            }
            None => Input::Values(values(insert, table, &targets, &defaults, binder)?),
        };
        let rules = Rules::bind(table, binder.catalog, binder.view)?;
        let alias = insert.table_alias.as_ref().map(|alias| normalize(&alias.alias));
        let conflict = match &insert.on {
            None => None,
            Some(ast::OnInsert::OnConflict(conflict)) => {
                Some(bind_conflict(conflict, table, alias.as_deref(), binder)?)
            }
            Some(_) => return Err(BindError::Sql(SqlError::unsupported("ON DUPLICATE KEY UPDATE"))),
        };
        let returning = bind_returning(insert.returning.as_deref(), table, alias.as_deref(), Vec::new(), binder)?;
        Ok(InsertPlan { table: table.clone(), source: input, rules, conflict, returning })
    }

    /// The tables it reads and writes.
    pub fn tables(&self) -> Vec<u32> {
        let mut tables = vec![self.table.id];
        if let Input::Query(source, _) = &self.source {
            tables.extend(source.tables());
        }
        tables
    }

    /// Executes it. Returns the number of rows, and what RETURNING yields.
    pub async fn execute(&self, running: &Running) -> Result<Changed, SqlError> {
        let mut changed = Changed::nothing(running);
        let mut touched = Touched { keys: BTreeSet::new(), held: running.memory.nothing() };
        match &self.source {
            Input::Values(rows) => {
                running.prepare_sequences(rows.iter().flatten(), 1).await?;
                let context = running.eval_context();
                let (mut built, mut bytes) = (Vec::with_capacity(rows.len().min(BATCH_ROWS)), 0);
                let mut slice = TimeSlice::begin();
                for row in rows {
                    slice.give_way().await;
                    let row = self.build(row, &context)?;
                    bytes += row_bytes(&row);
                    built.push(row);
                    if built.len() >= BATCH_ROWS || bytes >= PIECE_BYTES {
                        self.write(running, std::mem::take(&mut built), &mut touched, &mut changed).await?;
                        bytes = 0;
                    }
                }
                self.write(running, built, &mut touched, &mut changed).await?;
            }
            Input::Query(source, template) => {
                let mut stream = source.execute(running).await?;
                while let Some(rows) = stream.next().await? {
                    for rows in rows.chunks(BATCH_ROWS) {
                        running.prepare_sequences(template, rows.len()).await?;
                        let context = running.eval_context();
                        let built = rows
                            .iter()
                            .map(|row| self.build(template, &EvalContext { row, ..context }))
                            .collect::<Result<Vec<_>, _>>()?;
                        self.write(running, built, &mut touched, &mut changed).await?;
                    }
                }
            }
        }
        Ok(changed)
    }

    fn build(&self, template: &[Scalar], context: &EvalContext<'_>) -> Result<Row, SqlError> {
        let row: Row = template.iter().map(|scalar| scalar.eval(context)).collect::<Result<_, _>>()?;
        self.rules.verify(&self.table, &EvalContext { row: &row, ..*context })?;
        Ok(row)
    }

    async fn write(
        &self,
        running: &Running,
        rows: Vec<Row>,
        touched: &mut Touched,
        changed: &mut Changed,
    ) -> Result<(), SqlError> {
        let writer = running.writer(&self.table);
        let rows = match &self.conflict {
            None => {
                writer.insert(&rows).await?;
                rows
            }
            Some(conflict) => {
                let mut written = Vec::with_capacity(rows.len());
                for row in rows {
                    written.extend(self.upsert(running, &writer, conflict, row, touched).await?);
                }
                written
            }
        };
        changed.rows += rows.len() as u64;
        if let Some(returning) = &self.returning {
            let context = running.eval_context();
            for row in &rows {
                changed.returned.push(returning.row(&EvalContext { row, ..context })?)?;
            }
        }
        Ok(())
    }

    /// Inserts a row, or does what ON CONFLICT says. Returns the row as written; none when nothing was.
    async fn upsert(
        &self,
        running: &Running,
        writer: &Writer<'_>,
        conflict: &OnConflict,
        row: Row,
        touched: &mut Touched,
    ) -> Result<Option<Row>, SqlError> {
        let Some((old_key, old)) = self.find_conflict(running, conflict, &row).await? else {
            touched.note(row_key(&self.table, &row)?)?;
            writer.insert(std::slice::from_ref(&row)).await?;
            return Ok(Some(row));
        };
        let Some((assignments, filter)) = &conflict.update else { return Ok(None) };
        if touched.keys.contains(&old_key) {
            return Err(SqlError::new(
                code::CARDINALITY_VIOLATION,
                "ON CONFLICT DO UPDATE command cannot affect row a second time",
            )
            .hint(
                "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
            ));
        }
        let both: Row = old.iter().cloned().chain(row).collect();
        let context = running.eval_context();
        let context = EvalContext { row: &both, ..context };
        if let Some(filter) = filter
            && !filter.eval_condition(&context)?
        {
            return Ok(None);
        }
        running.prepare_sequences(&assignments.scalars(), 1).await?;
        let new = assignments.apply(old.clone(), &context)?;
        self.rules.verify(&self.table, &EvalContext { row: &new, ..context })?;
        touched.note(row_key(&self.table, &new)?)?;
        let change = [(old_key, old, new)];
        writer.update(&change).await?;
        let [(_, _, new)] = change;
        Ok(Some(new))
    }

    /// The row that stands in the way of a new one, as far as ON CONFLICT cares.
    async fn find_conflict(
        &self,
        running: &Running,
        conflict: &OnConflict,
        row: &[Datum],
    ) -> Result<Option<(Bytes, Row)>, SqlError> {
        let lock = if conflict.update.is_some() { LockStrength::Exclusive } else { LockStrength::None };
        let transaction = &running.transaction;
        let looks_at = |arbiter| conflict.arbiter.is_none_or(|wanted| wanted == arbiter);
        if looks_at(Arbiter::Primary) {
            let key = row_key(&self.table, row)?;
            if let Some(value) = transaction.get(key.clone(), lock).await? {
                return Ok(Some((key, decode_row(&self.table, &value)?)));
            }
        }
        for (at, index) in self.table.indexes.iter().enumerate().filter(|(_, index)| index.unique) {
            if !looks_at(Arbiter::Secondary(at)) {
                continue;
            }
            let (key, _, exclusive) = index_entry(&self.table, index, row)?;
            if !exclusive {
                continue;
            }
            if let Some(entry) = transaction.get(key, lock).await? {
                let key = row_key_of_entry(&self.table, &entry);
                let value = transaction.get(key.clone(), lock).await?.ok_or_else(|| {
                    SqlError::internal(format!("index \"{}\" has an entry without a row", index.name))
                })?;
                return Ok(Some((key, decode_row(&self.table, &value)?)));
            }
        }
        Ok(None)
    }
}

/// The table an INSERT writes to.
pub(crate) fn target_name(insert: &ast::Insert) -> Result<Vec<String>, SqlError> {
    match &insert.table {
        TableObject::TableName(name) => name_parts(name),
        other => Err(SqlError::unsupported(format!("INSERT INTO {other}"))),
    }
}

/// The positions of the columns an INSERT names.
pub(super) fn targets(insert: &ast::Insert, table: &Table) -> Result<Vec<usize>, SqlError> {
    if insert.columns.is_empty() {
        return Ok(table.visible_positions.clone());
    }
    let mut targets = Vec::with_capacity(insert.columns.len());
    for column in &insert.columns {
        let name = name_parts(column)?.pop().unwrap_or_default();
        let position = find_column(table, &name)?;
        if targets.contains(&position) {
            return Err(SqlError::new(code::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once")));
        }
        targets.push(position);
    }
    Ok(targets)
}

/// The position of a column that a statement names as a target.
pub(crate) fn find_column(table: &Table, name: &str) -> Result<usize, SqlError> {
    table.position(name).ok_or_else(|| {
        SqlError::new(
            code::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        )
    })
}

/// Whether an expression is the word DEFAULT.
pub(crate) fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

fn values(
    insert: &ast::Insert,
    table: &Table,
    targets: &[usize],
    defaults: &[Scalar],
    binder: &mut Binder<'_>,
) -> BindResult<Vec<Vec<Scalar>>> {
    let rows = match insert.source.as_deref().map(|query| &*query.body) {
        None => return Ok(vec![defaults.to_vec()]),
        Some(SetExpr::Values(values)) => &values.rows,
        Some(_) => return Err(BindError::Elsewhere("INSERT from a query".into())),
    };
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        let row: &[Expr] = row;
        if row.len() > targets.len() {
            return Err(BindError::Sql(SqlError::syntax("INSERT has more expressions than target columns")));
        }
        if row.len() < targets.len() && !insert.columns.is_empty() {
            return Err(BindError::Sql(SqlError::syntax("INSERT has more target columns than expressions")));
        }
        let mut full = defaults.to_vec();
        for (expr, position) in row.iter().zip(targets) {
            if is_default(expr) {
                continue;
            }
            let column = &table.columns[*position];
            if !insert.overwrite {
                refuse_generated(column)?;
            }
            full[*position] = binder.bind_assigned(expr, &column.name, column.ty, column.typmod)?;
        }
        out.push(full);
    }
    Ok(out)
}

fn from_query(
    columns: &[Column],
    table: &Table,
    targets: &[usize],
    overrides_generated: bool,
    defaults: Vec<Scalar>,
    binder: &mut Binder<'_>,
) -> BindResult<Vec<Scalar>> {
    if columns.len() > targets.len() {
        return Err(BindError::Sql(SqlError::syntax("INSERT has more expressions than target columns")));
    }
    let mut template = defaults;
    for (at, (given, position)) in columns.iter().zip(targets).enumerate() {
        let column = &table.columns[*position];
        if !overrides_generated {
            refuse_generated(column)?;
        }
        let bound = Bound { scalar: Scalar::Column(at), ty: given.ty, typmod: given.typmod };
        template[*position] = binder.assign(bound, &column.name, column.ty, column.typmod)?;
    }
    Ok(template)
}

/// Binds RETURNING over a table's rows, the columns of `others` behind its own.
pub(crate) fn bind_returning(
    items: Option<&[ast::SelectItem]>,
    table: &Table,
    alias: Option<&str>,
    others: Vec<ScopeColumn>,
    binder: &mut Binder<'_>,
) -> BindResult<Option<Output>> {
    let Some(items) = items else { return Ok(None) };
    let mut scope = Scope::of_table(table, alias);
    scope.columns.extend(others);
    let mut inner = binder.within(&scope);
    let alias = alias.unwrap_or(&table.name);
    Output::bind(items, Some((table, alias)), &mut inner).map(Some)
}

fn bind_conflict(
    conflict: &ast::OnConflict,
    table: &Table,
    alias: Option<&str>,
    binder: &mut Binder<'_>,
) -> BindResult<OnConflict> {
    let arbiter = conflict.conflict_target.as_ref().map(|target| find_arbiter(target, table)).transpose()?;
    let update = match &conflict.action {
        ast::OnConflictAction::DoNothing => None,
        ast::OnConflictAction::DoUpdate(_) if arbiter.is_none() => {
            return Err(BindError::Sql(SqlError::syntax(
                "ON CONFLICT DO UPDATE requires inference specification or constraint name",
            )));
        }
        ast::OnConflictAction::DoUpdate(update) => {
            let mut scope = Scope::of_table(table, alias);
            scope.add_table(table, "excluded");
            let mut inner = binder.within(&scope);
            let assignments = Assignments::bind(&update.assignments, table, alias, &mut inner)?;
            let filter = update.selection.as_ref().map(|filter| inner.bind_condition(filter)).transpose()?;
            Some((assignments, filter))
        }
    };
    Ok(OnConflict { arbiter, update })
}

fn find_arbiter(target: &ast::ConflictTarget, table: &Table) -> Result<Arbiter, SqlError> {
    let candidates = table
        .primary_key()
        .map(|index| (Arbiter::Primary, index))
        .into_iter()
        .chain(table.indexes.iter().enumerate().map(|(at, index)| (Arbiter::Secondary(at), index)));
    match target {
        ast::ConflictTarget::Columns(columns) => {
            let mut wanted =
                columns.iter().map(|column| find_column(table, &normalize(column))).collect::<Result<Vec<_>, _>>()?;
            wanted.sort_unstable();
            candidates
                .filter(|(_, index)| index.unique)
                .find(|(_, index)| {
                    let mut positions = table.index_positions(index);
                    positions.sort_unstable();
                    positions == wanted
                })
                .map(|(arbiter, _)| arbiter)
                .ok_or_else(|| {
                    SqlError::new(
                        code::INVALID_COLUMN_REFERENCE,
                        "there is no unique or exclusion constraint matching the ON CONFLICT specification",
                    )
                })
        }
        ast::ConflictTarget::OnConstraint(name) => {
            let name = name_parts(name)?.pop().unwrap_or_default();
            candidates
                .filter(|(_, index)| index.unique)
                .find(|(_, index)| index.name == name)
                .map(|(arbiter, _)| arbiter)
                .ok_or_else(|| {
                    SqlError::new(
                        code::UNDEFINED_OBJECT,
                        format!("constraint \"{name}\" for table \"{}\" does not exist", table.name),
                    )
                })
        }
    }
}
