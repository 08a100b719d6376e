//! PostgreSQL's functions and aggregates, over datums, and as functions of the query engine.
//!
//! ```text
//!   name, argument types ──resolve──▶ Resolved {casts, result type, body} ──call──▶ Datum
//!                                        └── PgFunction: one ScalarUDF per name, resolving per call site
//!   aggregates: PgAggregate: sum, avg, min, max, string_agg, … with PostgreSQL's result types
//! ```
//!
//! A function is a row of a table: name, arguments, result, body. Operators that are not arithmetic or comparison are functions named by
//! their symbol (`->`, `@>`, `||`). Arguments are cast as PostgreSQL casts them implicitly; literals of no type yet become what the
//! function wants.
//!
//! Knows nothing of plans and the catalog: the session's part is in [`FunctionContext`].
//!
//! Sources: PostgreSQL 15 manual, chapter 9 (functions and operators) and 10.3 (function type resolution).

mod aggregate;
mod arrays;
mod format;
mod from_char;
mod json;
mod json_build;
mod make;
mod math;
mod moments;
mod regexp;
mod registry;
mod series;
mod sleep;
mod strings;
mod system;
mod to_char;
mod udf;

pub use aggregate::{aggregate, aggregate_names, aggregates};
pub use registry::{Call, FunctionContext, Resolved, Volatile, exists, no_function, resolve};
pub use sleep::sleep;
pub use udf::{function, functions, is_absent, missing, name_of};

#[cfg(test)]
mod tests;
