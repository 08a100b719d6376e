//! What EXPLAIN prints: the plan, a line a step, and what executing it came to.
//!
//! Each reading step names the table, the index it goes by and the span of it that it reads.

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;

use crate::query::QueryContext;

/// The plan as lines.
pub(crate) fn plan_lines(plan: &dyn ExecutionPlan, verbose: bool) -> Vec<String> {
    lines(&DisplayableExecutionPlan::new(plan).indent(verbose).to_string())
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// An execution that is being measured.
pub(crate) struct Measured<'a> {
    context: &'a QueryContext,
    started: tokio::time::Instant,
}

impl<'a> Measured<'a> {
    /// Starts to measure.
    #[allow(clippy::disallowed_methods, reason = "shown to the user, decides nothing")]
    pub fn start(context: &'a QueryContext) -> Self {
        Measured { context, started: tokio::time::Instant::now() }
    }

    /// The plan with what its steps did, then rows, time and ranges.
    pub fn finish(self, plan: &dyn ExecutionPlan, rows: u64, verbose: bool) -> Vec<String> {
        let text = DisplayableExecutionPlan::with_metrics(plan).indent(verbose).to_string();
        let mut lines = lines(&text);
        lines.push(format!("Rows: {rows}"));
        lines.push(format!("Execution Time: {:.3} ms", self.started.elapsed().as_secs_f64() * 1000.0));
        if let Some(transaction) = &self.context.transaction {
            let ranges = transaction.ranges_touched();
            let names: Vec<String> = ranges.iter().map(u64::to_string).collect();
            lines.push(format!("Ranges Touched: {} ({})", ranges.len(), names.join(", ")));
        }
        lines
    }
}
