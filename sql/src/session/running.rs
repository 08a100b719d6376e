//! What a statement runs in: handed down to whatever executes it, cheap to clone into streams.

use std::sync::Arc;

use txn::Transaction;

use super::{Column, RowStream, SessionView};
use crate::catalog::{Catalog, SequenceDescriptor, Table};
use crate::dml::writer::Writer;
use crate::error::{SqlError, code};
use crate::fastpath::select::SelectPlan;
use crate::memory::ClientMemory;
use crate::node::{SessionSequences, Shared};
use crate::query::{QueryContext, QueryPlan};
use crate::scalar::{EvalContext, Scalar, Sequences};
use crate::types::Datum;

/// What a statement runs in.
#[derive(Clone)]
pub(crate) struct Running {
    pub transaction: Arc<Transaction>,
    pub catalog: Arc<Catalog>,
    pub view: Arc<SessionView>,
    pub params: Arc<[Datum]>,
    pub sequences: Arc<Sequences>,
    pub shared: Arc<Shared>,
    /// What the session holds.
    pub memory: ClientMemory,
}

impl Running {
    /// For expressions over no row yet.
    pub fn eval_context(&self) -> EvalContext<'_> {
        EvalContext { row: &[], params: &self.params, view: &self.view, sequences: &self.sequences }
    }

    /// What writes rows of a table.
    pub fn writer<'a>(&'a self, table: &'a Arc<Table>) -> Writer<'a> {
        Writer { transaction: &self.transaction, table, view: &self.view, invisible: false }
    }

    /// What the planner of queries works in.
    pub fn query_context(&self) -> QueryContext {
        QueryContext {
            transaction: Some(self.transaction.clone()),
            catalog: self.catalog.clone(),
            params: self.params.clone(),
            session: self.view.clone(),
            sequences: self.session_sequences(),
            memory: self.memory.clone(),
        }
    }

    fn session_sequences(&self) -> SessionSequences {
        SessionSequences { node: self.shared.sequences.clone(), session: self.sequences.clone() }
    }

    /// Draws from sequences what evaluating the expressions `times` times takes.
    pub async fn prepare_sequences<'s>(
        &self,
        scalars: impl IntoIterator<Item = &'s Scalar>,
        times: usize,
    ) -> Result<(), SqlError> {
        let (mut drawn, mut set) = (Vec::new(), Vec::new());
        scalars.into_iter().for_each(|scalar| {
            scalar.sequences(&mut drawn);
            scalar.walk(&mut |part| {
                if let Scalar::SetVal(id, value, given) = part {
                    set.push((*id, *value, *given));
                }
            });
        });
        let sequences = self.session_sequences();
        for (id, value, given) in set {
            sequences.set(self.sequence(id)?, value, given).await?;
        }
        drawn.sort_unstable();
        while let Some(id) = drawn.last().copied() {
            let calls = drawn.iter().filter(|other| **other == id).count();
            drawn.retain(|other| *other != id);
            sequences.prepare(self.sequence(id)?, calls * times).await?;
        }
        Ok(())
    }
}

impl Running {
    fn sequence(&self, id: u32) -> Result<&Arc<SequenceDescriptor>, SqlError> {
        let dropped = || SqlError::new(code::UNDEFINED_TABLE, "the sequence has been dropped");
        self.catalog.sequence(id).ok_or_else(dropped)
    }
}

/// A planned query, by whoever planned it.
#[derive(Clone)]
pub(crate) enum Source {
    /// Served on the table's keys.
    Select(Arc<SelectPlan>),
    /// Served by the planner of queries.
    Query(Arc<dyn QueryPlan>),
}

impl Source {
    /// What its rows consist of.
    pub fn columns(&self) -> Arc<[Column]> {
        match self {
            Source::Select(plan) => plan.output.columns.clone(),
            Source::Query(plan) => plan.columns(),
        }
    }

    /// The tables it reads.
    pub fn tables(&self) -> Vec<u32> {
        match self {
            Source::Select(plan) => plan.source.iter().map(|(table, _)| table.id).collect(),
            Source::Query(plan) => plan.tables().to_vec(),
        }
    }

    /// A function in it that moves sequences, if there is one.
    pub fn moves_sequences(&self) -> Option<&'static str> {
        match self {
            Source::Select(plan) => {
                let mut moves = None;
                plan.output.scalars.iter().for_each(|scalar| {
                    scalar.walk(&mut |part| match part {
                        Scalar::NextVal(_) => moves = Some("nextval"),
                        Scalar::SetVal(..) => moves = Some("setval"),
                        _ => {}
                    });
                });
                moves
            }
            Source::Query(plan) => plan.moves_sequences(),
        }
    }

    /// Starts it.
    pub async fn execute(&self, running: &Running) -> Result<RowStream, SqlError> {
        match self {
            Source::Select(plan) => plan.execute(running).await,
            Source::Query(plan) => plan.execute(&running.query_context()).await,
        }
    }
}
