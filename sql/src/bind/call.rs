//! Function calls.

use datafusion::sql::sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::{BindError, BindResult, Binder, Bound, name_parts};
use crate::scalar::{Function, Scalar};
use crate::types::{Datum, PgType};

impl Binder<'_> {
    pub(super) fn function(&mut self, function: &ast::Function) -> BindResult<Bound> {
        let elsewhere = || BindError::Elsewhere(format!("the function {}", function.name));
        if function.over.is_some() || function.filter.is_some() || !function.within_group.is_empty() {
            return Err(elsewhere());
        }
        let parts = name_parts(&function.name)?;
        let name = match parts.as_slice() {
            [name] => name.as_str(),
            [schema, name] if schema == "pg_catalog" => name.as_str(),
            _ => return Err(elsewhere()),
        };
        let arguments = plain_arguments(&function.args).ok_or_else(elsewhere)?;
        match (name, arguments.as_slice()) {
            ("now" | "transaction_timestamp" | "statement_timestamp" | "current_timestamp", []) => {
                Ok(nullary(Function::Now, PgType::TimestampTz))
            }
            ("current_date", []) => Ok(nullary(Function::CurrentDate, PgType::Date)),
            ("localtimestamp", []) => Ok(nullary(Function::LocalTimestamp, PgType::Timestamp)),
            ("random", []) => Ok(nullary(Function::Random, PgType::Float8)),
            ("gen_random_uuid" | "uuid_generate_v4", []) => Ok(nullary(Function::RandomUuid, PgType::Uuid)),
            ("unique_rowid", []) => Ok(nullary(Function::RowId, PgType::Int8)),
            ("current_user" | "session_user" | "user", []) => Ok(nullary(Function::CurrentUser, PgType::Name)),
            ("current_database" | "current_catalog", []) => Ok(nullary(Function::CurrentDatabase, PgType::Name)),
            ("current_schema", []) => Ok(nullary(Function::CurrentSchema, PgType::Name)),
            ("version", []) => Ok(nullary(Function::Version, PgType::Text)),
            ("pg_backend_pid", []) => Ok(nullary(Function::BackendPid, PgType::Int4)),
            ("lastval", []) => Ok(nullary(Function::LastVal, PgType::Int8)),
            ("nextval", [sequence]) => Ok(Bound::new(Scalar::NextVal(self.sequence(sequence)?), PgType::Int8)),
            ("setval", [sequence, value]) => self.set_value(sequence, value, true),
            ("setval", [sequence, value, given]) => match self.bind(given)?.scalar {
                Scalar::Const(Datum::Bool(given)) => self.set_value(sequence, value, given),
                _ => Err(elsewhere()),
            },
            ("currval", [sequence]) => {
                let id = Scalar::Const(Datum::Int8(i64::from(self.sequence(sequence)?)));
                Ok(Bound::new(Scalar::Call(Function::CurrVal, vec![id]), PgType::Int8))
            }
            ("lower", [text]) => self.text_function(Function::Lower, text, PgType::Text),
            ("upper", [text]) => self.text_function(Function::Upper, text, PgType::Text),
            ("length" | "char_length" | "character_length", [text]) => {
                self.text_function(Function::Length, text, PgType::Int4)
            }
            ("abs", [value]) => {
                let value = self.bind(value)?;
                if !value.ty.is_number() {
                    return Err(elsewhere());
                }
                Ok(Bound::new(Scalar::Call(Function::Abs, vec![value.scalar]), value.ty))
            }
            ("nullif", [left, right]) => {
                let (left, right) = (self.bind(left)?, self.bind(right)?);
                let ty = if left.ty == PgType::Unknown { PgType::Text } else { left.ty };
                let (left, right) = self.compared(left, right)?;
                Ok(Bound::new(Scalar::Call(Function::NullIf, vec![left, right]), ty))
            }
            ("coalesce", [_, ..]) => self.coalesce(&arguments),
            ("greatest", [_, ..]) => {
                let (parts, ty) = self.unified(&arguments)?;
                Ok(Bound::new(Scalar::Call(Function::Greatest, parts), ty))
            }
            ("least", [_, ..]) => {
                let (parts, ty) = self.unified(&arguments)?;
                Ok(Bound::new(Scalar::Call(Function::Least, parts), ty))
            }
            _ => Err(elsewhere()),
        }
    }

    fn text_function(&mut self, function: Function, argument: &Expr, ty: PgType) -> BindResult<Bound> {
        let bound = self.bind(argument)?;
        let bound = self.settle(bound)?;
        if !bound.ty.is_string() {
            return Err(BindError::Elsewhere("a function of text on another type".into()));
        }
        Ok(Bound::new(Scalar::Call(function, vec![bound.scalar]), ty))
    }

    fn unified(&mut self, arguments: &[&Expr]) -> BindResult<(Vec<Scalar>, PgType)> {
        let bound = arguments.iter().map(|argument| self.bind(argument)).collect::<BindResult<Vec<_>>>()?;
        self.unify(bound)
    }

    fn set_value(&mut self, sequence: &Expr, value: &Expr, given: bool) -> BindResult<Bound> {
        let id = self.sequence(sequence)?;
        let value = self.bind(value)?;
        match value.scalar {
            Scalar::Const(value) => match value.as_i64() {
                Some(value) => Ok(Bound::new(Scalar::SetVal(id, value, given), PgType::Int8)),
                None => Err(BindError::Elsewhere("setval to something that is no integer".into())),
            },
            _ => Err(BindError::Elsewhere("setval to a computed value".into())),
        }
    }

    /// The sequence an argument of `nextval` names: a literal, perhaps cast to regclass.
    fn sequence(&mut self, argument: &Expr) -> BindResult<u32> {
        let mut argument = argument;
        while let Expr::Cast { expr, .. } | Expr::Nested(expr) = argument {
            argument = expr;
        }
        let Expr::Value(value) = argument else {
            return Err(BindError::Elsewhere("a sequence named by an expression".into()));
        };
        let Some(name) = value.value.clone().into_string() else {
            return Err(BindError::Elsewhere("a sequence named by an expression".into()));
        };
        Ok(self.catalog.sequence_named(self.view.database_id, &self.view.search_path, &name)?.id)
    }
}

fn nullary(function: Function, ty: PgType) -> Bound {
    Bound::new(Scalar::Call(function, Vec::new()), ty)
}

/// The arguments of a call without names, DISTINCT, ORDER BY and the like.
fn plain_arguments(arguments: &FunctionArguments) -> Option<Vec<&Expr>> {
    match arguments {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::Subquery(_) => None,
        FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            })
            .collect(),
        FunctionArguments::List(_) => None,
    }
}
