//! Deep expressions, planned a few levels at a time.
//!
//! ```text
//!   abs(abs(abs(abs(a + 1)))) * b        ─▶  step 1(a, b)          what the planner library sees: one call, of columns
//!                                                │ its body          planned by itself, once for the types of its arguments
//!                                                ▼
//!                                            abs(abs(step 0(c0))) * c1
//!                                                      │
//!                                                      ▼
//!                                                  abs(abs(c0 + 1))
//! ```
//!
//! The planner library asks of every level of an expression for the type, the nullability and the name of all that is below it, some of its
//! rules more than once: what that takes grows with the third power of the levels, or doubles with each. So no expression reaches it that
//! is higher than [`HEIGHT_MAX`]: a higher one is cut into steps, from its leaves upwards, in the text tree, before anything is planned. What a
//! step computes, and in which order, is what its body says: a branch of a CASE that is not taken is not computed, in whatever step it is.
//!
//! Invariants:
//! - `steps_are_shallow`: no body is higher than [`STEP_HEIGHT`], steps below counted as one level.
//! - A step refers to steps before it only.
//! - Columns, parameters, subqueries, aggregates and whatever GROUP BY names are arguments of steps, so that the library sees them.
//!
//! Knows nothing of what operators mean: bodies are planned as everything else is.

mod compute;
mod cut;

pub(super) use compute::{StepContext, functions};
pub(super) use cut::{Step, cut};

/// Expressions higher than this are cut.
const HEIGHT_MAX: usize = 8;
/// The height of the pieces.
const STEP_HEIGHT: usize = 5;
/// Trees of AND and OR up to this height stay whole where they are a condition: the library looks for keys and joins in them.
const LOGIC_HEIGHT_MAX: usize = 32;

/// The name by which a rewritten query calls a step.
fn name_of(number: usize) -> String {
    format!("step {number}")
}

/// The step that has this name.
pub(super) fn number_of(name: &str) -> Option<usize> {
    name.strip_prefix("step ")?.parse().ok()
}

/// What a step's body calls its argument in a place.
fn argument_name(place: usize) -> String {
    format!("c{place}")
}
