//! Names and literals settled: from the parser's expressions to [`Scalar`](crate::scalar::Scalar)s with types.
//!
//! Types follow PostgreSQL's rules as far as one row's expressions need them: a string literal, a NULL and a parameter without
//! a type take the type of what they meet; numbers compare across types; everything else must match or cast implicitly.
//!
//! What is not known here is [`BindError::Elsewhere`]: the statement then goes to the planner of queries.
//!
//! Sources: PostgreSQL 15 manual, chapter 10 (type conversion).

mod call;
mod conditional;
mod expression;
mod literal;
mod names;
mod operators;
mod params;
mod scope;

pub(crate) use expression::Bound;
pub(crate) use names::{check_collation, name_parts, normalize};
pub(crate) use params::ParamTypes;
pub(crate) use scope::{Scope, ScopeColumn, missing_from_entry};

use crate::catalog::Catalog;
use crate::error::SqlError;
use crate::session::SessionView;

/// Why an expression was not bound.
#[derive(Debug)]
pub(crate) enum BindError {
    /// It is beyond what is evaluated row by row; the planner of queries may know it.
    Elsewhere(String),
    /// No relation of that name is stored; it may still be one of the system's, or be defined by the query.
    UnknownRelation(String),
    /// It is wrong.
    Sql(SqlError),
}

impl From<SqlError> for BindError {
    fn from(error: SqlError) -> Self {
        BindError::Sql(error)
    }
}

impl From<BindError> for SqlError {
    /// For places where no planner of queries can help: defaults, checks, COPY.
    fn from(error: BindError) -> Self {
        match error {
            BindError::Elsewhere(what) => SqlError::unsupported(format!("{what} in this place")),
            BindError::UnknownRelation(name) => {
                SqlError::new(crate::error::code::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
            }
            BindError::Sql(error) => error,
        }
    }
}

pub(crate) type BindResult<T> = Result<T, BindError>;

/// Binds expressions of one statement.
pub(crate) struct Binder<'a> {
    /// The tables.
    pub catalog: &'a Catalog,
    /// The session.
    pub view: &'a SessionView,
    /// The columns that names refer to.
    pub scope: &'a Scope,
    /// The statement's whole text, for error positions.
    pub text: &'a str,
    /// What is known of the parameters.
    pub params: &'a mut ParamTypes,
    /// In how many places this stands that constants before it say are never reached: a constant that fails fails nobody there.
    unreached: u32,
}

impl<'a> Binder<'a> {
    /// For a statement of that text, where names refer to those columns.
    pub fn new(
        catalog: &'a Catalog,
        view: &'a SessionView,
        scope: &'a Scope,
        text: &'a str,
        params: &'a mut ParamTypes,
    ) -> Self {
        Binder { catalog, view, scope, text, params, unreached: 0 }
    }

    /// The same, where names refer to other columns.
    pub fn within<'b>(&'b mut self, scope: &'b Scope) -> Binder<'b> {
        Binder { scope, params: self.params, ..*self }
    }
}
