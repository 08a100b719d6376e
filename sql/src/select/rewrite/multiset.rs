//! EXCEPT ALL and INTERSECT ALL: each row counts as often as it is there, where the planner library only asks whether it is.
//!
//! ```text
//!   A EXCEPT ALL B  ─▶  SELECT columns FROM (SELECT columns, their how-manieth FROM A EXCEPT SELECT columns, their how-manieth FROM B)
//! ```

use datafusion::sql::sqlparser::ast::{
    Ident, Query, SelectItem, SetExpr, SetOperator, SetQuantifier, Statement, TableFactor,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::super::names;
use crate::bind::normalize;
use crate::error::SqlError;
use crate::stack::level;

/// Rewrites the body of a query; what is no such operation stays as it is.
pub(super) fn counted(body: &mut SetExpr) -> Result<(), SqlError> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return Ok(()) };
    level(|| counted(left))?;
    level(|| counted(right))?;
    let word = match (op, set_quantifier) {
        (SetOperator::Except | SetOperator::Minus, SetQuantifier::All) => "EXCEPT",
        (SetOperator::Intersect, SetQuantifier::All) => "INTERSECT",
        _ => return Ok(()),
    };
    let Some(columns) = columns_of(left) else {
        return Err(SqlError::unsupported(format!("{word} ALL of a select list with *")));
    };
    if columns_of(right).is_some_and(|others| others.len() != columns.len()) {
        let message = format!("each {word} query must have the same number of columns");
        return Err(SqlError::new("42601", message));
    }
    let (sides, template) = ([left, right].map(|side| (**side).clone()), template(word, &columns));
    let parsed = Parser::parse_sql(&PostgreSqlDialect {}, &template).ok().and_then(|mut parsed| parsed.pop());
    let Some(Statement::Query(mut query)) = parsed else {
        return Err(SqlError::internal("a set operation cannot be written out"));
    };
    let mut sides = sides.into_iter();
    for place in places(&mut query) {
        if let Some(side) = sides.next() {
            *place = side;
        }
    }
    *body = *query.body;
    Ok(())
}

/// What the columns of a query are called; none where only its tables say how many there are.
fn columns_of(body: &SetExpr) -> Option<Vec<String>> {
    match body {
        SetExpr::Select(select) => select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => Some(normalize(alias)),
                SelectItem::UnnamedExpr(expr) => Some(names::name_of(expr)),
                _ => None,
            })
            .collect(),
        SetExpr::Values(values) => {
            let count = values.rows.first()?.content.len();
            Some((1..=count).map(|place| format!("column{place}")).collect())
        }
        SetExpr::SetOperation { left, .. } => columns_of(left),
        SetExpr::Query(query) => columns_of(&query.body),
        _ => None,
    }
}

fn template(word: &str, names: &[String]) -> String {
    let columns: Vec<String> = (0..names.len()).map(|place| format!("\"column {place}\"")).collect();
    let columns = columns.join(", ");
    let numbered = format!(
        "SELECT {columns}, row_number() OVER (PARTITION BY {columns}) AS \"how-manieth\" FROM (SELECT 1) AS side ({columns})"
    );
    let named = names.iter().enumerate().map(|(place, name)| {
        let name = Ident::with_quote('"', name.clone());
        format!("\"column {place}\" AS {name}")
    });
    let named: Vec<String> = named.collect();
    format!("SELECT {} FROM ({numbered} {word} {numbered}) AS counted", named.join(", "))
}

/// Where the sides of the operation go.
fn places(query: &mut Query) -> Vec<&mut SetExpr> {
    let Some(counted) = from_of(&mut query.body) else { return Vec::new() };
    let SetExpr::SetOperation { left, right, .. } = &mut *counted.body else { return Vec::new() };
    [left, right].into_iter().filter_map(|side| from_of(side)).map(|side| &mut *side.body).collect()
}

/// The subquery that a SELECT reads from.
fn from_of(body: &mut SetExpr) -> Option<&mut Query> {
    let SetExpr::Select(select) = body else { return None };
    match &mut select.from.first_mut()?.relation {
        TableFactor::Derived { subquery, .. } => Some(subquery),
        _ => None,
    }
}
