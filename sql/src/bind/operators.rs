//! Operators.

use datafusion::sql::sqlparser::ast::{self, Expr};

use super::expression::boolean;
use super::literal::number;
use super::{BindError, BindResult, Binder, Bound};
use crate::error::{SqlError, code};
use crate::scalar::{Comparison, Scalar};
use crate::types::{BinaryOperator, CastContext, PgType, cast_context, format_type};

impl Binder<'_> {
    pub(super) fn unary(&mut self, operator: ast::UnaryOperator, expr: &Expr) -> BindResult<Bound> {
        match operator {
            ast::UnaryOperator::Not => {
                let inner = self.bind_condition(expr)?;
                Ok(boolean(Scalar::Not(Box::new(inner))))
            }
            ast::UnaryOperator::Plus => self.bind(expr),
            ast::UnaryOperator::Minus => {
                // A sign is part of its number: the smallest integers have no positive twin, and of two signs none is left.
                match signed(expr) {
                    Some((digits, true)) => return number(digits),
                    Some((digits, false)) => return number(&format!("-{digits}")),
                    None => {}
                }
                let inner = self.bind(expr)?;
                if !inner.ty.is_number() && inner.ty != PgType::Interval {
                    return Err(BindError::Elsewhere(format!("unary minus on {}", format_type(inner.ty, -1))));
                }
                Ok(Bound::new(Scalar::Negate(Box::new(inner.scalar)), inner.ty))
            }
            other => Err(BindError::Elsewhere(format!("the operator {other}"))),
        }
    }

    pub(super) fn binary(&mut self, left: &Expr, operator: &ast::BinaryOperator, right: &Expr) -> BindResult<Bound> {
        use ast::BinaryOperator as Op;
        if let Some(comparison) = comparison(operator) {
            let (left, right) = self.comparable(left, right)?;
            return Ok(boolean(Scalar::Compare(comparison, Box::new((left, right)))));
        }
        match operator {
            Op::And => self.chain(left, right, operator, false),
            Op::Or => self.chain(left, right, operator, true),
            Op::Plus => self.arithmetic(BinaryOperator::Add, left, right),
            Op::Minus => self.arithmetic(BinaryOperator::Subtract, left, right),
            Op::Multiply => self.arithmetic(BinaryOperator::Multiply, left, right),
            Op::Divide => self.arithmetic(BinaryOperator::Divide, left, right),
            Op::Modulo => self.arithmetic(BinaryOperator::Modulo, left, right),
            Op::StringConcat => self.concat(left, right),
            other => Err(BindError::Elsewhere(format!("the operator {other}"))),
        }
    }

    fn arithmetic(&mut self, operator: BinaryOperator, left: &Expr, right: &Expr) -> BindResult<Bound> {
        let (mut left, mut right) = (self.bind(left)?, self.bind(right)?);
        // An unknown operand takes the type of the other, for numbers; dates have several choices.
        if left.ty == PgType::Unknown && right.ty.is_number() {
            left = Bound::new(self.give_type(left, right.ty, -1)?, right.ty);
        }
        if right.ty == PgType::Unknown && left.ty.is_number() {
            right = Bound::new(self.give_type(right, left.ty, -1)?, left.ty);
        }
        let Some(ty) = result_type(operator, left.ty, right.ty) else {
            return Err(BindError::Elsewhere(format!(
                "arithmetic on {} and {}",
                format_type(left.ty, -1),
                format_type(right.ty, -1)
            )));
        };
        let constant = matches!((&left.scalar, &right.scalar), (Scalar::Const(_), Scalar::Const(_)));
        let scalar = Scalar::Arithmetic(operator, Box::new((left.scalar, right.scalar)));
        Ok(Bound::new(if constant { self.fold(scalar)? } else { scalar }, ty))
    }

    fn concat(&mut self, left: &Expr, right: &Expr) -> BindResult<Bound> {
        let (left, right) = (self.bind(left)?, self.bind(right)?);
        let (left, right) = (self.settle(left)?, self.settle(right)?);
        if !left.ty.is_string() || !right.ty.is_string() {
            return Err(BindError::Elsewhere("|| on values that are not strings".into()));
        }
        Ok(Bound::new(Scalar::Concat(Box::new((left.scalar, right.scalar))), PgType::Text))
    }

    /// Both sides of a comparison, brought to types that compare.
    pub(super) fn comparable(&mut self, left: &Expr, right: &Expr) -> BindResult<(Scalar, Scalar)> {
        let (left, right) = (self.bind(left)?, self.bind(right)?);
        self.compared(left, right)
    }

    /// The same of sides that are bound: one that is compared several times is bound once, or its own parts would be twice as often for
    /// each level.
    pub(super) fn compared(&mut self, left: Bound, right: Bound) -> BindResult<(Scalar, Scalar)> {
        let (left_type, right_type) = (left.ty, right.ty);
        match (left_type, right_type) {
            (PgType::Unknown, PgType::Unknown) => Ok((self.settle(left)?.scalar, self.settle(right)?.scalar)),
            (PgType::Unknown, ty) => Ok((self.give_type(left, ty, -1)?, right.scalar)),
            (ty, PgType::Unknown) => Ok((left.scalar, self.give_type(right, ty, -1)?)),
            (a, b) if a == b || a.is_number() && b.is_number() || a.is_string() && b.is_string() => {
                Ok((left.scalar, right.scalar))
            }
            (a, b) if a.is_oid() && (b.is_oid() || b.is_integer()) || b.is_oid() && a.is_integer() => {
                Ok((left.scalar, right.scalar))
            }
            (a, b) if cast_context(b, a) == Some(CastContext::Implicit) => {
                Ok((left.scalar, self.implicitly(right, a)?))
            }
            (a, b) if cast_context(a, b) == Some(CastContext::Implicit) => {
                Ok((self.implicitly(left, b)?, right.scalar))
            }
            (a, b) => Err(BindError::Sql(no_operator("=", a, b))),
        }
    }

    pub(super) fn quantified(
        &mut self,
        left: &Expr,
        operator: &ast::BinaryOperator,
        right: &Expr,
        all: bool,
    ) -> BindResult<Bound> {
        let Some(comparison) = comparison(operator) else {
            return Err(BindError::Elsewhere(format!("the operator {operator} ANY")));
        };
        if matches!(right, Expr::Subquery(_)) {
            return Err(BindError::Elsewhere("a subquery".into()));
        }
        let (left, right) = (self.bind(left)?, self.bind(right)?);
        let left = self.settle(left)?;
        let (scalar, element) = match right.ty {
            PgType::Unknown => {
                let array = left.ty.array().ok_or_else(|| BindError::Elsewhere("ANY over arrays".into()))?;
                (self.give_type(right, array, -1)?, left.ty)
            }
            ty => match ty.element() {
                Some(element) => (right.scalar, element),
                None => {
                    return Err(BindError::Sql(SqlError::new(
                        code::WRONG_OBJECT_TYPE,
                        "op ANY/ALL (array) requires array on right side",
                    )));
                }
            },
        };
        let same = left.ty == element
            || left.ty.is_number() && element.is_number()
            || left.ty.is_string() && element.is_string();
        if !same {
            return Err(BindError::Sql(no_operator(&operator.to_string(), left.ty, element)));
        }
        Ok(boolean(Scalar::Quantified(comparison, Box::new((left.scalar, scalar)), all)))
    }
}

fn no_operator(operator: &str, left: PgType, right: PgType) -> SqlError {
    SqlError::new(
        code::UNDEFINED_FUNCTION,
        format!("operator does not exist: {} {operator} {}", format_type(left, -1), format_type(right, -1)),
    )
    .hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}

fn comparison(operator: &ast::BinaryOperator) -> Option<Comparison> {
    use ast::BinaryOperator as Op;
    Some(match operator {
        Op::Eq => Comparison::Equal,
        Op::NotEq => Comparison::NotEqual,
        Op::Lt => Comparison::Less,
        Op::LtEq => Comparison::LessOrEqual,
        Op::Gt => Comparison::Greater,
        Op::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

/// What an arithmetic operator yields; none where it is not known here.
fn result_type(operator: BinaryOperator, left: PgType, right: PgType) -> Option<PgType> {
    use BinaryOperator::{Add, Modulo, Multiply, Power, Subtract};
    use PgType::{Date, Float4, Float8, Int2, Int4, Int8, Interval, Numeric, Timestamp, TimestampTz};
    let rank = |ty| match ty {
        Int2 => Some(0),
        Int4 => Some(1),
        Int8 => Some(2),
        Numeric => Some(3),
        Float4 => Some(4),
        Float8 => Some(5),
        _ => None,
    };
    if let (Some(left_rank), Some(right_rank)) = (rank(left), rank(right)) {
        if operator == Power || operator == Modulo && left_rank.max(right_rank) > 3 {
            return None;
        }
        // A float4 meets anything but another float4 as float8.
        return Some(match if left_rank >= right_rank { left } else { right } {
            Float4 if left != right => return None,
            widest => widest,
        });
    }
    match (operator, left, right) {
        (Add | Subtract, Date, Int2 | Int4) => Some(Date),
        (Subtract, Date, Date) => Some(Int4),
        (Add | Subtract, Date, Interval) => Some(Timestamp),
        (Add | Subtract, Timestamp | Interval, Interval) => Some(left),
        (Subtract, Timestamp, Timestamp) | (Subtract, TimestampTz, TimestampTz) => Some(Interval),
        (Multiply, Interval, Int4 | Float8) => Some(Interval),
        _ => None,
    }
}

/// The digits of a number, and whether a minus stands before them.
fn signed(expr: &Expr) -> Option<(&str, bool)> {
    match expr {
        Expr::Nested(inner) => signed(inner),
        Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => match signed(expr)? {
            (digits, false) => Some((digits, true)),
            (_, true) => None,
        },
        Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, _) => Some((digits, false)),
            _ => None,
        },
        _ => None,
    }
}
