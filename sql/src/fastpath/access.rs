//! How the rows that a WHERE asks for are found.

use bytes::Bytes;

use crate::bind::ParamTypes;
use crate::catalog::{IndexDescriptor, Table};
use crate::dml::codec::{is_possible, possible_span, put_key};
use crate::error::SqlError;
use crate::scalar::{Comparison, EvalContext, Scalar};
use crate::types::{Datum, PgType};

/// How rows are found, and what must still hold for each.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub path: Path,
    /// What must hold besides; `None` when the path says it all.
    pub filter: Option<Scalar>,
}

/// How rows are found.
#[derive(Clone, Debug)]
pub(crate) enum Path {
    /// By the whole primary key: a value for each of its columns.
    Key(Vec<Scalar>),
    /// By several values of a primary key of one column.
    Keys(KeyList),
    /// Along an index.
    Span(SpanPath),
}

/// Several values of a primary key of one column.
#[derive(Clone, Debug)]
pub(crate) enum KeyList {
    /// `IN (…)`.
    Listed(Vec<Scalar>),
    /// `= ANY (array)`.
    Array(Scalar),
}

/// Part of an index.
#[derive(Clone, Debug)]
pub(crate) struct SpanPath {
    /// The secondary index's ID; `None` for the primary index.
    pub index_id: Option<u32>,
    /// Values of the first columns.
    pub equal: Vec<Scalar>,
    /// Where the next column begins: value, inclusive.
    pub low: Option<(Scalar, bool)>,
    /// Where the next column ends: value, inclusive.
    pub high: Option<(Scalar, bool)>,
}

impl Access {
    /// Whether it looks at a few keys, or a bounded part of an index, rather than at the whole table.
    pub fn is_narrow(&self) -> bool {
        match &self.path {
            Path::Key(_) | Path::Keys(_) => true,
            Path::Span(span) => !span.equal.is_empty(),
        }
    }

    /// Whether it finds at most one row.
    pub fn is_point(&self) -> bool {
        matches!(self.path, Path::Key(_))
    }

    /// One line for EXPLAIN.
    pub fn describe(&self, table: &Table) -> String {
        let how = match &self.path {
            Path::Key(_) => format!("Point Lookup using {}", table.primary.name),
            Path::Keys(_) => format!("Points Lookup using {}", table.primary.name),
            Path::Span(span) => {
                let index = match span.index_id {
                    None => &table.primary,
                    Some(id) => table.indexes.iter().find(|index| index.index_id == id).unwrap_or(&table.primary),
                };
                if span.equal.is_empty() && span.low.is_none() && span.high.is_none() {
                    format!("Full Scan using {}", index.name)
                } else {
                    format!("Index Scan using {}", index.name)
                }
            }
        };
        let filter = if self.filter.is_some() { " (filtered)" } else { "" };
        format!("{how} on {}{filter}", table.name)
    }

    /// Chooses a path for a bound condition.
    pub fn choose(table: &Table, condition: Option<Scalar>, params: &ParamTypes) -> Access {
        let Some(condition) = condition else {
            let path = Path::Span(SpanPath { index_id: None, equal: Vec::new(), low: None, high: None });
            return Access { path, filter: None };
        };
        let conjuncts = match condition {
            Scalar::And(parts) => parts,
            other => vec![other],
        };
        let chooser = Chooser { table, conjuncts: &conjuncts, params: params.known() };
        if let Some((path, used)) = chooser.key() {
            return Access { path, filter: remaining(&conjuncts, &used) };
        }
        let path = Path::Span(chooser.best_span());
        Access { path, filter: remaining(&conjuncts, &[]) }
    }
}

fn remaining(conjuncts: &[Scalar], used: &[usize]) -> Option<Scalar> {
    let mut rest: Vec<Scalar> = conjuncts
        .iter()
        .enumerate()
        .filter(|(at, _)| !used.contains(at))
        .map(|(_, conjunct)| conjunct.clone())
        .collect();
    match rest.len() {
        0 => None,
        1 => rest.pop(),
        _ => Some(Scalar::And(rest)),
    }
}

struct Chooser<'a> {
    table: &'a Table,
    conjuncts: &'a [Scalar],
    params: &'a [Option<PgType>],
}

impl Chooser<'_> {
    /// The primary key, if the condition fixes it; with the conjuncts it makes superfluous.
    fn key(&self) -> Option<(Path, Vec<usize>)> {
        let positions = &self.table.primary_positions;
        let found: Option<Vec<(usize, &Scalar)>> = positions.iter().map(|position| self.equal(*position)).collect();
        if let Some(found) = found {
            let used = found.iter().map(|(at, _)| *at).collect();
            return Some((Path::Key(found.into_iter().map(|(_, value)| value.clone()).collect()), used));
        }
        let [position] = positions[..] else { return None };
        self.conjuncts.iter().enumerate().find_map(|(at, conjunct)| {
            let list = match conjunct {
                Scalar::InList(value, list, false)
                    if **value == Scalar::Column(position)
                        && list.iter().all(|one| one.is_fixed() && self.fits(one, position)) =>
                {
                    KeyList::Listed(list.clone())
                }
                Scalar::Quantified(Comparison::Equal, pair, false)
                    if pair.0 == Scalar::Column(position)
                        && pair.1.is_fixed()
                        && self.array_fits(&pair.1, position) =>
                {
                    KeyList::Array(pair.1.clone())
                }
                _ => return None,
            };
            Some((Path::Keys(list), vec![at]))
        })
    }

    /// The index of which the condition leaves least.
    fn best_span(&self) -> SpanPath {
        let mut best = self.span_of(&self.table.primary, None);
        for index in &self.table.indexes {
            let candidate = self.span_of(index, Some(index.index_id));
            if score(&candidate, index) > score(&best, index) {
                best = candidate;
            }
        }
        best
    }

    fn span_of(&self, index: &IndexDescriptor, index_id: Option<u32>) -> SpanPath {
        let mut span = SpanPath { index_id, equal: Vec::new(), low: None, high: None };
        for part in &index.columns {
            let Some(position) = self.table.position_of_id(part.column_id) else { break };
            if let Some((_, value)) = self.equal(position) {
                span.equal.push(value.clone());
                continue;
            }
            if !part.descending && !part.nulls_first {
                span.low = self.bound(position, &[Comparison::Greater, Comparison::GreaterOrEqual]);
                span.high = self.bound(position, &[Comparison::Less, Comparison::LessOrEqual]);
            }
            break;
        }
        span
    }

    /// The value a conjunct fixes a column to, with the conjunct's place.
    fn equal(&self, position: usize) -> Option<(usize, &Scalar)> {
        self.conjuncts.iter().enumerate().find_map(|(at, conjunct)| match conjunct {
            Scalar::Compare(Comparison::Equal, pair) => {
                let (left, right) = &**pair;
                let value = if *left == Scalar::Column(position) {
                    right
                } else if *right == Scalar::Column(position) {
                    left
                } else {
                    return None;
                };
                (value.is_fixed() && self.fits(value, position)).then_some((at, value))
            }
            _ => None,
        })
    }

    fn bound(&self, position: usize, wanted: &[Comparison]) -> Option<(Scalar, bool)> {
        self.conjuncts.iter().find_map(|conjunct| {
            let comparisons: Vec<&Scalar> = match conjunct {
                Scalar::And(parts) => parts.iter().collect(),
                other => vec![other],
            };
            comparisons.into_iter().find_map(|comparison| self.bound_of(comparison, position, wanted))
        })
    }

    fn bound_of(&self, conjunct: &Scalar, position: usize, wanted: &[Comparison]) -> Option<(Scalar, bool)> {
        let Scalar::Compare(comparison, pair) = conjunct else { return None };
        let (left, right) = &**pair;
        let (comparison, value) = if *left == Scalar::Column(position) {
            (*comparison, right)
        } else if *right == Scalar::Column(position) {
            (comparison.swapped(), left)
        } else {
            return None;
        };
        let inclusive = matches!(comparison, Comparison::GreaterOrEqual | Comparison::LessOrEqual);
        (wanted.contains(&comparison) && value.is_fixed() && self.fits(value, position))
            .then(|| (value.clone(), inclusive))
    }

    /// Whether a value's order among keys of the column is the order of SQL's comparison.
    fn fits(&self, value: &Scalar, position: usize) -> bool {
        let column = self.table.columns[position].ty;
        match self.type_of(value) {
            None => matches!(value, Scalar::Const(Datum::Null)),
            Some(ty) => {
                ty == column
                    || ty.is_string() && column.is_string()
                    || (ty.is_integer() || ty.is_oid()) && (column.is_integer() || column.is_oid())
                    || ty.is_integer() && column == PgType::Numeric
                    || ty == PgType::Float4 && column == PgType::Float8
            }
        }
    }

    fn array_fits(&self, value: &Scalar, position: usize) -> bool {
        let column = self.table.columns[position].ty;
        self.type_of(value).and_then(PgType::element).is_some_and(|ty| {
            ty == column || ty.is_string() && column.is_string() || ty.is_integer() && column.is_integer()
        })
    }

    fn type_of(&self, value: &Scalar) -> Option<PgType> {
        match value {
            Scalar::Const(value) => value.natural_type(),
            Scalar::Param(number) => self.params.get(*number).copied().flatten(),
            Scalar::Cast(_, to) => Some(to.to),
            Scalar::NextVal(_) => Some(PgType::Int8),
            _ => None,
        }
    }
}

/// Which of two spans is smaller: more columns fixed; then a whole unique key; then a bounded one.
fn score(span: &SpanPath, index: &IndexDescriptor) -> (usize, usize, bool) {
    let bounds = usize::from(span.low.is_some()) + usize::from(span.high.is_some());
    let whole_unique = span.index_id == Some(index.index_id) && index.unique && span.equal.len() == index.columns.len();
    (span.equal.len() + usize::from(whole_unique), bounds, span.index_id.is_none())
}

/// What a path comes to, once its values are known.
#[derive(Debug)]
pub(crate) enum Target {
    /// No row can match.
    Nothing,
    /// The rows with these keys, in order, each once.
    Rows(Vec<Bytes>),
    /// The rows in a span of the primary index.
    Primary(Bytes, Bytes),
    /// The rows that the entries in a span of a secondary index point to.
    Secondary(Bytes, Bytes),
}

impl Path {
    /// Works out the keys.
    pub fn resolve(&self, table: &Table, context: &EvalContext<'_>) -> Result<Target, SqlError> {
        match self {
            Path::Key(values) => {
                let mut key = txn::keys::index_prefix(u64::from(table.id), u64::from(table.primary.index_id));
                Ok(match put_values(&mut key, table, &table.primary, values, context)? {
                    true if is_possible(&key) => Target::Rows(vec![Bytes::from(key)]),
                    _ => Target::Nothing,
                })
            }
            Path::Keys(list) => {
                let values: Vec<Datum> = match list {
                    KeyList::Listed(list) => list.iter().map(|value| value.eval(context)).collect::<Result<_, _>>()?,
                    KeyList::Array(array) => match array.eval(context)? {
                        Datum::Array(array) => array.values,
                        _ => Vec::new(),
                    },
                };
                let part = &table.primary.columns[0];
                let ty = table.columns[table.primary_positions[0]].ty;
                let prefix = txn::keys::index_prefix(u64::from(table.id), u64::from(table.primary.index_id));
                let mut keys = Vec::with_capacity(values.len());
                for value in values.iter().filter(|value| !value.is_null()) {
                    let mut key = prefix.clone();
                    put_key(&mut key, value, ty, part)?;
                    keys.push(Bytes::from(key));
                }
                keys.retain(|key| is_possible(key));
                keys.sort_unstable();
                keys.dedup();
                Ok(if keys.is_empty() { Target::Nothing } else { Target::Rows(keys) })
            }
            Path::Span(span) => span.resolve(table, context),
        }
    }
}

impl SpanPath {
    fn resolve(&self, table: &Table, context: &EvalContext<'_>) -> Result<Target, SqlError> {
        let index = match self.index_id {
            None => &table.primary,
            Some(id) => table
                .indexes
                .iter()
                .find(|index| index.index_id == id)
                .ok_or_else(|| SqlError::internal("a plan uses an index that is gone"))?,
        };
        let mut prefix = txn::keys::index_prefix(u64::from(table.id), u64::from(index.index_id));
        if !put_values(&mut prefix, table, index, &self.equal, context)? {
            return Ok(Target::Nothing);
        }
        let mut start = prefix.clone();
        let mut end = prefix.clone();
        let next = index.columns.get(self.equal.len());
        let place = |key: &mut Vec<u8>, bound: &Option<(Scalar, bool)>| -> Result<Option<bool>, SqlError> {
            let (Some((value, inclusive)), Some(part)) = (bound, next) else { return Ok(None) };
            let value = value.eval_ref(context)?;
            if value.is_null() {
                return Ok(Some(false));
            }
            let ty = table.column_by_id(part.column_id).map_or(PgType::Unknown, |column| column.ty);
            put_key(key, &value, ty, part)?;
            // Everything with this value lies in [key, successor of the prefix).
            let low_side = std::ptr::eq(bound, &self.low);
            if low_side != *inclusive {
                make_successor(key);
            }
            Ok(Some(true))
        };
        match (place(&mut start, &self.low)?, place(&mut end, &self.high)?) {
            (Some(false), _) | (_, Some(false)) => return Ok(Target::Nothing),
            // NULLs are no match for an upper bound alone either; the filter leaves them out.
            (_, None) => make_successor(&mut end),
            (_, Some(true)) => {}
        }
        if start >= end {
            return Ok(Target::Nothing);
        }
        let (start, end) = possible_span(start, end);
        let (start, end) = (Bytes::from(start), Bytes::from(end));
        Ok(if self.index_id.is_none() { Target::Primary(start, end) } else { Target::Secondary(start, end) })
    }
}

/// Appends the values of an index's first columns; false when one is NULL, which equals nothing.
fn put_values(
    key: &mut Vec<u8>,
    table: &Table,
    index: &IndexDescriptor,
    values: &[Scalar],
    context: &EvalContext<'_>,
) -> Result<bool, SqlError> {
    for (part, value) in index.columns.iter().zip(values) {
        let value = value.eval_ref(context)?;
        if value.is_null() {
            return Ok(false);
        }
        let ty = table.column_by_id(part.column_id).map_or(PgType::Unknown, |column| column.ty);
        put_key(key, &value, ty, part)?;
    }
    Ok(true)
}

/// The least key above all keys that begin with this one.
fn make_successor(key: &mut Vec<u8>) {
    while let Some(last) = key.pop() {
        if last < 0xff {
            key.push(last + 1);
            return;
        }
    }
    key.push(0xff);
}
