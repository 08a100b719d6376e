//! What a whole SELECT needs: rows of a subquery as an array, columns that a join merges.

use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArgumentClause, FunctionArguments, Ident, Join, JoinConstraint, JoinOperator, OrderByExpr,
    OrderByKind, Query, Select, SelectItem, SetExpr, Statement, TableAlias, TableAliasColumnDef, TableFactor,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::merged::{Merged, substitute};
use super::{call, last_part};
use crate::bind::normalize;

/// `SELECT 1 FROM (SELECT 1) AS counted`, as the parser makes it.
static SELECT_FROM: LazyLock<Option<Select>> = LazyLock::new(|| {
    let text = "SELECT 1 FROM (SELECT 1) AS counted";
    let parsed = Parser::parse_sql(&PostgreSqlDialect {}, text).ok()?.pop()?;
    let Statement::Query(query) = parsed else { return None };
    match *query.body {
        SetExpr::Select(select) => Some(*select),
        _ => None,
    }
});

/// The one column of a function among the tables is named as the function is there.
pub(super) fn name_column(alias: &mut Option<TableAlias>, function: &str) {
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::with_quote('"', function),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns = vec![TableAliasColumnDef { name: alias.name.clone(), data_type: None }];
    }
}

/// The rows of a query of one column as one array; NULL when there are none.
///
/// They come in the query's order: what it sorts by becomes columns beside the one gathered, by which the aggregate sorts.
pub(super) fn gathered(mut query: Query) -> Query {
    let mut gathering = query.clone();
    let keys = sort_keys(&mut query);
    let Some(mut select) = SELECT_FROM.clone() else { return query };
    let column = Ident::with_quote('"', "gathered");
    let value = Expr::Identifier(column.clone());
    let mut array = call("array_agg", vec![value]);
    if let Expr::Function(function) = &mut array
        && let FunctionArguments::List(list) = &mut function.args
        && !keys.is_empty()
    {
        list.clauses.push(FunctionArgumentClause::OrderBy(keys.clone()));
    }
    select.projection = vec![SelectItem::ExprWithAlias { expr: array, alias: column.clone() }];
    if let Some(from) = select.from.first_mut()
        && let TableFactor::Derived { subquery, alias, .. } = &mut from.relation
    {
        **subquery = query;
        if let Some(alias) = alias {
            let added = keys.iter().filter_map(|key| match &key.expr {
                Expr::Identifier(name) if name.value != column.value => Some(name.clone()),
                _ => None,
            });
            let names = std::iter::once(column.clone()).chain(added);
            alias.columns = names.map(|name| TableAliasColumnDef { name, data_type: None }).collect();
        }
    }
    gathering.with = None;
    gathering.order_by = None;
    gathering.limit_clause = None;
    gathering.body = Box::new(SetExpr::Select(Box::new(select)));
    gathering
}

/// What a query of one column sorts by, as columns: the gathered one, or some added to the query for that.
fn sort_keys(query: &mut Query) -> Vec<OrderByExpr> {
    let Some(order_by) = &query.order_by else { return Vec::new() };
    let OrderByKind::Expressions(exprs) = &order_by.kind else { return Vec::new() };
    let gathered = || Expr::Identifier(Ident::with_quote('"', "gathered"));
    let select = match &mut *query.body {
        SetExpr::Select(select) if select.distinct.is_none() => Some(select),
        _ => None,
    };
    let own_name = select.as_ref().and_then(|select| match select.projection.first()? {
        SelectItem::ExprWithAlias { alias, .. } => Some(normalize(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(normalize(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(normalize),
        _ => None,
    });
    let mut added = Vec::new();
    let keys = exprs.iter().map(|key| {
        let is_own = match &key.expr {
            Expr::Value(_) => true,
            Expr::Identifier(name) => own_name.as_ref().is_none_or(|own| *own == normalize(name)),
            _ => false,
        };
        let expr = match is_own || select.is_none() {
            true => gathered(),
            false => {
                let name = Ident::with_quote('"', format!("sorted {}", added.len()));
                added.push(SelectItem::ExprWithAlias { expr: key.expr.clone(), alias: name.clone() });
                Expr::Identifier(name)
            }
        };
        OrderByExpr { expr, ..key.clone() }
    });
    let keys = keys.collect();
    if let Some(select) = select {
        select.projection.extend(added);
    }
    keys
}

/// In WHERE, a column that USING still merges is that of the left side, which has all rows.
pub(super) fn qualify_merged(select: &mut Select) {
    let mut merged: Vec<Merged> = Vec::new();
    for from in &select.from {
        let Some(left) = alias_of(&from.relation) else { continue };
        for Join { join_operator, .. } in &from.joins {
            // Of other joins none are left by now.
            let (JoinOperator::Join(JoinConstraint::Using(columns))
            | JoinOperator::Inner(JoinConstraint::Using(columns))
            | JoinOperator::Left(JoinConstraint::Using(columns))
            | JoinOperator::LeftOuter(JoinConstraint::Using(columns))) = join_operator
            else {
                continue;
            };
            for column in columns {
                let column = Ident::with_quote('"', last_part(column));
                if !merged.iter().any(|other| other.column == column) {
                    let value = Expr::CompoundIdentifier(vec![left.clone(), column.clone()]);
                    merged.push(Merged { column, value });
                }
            }
        }
    }
    if let Some(selection) = &mut select.selection {
        substitute(selection, &merged);
    }
}

fn alias_of(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(TableAlias { name, .. }), .. }
        | TableFactor::Derived { alias: Some(TableAlias { name, .. }), .. } => Some(name.clone()),
        TableFactor::Table { name, .. } => Some(Ident::with_quote('"', last_part(name))),
        _ => None,
    }
}
