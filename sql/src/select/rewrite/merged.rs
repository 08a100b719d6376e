//! Columns that joins merge, `JOIN … USING (x)` and NATURAL joins, said in words that the planner library reads as PostgreSQL means
//! them: it takes x for the left side's whatever the join, and leaves it where it stood.
//!
//! ```text
//!   a JOIN b USING (x)          a JOIN b ON a.x = b.x           x is a.x
//!   a RIGHT JOIN b USING (x)    a RIGHT JOIN b ON a.x = b.x     x is b.x
//!   a FULL JOIN b USING (x)     a FULL JOIN b ON a.x = b.x      x is coalesce(a.x, b.x)
//!   *                           x, a's others, b's others
//! ```
//!
//! Where it takes the columns of what is joined to do so, and they are not known before planning, inner and left joins are left to the
//! library, which gets their values right; others are refused.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, OrderByKind, Query,
    Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins, Value,
    VisitMut, VisitorMut, WildcardAdditionalOptions,
};

use super::rows::combine;
use super::{call, last_part, name_columns};
use crate::bind::normalize;
use crate::error::{SqlError, code};
use crate::select::names::name_of;

/// The columns of a relation by its name, where that is known before planning.
pub(in crate::select) type ColumnsOf<'a> = &'a dyn Fn(&ObjectName) -> Option<Vec<String>>;

/// A query's merged columns, in its SELECT and what it is sorted by.
pub(super) fn settle_query(query: &mut Query, columns_of: ColumnsOf<'_>) -> Result<(), SqlError> {
    let SetExpr::Select(select) = &mut *query.body else { return Ok(()) };
    let merged = settle_select(select, columns_of)?;
    let is_named = |name: &str| select.projection.iter().any(|item| output_name(item).is_some_and(|own| own == name));
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|order_by| &mut order_by.kind) else {
        return Ok(());
    };
    for key in keys {
        // A name alone is first of all that of a column of the result.
        if !matches!(&key.expr, Expr::Identifier(name) if is_named(&normalize(name))) {
            substitute(&mut key.expr, &merged);
        }
    }
    Ok(())
}

/// A SELECT's merged columns, which are then gone from its joins. Returns what they are.
pub(super) fn settle_select(select: &mut Select, columns_of: ColumnsOf<'_>) -> Result<Vec<Merged>, SqlError> {
    if !select.from.iter().flat_map(|from| &from.joins).any(|join| is_merging(&join.join_operator)) {
        return Ok(Vec::new());
    }
    // While what they are computed from still has its name.
    name_columns(select);
    let mut joined = Vec::new();
    for from in &mut select.from {
        let mut settled = from.clone();
        joined.push(settle_joins(&mut settled, columns_of)?);
        if joined.last().is_some_and(Option::is_some) {
            *from = settled;
        } else if !from.joins.iter().all(|join| is_left_to_the_library(&join.join_operator)) {
            return Err(SqlError::unsupported(
                "a RIGHT or FULL JOIN that merges columns of what is not known before planning",
            ));
        }
    }
    let merged: Vec<Merged> = joined.iter().flatten().flat_map(|joined| joined.merged.clone()).collect();
    let mut projection = Vec::new();
    for mut item in std::mem::take(&mut select.projection) {
        match &mut item {
            SelectItem::Wildcard(_)
                if joined.iter().any(|joined| joined.as_ref().is_some_and(|it| it.has_merged())) =>
            {
                for joined in &joined {
                    let joined = joined.as_ref().ok_or_else(|| SqlError::unsupported("* over such joins"))?;
                    joined.all_columns(&mut projection)?;
                }
                continue;
            }
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
                if let Some(found) = find(&merged, &normalize(name)) {
                    item = found.item();
                }
            }
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => substitute(expr, &merged),
            _ => {}
        }
        projection.push(item);
    }
    select.projection = projection;
    let mut everywhere = Substitution { merged: &merged, depth: 0 };
    let _ = select.selection.visit(&mut everywhere);
    let _ = select.group_by.visit(&mut everywhere);
    let _ = select.having.visit(&mut everywhere);
    let _ = select.distinct.visit(&mut everywhere);
    let _ = select.named_window.visit(&mut everywhere);
    Ok(merged)
}

/// A merged column.
#[derive(Clone)]
pub(super) struct Merged {
    pub column: Ident,
    pub value: Expr,
}

impl Merged {
    fn item(&self) -> SelectItem {
        match &self.value {
            plain @ Expr::CompoundIdentifier(_) => SelectItem::UnnamedExpr(plain.clone()),
            expr => SelectItem::ExprWithAlias { expr: expr.clone(), alias: self.column.clone() },
        }
    }
}

fn find<'a>(merged: &'a [Merged], name: &str) -> Option<&'a Merged> {
    let mut found = merged.iter().filter(|merged| normalize(&merged.column) == name);
    // Of two, neither: it is ambiguous, and the library will say so.
    found.next().filter(|_| found.next().is_none())
}

/// Something joined.
struct Source {
    alias: Ident,
    columns: Option<Vec<String>>,
    /// Those of its columns that are part of merged ones.
    merged: Vec<String>,
}

impl Source {
    fn of(factor: &TableFactor, columns_of: ColumnsOf<'_>) -> Option<Source> {
        let (alias, columns) = match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let own = || Ident::with_quote('"', last_part(name));
                (alias.as_ref().map_or_else(own, |alias| alias.name.clone()), renamed(columns_of(name), alias))
            }
            TableFactor::Derived { subquery, alias: Some(alias), .. } => {
                (alias.name.clone(), renamed(output_names(&subquery.body), &Some(alias.clone())))
            }
            _ => return None,
        };
        Some(Source { alias, columns, merged: Vec::new() })
    }

    fn column(&self, name: &str) -> Expr {
        Expr::CompoundIdentifier(vec![self.alias.clone(), Ident::with_quote('"', name)])
    }

    fn lacks(&self, name: &str) -> bool {
        self.columns.as_ref().is_some_and(|columns| !columns.iter().any(|column| column == name))
    }

    fn merge(&mut self, name: &str) {
        if !self.merged.iter().any(|merged| merged == name) {
            self.merged.push(name.to_owned());
        }
    }

    fn others(&self, into: &mut Vec<SelectItem>) {
        if let Some(columns) = &self.columns {
            let others = columns.iter().filter(|column| !self.merged.contains(column));
            into.extend(others.map(|column| SelectItem::UnnamedExpr(self.column(column))));
            return;
        }
        let part = |name: &String| ObjectName::from(vec![Ident::with_quote('"', name.clone())]);
        let but =
            (!self.merged.is_empty()).then(|| ExcludeSelectItem::Multiple(self.merged.iter().map(part).collect()));
        let options = WildcardAdditionalOptions { opt_exclude: but, ..WildcardAdditionalOptions::default() };
        let kind = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![self.alias.clone()]));
        into.push(SelectItem::QualifiedWildcard(kind, options));
    }
}

/// Columns under the names that an alias gives the first of them.
fn renamed(columns: Option<Vec<String>>, alias: &Option<TableAlias>) -> Option<Vec<String>> {
    let given: Vec<String> =
        alias.iter().flat_map(|alias| &alias.columns).map(|column| normalize(&column.name)).collect();
    let mut columns = columns?;
    for (column, name) in columns.iter_mut().zip(given) {
        *column = name;
    }
    Some(columns)
}

/// What a query's columns are called, where its text says so.
fn output_names(body: &SetExpr) -> Option<Vec<String>> {
    match body {
        SetExpr::Select(select) => select.projection.iter().map(output_name).collect(),
        SetExpr::Query(query) => output_names(&query.body),
        SetExpr::SetOperation { left, .. } => output_names(left),
        SetExpr::Values(values) => {
            let width = values.rows.first()?.content.len();
            Some((1..=width).map(|number| format!("column{number}")).collect())
        }
        _ => None,
    }
}

fn output_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(normalize(alias)),
        SelectItem::UnnamedExpr(expr) => Some(name_of(expr)),
        _ => None,
    }
}

/// What one item of FROM joins.
struct Joined {
    /// In order; none for what has no name.
    sources: Vec<Option<Source>>,
    /// As `*` shows them.
    merged: Vec<Merged>,
}

impl Joined {
    fn has_merged(&self) -> bool {
        !self.merged.is_empty()
    }

    /// What a column is on the left of the next join. `Ok(None)`: not known.
    fn left(&mut self, name: &str) -> Result<Option<Expr>, SqlError> {
        if let Some(merged) = find(&self.merged, name) {
            return Ok(Some(merged.value.clone()));
        }
        if let [only] = &mut self.sources[..] {
            return Ok(only.as_mut().map(|only| {
                only.merge(name);
                only.column(name)
            }));
        }
        if self.sources.iter().any(|source| source.as_ref().is_none_or(|source| source.columns.is_none())) {
            return Ok(None);
        }
        let mut having = self.sources.iter_mut().flatten().filter(|source| !source.lacks(name));
        let found = having.next().ok_or_else(|| {
            let message = format!("column \"{name}\" specified in USING clause does not exist in left table");
            SqlError::new(code::UNDEFINED_COLUMN, message)
        })?;
        if having.next().is_some() {
            let message = format!("common column name \"{name}\" appears more than once in left table");
            return Err(SqlError::new(code::AMBIGUOUS_COLUMN, message));
        }
        found.merge(name);
        Ok(Some(found.column(name)))
    }

    /// The columns that the left and the right of a NATURAL join have in common, in the left's order.
    fn common(&self, right: &Source) -> Option<Vec<String>> {
        let mut names: Vec<String> = self.merged.iter().map(|merged| normalize(&merged.column)).collect();
        for source in &self.sources {
            let source = source.as_ref()?;
            names.extend(source.columns.as_ref()?.iter().filter(|column| !source.merged.contains(column)).cloned());
        }
        let of_right = right.columns.as_ref()?;
        names.retain(|name| of_right.contains(name));
        Some(names)
    }

    /// What `*` stands for.
    fn all_columns(&self, into: &mut Vec<SelectItem>) -> Result<(), SqlError> {
        into.extend(self.merged.iter().map(Merged::item));
        for source in &self.sources {
            source.as_ref().ok_or_else(|| SqlError::unsupported("* over such joins"))?.others(into);
        }
        Ok(())
    }
}

/// Turns the merging joins of an item of FROM into others. `Ok(None)` where that takes columns that are not known.
fn settle_joins(from: &mut TableWithJoins, columns_of: ColumnsOf<'_>) -> Result<Option<Joined>, SqlError> {
    let mut joined = Joined { sources: vec![Source::of(&from.relation, columns_of)], merged: Vec::new() };
    for join in &mut from.joins {
        let right = Source::of(&join.relation, columns_of);
        if !is_merging(&join.join_operator) {
            if let Some(JoinConstraint::On(condition)) = constraint_of(&mut join.join_operator) {
                substitute(condition, &joined.merged);
            }
            joined.sources.push(right);
            continue;
        }
        let Some(mut right) = right else { return Ok(None) };
        let side = Side::of(&join.join_operator);
        let Some(constraint) = constraint_of(&mut join.join_operator) else { return Ok(None) };
        let names = match constraint {
            JoinConstraint::Using(columns) => columns.iter().map(last_part).collect(),
            _ => match joined.common(&right) {
                Some(names) => names,
                None => return Ok(None),
            },
        };
        let mut merged = Vec::new();
        let mut condition: Option<Expr> = None;
        for name in names {
            let Some(of_left) = joined.left(&name)? else { return Ok(None) };
            let of_right = right.column(&name);
            right.merge(&name);
            let equal = combine(of_left.clone(), BinaryOperator::Eq, of_right.clone());
            condition = Some(match condition {
                Some(former) => combine(former, BinaryOperator::And, equal),
                None => equal,
            });
            let value = match side {
                Side::Left => of_left,
                Side::Right => of_right,
                Side::Both => call("coalesce", vec![of_left, of_right]),
            };
            merged.push(Merged { column: Ident::with_quote('"', name), value });
        }
        // A NATURAL join without a column in common joins all with all.
        *constraint = JoinConstraint::On(condition.unwrap_or_else(|| Expr::value(Value::Boolean(true))));
        joined.merged.retain(|former| !merged.iter().any(|now: &Merged| now.column == former.column));
        joined.merged.splice(0..0, merged);
        joined.sources.push(Some(right));
    }
    Ok(Some(joined))
}

/// Which side of a join has all rows.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
    Both,
}

impl Side {
    fn of(operator: &JoinOperator) -> Side {
        match operator {
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => Side::Right,
            JoinOperator::FullOuter(_) => Side::Both,
            _ => Side::Left,
        }
    }
}

fn is_merging(operator: &JoinOperator) -> bool {
    let mut operator = operator.clone();
    matches!(constraint_of(&mut operator), Some(JoinConstraint::Using(_) | JoinConstraint::Natural))
}

fn is_left_to_the_library(operator: &JoinOperator) -> bool {
    !is_merging(operator) || matches!(Side::of(operator), Side::Left)
}

fn constraint_of(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

pub(super) fn substitute(expr: &mut Expr, merged: &[Merged]) {
    let _ = expr.visit(&mut Substitution { merged, depth: 0 });
}

/// Puts what merged columns are in the place of their names.
struct Substitution<'a> {
    merged: &'a [Merged],
    /// In a subquery a name may be that of a column of its own.
    depth: usize,
}

impl VisitorMut for Substitution<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Identifier(name) = expr
            && let Some(found) = find(self.merged, &normalize(name))
        {
            *expr = found.value.clone();
        }
        ControlFlow::Continue(())
    }
}
