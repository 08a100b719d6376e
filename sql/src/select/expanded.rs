//! How large a query's plan would be, by the query's text.
//!
//! ```text
//!   WITH a AS (SELECT … FROM t), b AS (SELECT … FROM a, a), c AS (SELECT … FROM b, b) …
//!                  2                        1 + 2 + 2                1 + 5 + 5             twice as large for each name
//! ```
//!
//! The planner library puts the whole plan of what WITH names in the place of each use. Some thirty names, each used twice by the next, would
//! be more than any machine holds, and the library neither counts nor looks whether to go on while it does that: so it is counted before.
//!
//! Knows nothing of what else makes plans large: see [`super::optimize::check_size`].

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Query, TableFactor, Visit, Visitor};

use super::optimize::{NODES_MAX, too_large};
use crate::bind::normalize;
use crate::error::SqlError;
use crate::select::names::last_part;

/// Whether a query's plan would be of a size that can be worked on.
///
/// # Errors
/// 54001 when it would be larger.
pub(super) fn check(query: &Query) -> Result<(), SqlError> {
    match query.visit(&mut Counter::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(TooLarge) => Err(too_large()),
    }
}

struct TooLarge;

/// Counts queries and what they read from, each as often as it is used.
#[derive(Default)]
struct Counter {
    /// The query that is visited, and those around it, outermost first.
    open: Vec<Open>,
    /// What WITH has named so far, and how large it is; what was named last hides what was named before.
    named: Vec<(String, usize)>,
}

/// A query that is visited.
struct Open {
    nodes: usize,
    /// What its WITH is still to name, last first: their queries come before anything else of it.
    to_name: Vec<String>,
    /// How many names there were before its own.
    named_before: usize,
}

impl Counter {
    fn add(&mut self, nodes: usize) -> ControlFlow<TooLarge> {
        let Some(open) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        open.nodes += nodes;
        if open.nodes > NODES_MAX { ControlFlow::Break(TooLarge) } else { ControlFlow::Continue(()) }
    }
}

impl Visitor for Counter {
    type Break = TooLarge;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<TooLarge> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        let mut to_name: Vec<String> = with.map(|cte| normalize(&cte.alias.name)).collect();
        to_name.reverse();
        self.open.push(Open { nodes: 1, to_name, named_before: self.named.len() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<TooLarge> {
        let Some(closed) = self.open.pop() else { return ControlFlow::Continue(()) };
        self.named.truncate(closed.named_before);
        match self.open.last_mut().and_then(|around| around.to_name.pop()) {
            Some(name) => {
                self.named.push((name, closed.nodes));
                ControlFlow::Continue(())
            }
            None => self.add(closed.nodes),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<TooLarge> {
        let TableFactor::Table { name, .. } = factor else { return ControlFlow::Continue(()) };
        let named = self.named.iter().rev().find(|(named, _)| name.0.len() == 1 && *named == last_part(name));
        self.add(named.map_or(1, |(_, nodes)| *nodes))
    }
}

#[cfg(test)]
mod tests;
