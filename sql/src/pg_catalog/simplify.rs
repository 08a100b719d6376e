//! Queries on system tables, with what can only be empty taken out.
//!
//! ```text
//!   SELECT … FROM pg_policy …           WHERE false, its columns plain: there are no policies
//!   ARRAY(SELECT … FROM pg_policy …)    an empty array
//!   ARRAY(SELECT x FROM …)              (SELECT array_agg(x) FROM …)
//!   … CROSS JOIN LATERAL (SELECT f(x)) AS o(n)      f(x) wherever o.n stands
//!   WITH RECURSIVE typeinfo_tree …      asyncpg's question, by a query that has no need to recurse
//! ```
//!
//! Tools ask about much that Meridian lacks, in forms that are harder to plan than the answer is to give. Every query keeps its
//! meaning: only what follows from the tables' being empty, or from all types' being base types, is used.

mod subquery;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    GroupByExpr, Ident, Join, JoinOperator, ObjectName, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableFactor, TableWithJoins, Value, VisitMut, VisitorMut, visit_relations,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::{rows, table};

/// What asyncpg asks of types it does not know: the types and those they consist of. All are base types and arrays, so that
/// the elements' types are all there is below.
const TYPE_INFO: &str = "
    SELECT t.oid AS oid, 'pg_catalog' AS ns, t.typname AS name, t.typtype AS kind, CAST(NULL AS oid) AS basetype,
           t.typelem AS elemtype, e.typdelim AS elemdelim, CAST(NULL AS oid) AS range_subtype,
           CAST(NULL AS oid[]) AS attrtypoids, CAST(NULL AS text[]) AS attrnames, 0 AS depth
    FROM pg_catalog.pg_type AS t
    LEFT JOIN pg_catalog.pg_type AS e ON t.typlen = -1 AND t.typelem <> 0 AND t.typelem = e.oid
    WHERE t.oid = ANY ($1::oid[])
    UNION ALL
    SELECT e.oid, 'pg_catalog', e.typname, e.typtype, CAST(NULL AS oid), e.typelem, CAST(NULL AS text), CAST(NULL AS oid),
           CAST(NULL AS oid[]), CAST(NULL AS text[]), 1
    FROM pg_catalog.pg_type AS t JOIN pg_catalog.pg_type AS e ON t.typelem = e.oid
    WHERE t.oid = ANY ($1::oid[])";

/// Aggregates that turn no rows into one.
const AGGREGATES: [&str; 13] = [
    "count",
    "first_value",
    "sum",
    "min",
    "max",
    "avg",
    "array_agg",
    "string_agg",
    "bool_and",
    "bool_or",
    "every",
    "json_agg",
    "jsonb_agg",
];

/// The query, simpler where it asks of system tables.
pub fn simplify(query: &Query) -> Cow<'_, Query> {
    let asks = visit_relations(query, |name| {
        if system_table(name).is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if asks.is_continue() {
        return Cow::Borrowed(query);
    }
    let mut query = query.clone();
    let mut simplifier = Simplifier { named: BTreeSet::new(), quantified: Vec::new() };
    let _ = VisitMut::visit(&mut query, &mut simplifier);
    Cow::Owned(query)
}

struct Simplifier {
    /// Names given by WITH, which hide system tables.
    named: BTreeSet<String>,
    /// Subqueries that are asked for all their rows, by ANY or ALL.
    quantified: Vec<Query>,
}

impl VisitorMut for Simplifier {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = &*query.body
            && self.is_empty(select)
            && !aggregates(select)
        {
            query.order_by = None;
        }
        let Some(with) = &mut query.with else { return ControlFlow::Continue(()) };
        for cte in &mut with.cte_tables {
            self.named.insert(cte.alias.name.value.to_lowercase());
        }
        let mut ctes = with.cte_tables.iter_mut();
        if with.recursive
            && let Some(tree) = ctes.find(|cte| cte.alias.name.value == "typeinfo_tree")
            && let Some(plain) = parse(TYPE_INFO, |parser| parser.parse_query())
        {
            tree.query = plain;
            with.recursive = false;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        inline_laterals(select);
        if self.is_empty(select) && !aggregates(select) {
            select.selection = Some(Expr::value(Value::Boolean(false)));
            select.projection.iter_mut().for_each(plain);
        }
        let _ = VisitMut::visit(&mut select.projection, &mut Existence);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } = expr
            && let Expr::Subquery(query) = &**right
        {
            self.quantified.push((**query).clone());
        }
        let simpler = match expr {
            Expr::Subquery(query) if !self.quantified.contains(query) => subquery::scalar(query),
            _ => self.array(expr).or_else(|| subscripts(expr)).or_else(|| usual_escape(expr)),
        };
        if let Some(simpler) = simpler {
            *expr = simpler;
        }
        ControlFlow::Continue(())
    }
}

/// Counts where a select list asks for existence.
struct Existence;

impl VisitorMut for Existence {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Exists { subquery, negated } = expr
            && let Some(simpler) = subquery::exists(subquery, *negated)
        {
            *expr = simpler;
        }
        ControlFlow::Continue(())
    }
}

impl Simplifier {
    /// Whether no row can come of a SELECT, because a table that it must find rows in is always empty.
    fn is_empty(&self, select: &Select) -> bool {
        select.from.iter().any(|from| self.finds_nothing(from))
    }

    fn finds_nothing(&self, from: &TableWithJoins) -> bool {
        let mut empty = self.is_empty_table(&from.relation);
        for join in &from.joins {
            match &join.join_operator {
                JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => {
                    empty |= self.is_empty_table(&join.relation);
                }
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => {}
                _ => empty = false,
            }
        }
        empty
    }

    fn is_empty_table(&self, factor: &TableFactor) -> bool {
        match factor {
            TableFactor::Table { name, args: None, .. } => {
                let hidden = matches!(&name.0[..], [only] if self.named.contains(&only.to_string().to_lowercase()));
                !hidden && system_table(name).is_some_and(|table| !rows::has_rows(table))
            }
            // Only tables that are kept elsewhere have TOAST tables, whose options these would be.
            TableFactor::Table { name, args: Some(arguments), .. } => {
                let unnests = name.0.last().is_some_and(|part| part.to_string().eq_ignore_ascii_case("unnest"));
                unnests && arguments.args.iter().any(|argument| argument.to_string() == "tc.reloptions")
            }
            TableFactor::NestedJoin { table_with_joins, .. } => self.finds_nothing(table_with_joins),
            _ => false,
        }
    }

    /// What stands for `ARRAY(SELECT …)`.
    fn array(&self, expr: &Expr) -> Option<Expr> {
        let Expr::Function(Function { name, args: FunctionArguments::Subquery(query), .. }) = expr else {
            return None;
        };
        if !name.to_string().eq_ignore_ascii_case("array") {
            return None;
        }
        let mut query = query.clone();
        let SetExpr::Select(select) = &mut *query.body else { return None };
        if self.is_empty(select) {
            return parse("CAST('{}' AS text[])", |parser| parser.parse_expr());
        }
        let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] = &select.projection[..]
        else {
            return None;
        };
        if select.distinct.is_some() || query.limit_clause.is_some() {
            return None;
        }
        let item = item.clone();
        let order = match query.order_by.take().map(|order| order.kind) {
            Some(OrderByKind::Expressions(order)) => order,
            _ => Vec::new(),
        };
        select.projection = vec![SelectItem::UnnamedExpr(array_agg(&item, order))];
        Some(Expr::Subquery(query))
    }
}

/// What stands for `generate_subscripts(array, 1)`; the catalogs' vectors count from 0.
fn subscripts(expr: &Expr) -> Option<Expr> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return None };
    let [array, _] = &list.args[..] else { return None };
    if !name.0.last()?.to_string().eq_ignore_ascii_case("generate_subscripts") {
        return None;
    }
    let vector =
        ["indkey", "indclass", "indoption", "indcollation"].iter().any(|name| array.to_string().ends_with(name));
    let (from, to) = if vector { (0, "") } else { (1, " + 1") };
    let text = format!("unnest(range(CAST({from} AS bigint), CAST(array_length({array}, 1){to} AS bigint)))");
    parse(&text, |parser| parser.parse_expr())
}

/// LIKE with an escape of its own, by the usual one.
fn usual_escape(expr: &Expr) -> Option<Expr> {
    let Expr::Like { negated, any: false, expr, pattern, escape_char: Some(escape) } = expr else { return None };
    let not = if *negated { "NOT " } else { "" };
    let text = format!("{expr} {not}LIKE replace(replace({pattern}, '\\', '\\\\'), {escape}, '\\')");
    parse(&text, |parser| parser.parse_expr())
}

/// `array_agg(item ORDER BY order)`, where the position 1 means the item.
fn array_agg(item: &Expr, order: Vec<OrderByExpr>) -> Expr {
    let order: Vec<OrderByExpr> = order
        .into_iter()
        .map(|mut by| {
            if by.expr.to_string() == "1" {
                by.expr = item.clone();
            }
            by
        })
        .collect();
    let clauses = if order.is_empty() { Vec::new() } else { vec![FunctionArgumentClause::OrderBy(order)] };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("array_agg")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(item.clone()))],
            clauses,
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The system table that a name means.
fn system_table(name: &ObjectName) -> Option<&'static super::SystemTable> {
    let parts: Vec<String> = name.0.iter().map(|part| part.to_string().trim_matches('"').to_lowercase()).collect();
    match &parts[..] {
        [name] => table("pg_catalog", name),
        [schema, name] => table(schema, name),
        _ => None,
    }
}

/// Whether a SELECT has a row even where it finds none.
fn aggregates(select: &Select) -> bool {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    let mut projection = select.projection.clone();
    let _ = VisitMut::visit(&mut projection, &mut WithoutSubqueries);
    let calls = |item: &SelectItem| {
        let text = item.to_string().to_lowercase();
        AGGREGATES.iter().any(|name| text.contains(&format!("{name}(")))
    };
    !grouped && (select.having.is_some() || projection.iter().any(calls))
}

/// Takes subqueries out, whose aggregates are their own.
struct WithoutSubqueries;

impl VisitorMut for WithoutSubqueries {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let calls_query = matches!(expr, Expr::Function(Function { args: FunctionArguments::Subquery(_), .. }));
        if calls_query || matches!(expr, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. }) {
            *expr = Expr::value(Value::Null);
        }
        ControlFlow::Continue(())
    }
}

/// A column of no rows needs no more than its name and a type.
fn plain(item: &mut SelectItem) {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = &item else { return };
    let simple = |expr: &Expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_));
    let kept = match expr {
        Expr::Cast { expr, .. } => matches!(&**expr, Expr::Cast { expr, .. } if simple(expr)) || simple(expr),
        other => simple(other),
    };
    if kept {
        return;
    }
    let Some(null) = parse("CAST(NULL AS text)", |parser| parser.parse_expr()) else { return };
    let name = match (&*item, expr) {
        (SelectItem::ExprWithAlias { alias, .. }, _) => Some(alias.clone()),
        (_, Expr::Function(function)) => function.name.0.last().map(|part| Ident::new(part.to_string())),
        (_, Expr::Case { .. }) => Some(Ident::new("case")),
        _ => None,
    };
    *item = match name {
        Some(alias) => SelectItem::ExprWithAlias { expr: null, alias },
        None => SelectItem::UnnamedExpr(null),
    };
}

/// Replaces the columns of `CROSS JOIN LATERAL (SELECT f(x), …) AS o(n, …)` by what they are.
fn inline_laterals(select: &mut Select) {
    let mut meanings: Vec<(Vec<Ident>, Expr)> = Vec::new();
    for from in &mut select.from {
        from.joins.retain(|join| match lateral_columns(join) {
            Some(columns) => {
                meanings.extend(columns);
                false
            }
            None => true,
        });
    }
    if meanings.is_empty() {
        return;
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) = item
            && let Some((_, expr)) = meanings.iter().find(|(name, _)| same(name, parts))
        {
            let alias = parts.last().cloned().unwrap_or_else(|| Ident::new("?column?"));
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
    let _ = VisitMut::visit(select, &mut Inliner { meanings });
}

struct Inliner {
    meanings: Vec<(Vec<Ident>, Expr)>,
}

impl VisitorMut for Inliner {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let Some((_, meaning)) = self.meanings.iter().find(|(name, _)| same(name, parts))
        {
            *expr = meaning.clone();
        }
        ControlFlow::Continue(())
    }
}

fn same(left: &[Ident], right: &[Ident]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.value == right.value)
}

/// The names and meanings of the columns of a lateral SELECT without tables.
fn lateral_columns(join: &Join) -> Option<Vec<(Vec<Ident>, Expr)>> {
    let (JoinOperator::CrossJoin(_), TableFactor::Derived { lateral: true, subquery, alias: Some(alias), .. }) =
        (&join.join_operator, &join.relation)
    else {
        return None;
    };
    let SetExpr::Select(inner) = &*subquery.body else { return None };
    let bare = inner.from.is_empty() && inner.selection.is_none() && subquery.limit_clause.is_none();
    if !bare || aggregates(inner) || alias.columns.len() != inner.projection.len() {
        return None;
    }
    let column = |(column, item): (&datafusion::sql::sqlparser::ast::TableAliasColumnDef, &SelectItem)| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some((vec![alias.name.clone(), column.name.clone()], expr.clone()))
        }
        _ => None,
    };
    alias.columns.iter().zip(&inner.projection).map(column).collect()
}

/// Parses text that is part of this module.
fn parse<T, E>(text: &str, parser: fn(&mut Parser<'_>) -> Result<T, E>) -> Option<T> {
    let dialect = PostgreSqlDialect {};
    let mut tokens = Parser::new(&dialect).try_with_sql(text).ok()?;
    parser(&mut tokens).ok()
}

#[cfg(test)]
mod tests;
