//! A statement bound to the catalog: its parameters, its result, its plan.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::plan::Planned;
use super::{Column, Statement};
use crate::types::PgType;

/// A prepared statement. It can be executed any number of times, in any transaction of its session; when the catalog has
/// moved since, it is planned anew on the way.
#[derive(Debug)]
pub struct Prepared {
    /// The parameters' types, `$1` first.
    pub params: Vec<PgType>,
    /// What its rows consist of; `None` when it returns none.
    pub columns: Option<Arc<[Column]>>,
    /// The statement.
    pub statement: Statement,
    /// The parameter types the client fixed.
    pub(crate) given: Vec<Option<PgType>>,
    /// The newest plan.
    pub(crate) planned: ArcSwap<Planned>,
}

impl Prepared {
    pub(crate) fn new(statement: Statement, given: &[Option<PgType>], planned: Arc<Planned>) -> Self {
        Prepared {
            params: planned.params.clone(),
            columns: planned.columns.clone(),
            statement,
            given: given.to_vec(),
            planned: ArcSwap::new(planned),
        }
    }
}
