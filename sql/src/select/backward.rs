//! A sort that a scan in the other direction makes superfluous.
//!
//! The library asks the scan itself ([`super::scan::KeyScan`]); but it does not ask through a filter. This rule does: it turns the
//! scan below a sort around, and keeps the result if the order is then right.

use std::any::Any;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary};

use super::scan::KeyScan;

/// Scans backward instead of sorting.
#[derive(Debug)]
pub(super) struct ScanBackward;

impl PhysicalOptimizerRule for ScanBackward {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let changed = plan.transform_up(|plan| {
            let Some(sort) = downcast::<SortExec>(&plan) else { return Ok(Transformed::no(plan)) };
            let Some(turned) = turned(sort.input())? else { return Ok(Transformed::no(plan)) };
            if !turned.equivalence_properties().ordering_satisfy(sort.expr().iter().cloned())? {
                return Ok(Transformed::no(plan));
            }
            Ok(Transformed::yes(match sort.fetch() {
                Some(fetch) => Arc::new(GlobalLimitExec::new(turned, 0, Some(fetch))),
                None => turned,
            }))
        })?;
        Ok(changed.data)
    }

    fn name(&self) -> &str {
        "scan_backward"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The plan with the scan at its bottom turned around; none if there is anything in between that minds.
fn turned(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(scan) = downcast::<KeyScan>(plan) {
        // A limit has chosen the rows already.
        return Ok(scan.fetch().is_none().then(|| Arc::new(scan.reversed()) as Arc<dyn ExecutionPlan>));
    }
    let transparent = downcast::<FilterExec>(plan).is_some_and(|filter| filter.fetch().is_none())
        || downcast::<ProjectionExec>(plan).is_some()
        || downcast::<CooperativeExec>(plan).is_some();
    let children = plan.children();
    let ([child], true) = (&children[..], transparent) else { return Ok(None) };
    match turned(child)? {
        Some(child) => replace_children_if_necessary(plan.clone(), vec![child]).map(Some),
        None => Ok(None),
    }
}

fn downcast<T: 'static>(plan: &Arc<dyn ExecutionPlan>) -> Option<&T> {
    let any: &dyn Any = &**plan;
    any.downcast_ref::<T>()
}
