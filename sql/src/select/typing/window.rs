//! Frames of windows.

use datafusion::logical_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits};

/// A RANGE without offsets ends where peers end, which is what GROUPS without offsets says; and GROUPS compares rows alone, where
/// the planner library can compute with few types.
pub(super) fn count_peers(frame: &mut WindowFrame) {
    let plain = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => true,
        WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset) => offset.is_null(),
    };
    let is_whole = |frame: &WindowFrame| {
        matches!(frame.start_bound, WindowFrameBound::Preceding(_))
            && matches!(frame.end_bound, WindowFrameBound::Following(_))
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
