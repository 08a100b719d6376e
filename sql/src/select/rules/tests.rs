use datafusion::arrow::datatypes::Schema;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::empty::EmptyExec;

use super::*;
use crate::interrupt::Work;
use crate::select::errors::sql_error;
use crate::session::CancelToken;

#[test]
fn every_rule_looks_whether_to_go_on() {
    let state = SessionStateBuilder::new().with_default_features().build();
    let token = CancelToken::new();
    let _entered = interrupt::enter(&Work::of(token.clone()));
    let logical = |rule: &dyn OptimizerRule| rule.rewrite(LogicalPlan::default(), &state).map(drop);
    let plan: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
    let physical = |rule: &dyn PhysicalOptimizerRule| rule.optimize(plan.clone(), state.config_options()).map(drop);
    let all = || {
        let logical = super::logical().into_iter().map(|rule| (rule.name().to_owned(), logical(&*rule)));
        let results: Vec<_> = logical.collect();
        let physical = super::physical().into_iter().map(|rule| (rule.name().to_owned(), physical(&*rule)));
        results.into_iter().chain(physical.collect::<Vec<_>>())
    };
    assert!(all().count() > 40, "the library has as many rules as ever");
    all().for_each(|(name, result)| assert!(result.is_ok(), "{name} goes on: {result:?}"));
    token.cancel();
    all().for_each(|(name, result)| {
        assert_eq!(result.map_err(|error| sql_error(error).code), Err("57014"), "{name} is told to stop");
    });
}

#[test]
fn the_order_of_many_joins_is_as_written() {
    let joins = |count: usize| {
        let one = LogicalPlanBuilder::empty(true);
        let plan = (0..count).try_fold(one.clone(), |plan, _| plan.cross_join(one.clone().build()?));
        plan.and_then(LogicalPlanBuilder::build).expect("it is built")
    };
    assert!(!has_many_joins(&joins(ORDERED_JOINS_MAX)).expect("counted"));
    assert!(has_many_joins(&joins(ORDERED_JOINS_MAX + 1)).expect("counted"));
    let state = SessionStateBuilder::new().with_default_features().build();
    let rules = logical();
    let bounded = rules.iter().find(|rule| rule.name() == "eliminate_cross_join").expect("the library has the rule");
    let rewritten = |count| bounded.rewrite(joins(count), &state).expect("rewritten").transformed;
    assert!(rewritten(ORDERED_JOINS_MAX));
    assert!(!rewritten(ORDERED_JOINS_MAX + 1));
}
