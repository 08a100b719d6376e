//! A query's text tree, turned into one that the planner library reads as PostgreSQL would.
//!
//! ```text
//!   1, 2.5, -3                 typed literals              now(), current_user, …   parameters filled in at execution
//!   x::t, DATE '…', INTERVAL   calls of our cast           x BETWEEN a AND b        two comparisons
//!   extract, substring, trim   plain function calls        (a, b) = (1, 2)          one comparison a column
//!   x = ANY (array)            calls of our quantifier     select list              every column named as PostgreSQL names it
//! ```
//!
//! What the library would ignore or misread is refused here, by name.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, LimitClause, NamedWindowDefinition, NamedWindowExpr, ObjectName,
    ObjectNamePart, Offset, OffsetRows, OrderByKind, Query, Select, SelectItem, SetExpr, SetQuantifier, TableFactor,
    UnaryOperator, Value, VisitMut, VisitorMut, WindowFrameBound, WindowSpec, WindowType,
};

use super::calls;
use super::hidden::Hidden;
use super::names::{last_part, name_columns};
use super::rowset;
use super::steps::{self, Step};
use crate::bind::{check_collation, normalize};
use crate::error::SqlError;
use crate::fastpath::select::string_for_name;
use crate::types::{PgType, format_type, from_sqlparser};

mod correlated;
mod merged;
mod multiset;
mod query;
mod rows;
mod scalar;
mod special;
mod windows;

pub(super) use merged::ColumnsOf;
pub(super) use scalar::is_aggregate;

/// A query ready for planning.
pub(super) struct Rewritten {
    pub query: Query,
    /// What its deep expressions were cut into.
    pub steps: Arc<[Step]>,
    /// Values that are filled in at execution, each once.
    pub hidden: Vec<Hidden>,
    /// The highest parameter number used.
    pub params: usize,
    /// Parameters, from 0, whose type follows from where they stand.
    pub known: Vec<(usize, PgType)>,
}

/// Rewrites a query.
///
/// # Errors
/// 0A000 for what is not supported; 42704 for types that do not exist.
pub(super) fn rewrite(query: &Query, columns_of: ColumnsOf<'_>) -> Result<Rewritten, SqlError> {
    let mut query = query.clone();
    let (hidden, known, named) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut rewriter = Rewriter { columns_of, named, windows: Vec::new(), hidden, params: 0, known };
    match query.visit(&mut rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => {
            let Rewriter { hidden, params, known, .. } = rewriter;
            let steps = steps::cut(&mut query);
            Ok(Rewritten { query, steps, hidden, params, known })
        }
    }
}

struct Rewriter<'a> {
    columns_of: ColumnsOf<'a>,
    /// What WITH names, which may hide tables.
    named: BTreeSet<String>,
    /// The named windows of the queries that are being visited, the innermost last.
    windows: Vec<Vec<NamedWindowDefinition>>,
    hidden: Vec<Hidden>,
    params: usize,
    known: Vec<(usize, PgType)>,
}

type Flow = ControlFlow<SqlError>;

fn refuse(what: impl std::fmt::Display) -> Flow {
    ControlFlow::Break(SqlError::unsupported(what))
}

impl VisitorMut for Rewriter<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        if let Some(lock) = query.locks.first() {
            return refuse(format!("SELECT … {lock}"));
        }
        if let SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) = &*query.body {
            return refuse("WITH beside a statement that changes rows");
        }
        if let SetExpr::SetOperation { set_quantifier, .. } = &*query.body
            && matches!(
                set_quantifier,
                SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName
            )
        {
            return ControlFlow::Break(SqlError::syntax("syntax error at or near \"BY\""));
        }
        if query.for_clause.is_some() || query.settings.is_some() || query.format_clause.is_some() {
            return refuse("this clause after a SELECT");
        }
        if !query.pipe_operators.is_empty() {
            return refuse("the pipe operator");
        }
        if let Some(fetch) = query.fetch.take() {
            if fetch.with_ties {
                return refuse("FETCH … WITH TIES");
            }
            if fetch.percent {
                return refuse("FETCH … PERCENT");
            }
            let limit = Some(fetch.quantity.unwrap_or_else(|| position("1")));
            let offset = match query.limit_clause.take() {
                Some(LimitClause::LimitOffset { offset, .. }) => offset,
                _ => None,
            };
            query.limit_clause = Some(LimitClause::LimitOffset { limit, offset, limit_by: Vec::new() });
        }
        match windows::named(query).and_then(|windows| multiset::counted(&mut query.body).map(|()| windows)) {
            Ok(windows) => self.windows.push(windows),
            Err(error) => return ControlFlow::Break(error),
        }
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        self.named.extend(with.map(|cte| normalize(&cte.alias.name)));
        if let Err(error) = merged::settle_query(query, &|name| self.columns(name)) {
            return ControlFlow::Break(error);
        }
        match &mut query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                self.limit(limit);
                if let Some(Offset { value, .. }) = offset {
                    let mut value_or_none = Some(std::mem::replace(value, position("0")));
                    self.limit(&mut value_or_none);
                    *offset = value_or_none.map(|value| Offset { value, rows: OffsetRows::None });
                }
            }
            Some(LimitClause::OffsetCommaLimit { .. }) => return refuse("LIMIT x, y"),
        }
        if let Some(order_by) = &mut query.order_by
            && let OrderByKind::Expressions(exprs) = &mut order_by.kind
        {
            exprs.iter_mut().for_each(|order| protect(&mut order.expr));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> Flow {
        self.windows.pop();
        if let SetExpr::Values(values) = &mut *query.body {
            rows::level(values.rows.iter_mut().map(|row| &mut row.content));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        if select.into.is_some() {
            return refuse("SELECT INTO");
        }
        if select.top.is_some() || !select.lateral_views.is_empty() || select.qualify.is_some() {
            return refuse("this clause of SELECT");
        }
        if let GroupByExpr::Expressions(exprs, modifiers) = &mut select.group_by {
            if !modifiers.is_empty() {
                return refuse("this clause of GROUP BY");
            }
            exprs.iter_mut().for_each(protect);
        }
        if let Some(Distinct::On(exprs)) = &mut select.distinct {
            exprs.iter_mut().for_each(protect);
        }
        for window in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = &mut window.1 {
                mark_frame(spec, true);
            }
        }
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item
                && alias.quote_style == Some('\'')
            {
                return ControlFlow::Break(string_for_name(alias));
            }
        }
        if let Err(error) = merged::settle_select(select, &|name| self.columns(name)) {
            return ControlFlow::Break(error);
        }
        name_columns(select);
        query::qualify_merged(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        match factor {
            TableFactor::Table { version: Some(_), .. } => refuse("AS OF on a single table"),
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                refuse("TABLESAMPLE")
            }
            TableFactor::Table { with_ordinality: true, .. } | TableFactor::UNNEST { with_ordinality: true, .. } => {
                refuse("WITH ORDINALITY")
            }
            TableFactor::Table { name, args: Some(_), alias, .. } => {
                // PostgreSQL's own functions may be named with their schema.
                let function = last_part(name);
                if rowset::is_column_named_after(&function) {
                    query::name_column(alias, &function);
                }
                *name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(function))]);
                ControlFlow::Continue(())
            }
            TableFactor::UNNEST { alias, array_exprs, .. } if array_exprs.len() == 1 => {
                query::name_column(alias, "unnest");
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        match special::quantified_rows(expr) {
            Ok(Some(rewritten)) => *expr = rewritten,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        match expr {
            Expr::InSubquery { expr: row, .. } if matches!(&**row, Expr::Tuple(_)) => {
                return refuse("IN of a row in a subquery");
            }
            Expr::Array(array) if array.elem.iter().any(|item| matches!(item, Expr::Array(_))) => {
                return refuse("an array of arrays");
            }
            Expr::IsNull(row) | Expr::IsNotNull(row) => rows::spell_out(row),
            Expr::IsDistinctFrom(left, right)
            | Expr::IsNotDistinctFrom(left, right)
            | Expr::BinaryOp { left, right, .. }
                if rows::is_row(left) && rows::is_row(right) =>
            {
                rows::spell_out(left);
                rows::spell_out(right);
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => {
                // A sign is part of its number, and of two signs none is left.
                if let Some(number) = special::negated_number(inner) {
                    *expr = Expr::value(Value::Number(number, false));
                }
            }
            Expr::Function(function) => {
                if let Some(WindowType::WindowSpec(spec)) = &mut function.over {
                    let windows = self.windows.last().map_or(&[][..], Vec::as_slice);
                    if let Err(error) = windows::copy(spec, windows) {
                        return ControlFlow::Break(error);
                    }
                    mark_frame(spec, true);
                }
            }
            Expr::Value(value) => {
                if let Value::Placeholder(name) = &value.value {
                    let number: Option<usize> = name.strip_prefix('$').and_then(|digits| digits.parse().ok());
                    self.params = self.params.max(number.unwrap_or(0));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> Flow {
        for window in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = &mut window.1 {
                mark_frame(spec, false);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        match self.rewrite_expr(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Rewriter<'_> {
    fn columns(&self, name: &ObjectName) -> Option<Vec<String>> {
        let is_hidden = name.0.len() == 1 && self.named.contains(&last_part(name));
        if is_hidden { None } else { (self.columns_of)(name) }
    }

    fn rewrite_expr(&mut self, expr: &mut Expr) -> Result<(), SqlError> {
        let taken = std::mem::replace(expr, Expr::value(Value::Null));
        *expr = self.rewritten(taken)?;
        Ok(())
    }

    fn rewritten(&mut self, expr: Expr) -> Result<Expr, SqlError> {
        Ok(match expr {
            Expr::Value(value) => match value.value {
                Value::Number(number, false) => typed_number(number),
                Value::EscapedStringLiteral(text)
                | Value::NationalStringLiteral(text)
                | Value::UnicodeStringLiteral(text) => Expr::value(Value::SingleQuotedString(text)),
                Value::HexStringLiteral(_) | Value::SingleQuotedByteStringLiteral(_) => {
                    return Err(SqlError::unsupported("a bit string"));
                }
                _ => Expr::Value(value),
            },
            Expr::Cast { kind, expr, data_type, format: None, .. } => match kind {
                CastKind::Cast | CastKind::DoubleColon => cast_to(*expr, &data_type)?,
                _ => return Err(SqlError::unsupported("TRY_CAST")),
            },
            Expr::TypedString(typed) => cast_to(Expr::Value(typed.value), &typed.data_type)?,
            Expr::Interval(interval) => special::interval(interval)?,
            Expr::UnaryOp { op, expr } => special::unary(op, *expr)?,
            Expr::Between { expr, negated, low, high } => special::between(*expr, negated, *low, *high),
            Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right } => special::overlaps(*left, *right)?,
            Expr::BinaryOp { left, op, right } => rows::binary(*left, special::plain_operator(op)?, *right)?,
            Expr::IsNull(row) => rows::null_test(*row, Expr::IsNull),
            Expr::IsNotNull(row) => rows::null_test(*row, Expr::IsNotNull),
            Expr::IsDistinctFrom(left, right) => rows::distinct(*left, *right, true)?,
            Expr::IsNotDistinctFrom(left, right) => rows::distinct(*left, *right, false)?,
            Expr::InList { expr, list, negated } => rows::in_list(*expr, list, negated)?,
            Expr::AnyOp { left, compare_op, right, .. } => special::quantified(*left, &compare_op, *right, false)?,
            Expr::AllOp { left, compare_op, right } => special::quantified(*left, &compare_op, *right, true)?,
            Expr::SimilarTo { .. } => return Err(SqlError::unsupported("SIMILAR TO")),
            Expr::Collate { expr, collation } => {
                check_collation(&collation)?;
                *expr
            }
            Expr::Function(function) => self.function(function)?,
            Expr::Subquery(query) if scalar::bare_value(&query).is_some() => {
                rows::nested(scalar::bare_value(&query).cloned().unwrap_or(Expr::Subquery(query)))
            }
            Expr::Subquery(mut query) => {
                let condition = if scalar::aggregate(&mut query) {
                    correlated::loosen(&mut query)
                } else {
                    scalar::allow_none(&mut query.body);
                    None
                };
                match condition {
                    Some(condition) => correlated::guarded(condition, Expr::Subquery(query)),
                    None => Expr::Subquery(query),
                }
            }
            Expr::Identifier(ident) => match Hidden::by_keyword(&ident.value) {
                Some(hidden) if ident.quote_style.is_none() => self.hidden(hidden),
                _ => Expr::Identifier(ident),
            },
            other => special::function_syntax(other),
        })
    }

    /// Functions whose value the session knows become parameters; the others lose their schema.
    fn function(&mut self, mut function: Function) -> Result<Expr, SqlError> {
        if let Some(WindowType::WindowSpec(spec)) = &mut function.over {
            mark_frame(spec, false);
        }
        let name = last_part(&function.name);
        let schema = function.name.0.iter().rev().nth(1).and_then(|part| part.as_ident()).map(normalize);
        if schema.is_some_and(|schema| schema != "pg_catalog") {
            return Err(SqlError::new("42883", format!("function {} does not exist", function.name)));
        }
        if function.over.is_none()
            && has_no_arguments(&function.args)
            && let Some(hidden) = Hidden::by_name(&name)
        {
            return Ok(self.hidden(hidden));
        }
        if let Some((ty, hidden)) = Hidden::by_precise_name(&name)
            && let Some(digits) = special::digits_of_seconds(&function.args)
        {
            let value = self.hidden(hidden);
            return Ok(call(&calls::cast_name(ty, digits), vec![value]));
        }
        if name == "array"
            && let FunctionArguments::Subquery(query) = function.args
        {
            return Ok(special::array_of_rows(*query));
        }
        if rowset::gives_records(&name) {
            return Err(SqlError::unsupported(format!("the function {name} outside FROM")));
        }
        if rowset::gives_values(&name) {
            function.name = object_name(&name);
            return Ok(call("unnest", vec![Expr::Function(function)]));
        }
        if name == "make_interval" {
            special::order_interval_parts(&mut function)?;
        }
        if name == "percentile_cont" {
            special::percentile_of_doubles(&mut function)?;
        }
        if name == "ntile" {
            // The library counts in int8.
            function.name = object_name(&name);
            return cast_to(Expr::Function(function), &DataType::Int(None));
        }
        let renamed = match name.as_str() {
            "every" => "bool_and",
            "char_length" | "character_length" => "length",
            other => other,
        };
        function.name = object_name(renamed);
        Ok(Expr::Function(function))
    }

    fn hidden(&mut self, hidden: Hidden) -> Expr {
        if !self.hidden.contains(&hidden) {
            self.hidden.push(hidden);
        }
        Expr::value(Value::Placeholder(format!("${}", hidden.placeholder())))
    }

    fn limit(&mut self, limit: &mut Option<Expr>) {
        let Some(Expr::Value(value)) = limit else { return };
        match &value.value {
            Value::Null => *limit = None,
            Value::Placeholder(name) => {
                if let Some(number) = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok()) {
                    self.known.push((number.saturating_sub(1), PgType::Int8));
                }
            }
            _ => limit.iter_mut().for_each(protect),
        }
    }
}

fn has_no_arguments(args: &FunctionArguments) -> bool {
    match args {
        FunctionArguments::None => true,
        FunctionArguments::List(list) => list.args.is_empty(),
        FunctionArguments::Subquery(_) => false,
    }
}

/// Marks a number that stands for itself: a position in the select list, a count of rows.
fn protect(expr: &mut Expr) {
    if let Expr::Value(value) = expr
        && let Value::Number(_, long) = &mut value.value
    {
        *long = true;
    }
}

/// Marks the numbers of a window's frame, or takes the marks away: the planner wants them plain.
fn mark_frame(spec: &mut WindowSpec, protected: bool) {
    let Some(frame) = &mut spec.window_frame else { return };
    for bound in [Some(&mut frame.start_bound), frame.end_bound.as_mut()].into_iter().flatten() {
        if let WindowFrameBound::Preceding(Some(expr)) | WindowFrameBound::Following(Some(expr)) = bound
            && let Expr::Value(value) = &mut **expr
            && let Value::Number(_, long) = &mut value.value
        {
            *long = protected;
        }
    }
}

fn position(number: &str) -> Expr {
    Expr::value(Value::Number(number.to_owned(), true))
}

/// An integer is an int4, or an int8 if it must be; all other numbers are numerics.
fn typed_number(number: String) -> Expr {
    let digits = number.replace('_', "");
    match digits.parse::<i64>() {
        Ok(value) if i32::try_from(value).is_ok() => Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(Expr::value(Value::Number(digits, true))),
            data_type: DataType::Int(None),
            array: false,
            format: None,
        },
        Ok(_) => Expr::value(Value::Number(digits, true)),
        Err(_) => call(&calls::cast_name(PgType::Numeric, -1), vec![Expr::value(Value::SingleQuotedString(digits))]),
    }
}

fn cast_to(expr: Expr, data_type: &DataType) -> Result<Expr, SqlError> {
    let (ty, typmod) = from_sqlparser(data_type)?;
    if matches!(ty, PgType::Void | PgType::Record) {
        return Err(SqlError::unsupported(format!("a cast to {}", format_type(ty, -1))));
    }
    Ok(call(&calls::cast_name(ty, typmod), vec![expr]))
}

fn object_name(name: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))])
}

/// A call of a function.
pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: object_name(name),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
