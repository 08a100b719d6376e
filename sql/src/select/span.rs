//! Which part of which index holds the rows that satisfy some conditions.
//!
//! ```text
//!   a = 1 AND b IN (2, 3) AND c > 4    on an index (a, b, c, d)
//!   [/1/2/4+ … /1/3)  [/1/3/4+ … /1/4)   two spans: equal values fix columns, the first range ends it
//! ```
//!
//! Conditions only narrow what is read: every row is checked again by the plan above.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;

use super::calls::{Call, Comparison, Kind};
use super::errors::external;
use crate::arrow::{datum_of, numeric_from_key};
use crate::catalog::{IndexColumn, IndexDescriptor, Table};
use crate::dml::codec::{is_possible, possible_span, put_key};
use crate::types::{Datum, PgType, compare};

/// Spans that equal values may multiply to.
const MAX_SPANS: usize = 1024;

/// What a condition says of one column.
pub(super) struct Condition<'a> {
    position: usize,
    demand: Demand<'a>,
}

enum Demand<'a> {
    /// One of these.
    OneOf(Vec<&'a Expr>),
    /// One of this array's elements.
    In(&'a Expr),
    Null,
    Compare(Operator, &'a Expr),
}

/// What an expression says of a column of the table, if it is of a form that keys can serve.
pub(super) fn condition<'a>(expr: &'a Expr, table: &Table) -> Option<Condition<'a>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let (left, right) = (condition(left, table)?, condition(right, table)?);
            match (left.demand, right.demand) {
                (Demand::OneOf(mut values), Demand::OneOf(more)) if left.position == right.position => {
                    values.extend(more);
                    Some(Condition { position: left.position, demand: Demand::OneOf(values) })
                }
                _ => None,
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (position, op, value) = match (column(left, table), column(right, table)) {
                (Some(position), None) => (position, *op, right),
                (None, Some(position)) => (position, op.swap()?, left),
                _ => return None,
            };
            if !is_constant(value) {
                return None;
            }
            let demand = match op {
                Operator::Eq => Demand::OneOf(vec![value]),
                Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => Demand::Compare(op, value),
                _ => return None,
            };
            Some(Condition { position, demand })
        }
        Expr::InList(list) if !list.negated && list.list.iter().all(is_constant) => {
            Some(Condition { position: column(&list.expr, table)?, demand: Demand::OneOf(list.list.iter().collect()) })
        }
        Expr::IsNull(inner) => Some(Condition { position: column(inner, table)?, demand: Demand::Null }),
        Expr::ScalarFunction(function) => match (Call::kind_of(&function.func)?, &function.args[..]) {
            (Kind::Quantified(Comparison::Equal, false, false), [value, array]) if is_constant(array) => {
                Some(Condition { position: column(value, table)?, demand: Demand::In(array) })
            }
            _ => None,
        },
        _ => None,
    }
}

/// The table's column that an expression is, perhaps as a number's key.
fn column(expr: &Expr, table: &Table) -> Option<usize> {
    match expr {
        Expr::Column(column) => table.position(&column.name),
        Expr::Alias(alias) => column(&alias.expr, table),
        Expr::ScalarFunction(function) if Call::kind_of(&function.func) == Some(Kind::NumericKey) => {
            column(function.args.first()?, table)
        }
        _ => None,
    }
}

fn is_constant(expr: &Expr) -> bool {
    let free = expr.column_refs().is_empty() && !expr.is_volatile() && !expr.contains_outer();
    free && !expr.contains_scalar_subquery() && !matches!(expr, Expr::Exists(_) | Expr::InSubquery(_))
}

/// How a scan finds its rows.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// The index's name as EXPLAIN prints it.
    pub index_name: String,
    /// Whether entries lead to rows, which are fetched by key.
    pub secondary: bool,
    /// The spans, in order and apart from each other.
    pub spans: Vec<(Bytes, Bytes)>,
    /// Whether each span is the key of at most one row.
    pub points: bool,
    /// The index's columns: position in the table, and how it is sorted.
    pub order: Vec<(usize, IndexColumn)>,
    /// Positions of columns that are the same in all rows.
    pub fixed: Vec<usize>,
    /// The spans in words.
    pub label: String,
}

/// What the conditions together say of one column.
#[derive(Clone, Default)]
struct Demands {
    values: Option<Vec<Datum>>,
    null: bool,
    low: Option<(Datum, bool)>,
    high: Option<(Datum, bool)>,
}

impl Access {
    /// The best way to the rows that satisfy the filters.
    pub fn choose(table: &Table, filters: &[Expr], session: &dyn Session) -> Result<Access> {
        let mut demands = vec![Demands::default(); table.columns.len()];
        for filter in filters.iter().flat_map(|filter| split_conjunction(filter)) {
            if let Some(condition) = condition(filter, table) {
                let ty = table.columns[condition.position].ty;
                demands[condition.position].add(condition.demand, ty, session)?;
            }
        }
        let mut best = Candidate::new(table, &table.primary, &demands, false)?;
        for index in &table.indexes {
            let candidate = Candidate::new(table, index, &demands, true)?;
            if candidate.score() > best.score() {
                best = candidate;
            }
        }
        Ok(best.access)
    }
}

impl Demands {
    fn add(&mut self, demand: Demand<'_>, ty: PgType, session: &dyn Session) -> Result<()> {
        match demand {
            Demand::Null => self.null = true,
            Demand::OneOf(exprs) => {
                let mut values = Vec::with_capacity(exprs.len());
                for expr in exprs {
                    match constant(expr, ty, session)? {
                        None => return Ok(()),
                        Some(value) => values.push(value),
                    }
                }
                self.restrict(values);
            }
            Demand::In(array) => {
                let Some(array_type) = ty.array() else { return Ok(()) };
                match constant(array, array_type, session)? {
                    Some(Datum::Array(array)) if array.element == ty => self.restrict(array.values),
                    Some(Datum::Null) => self.restrict(Vec::new()),
                    _ => {}
                }
            }
            Demand::Compare(op, expr) => {
                let Some(value) = constant(expr, ty, session)? else { return Ok(()) };
                if value.is_null() {
                    self.restrict(Vec::new());
                    return Ok(());
                }
                let inclusive = matches!(op, Operator::LtEq | Operator::GtEq);
                let lower = matches!(op, Operator::Gt | Operator::GtEq);
                let bound = if lower { &mut self.low } else { &mut self.high };
                let tighter = bound.as_ref().is_none_or(|(old, _)| {
                    let order = compare(&value, old);
                    if lower { order.is_ge() } else { order.is_le() }
                });
                if tighter {
                    *bound = Some((value, inclusive));
                }
            }
        }
        Ok(())
    }

    fn restrict(&mut self, mut values: Vec<Datum>) {
        // Nothing equals NULL.
        values.retain(|value| !value.is_null());
        if self.values.as_ref().is_none_or(|old| values.len() < old.len()) {
            self.values = Some(values);
        }
    }
}

/// The value of a constant as one of the type; none if it is of another.
fn constant(expr: &Expr, ty: PgType, session: &dyn Session) -> Result<Option<Datum>> {
    let scalar = match expr {
        Expr::Literal(scalar, _) => scalar.clone(),
        other => {
            let physical = session.create_physical_expr(other.clone(), &DFSchema::empty())?;
            let options = RecordBatchOptions::new().with_row_count(Some(1));
            let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
            ScalarValue::try_from_array(&physical.evaluate(&batch)?.into_array(1)?, 0)?
        }
    };
    if scalar.is_null() {
        return Ok(Some(Datum::Null));
    }
    if let (PgType::Numeric, ScalarValue::Binary(Some(key))) = (ty, &scalar) {
        return Ok(numeric_from_key(key).map(Datum::Numeric));
    }
    let (found, wanted) = (scalar.data_type(), crate::arrow::data_type(ty));
    let texts = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::Utf8View);
    if found != wanted && !(texts(&found) && texts(&wanted)) {
        return Ok(None);
    }
    datum_of(ty, &scalar).map(Some).map_err(external)
}

struct Candidate {
    access: Access,
    equal: usize,
    bounds: usize,
    whole_key: bool,
}

impl Candidate {
    fn new(table: &Table, index: &IndexDescriptor, demands: &[Demands], secondary: bool) -> Result<Candidate> {
        let prefix = txn::keys::index_prefix(u64::from(table.id), u64::from(index.index_id));
        let mut prefixes = vec![(prefix, String::new())];
        let (mut equal, mut bounds, mut fixed) = (0, 0, Vec::new());
        let mut spans: Option<Vec<(Vec<u8>, Vec<u8>)>> = None;
        let mut label = String::new();
        for part in &index.columns {
            let Some(position) = table.position_of_id(part.column_id) else { break };
            let (demand, ty) = (&demands[position], table.columns[position].ty);
            if let Some(values) = demand.exact().filter(|values| prefixes.len() * values.len() <= MAX_SPANS) {
                prefixes = multiply(&prefixes, &values, ty, part)?;
                equal += 1;
                if values.len() == 1 {
                    fixed.push(position);
                }
                continue;
            }
            if demand.low.is_some() || demand.high.is_some() {
                bounds = usize::from(demand.low.is_some()) + usize::from(demand.high.is_some());
                label = demand.range_label();
                let ranged = prefixes.iter().map(|(prefix, _)| demand.range(prefix, ty, part));
                spans = Some(ranged.collect::<Result<Vec<_>>>()?);
            }
            break;
        }
        let words: Vec<String> = prefixes.iter().take(4).map(|(_, words)| format!("{words}{label}")).collect();
        let more = if prefixes.len() > 4 { format!(" … {} spans", prefixes.len()) } else { String::new() };
        let mut spans = spans.unwrap_or_else(|| {
            prefixes.into_iter().map(|(prefix, _)| (prefix.clone(), txn::keys::prefix_end(&prefix).to_vec())).collect()
        });
        let whole_key = equal == index.columns.len();
        spans.retain(|(start, end)| start < end && (!whole_key || secondary || is_possible(start)));
        let mut spans: Vec<_> = spans.into_iter().map(|(start, end)| possible_span(start, end)).collect();
        spans.sort();
        spans.dedup();
        let label = match equal + bounds {
            0 => "all".to_owned(),
            _ => words.join(" ") + &more,
        };
        let order =
            index.columns.iter().filter_map(|part| Some((table.position_of_id(part.column_id)?, *part))).collect();
        let access = Access {
            index_name: if index.name.is_empty() { format!("{}@rowid", table.name) } else { index.name.clone() },
            secondary,
            spans: spans.into_iter().map(|(start, end)| (Bytes::from(start), Bytes::from(end))).collect(),
            points: !secondary && whole_key,
            order,
            fixed,
            label,
        };
        Ok(Candidate { access, equal, bounds, whole_key: whole_key && (index.unique || !secondary) })
    }

    /// What leaves least: a whole unique key, then more columns fixed, then a bounded one, then rows without a detour.
    fn score(&self) -> (bool, usize, usize, bool) {
        (self.whole_key, self.equal, self.bounds, !self.access.secondary)
    }
}

fn multiply(
    prefixes: &[(Vec<u8>, String)],
    values: &[Datum],
    ty: PgType,
    part: &IndexColumn,
) -> Result<Vec<(Vec<u8>, String)>> {
    let mut longer = Vec::with_capacity(prefixes.len() * values.len());
    for (prefix, words) in prefixes {
        for value in values {
            let (mut key, mut words) = (prefix.clone(), words.clone());
            put_key(&mut key, value, ty, part).map_err(external)?;
            let _ = write!(words, "/{}", show(value, ty));
            longer.push((key, words));
        }
    }
    Ok(longer)
}

fn show(value: &Datum, ty: PgType) -> String {
    match value {
        Datum::Null => "NULL".to_owned(),
        value => crate::types::to_text(value, ty, -1, &crate::types::TypeSettings::default()),
    }
}

impl Demands {
    fn exact(&self) -> Option<Vec<Datum>> {
        match (&self.values, self.null) {
            (Some(values), false) => Some(values.clone()),
            (Some(_), true) => Some(Vec::new()),
            (None, true) => Some(vec![Datum::Null]),
            (None, false) => None,
        }
    }

    fn range_label(&self) -> String {
        let side = |bound: &Option<(Datum, bool)>, signs: (&str, &str)| match bound {
            Some((value, inclusive)) => {
                let sign = if *inclusive { signs.1 } else { signs.0 };
                format!("{sign} {}", show(value, value.natural_type().unwrap_or(PgType::Text)))
            }
            None => String::new(),
        };
        let (low, high) = (side(&self.low, (">", ">=")), side(&self.high, ("<", "<=")));
        let and = if low.is_empty() || high.is_empty() { "" } else { " and " };
        format!("/[{low}{and}{high}]")
    }

    /// The part of a prefix's keys that lies within the bounds.
    fn range(&self, prefix: &[u8], ty: PgType, part: &IndexColumn) -> Result<(Vec<u8>, Vec<u8>)> {
        // Keys of a descending column run from the high bound to the low one.
        let (first, last) = if part.descending { (&self.high, &self.low) } else { (&self.low, &self.high) };
        let key = |value: &Datum| {
            let mut key = prefix.to_vec();
            put_key(&mut key, value, ty, part).map_err(external)?;
            Ok::<_, datafusion::error::DataFusionError>(key)
        };
        let start = match first {
            None => prefix.to_vec(),
            Some((value, true)) => key(value)?,
            Some((value, false)) => txn::keys::prefix_end(&key(value)?).to_vec(),
        };
        let end = match last {
            None => txn::keys::prefix_end(prefix).to_vec(),
            Some((value, true)) => txn::keys::prefix_end(&key(value)?).to_vec(),
            Some((value, false)) => key(value)?,
        };
        Ok((start, end))
    }
}
