//! What names in a query stand for: tables by the search path, functions ours before the library's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::sqlparser::ast::ObjectName;
use parking_lot::Mutex;

use super::aggregates;
use super::calls::{Call, Kind};
use super::errors::external;
use super::operators::Operators;
use super::sequences;
use super::system::SystemProvider;
use super::table::KeyTable;
use crate::bind::normalize;
use crate::catalog::RelationRef;
use crate::error::{SqlError, code};
use crate::functions;
use crate::pg_catalog;
use crate::query::QueryContext;
use crate::types::PgType;

/// The columns of a table of the catalog, by a name in a query; none for anything else.
pub(super) fn columns(context: &QueryContext, name: &ObjectName) -> Option<Vec<String>> {
    let parts: Vec<String> =
        name.0.iter().map(|part| part.as_ident().map(normalize)).collect::<Option<Vec<String>>>()?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    if let [name] = parts[..]
        && pg_catalog::table("pg_catalog", name).is_some()
    {
        return None;
    }
    let (catalog, session) = (&context.catalog, &context.session);
    match catalog.resolve_in_query(session.database_id, &session.search_path, &parts) {
        Ok(Some(RelationRef::Table(id))) => {
            let table = catalog.table(id)?;
            Some(table.visible_positions.iter().map(|position| table.columns[*position].name.clone()).collect())
        }
        _ => None,
    }
}

/// The names of one query.
pub(super) struct Scope<'a> {
    state: &'a SessionState,
    context: &'a QueryContext,
    operators: Arc<Operators>,
    /// The functions of the steps that deep expressions were cut into.
    steps: BTreeMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    /// The tables named so far.
    pub tables: Mutex<BTreeSet<u32>>,
    /// The functions of sequences called so far.
    sequence_functions: Mutex<Vec<String>>,
}

/// The first of some functions that is called.
fn called_of(called: &[String], functions: &[&'static str]) -> Option<&'static str> {
    functions.iter().copied().find(|function| called.iter().any(|called| called == function))
}

impl<'a> Scope<'a> {
    pub fn new(state: &'a SessionState, context: &'a QueryContext, operators: Arc<Operators>) -> Self {
        let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![operators.clone()];
        planners.extend(state.expr_planners().iter().cloned());
        let (steps, tables, sequence_functions) = (BTreeMap::new(), Mutex::default(), Mutex::default());
        Scope { state, context, operators, steps, planners, tables, sequence_functions }
    }

    /// The same with steps that may be called.
    pub fn with_steps(mut self, steps: Vec<Arc<ScalarUDF>>) -> Self {
        self.steps = steps.into_iter().map(|step| (step.name().to_owned(), step)).collect();
        self
    }

    /// Whether nothing at all has this name: no aggregate, no window function, nothing that the library takes for syntax.
    fn is_missing(&self, name: &str) -> bool {
        let syntax = matches!(name, "unnest" | "unnest_outer" | "map" | "make_map" | "grouping" | "struct");
        !syntax
            && self.get_aggregate_meta(name).is_none()
            && self.get_window_meta(name).is_none()
            && self.get_higher_order_meta(name).is_none()
    }

    fn sequence_function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let mut called = self.sequence_functions.lock();
        let function = sequences::function(name, called.len(), self.context)?;
        called.push(name.to_owned());
        Some(function)
    }

    /// A function that moves sequences, if one is called; refuses a query that asks where they stand as well.
    pub fn moves_sequences(&self) -> std::result::Result<Option<&'static str>, SqlError> {
        let called = self.sequence_functions.lock();
        let (asked, moved) = (called_of(&called, &sequences::ASKERS), called_of(&called, &sequences::MOVERS));
        match (asked, moved) {
            (Some(asked), Some(moved)) => {
                Err(SqlError::unsupported(format!("{asked} beside {moved} in a query that reads rows")))
            }
            (_, moved) => Ok(moved),
        }
    }

    fn find(&self, name: &TableReference) -> std::result::Result<Arc<dyn TableSource>, SqlError> {
        let parts: Vec<&str> = match name {
            TableReference::Bare { table } => vec![table],
            TableReference::Partial { schema, table } => vec![schema, table],
            TableReference::Full { catalog, schema, table } => vec![catalog, schema, table],
        };
        let session = &self.context.session;
        let system = match parts[..] {
            [name] if !session.search_path.iter().any(|schema| schema == "pg_catalog") => {
                pg_catalog::table("pg_catalog", name)
            }
            [.., schema, name] => pg_catalog::table(schema, name),
            _ => None,
        };
        if let Some(table) = system {
            return Ok(provider_as_source(Arc::new(SystemProvider::new(table))));
        }
        let catalog = &self.context.catalog;
        match catalog.resolve_in_query(session.database_id, &session.search_path, &parts)? {
            Some(RelationRef::Table(id)) => {
                let table = catalog.table(id).ok_or_else(|| SqlError::internal("a table is not in its catalog"))?;
                self.tables.lock().insert(id);
                Ok(provider_as_source(Arc::new(KeyTable::new(table.clone()))))
            }
            Some(RelationRef::Index { .. }) => {
                Err(SqlError::new(code::WRONG_OBJECT_TYPE, format!("cannot open relation \"{}\"", parts.join(".")))
                    .detail("This operation is not supported for indexes."))
            }
            Some(RelationRef::Sequence(_)) => Err(SqlError::unsupported("SELECT from a sequence")),
            None => {
                let named_last = parts[..].last().copied().filter(|_| parts.len() == 1);
                if let Some(table) = named_last
                    .and_then(|name| session.search_path.iter().find_map(|schema| pg_catalog::table(schema, name)))
                {
                    return Ok(provider_as_source(Arc::new(SystemProvider::new(table))));
                }
                Err(SqlError::new(code::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", parts.join("."))))
            }
        }
    }
}

impl ContextProvider for Scope<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        self.find(&name).map_err(external)
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        super::rowset::source(name, args, &self.operators.functions, self.state, self.get_function_meta(name))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let context =
            pg_catalog::Context { catalog: self.context.catalog.clone(), session: self.context.session.clone() };
        self.steps
            .get(name)
            .cloned()
            .or_else(|| Call::by_name(name, &self.operators.settings))
            .or_else(|| pg_catalog::function(name, &context))
            .or_else(|| functions::function(name, &self.operators.functions))
            .or_else(|| functions::sleep(name, &self.operators.functions))
            .or_else(|| self.sequence_function(name))
            .or_else(|| self.state.scalar_functions().get(name).cloned())
            // A type's name is a cast to it.
            .or_else(|| Some(Call::udf(Kind::Cast(castable(name)?, -1), &self.operators.settings)))
            .or_else(|| self.is_missing(name).then(|| functions::missing(name)))
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        // Those that the library computes as PostgreSQL does, it computes faster.
        let library = matches!(name, "count" | "min" | "max" | "bool_and" | "bool_or" | "array_agg");
        if name == aggregates::SINGLE {
            return Some(aggregates::single());
        }
        let own = || functions::aggregates(&self.operators.functions).into_iter().find(|own| own.name() == name);
        let own = if library { None } else { own() };
        own.or_else(|| self.state.aggregate_functions().get(name).cloned())
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}

/// The type that a function of this name casts to.
fn castable(name: &str) -> Option<PgType> {
    let ty = PgType::from_typname(name)?;
    (!ty.is_array() && !matches!(ty, PgType::Void | PgType::Record | PgType::Unknown | PgType::Interval)).then_some(ty)
}
