//! Which operator PostgreSQL means: operand types brought together, untyped literals and parameters given a type.
//!
//! ```text
//!   5 = '5'       unknown takes the other side's type          int4 + numeric   meet at the wider
//!   n = 1.50      numbers compare by key, whatever their scale   int = text       42883
//!   $1 = id       the parameter is learnt to be of id's type    a || 1           the number as text
//! ```
//!
//! Sources: PostgreSQL 15 manual, 10.2 (operators).

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{DFSchema, Result};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;
use parking_lot::Mutex;

use super::calls::{Call, Comparison, Kind, no_operator};
use super::errors::external;
use crate::arrow::{self, scalar_of, type_of};
use crate::functions::{self, FunctionContext};
use crate::types::{self, BinaryOperator, PgType, TypeSettings, parse_text};

/// Brings operands together for one query.
pub(super) struct Operators {
    pub settings: Arc<TypeSettings>,
    /// What functions know of the session.
    pub functions: Arc<FunctionContext>,
    /// The types parameters were found to have, by placeholder.
    pub inferred: Mutex<BTreeMap<String, PgType>>,
}

impl std::fmt::Debug for Operators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Operators")
    }
}

/// What is known of an operand's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// A literal or parameter that takes the type its place asks for.
    Unknown,
    /// A type.
    Type(PgType),
}

impl Operators {
    pub fn new(functions: Arc<FunctionContext>) -> Self {
        Operators { settings: functions.settings.clone(), functions, inferred: Mutex::default() }
    }

    /// What is known of an expression's type; none where the planner has yet to find its columns.
    pub fn known(&self, expr: &Expr, schema: &DFSchema) -> Option<Known> {
        Some(match expr {
            Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, None) => Known::Unknown,
            Expr::Placeholder(Placeholder { field: None, .. }) => Known::Unknown,
            Expr::Alias(alias) => return self.known(&alias.expr, schema),
            Expr::BinaryExpr(BinaryExpr { op, .. }) if op.is_logic_operator() || is_comparison(*op) => {
                Known::Type(PgType::Bool)
            }
            other => {
                if let Expr::ScalarFunction(function) = other
                    && let Some(known) = self.result_of(function, schema)
                {
                    return Some(known);
                }
                let field = match (other.to_field(schema), other) {
                    (Ok((_, field)), _) => field,
                    // A column that USING merges is of one type on both sides.
                    (Err(_), Expr::Column(column)) if column.relation.is_none() => {
                        (*schema.fields_with_unqualified_name(&column.name).first()?).clone()
                    }
                    _ => return None,
                };
                match type_of(&field).0 {
                    PgType::Unknown => Known::Unknown,
                    ty => Known::Type(ty),
                }
            }
        })
    }

    /// The type of a function's result, where what is known of its arguments tells; without the library, which asks for the name of all that
    /// is below, for each of its levels.
    fn result_of(&self, function: &ScalarFunction, schema: &DFSchema) -> Option<Known> {
        let argument = |place: usize| self.known(function.args.get(place)?, schema);
        let ty = |place: usize| argument(place).map(type_or_unknown);
        let result = match Call::kind_of(&function.func) {
            Some(Kind::Cast(to, _)) => to,
            Some(Kind::Compare(_) | Kind::Quantified(..) | Kind::Between) => PgType::Bool,
            Some(Kind::Arithmetic(operator)) => arithmetic_result(operator, ty(0)?, ty(1)?)?,
            Some(Kind::Negate) => ty(0).filter(|ty| *ty != PgType::Unknown)?,
            Some(_) => return None,
            None => {
                let name = functions::name_of(&function.func)?;
                let types = (0..function.args.len()).map(ty).collect::<Option<Vec<PgType>>>()?;
                functions::resolve(name, &types).ok()?.result
            }
        };
        Some(if result == PgType::Unknown { Known::Unknown } else { Known::Type(result) })
    }

    /// Gives an operand of no type yet a type; leaves others as they are.
    pub fn settle(&self, expr: Expr, ty: PgType) -> Result<Expr> {
        match expr {
            Expr::Literal(ScalarValue::Utf8(Some(text)), None) => {
                if ty.is_string() {
                    // A char is kept without its padding.
                    let text = if ty == PgType::Bpchar { text.trim_end_matches(' ').to_owned() } else { text };
                    return Ok(Expr::Literal(ScalarValue::Utf8(Some(text)), None));
                }
                let datum = parse_text(&text, ty, -1, &self.settings).map_err(external)?;
                Ok(Expr::Literal(scalar_of(ty, &datum).map_err(external)?, None))
            }
            Expr::Literal(scalar, None) if scalar.is_null() => {
                Ok(Expr::Literal(ScalarValue::try_from(&arrow::data_type(ty))?, None))
            }
            Expr::Placeholder(Placeholder { id, field: None }) => {
                self.inferred.lock().entry(id.clone()).or_insert(ty);
                Ok(Expr::Placeholder(Placeholder::new_with_field(id, Some(Arc::new(arrow::field("", ty, -1, true))))))
            }
            other => Ok(other),
        }
    }

    /// Makes an expression one of this type: as it is, by a cast of the library's own where that is exact, or by ours.
    pub fn convert(&self, expr: Expr, from: PgType, to: PgType) -> Result<Expr> {
        if from == to || arrow::data_type(from) == arrow::data_type(to) {
            return Ok(expr);
        }
        let exact = from.is_integer() && (to.is_integer() || to == PgType::Float8);
        if !exact {
            return Ok(self.call(Kind::Cast(to, -1), vec![expr]));
        }
        let data_type = arrow::data_type(to);
        match fold(expr) {
            Expr::Literal(scalar, metadata) => Ok(Expr::Literal(scalar.cast_to(&data_type)?, metadata)),
            other => Ok(datafusion::logical_expr::cast(other, data_type)),
        }
    }

    /// A call of one of our functions.
    pub fn call(&self, kind: Kind, args: Vec<Expr>) -> Expr {
        Expr::ScalarFunction(ScalarFunction::new_udf(Call::udf(kind, &self.settings), args))
    }

    /// Brings expressions together at one type, which is returned; none where their types are not known.
    pub fn unify(&self, exprs: Vec<Expr>, schema: &DFSchema) -> Result<(Vec<Expr>, Option<PgType>)> {
        let mut meeting: Option<PgType> = None;
        for expr in &exprs {
            match (self.known(expr, schema), meeting) {
                (None, _) => return Ok((exprs, None)),
                (Some(Known::Unknown), _) => {}
                (Some(Known::Type(ty)), None) => meeting = Some(ty),
                (Some(Known::Type(ty)), Some(so_far)) => match common(so_far, ty) {
                    Some(wider) => meeting = Some(wider),
                    None => return Ok((exprs, None)),
                },
            }
        }
        let Some(ty) = meeting else { return Ok((exprs, None)) };
        let converted: Result<Vec<Expr>> = exprs
            .into_iter()
            .map(|expr| match self.known(&expr, schema) {
                Some(Known::Type(from)) => self.convert(expr, from, ty),
                _ => self.settle(expr, ty),
            })
            .collect();
        Ok((converted?, Some(ty)))
    }

    fn comparison(&self, comparison: Comparison, left: Expr, right: Expr, known: (Known, Known)) -> Result<Expr> {
        let (left, right, ty) = match known {
            (Known::Unknown, Known::Unknown) => {
                (self.settle(left, PgType::Text)?, self.settle(right, PgType::Text)?, PgType::Text)
            }
            (Known::Type(ty), Known::Unknown) => (left, self.settle(right, ty)?, ty),
            (Known::Unknown, Known::Type(ty)) => (self.settle(left, ty)?, right, ty),
            (Known::Type(a), Known::Type(b)) => {
                let ty = common(a, b).ok_or_else(|| external(no_operator(comparison.symbol(), a, b)))?;
                (self.convert(left, a, ty)?, self.convert(right, b, ty)?, ty)
            }
        };
        if ty == PgType::Json {
            return Err(external(no_operator(comparison.symbol(), ty, ty)));
        }
        let (left, right) = (fold(left), fold(right));
        if ty == PgType::Interval || ty == PgType::Jsonb || ty.is_array() {
            return Ok(self.call(Kind::Compare(comparison), vec![left, right]));
        }
        let (left, right) = match ty {
            PgType::Numeric => (self.call(Kind::NumericKey, vec![left]), self.call(Kind::NumericKey, vec![right])),
            _ => (left, right),
        };
        let operator = match comparison {
            Comparison::Equal => Operator::Eq,
            Comparison::NotEqual => Operator::NotEq,
            Comparison::Less => Operator::Lt,
            Comparison::LessOrEqual => Operator::LtEq,
            Comparison::Greater => Operator::Gt,
            Comparison::GreaterOrEqual => Operator::GtEq,
        };
        Ok(binary(left, operator, right))
    }

    fn arithmetic(&self, operator: BinaryOperator, left: Expr, right: Expr, known: (Known, Known)) -> Result<Expr> {
        // A literal of no type takes the other's, or is an interval beside a moment that cannot be added to its like.
        let partner = |ty: PgType| {
            if types::result_type(operator, ty, ty).is_some() { ty } else { PgType::Interval }
        };
        let (left, right) = match known {
            (Known::Unknown, Known::Unknown) => {
                let both_null = [&left, &right].iter().all(|side| matches!(side, Expr::Literal(s, _) if s.is_null()));
                if !both_null && ![&left, &right].iter().any(|side| matches!(side, Expr::Placeholder(_))) {
                    return Err(external(no_operator(operator.symbol(), PgType::Unknown, PgType::Unknown)));
                }
                (self.settle(left, PgType::Int4)?, self.settle(right, PgType::Int4)?)
            }
            (Known::Type(ty), Known::Unknown) => {
                let right = self.settle(right, partner(ty))?;
                (left, right)
            }
            (Known::Unknown, Known::Type(ty)) => {
                let left = self.settle(left, partner(ty))?;
                (left, right)
            }
            (Known::Type(a), Known::Type(b)) => {
                if types::result_type(operator, a, b).is_none() {
                    return Err(external(no_operator(operator.symbol(), a, b)));
                }
                // Integers of different widths meet first, so that the plain kernels serve.
                match common(a, b) {
                    Some(ty) if a != b && a.is_integer() && b.is_integer() => {
                        (self.convert(left, a, ty)?, self.convert(right, b, ty)?)
                    }
                    _ => (left, right),
                }
            }
        };
        Ok(self.call(Kind::Arithmetic(operator), vec![fold(left), fold(right)]))
    }

    /// `||`: of two texts as the library does it, of everything else by a function.
    fn concat(&self, left: Expr, right: Expr, known: (Known, Known)) -> Result<Expr> {
        let stringy = |known| matches!(known, Known::Unknown) || matches!(known, Known::Type(ty) if ty.is_string());
        if !stringy(known.0) || !stringy(known.1) {
            return self.function("||", left, right, known);
        }
        let text = |expr, known| match known {
            Known::Type(PgType::Bpchar) => Ok(self.call(Kind::Cast(PgType::Text, -1), vec![expr])),
            Known::Type(_) => Ok(expr),
            Known::Unknown => self.settle(expr, PgType::Text),
        };
        let joined = binary(text(left, known.0)?, Operator::StringConcat, text(right, known.1)?);
        // Of two literals comes a text, not another literal.
        Ok(match known {
            (Known::Unknown, Known::Unknown) => self.call(Kind::Cast(PgType::Text, -1), vec![joined]),
            _ => joined,
        })
    }

    /// An operator that is a function of that name.
    fn function(&self, symbol: &str, left: Expr, right: Expr, known: (Known, Known)) -> Result<Expr> {
        let resolved = functions::resolve(symbol, &[type_or_unknown(known.0), type_or_unknown(known.1)]);
        let resolved = resolved.map_err(external)?;
        let function = functions::function(symbol, &self.functions);
        let function = function.ok_or_else(|| DataFusionError::Internal(format!("{symbol} is no function")))?;
        let wanted = resolved.argument_types();
        let args = vec![self.settle_known(left, known.0, wanted[0])?, self.settle_known(right, known.1, wanted[1])?];
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
    }

    fn settle_known(&self, expr: Expr, known: Known, ty: PgType) -> Result<Expr> {
        if known == Known::Unknown { self.settle(expr, ty) } else { Ok(expr) }
    }
}

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = expr;
        let left = super::typing::settle_inside(self, left, schema)?;
        let right = super::typing::settle_inside(self, right, schema)?;
        let (Some(left_known), Some(right_known)) = (self.known(&left, schema), self.known(&right, schema)) else {
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        };
        let known = (left_known, right_known);
        if let Some(comparison) = Comparison::of(&op) {
            return self.comparison(comparison, left, right, known).map(PlannerResult::Planned);
        }
        let operator = match op {
            ast::BinaryOperator::Plus => BinaryOperator::Add,
            ast::BinaryOperator::Minus => BinaryOperator::Subtract,
            ast::BinaryOperator::Multiply => BinaryOperator::Multiply,
            ast::BinaryOperator::Divide => BinaryOperator::Divide,
            ast::BinaryOperator::Modulo => BinaryOperator::Modulo,
            ast::BinaryOperator::PGExp | ast::BinaryOperator::BitwiseXor => BinaryOperator::Power,
            ast::BinaryOperator::StringConcat => return self.concat(left, right, known).map(PlannerResult::Planned),
            ast::BinaryOperator::And | ast::BinaryOperator::Or => {
                let (left, right) = (self.settle(left, PgType::Bool)?, self.settle(right, PgType::Bool)?);
                return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
            }
            op if is_function(&op) => {
                let Some(function) = functions::function(&op.to_string(), &self.functions) else {
                    return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
                };
                let call = ScalarFunction::new_udf(function, vec![left, right]);
                return Ok(PlannerResult::Planned(Expr::ScalarFunction(call)));
            }
            _ => {
                let text =
                    |expr, known| if known == Known::Unknown { self.settle(expr, PgType::Text) } else { Ok(expr) };
                let (left, right) = (text(left, known.0)?, text(right, known.1)?);
                return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
            }
        };
        let planned = if is_computed_by_function(operator, known) {
            self.function(operator.symbol(), left, right, known)
        } else {
            self.arithmetic(operator, left, right, known)
        };
        planned.map(PlannerResult::Planned)
    }
}

/// Whether an operator compares, as [`Operators::comparison`] makes it.
pub(super) fn is_comparison(op: Operator) -> bool {
    matches!(op, Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
}

/// The type that arithmetic results in, a literal of no type taking the other's.
fn arithmetic_result(operator: BinaryOperator, left: PgType, right: PgType) -> Option<PgType> {
    match (left, right) {
        (PgType::Unknown, other) | (other, PgType::Unknown) => Some(other),
        _ => types::result_type(operator, left, right),
    }
}

fn type_or_unknown(known: Known) -> PgType {
    match known {
        Known::Type(ty) => ty,
        Known::Unknown => PgType::Unknown,
    }
}

/// Whether a sign of arithmetic stands between values that are not computed with, such as `jsonb - text`.
fn is_computed_by_function(operator: BinaryOperator, known: (Known, Known)) -> bool {
    let types = [type_or_unknown(known.0), type_or_unknown(known.1)];
    let is_arithmetic = match types {
        [PgType::Unknown, ty] | [ty, PgType::Unknown] => {
            types::result_type(operator, ty, ty).is_some()
                || types::result_type(operator, ty, PgType::Interval).is_some()
        }
        [left, right] => types::result_type(operator, left, right).is_some(),
    };
    let is_unknown = types == [PgType::Unknown; 2];
    !is_arithmetic && !is_unknown && functions::resolve(operator.symbol(), &types).is_ok()
}

/// Whether an operator is a function of that name: those on JSON, arrays and bits.
fn is_function(op: &ast::BinaryOperator) -> bool {
    let symbol = op.to_string();
    let matching = symbol.contains('~');
    !matching && symbol.starts_with(|c: char| c.is_ascii_punctuation()) && functions::exists(&symbol)
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
}

/// A cast of a literal, done at once.
pub(super) fn fold(expr: Expr) -> Expr {
    match expr {
        Expr::Cast(cast) => match fold(*cast.expr) {
            Expr::Literal(scalar, metadata) => match scalar.cast_to(cast.field.data_type()) {
                Ok(value) => Expr::Literal(value, metadata),
                Err(_) => {
                    datafusion::logical_expr::cast(Expr::Literal(scalar, metadata), cast.field.data_type().clone())
                }
            },
            inner => datafusion::logical_expr::cast(inner, cast.field.data_type().clone()),
        },
        other => other,
    }
}

/// The type at which values of two types meet; none if they do not.
pub(super) fn common(a: PgType, b: PgType) -> Option<PgType> {
    use PgType::{Date, Float8, Int4, Int8, Numeric, Timestamp, TimestampTz};
    if a == b {
        return Some(a);
    }
    if a.is_number() && b.is_number() {
        let rank = |ty: PgType| match ty {
            PgType::Int2 => 0,
            Int4 => 1,
            Int8 => 2,
            Numeric => 3,
            PgType::Float4 => 4,
            _ => 5,
        };
        let wider = if rank(a) >= rank(b) { a } else { b };
        // A real beside anything but a real is computed in double precision.
        return Some(if wider == PgType::Float4 { Float8 } else { wider });
    }
    if a.is_string() && b.is_string() {
        return Some(if a == PgType::Bpchar {
            b
        } else if b == PgType::Bpchar {
            a
        } else {
            PgType::Text
        });
    }
    if a.is_oid() && b.is_oid() {
        return Some(PgType::Oid);
    }
    if (a.is_oid() && b.is_integer()) || (a.is_integer() && b.is_oid()) {
        return Some(Int8);
    }
    if let (Some(a), Some(b)) = (a.element(), b.element()) {
        return common(a, b)?.array();
    }
    Some(match (a, b) {
        (Date, Timestamp) | (Timestamp, Date) => Timestamp,
        (Date | Timestamp, TimestampTz) | (TimestampTz, Date | Timestamp) => TimestampTz,
        (PgType::Time, PgType::Interval) | (PgType::Interval, PgType::Time) => PgType::Interval,
        _ => return None,
    })
}
