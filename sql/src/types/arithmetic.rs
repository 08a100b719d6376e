//! The arithmetic operators.

use super::Datum;
use crate::SqlError;

/// An arithmetic operator of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOperator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `^`
    Power,
}

/// Applies an operator; NULL if either side is NULL. Overflow is 22003, division by zero 22012, no such operator 42883.
///
/// Operands of different numeric types meet at the wider one (int2 < int4 < int8 < numeric < float4 < float8); dates, times and intervals
/// combine as PostgreSQL's operators do, without regard to the session's time zone where none is needed.
pub fn arithmetic(operator: BinaryOperator, left: &Datum, right: &Datum) -> Result<Datum, SqlError> {
    let _ = (operator, left, right);
    Err(SqlError::new("0A000", "arithmetic is not supported yet"))
}

/// Unary minus.
pub fn negate(operand: &Datum) -> Result<Datum, SqlError> {
    let _ = operand;
    Err(SqlError::new("0A000", "arithmetic is not supported yet"))
}
