//! Expressions over one row, evaluated datum by datum: what the fast path, DML, defaults and checks compute with.
//!
//! ```text
//!   sqlparser's Expr ── bind ──▶ Scalar {columns by position, parameters by number, types settled} ── eval ──▶ Datum
//! ```
//!
//! A [`Scalar`] carries no types: binding has put a cast wherever one was needed. What binding does not know (subqueries, most
//! functions) is left to the planner of queries.
//!
//! Knows nothing of tables, names and the keyspace.

mod eval;
mod like;

pub(crate) use eval::{EvalContext, Sequences};

use crate::types::{BinaryOperator, CastContext, Datum, PgType};

/// An expression over one row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    /// A value.
    Const(Datum),
    /// The row's datum at this position.
    Column(usize),
    /// The parameter of this number, from 0.
    Param(usize),
    /// `+ - * / % ^`.
    Arithmetic(BinaryOperator, Box<(Scalar, Scalar)>),
    /// Unary minus.
    Negate(Box<Scalar>),
    /// `= <> < <= > >=`.
    Compare(Comparison, Box<(Scalar, Scalar)>),
    /// `IS [NOT] DISTINCT FROM`.
    Distinct(Box<(Scalar, Scalar)>, bool),
    /// All are true.
    And(Vec<Scalar>),
    /// One is true.
    Or(Vec<Scalar>),
    /// NOT.
    Not(Box<Scalar>),
    /// `IS NULL`; negated with `true`.
    IsNull(Box<Scalar>, bool),
    /// `IS TRUE`, `IS FALSE`; negated with the last `true`.
    IsBool(Box<Scalar>, bool, bool),
    /// `IN (…)`; negated with `true`.
    InList(Box<Scalar>, Vec<Scalar>, bool),
    /// `left op ANY (array)`, or ALL with `true`.
    Quantified(Comparison, Box<(Scalar, Scalar)>, bool),
    /// CASE: the first true condition's value, or the last.
    Case(Vec<(Scalar, Scalar)>, Box<Scalar>),
    /// CASE of an operand: the value beside the first that it equals, or the last.
    Switch(Box<Scalar>, Vec<(Scalar, Scalar)>, Box<Scalar>),
    /// `value BETWEEN low AND high`.
    Between(Box<(Scalar, Scalar, Scalar)>),
    /// A cast.
    Cast(Box<Scalar>, CastTo),
    /// LIKE and ILIKE.
    Like(Box<(Scalar, Scalar)>, LikeOptions),
    /// `||` of texts.
    Concat(Box<(Scalar, Scalar)>),
    /// The first that is not NULL.
    Coalesce(Vec<Scalar>),
    /// A function.
    Call(Function, Vec<Scalar>),
    /// The next value of a sequence.
    NextVal(u32),
    /// `setval`: sequence, value, and whether that value counts as given. Done ahead of evaluation.
    SetVal(u32, i64, bool),
}

/// What a cast makes of what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CastTo {
    pub from: PgType,
    pub to: PgType,
    pub typmod: i32,
    pub context: CastContext,
}

/// How LIKE matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LikeOptions {
    pub negated: bool,
    pub ignore_case: bool,
    pub escape: Option<char>,
}

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The functions evaluated here. All but those on the session are strict: NULL in, NULL out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// `now()`, `current_timestamp`: when the transaction began.
    Now,
    /// `current_date`.
    CurrentDate,
    /// `localtimestamp`.
    LocalTimestamp,
    /// `random()`.
    Random,
    /// `gen_random_uuid()`.
    RandomUuid,
    /// The hidden row ID of a new row.
    RowId,
    CurrentUser,
    CurrentDatabase,
    CurrentSchema,
    Version,
    BackendPid,
    Lower,
    Upper,
    Length,
    Abs,
    NullIf,
    Greatest,
    Least,
    /// `currval`, of the sequence whose ID is the argument.
    CurrVal,
    LastVal,
}

impl Comparison {
    /// The operator that holds for swapped operands.
    pub fn swapped(self) -> Comparison {
        match self {
            Comparison::Less => Comparison::Greater,
            Comparison::LessOrEqual => Comparison::GreaterOrEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterOrEqual => Comparison::LessOrEqual,
            same => same,
        }
    }

    /// Whether it holds for operands that compare so.
    pub fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::NotEqual => ordering.is_ne(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Scalar {
    /// Calls `visit` on this expression and everything below it.
    pub fn walk(&self, visit: &mut impl FnMut(&Scalar)) {
        visit(self);
        self.for_each_part(&mut |part| part.walk(visit));
    }

    /// Calls `visit` on what this expression is directly computed from.
    pub fn for_each_part(&self, visit: &mut impl FnMut(&Scalar)) {
        match self {
            Scalar::Const(_) | Scalar::Column(_) | Scalar::Param(_) | Scalar::NextVal(_) | Scalar::SetVal(..) => {}
            Scalar::Arithmetic(_, pair)
            | Scalar::Compare(_, pair)
            | Scalar::Distinct(pair, _)
            | Scalar::Quantified(_, pair, _)
            | Scalar::Like(pair, _)
            | Scalar::Concat(pair) => {
                visit(&pair.0);
                visit(&pair.1);
            }
            Scalar::Negate(inner)
            | Scalar::Not(inner)
            | Scalar::IsNull(inner, _)
            | Scalar::IsBool(inner, _, _)
            | Scalar::Cast(inner, _) => visit(inner),
            Scalar::And(parts) | Scalar::Or(parts) | Scalar::Coalesce(parts) | Scalar::Call(_, parts) => {
                parts.iter().for_each(visit);
            }
            Scalar::InList(inner, parts, _) => {
                visit(inner);
                parts.iter().for_each(visit);
            }
            Scalar::Between(parts) => {
                visit(&parts.0);
                visit(&parts.1);
                visit(&parts.2);
            }
            Scalar::Switch(operand, branches, otherwise) => {
                visit(operand);
                for (candidate, value) in branches {
                    visit(candidate);
                    visit(value);
                }
                visit(otherwise);
            }
            Scalar::Case(branches, otherwise) => {
                for (condition, value) in branches {
                    visit(condition);
                    visit(value);
                }
                visit(otherwise);
            }
        }
    }

    /// Whether it follows from what it is computed from, whatever the session and its transaction, and all of that is constant.
    pub fn is_computable(&self) -> bool {
        let follows = match self {
            // Where these are constant, binding has looked whether they may be computed.
            Scalar::Const(_) | Scalar::Cast(..) | Scalar::Arithmetic(..) => false,
            Scalar::Column(_) | Scalar::Param(_) | Scalar::NextVal(_) | Scalar::SetVal(..) => false,
            Scalar::Call(function, _) => matches!(
                function,
                Function::Lower
                    | Function::Upper
                    | Function::Length
                    | Function::Abs
                    | Function::NullIf
                    | Function::Greatest
                    | Function::Least
            ),
            _ => true,
        };
        let mut constant = follows;
        if follows {
            self.for_each_part(&mut |part| constant &= matches!(part, Scalar::Const(_)));
        }
        constant
    }

    /// Whether its value does not depend on the row, nor differ from call to call.
    pub fn is_fixed(&self) -> bool {
        let mut fixed = true;
        self.walk(&mut |part| {
            fixed &= !matches!(
                part,
                Scalar::Column(_)
                    | Scalar::NextVal(_)
                    | Scalar::SetVal(..)
                    | Scalar::Call(
                        Function::Random
                            | Function::RandomUuid
                            | Function::RowId
                            | Function::CurrVal
                            | Function::LastVal,
                        _
                    )
            );
        });
        fixed
    }

    /// The sequences it draws from, one entry for each call.
    pub fn sequences(&self, found: &mut Vec<u32>) {
        self.walk(&mut |part| {
            if let Scalar::NextVal(id) = part {
                found.push(*id);
            }
        });
    }
}
