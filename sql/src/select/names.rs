//! What PostgreSQL calls a column that has no alias.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, TrimWhereField, Value,
};

use super::hidden::Hidden;
use crate::bind::normalize;
use crate::types::from_sqlparser;

/// What keeps columns of one name apart inside a plan; cut off, with what follows, where results are named.
pub(super) const SUFFIX: char = '\u{1}';

/// The name without what keeps it apart from its likes.
pub(super) fn visible(name: &str) -> &str {
    name.split(SUFFIX).next().unwrap_or(name)
}

/// Gives every computed column of a SELECT its name, and keeps columns of one name apart.
pub(super) fn name_columns(select: &mut Select) {
    let wildcard = select
        .projection
        .iter()
        .any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for (place, item) in select.projection.iter_mut().enumerate() {
        let (expr, name, explicit) = match item {
            SelectItem::UnnamedExpr(expr) => (&*expr, name_of(expr), false),
            SelectItem::ExprWithAlias { expr, alias } => (&*expr, normalize(alias), true),
            _ => continue,
        };
        let keyword = matches!(expr, Expr::Identifier(ident) if Hidden::by_keyword(&ident.value).is_some());
        let plain = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) && !explicit && !keyword;
        let seen = taken.entry(name.clone()).or_default();
        *seen += 1;
        let hidden_twin = wildcard && plain;
        let is_first = *seen == 1 && !hidden_twin;
        if plain && is_first {
            continue;
        }
        let unique = if is_first { name } else { format!("{name}{SUFFIX}{}", place + 1) };
        let expr = expr.clone();
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', unique) };
    }
}

/// The last part of a name.
pub(super) fn last_part(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map_or_else(String::new, normalize)
}

/// What a computed column without an alias is called.
pub(crate) fn name_of(expr: &Expr) -> String {
    strong_name(expr).unwrap_or_else(|| "?column?".to_owned())
}

/// The name an expression gives to its column; none for those that give none.
fn strong_name(expr: &Expr) -> Option<String> {
    figured(expr).map(|(name, _)| name)
}

/// The name, and whether an outer cast or CASE leaves it alone: PostgreSQL's `FigureColname`.
fn figured(expr: &Expr) -> Option<(String, bool)> {
    let weak = |data_type| Some((type_name(data_type), false));
    let strong = match expr {
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => return figured(inner),
        Expr::CompoundFieldAccess { root, .. } => return figured(root),
        Expr::Cast { expr, data_type, .. } => match figured(expr) {
            Some((name, true)) => name,
            _ => return weak(data_type),
        },
        Expr::TypedString(typed) => return weak(&typed.data_type),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => return Some(("bool".to_owned(), false)),
        Expr::Interval(_) => return Some(("interval".to_owned(), false)),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figured) {
            Some((name, true)) => name,
            _ => return Some(("case".to_owned(), false)),
        },
        Expr::Subquery(query) => return first_column(query).map(|name| (name, true)),
        other => named_by_kind(other)?,
    };
    Some((strong, true))
}

fn named_by_kind(expr: &Expr) -> Option<String> {
    Some(match expr {
        Expr::Identifier(ident) => normalize(ident),
        Expr::CompoundIdentifier(parts) => normalize(parts.last()?),
        Expr::Function(function) => last_part(&function.name),
        Expr::Exists { negated: false, .. } => "exists".to_owned(),
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Substring { shorthand, .. } => if *shorthand { "substr" } else { "substring" }.to_owned(),
        Expr::BinaryOp { op: BinaryOperator::Overlaps, .. } => "overlaps".to_owned(),
        Expr::Position { .. } => "position".to_owned(),
        Expr::Overlay { .. } => "overlay".to_owned(),
        Expr::Ceil { .. } => "ceil".to_owned(),
        Expr::Floor { .. } => "floor".to_owned(),
        Expr::AtTimeZone { .. } => "timezone".to_owned(),
        Expr::Array(_) => "array".to_owned(),
        Expr::Tuple(_) => "row".to_owned(),
        Expr::Trim { trim_where, .. } => match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }
        .to_owned(),
        _ => return None,
    })
}

fn type_name(data_type: &datafusion::sql::sqlparser::ast::DataType) -> String {
    match from_sqlparser(data_type) {
        // An array is named by its elements.
        Ok((ty, _)) => ty.element().unwrap_or(ty).typname().to_owned(),
        Err(_) => "?column?".to_owned(),
    }
}

fn first_column(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = &*query.body else { return None };
    match select.projection.first()? {
        SelectItem::UnnamedExpr(expr) => strong_name(expr),
        SelectItem::ExprWithAlias { alias, .. } => Some(visible(&normalize(alias)).to_owned()),
        _ => None,
    }
}
