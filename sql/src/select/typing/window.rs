//! Windows: their frames, and each computed once.

use std::sync::Arc;

use datafusion::common::{Column, Result};
use datafusion::logical_expr::{
    Expr, LogicalPlan, Projection, Window, WindowFrame, WindowFrameBound, WindowFrameUnits,
};

/// Computes window functions once that have become the same with the types of what they are about. The planner library looks for the same
/// functions before that, and takes what is left for different ones.
pub(super) fn without_twins(window: Window) -> Result<LogicalPlan> {
    let mut once: Vec<(Expr, Column)> = Vec::with_capacity(window.window_expr.len());
    let mut kept = Vec::with_capacity(window.window_expr.len());
    let mut outputs: Vec<Expr> = window.input.schema().columns().into_iter().map(Expr::Column).collect();
    for (expr, column) in window.window_expr.iter().zip(window.schema.columns().into_iter().skip(outputs.len())) {
        let function = expr.clone().unalias();
        match once.iter().find(|(other, _)| *other == function) {
            Some((_, twin)) => outputs.push(Expr::Column(twin.clone()).alias(column.name)),
            None => {
                once.push((function, column.clone()));
                kept.push(expr.clone());
                outputs.push(Expr::Column(column));
            }
        }
    }
    if kept.len() == window.window_expr.len() {
        return Ok(LogicalPlan::Window(window));
    }
    let window = LogicalPlan::Window(Window::try_new(kept, window.input)?);
    Ok(LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(window))?))
}

/// A RANGE without offsets ends where peers end, which is what GROUPS without offsets says; and GROUPS compares rows alone, where
/// the planner library can compute with few types.
pub(super) fn count_peers(frame: &mut WindowFrame) {
    let plain = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => true,
        WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset) => offset.is_null(),
    };
    if frame.units == WindowFrameUnits::Range
        && plain(&frame.start_bound)
        && plain(&frame.end_bound)
        && !is_whole(frame)
    {
        let unbounded = || WindowFrameBound::Preceding(datafusion::scalar::ScalarValue::UInt64(None));
        let unbounded_after = || WindowFrameBound::Following(datafusion::scalar::ScalarValue::UInt64(None));
        let start = match frame.start_bound {
            WindowFrameBound::Preceding(_) => unbounded(),
            _ => WindowFrameBound::CurrentRow,
        };
        let end = match frame.end_bound {
            WindowFrameBound::Following(_) => unbounded_after(),
            _ => WindowFrameBound::CurrentRow,
        };
        *frame = WindowFrame::new_bounds(WindowFrameUnits::Groups, start, end);
    }
}

/// Whether a frame is all of its partition.
pub(super) fn is_whole(frame: &WindowFrame) -> bool {
    matches!(&frame.start_bound, WindowFrameBound::Preceding(offset) if offset.is_null())
        && matches!(&frame.end_bound, WindowFrameBound::Following(offset) if offset.is_null())
}
