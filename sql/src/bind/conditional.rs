//! CASE, COALESCE, AND and OR: what is computed only where it is reached.
//!
//! ```text
//!   CASE WHEN false THEN 1/0 ELSE 2 END     the constant says that 1/0 is never reached: 2
//!   CASE WHEN a > 0 THEN 1/0 ELSE 2 END     it may be: 22012 at once, whatever rows there are
//!   false AND 1/0 = 1                       false
//!   1/0 = 1 AND false                       22012
//! ```
//!
//! A constant that cannot be computed fails its statement before anything is done, in each place but those that constants before it say
//! are never reached.
//!
//! Source: PostgreSQL's `eval_const_expressions`, which is asked by its results.

use datafusion::sql::sqlparser::ast::{self, Expr};

use super::expression::boolean;
use super::{BindError, BindResult, Binder, Bound};
use crate::scalar::Scalar;
use crate::stack::level;
use crate::types::{Datum, PgType, compare_sql};

/// Whether an arm of CASE is taken once it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Never,
    Perhaps,
    Always,
}

impl Taken {
    /// On that condition.
    fn when(condition: &Scalar) -> Taken {
        match condition {
            Scalar::Const(Datum::Bool(true)) => Taken::Always,
            Scalar::Const(_) => Taken::Never,
            _ => Taken::Perhaps,
        }
    }

    /// When these are equal.
    fn when_equal(left: &Scalar, right: &Scalar) -> Taken {
        match (left, right) {
            (Scalar::Const(left), Scalar::Const(right)) => match compare_sql(left, right) {
                Some(std::cmp::Ordering::Equal) => Taken::Always,
                _ => Taken::Never,
            },
            _ => Taken::Perhaps,
        }
    }
}

impl Binder<'_> {
    /// CASE. As PostgreSQL has it, constants are computed at once, in each arm but those that constants say are never reached.
    pub(super) fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&Expr>,
    ) -> BindResult<Bound> {
        let operand = operand.map(|operand| self.bind(operand)).transpose()?;
        let (mut switched, mut reached) = (None, true);
        let mut arms = Vec::with_capacity(conditions.len());
        let mut results = Vec::with_capacity(conditions.len() + 1);
        for branch in conditions {
            let (test, taken) = self.where_reached(reached, |binder| match &operand {
                None => {
                    let test = binder.bind_condition(&branch.condition)?;
                    let taken = Taken::when(&test);
                    Ok((test, taken))
                }
                Some(operand) => {
                    let condition = binder.bind(&branch.condition)?;
                    let (left, right) = binder.compared(operand.clone(), condition)?;
                    let taken = Taken::when_equal(&left, &right);
                    if switched.get_or_insert_with(|| left.clone()) != &left {
                        return Err(BindError::Elsewhere("CASE over values of different types".into()));
                    }
                    Ok((right, taken))
                }
            })?;
            let result_reached = reached && taken != Taken::Never;
            results.push(self.where_reached(result_reached, |binder| binder.bind(&branch.result))?);
            arms.push((test, taken));
            reached &= taken != Taken::Always;
        }
        results.push(match otherwise {
            Some(expr) => self.where_reached(reached, |binder| binder.bind(expr))?,
            None => Bound::constant(Datum::Null, PgType::Unknown),
        });
        let (mut results, ty) = self.unify(results)?;
        let otherwise = results.pop().expect("the last result was pushed above");
        Ok(Bound::new(chosen(switched, arms.into_iter().zip(results), otherwise), ty))
    }

    /// COALESCE: what comes after a constant that is not NULL is never reached.
    pub(super) fn coalesce(&mut self, arguments: &[&Expr]) -> BindResult<Bound> {
        let mut reached = true;
        let mut bound = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let one = self.where_reached(reached, |binder| binder.bind(argument))?;
            reached &= !matches!(&one.scalar, Scalar::Const(value) if !value.is_null());
            bound.push(one);
        }
        let (mut parts, ty) = self.unify(bound)?;
        parts.retain(|part| !matches!(part, Scalar::Const(Datum::Null)));
        let decided = parts.iter().position(|part| matches!(part, Scalar::Const(_)));
        parts.truncate(decided.map_or(parts.len(), |at| at + 1));
        let scalar = match parts.len() {
            0 => Scalar::Const(Datum::Null),
            1 => parts.swap_remove(0),
            _ => Scalar::Coalesce(parts),
        };
        Ok(Bound::new(scalar, ty))
    }

    /// A chain of ANDs (`decisive` false) or ORs (`decisive` true): what comes after a constant that decides it is never reached.
    pub(super) fn chain(
        &mut self,
        left: &Expr,
        right: &Expr,
        operator: &ast::BinaryOperator,
        decisive: bool,
    ) -> BindResult<Bound> {
        let mut operands = Vec::new();
        flatten(left, right, operator, &mut operands);
        let decides = |part: &Scalar| matches!(part, Scalar::Const(Datum::Bool(value)) if *value == decisive);
        let mut decided = false;
        let mut parts = Vec::with_capacity(operands.len());
        for operand in operands {
            let part = self.where_reached(!decided, |binder| binder.bind_condition(operand))?;
            decided |= decides(&part);
            parts.push(part);
        }
        Ok(boolean(match decided {
            true => Scalar::Const(Datum::Bool(decisive)),
            false if decisive => Scalar::Or(parts),
            false => Scalar::And(parts),
        }))
    }
}

/// The operands of a chain of ANDs or ORs, side by side.
fn flatten<'a>(left: &'a Expr, right: &'a Expr, operator: &ast::BinaryOperator, operands: &mut Vec<&'a Expr>) {
    for side in [left, right] {
        let mut side = side;
        while let Expr::Nested(inner) = side {
            side = inner;
        }
        match side {
            Expr::BinaryOp { left, op, right } if op == operator => level(|| flatten(left, right, operator, operands)),
            other => operands.push(other),
        }
    }
}

/// A CASE of the arms that may be taken.
fn chosen(
    operand: Option<Scalar>,
    arms: impl Iterator<Item = ((Scalar, Taken), Scalar)>,
    mut otherwise: Scalar,
) -> Scalar {
    let mut left = Vec::new();
    for ((test, taken), result) in arms {
        match taken {
            Taken::Never => {}
            Taken::Perhaps => left.push((test, result)),
            Taken::Always => {
                otherwise = result;
                break;
            }
        }
    }
    match operand {
        _ if left.is_empty() => otherwise,
        Some(operand) => Scalar::Switch(Box::new(operand), left, Box::new(otherwise)),
        None => Scalar::Case(left, Box::new(otherwise)),
    }
}
