//! Queries: planned by DataFusion as PostgreSQL means them, executed over key spans.
//!
//! ```text
//!   query's text tree ─ rewrite ─▶ the same, as the library must read it
//!        │ scope: names ─▶ tables, functions     operators, typing: types as PostgreSQL resolves them
//!        ▼
//!   logical plan ─ optimized ─▶ kept (no transaction in it)
//!        │ parameters filled in, spans chosen
//!        ▼
//!   physical plan ─▶ KeyScan (pages of a span, in a transaction) ─▶ batches ─▶ rows
//! ```
//!
//! Types travel as Arrow types with metadata ([`crate::arrow`]). Operators, casts and the aggregates whose results PostgreSQL
//! types otherwise are functions of ours; comparisons, joins, sorting, grouping and windows are the library's, on keys where one
//! value may be held in several ways ([`typing`]).
//!
//! Invariants:
//! - `plan_holds_no_transaction`: a plan may be executed any number of times, side by side.
//! - `conditions_only_narrow`: what a span leaves out could not have satisfied the conditions; what it lets in is checked again.
//! - Nothing a query says is dropped silently: what is not done is refused with 0A000.
//!
//! Knows nothing of sessions beyond [`crate::query::QueryContext`], nor of how rows are written.

mod aggregates;
mod append;
mod backward;
mod calls;
mod errors;
mod expanded;
mod guard;
mod hidden;
mod names;
mod operators;
mod optimize;
mod plan;
mod rewrite;
mod rowset;
mod rules;
mod scan;
mod scope;
mod sequences;
mod span;
mod steps;
mod subplans;
mod system;
mod table;
mod typing;

pub(crate) use names::name_of as column_name;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::FieldRef;
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;

use crate::apart::Apart;
use crate::arrow::{self, type_of};
use crate::error::SqlError;
use crate::functions::FunctionContext;
use crate::interrupt;
use crate::query::{QueryContext, QueryPlan, QueryPlanner};
use crate::session::{Column, levels_of};
use crate::stack::{Deep, contained, with_room};
use crate::types::PgType;
use backward::ScanBackward;
use errors::sql_error;
use operators::Operators;
use plan::PlannedQuery;
use rewrite::Rewritten;
use scope::Scope;
use steps::StepContext;

/// How often a query is planned again because a parameter's type was learnt late.
const MAX_PASSES: usize = 4;

/// What the sorts and joins of all queries may put on disk together when there is no room for it in memory.
const SPILLED_BYTES_MAX: u64 = 8 << 30;

/// What a sort reserves before its first row, for merging what it may put on disk. The library's ten megabytes would be most of what is
/// left for small sorts beside large ones.
const SORT_BYTES_MIN: usize = 2 << 20;

/// Plans the queries of a node's sessions.
#[derive(Clone)]
pub struct Planner {
    state: Arc<SessionState>,
    apart: Apart,
}

impl Planner {
    /// A planner whose queries hold what they hold in that pool, and fail with 53200 where it refuses. It plans, and its plans run,
    /// apart.
    ///
    /// # Errors
    /// XX000 when the library cannot be set up.
    pub(crate) fn new(pool: Arc<dyn MemoryPool>, apart: Apart) -> Result<Planner, SqlError> {
        let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
        let options = config.options_mut();
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.collect_spans = true;
        options.sql_parser.default_null_ordering = "nulls_max".to_owned();
        options.execution.collect_statistics = false;
        options.execution.sort_spill_reservation_bytes = SORT_BYTES_MIN;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(pool)
            .with_max_temp_directory_size(SPILLED_BYTES_MAX)
            .build_arc()
            .map_err(sql_error)?;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_optimizer_rules(rules::logical())
            .with_physical_optimizer_rules(rules::physical())
            .with_physical_optimizer_rule(Arc::new(ScanBackward))
            .with_query_planner(Arc::new(subplans::QueryPlanner))
            .build();
        Ok(Planner { state: Arc::new(state), apart })
    }
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planner").finish_non_exhaustive()
    }
}

#[async_trait]
impl QueryPlanner for Planner {
    async fn plan(
        &self,
        query: &ast::Query,
        given_types: &[Option<PgType>],
        context: &QueryContext,
    ) -> Result<Arc<dyn QueryPlan>, SqlError> {
        let levels = levels_of(query)?;
        let (planner, query) = (self.clone(), query.clone());
        let (given_types, context) = (given_types.to_vec(), context.clone());
        let planned = async move { contained(levels, || planner.plan_here(&query, &given_types, &context, levels)) };
        Ok(Arc::new(self.apart.run(planned).await?))
    }
}

/// A query as it was understood.
struct Logical {
    plan: LogicalPlan,
    /// Its parameters' types.
    params: Vec<PgType>,
    /// The tables it names.
    tables: Vec<u32>,
    /// A function in it that moves sequences.
    moves_sequences: Option<&'static str>,
}

impl Planner {
    fn plan_here(
        &self,
        query: &ast::Query,
        given_types: &[Option<PgType>],
        context: &QueryContext,
        levels: usize,
    ) -> Result<PlannedQuery, SqlError> {
        let work = self.apart.work(interrupt::current(), &self.state.runtime_env().memory_pool);
        let _entered = interrupt::enter(&work);
        expanded::check(query)?;
        let rewritten = rewrite::rewrite(query, &|name| scope::columns(context, name))?;
        // What a query is rewritten to may nest deeper than what was parsed.
        let levels = levels.max(levels_of(&rewritten.query)?);
        with_room(levels, || self.plan_rewritten(rewritten, given_types, context, levels))
    }

    fn plan_rewritten(
        &self,
        rewritten: Rewritten,
        given_types: &[Option<PgType>],
        context: &QueryContext,
        levels: usize,
    ) -> Result<PlannedQuery, SqlError> {
        let Logical { plan, params, tables, moves_sequences } = self.logical(&rewritten, given_types, context)?;
        let plan = optimize::analyzed_and_optimized(&self.state, plan).map_err(sql_error)?;
        let plan = Arc::new(Deep::new(levels, plan));
        let columns = columns(&plan);
        if columns.iter().any(|column| matches!(column.ty, PgType::Record | PgType::RecordArray)) {
            return Err(SqlError::unsupported("a row as a value"));
        }
        let (apart, state) = (self.apart.clone(), self.state.clone());
        let hidden = rewritten.hidden;
        Ok(PlannedQuery { apart, state, plan, columns, params, hidden, tables, moves_sequences })
    }

    fn logical(
        &self,
        rewritten: &Rewritten,
        given_types: &[Option<PgType>],
        context: &QueryContext,
    ) -> Result<Logical, SqlError> {
        let mut types: Vec<Option<PgType>> = given_types.to_vec();
        types.resize(types.len().max(rewritten.params), None);
        for (number, ty) in &rewritten.known {
            if let Some(slot @ None) = types.get_mut(*number) {
                *slot = Some(*ty);
            }
        }
        let functions = Arc::new(function_context(context));
        for pass in 0..MAX_PASSES {
            let operators = Arc::new(Operators::new(functions.clone()));
            let params = parameters(rewritten, &types);
            let steps = Arc::new(StepContext {
                state: self.state.clone(),
                query: QueryContext { transaction: None, ..context.clone() },
                operators: operators.clone(),
                params: params.clone(),
            });
            let scope = Scope::new(&self.state, context, operators.clone());
            let scope = scope.with_steps(steps::functions(&rewritten.steps, &steps));
            let plan = plan_once(&scope, rewritten, params);
            let learnt = learn(&mut types, &operators.inferred.lock());
            if learnt && pass + 1 < MAX_PASSES {
                continue;
            }
            let plan = plan?;
            optimize::check_size(&plan).map_err(sql_error)?;
            let plan = typing::settle_plan(&operators, plan).map_err(sql_error)?;
            let moves_sequences = scope.moves_sequences()?;
            let learnt = learn(&mut types, &operators.inferred.lock());
            let unknown = types.iter().any(Option::is_none);
            if (learnt || unknown) && pass + 1 < MAX_PASSES {
                if !learnt {
                    // Nothing says what they are: PostgreSQL takes them for text.
                    types.iter_mut().for_each(|ty| *ty = ty.or(Some(PgType::Text)));
                }
                continue;
            }
            let params = types.iter().map(|ty| ty.unwrap_or(PgType::Text)).collect();
            let tables = scope.tables.lock().iter().copied().collect();
            return Ok(Logical { plan, params, tables, moves_sequences });
        }
        Err(SqlError::new("42P18", "could not determine the data types of the parameters"))
    }
}

/// What functions know of the session.
fn function_context(context: &QueryContext) -> FunctionContext {
    let session = &context.session;
    let exists = |name: &&String| context.catalog.schema(session.database_id, name).is_some();
    FunctionContext {
        settings: Arc::new(session.types.clone()),
        user: session.user.clone(),
        database: session.database.clone(),
        search_path: session.search_path.iter().filter(exists).cloned().collect(),
        version: hidden::version(context),
        backend_pid: session.backend_pid as i32,
        parameters: Arc::new(session.settings.clone()),
        asked_settings: session.asked_settings.clone(),
        random: session.random.clone(),
    }
}

/// What is known of the types of a query's parameters.
fn parameters(rewritten: &Rewritten, types: &[Option<PgType>]) -> Vec<Option<FieldRef>> {
    let given = types
        .iter()
        .enumerate()
        .map(|(number, ty)| ty.map(|ty| FieldRef::new(arrow::field((number + 1).to_string(), ty, -1, true))));
    let hidden = rewritten
        .hidden
        .iter()
        .map(|hidden| Some(FieldRef::new(arrow::field(hidden.placeholder(), hidden.ty(), -1, true))));
    given.chain(hidden).collect()
}

fn plan_once(scope: &Scope<'_>, rewritten: &Rewritten, params: Vec<Option<FieldRef>>) -> Result<LogicalPlan, SqlError> {
    let mut planning = PlannerContext::new().with_prepare_param_data_types(params);
    let planner = SqlToRel::new(scope);
    let statement = ast::Statement::Query(Box::new(rewritten.query.clone()));
    planner.sql_statement_to_plan_with_context(statement, &mut planning).map_err(sql_error)
}

/// Takes over what was found of parameters' types; whether there was anything new.
fn learn(types: &mut [Option<PgType>], inferred: &BTreeMap<String, PgType>) -> bool {
    let mut learnt = false;
    for (name, ty) in inferred {
        let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        if let Some(slot @ None) = number.and_then(|number| types.get_mut(number.checked_sub(1)?)) {
            *slot = Some(*ty);
            learnt = true;
        }
    }
    learnt
}

/// What a plan's rows consist of, named as a user sees them.
fn columns(plan: &LogicalPlan) -> Arc<[Column]> {
    plan.schema()
        .fields()
        .iter()
        .map(|field| {
            let (ty, typmod) = type_of(field);
            // A literal that nothing gave a type is text to a client.
            let ty = if ty == PgType::Unknown { PgType::Text } else { ty };
            Column { typmod, ..Column::computed(names::visible(field.name()), ty) }
        })
        .collect()
}
