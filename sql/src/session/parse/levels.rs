//! How deep a statement nests, measured before anything is made of it.
//!
//! ```text
//!   a + (b * (c))                  the levels of its expressions
//!   x JOIN y JOIN z, WITH, UNION   flat in the text, a level each in the plan
//!   a OR b OR c OR …               the parser's chain, one level a term, made a tree of few levels: AND and OR are associative
//! ```

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Query, SetExpr, TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut,
};

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::is_blank;
use crate::error::SqlError;
use crate::stack::{LEVELS_MAX, too_deep};

/// Tokens that a level of the parser's chains, which are dropped if the statement is wrong, takes less room than.
const CHAINED_TOKENS: usize = 24;
/// The longest chain of tokens that is parsed at all.
const TOKENS_MAX: usize = 1_000_000;

/// The levels to have room for while tokens are parsed: no tree nests deeper than there are tokens since the last comma, in the
/// parentheses at hand and in those around them.
///
/// # Errors
/// 54001 when there are more than may be parsed.
pub(super) fn while_parsed(tokens: &[TokenWithSpan]) -> Result<usize, SqlError> {
    let (mut open, mut depth, mut deepest) = (vec![0], 0, 0);
    for token in tokens {
        match &token.token {
            token if is_blank(token) => continue,
            Token::Comma => depth -= std::mem::take(open.last_mut().expect("the outermost is never closed")),
            Token::RParen | Token::RBracket if open.len() > 1 => depth -= open.pop().unwrap_or_default(),
            other => {
                *open.last_mut().expect("the outermost is never closed") += 1;
                depth += 1;
                if matches!(other, Token::LParen | Token::LBracket) {
                    open.push(0);
                }
            }
        }
        deepest = deepest.max(depth);
    }
    if deepest > TOKENS_MAX { Err(too_deep()) } else { Ok(deepest.min(LEVELS_MAX).max(deepest / CHAINED_TOKENS)) }
}

/// Whether there may be long chains of AND or OR.
pub(super) fn has_chains(tokens: &[TokenWithSpan]) -> bool {
    let is_link = |token: &&TokenWithSpan| matches!(&token.token, Token::Word(word) if matches!(word.keyword, Keyword::AND | Keyword::OR));
    tokens.iter().filter(is_link).nth(CHAIN_MAX).is_some()
}

/// The levels of a part of a statement.
///
/// # Errors
/// 54001 when there are more than are followed.
pub(super) fn measured(tree: &impl Visit) -> Result<usize, SqlError> {
    let mut measure = Measure { depth: 0, deepest: 0, beside: 0 };
    let levels = tree.visit(&mut measure).is_continue().then_some(measure.deepest + measure.beside);
    levels.filter(|levels| *levels <= LEVELS_MAX).ok_or_else(too_deep)
}

struct Measure {
    depth: usize,
    deepest: usize,
    /// What stands side by side in the text and one above the other in a plan.
    beside: usize,
}

impl Measure {
    fn enter(&mut self, beside: usize) -> ControlFlow<()> {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        self.beside += beside;
        if self.depth + self.beside > LEVELS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn leave(&mut self) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

impl Visitor for Measure {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.enter(1 + set_operations(&query.body))
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<()> {
        self.enter(1)
    }

    fn post_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.enter(match expr {
            // The planner library takes conditions apart, and puts what is left of them together in a chain.
            Expr::BinaryOp { op: BinaryOperator::And, .. } => 1,
            // Rows are compared column by column, each comparison within the one before it.
            Expr::Tuple(columns) => columns.len(),
            Expr::CompoundFieldAccess { access_chain, .. } => access_chain.len(),
            Expr::Cast { data_type, .. } => dimensions(data_type),
            Expr::Function(function) => usize::from(function.over.is_some()),
            _ => 0,
        })
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.leave()
    }
}

/// UNION and its kin in a query's body, but for those in parentheses, which are queries of their own.
fn set_operations(body: &SetExpr) -> usize {
    let mut todo = vec![body];
    let mut found = 0;
    while let Some(body) = todo.pop() {
        if let SetExpr::SetOperation { left, right, .. } = body {
            found += 1;
            todo.extend([&**left, &**right]);
        }
    }
    found
}

/// The brackets behind an array's type.
fn dimensions(data_type: &DataType) -> usize {
    use datafusion::sql::sqlparser::ast::ArrayElemTypeDef;
    let (mut data_type, mut found) = (data_type, 0);
    while let DataType::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) =
        data_type
    {
        (data_type, found) = (element, found + 1);
    }
    found
}

/// Chains shorter than this stay as they were parsed.
const CHAIN_MAX: usize = 32;

/// Makes trees of long chains of AND and OR. What they mean is the same, in the same order.
pub(super) fn balance(tree: &mut impl VisitMut) {
    struct Balancer;
    impl VisitorMut for Balancer {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            let op = match expr {
                Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => op.clone(),
                _ => return ControlFlow::Continue(()),
            };
            if chain_length(expr, &op) > CHAIN_MAX {
                let chain = std::mem::replace(expr, Expr::value(Value::Null));
                *expr = tree_of(terms(chain, &op), &op);
            }
            ControlFlow::Continue(())
        }
    }
    let _ = tree.visit(&mut Balancer);
}

fn chain_length(expr: &Expr, chained: &BinaryOperator) -> usize {
    let (mut expr, mut length) = (expr, 1);
    while let Expr::BinaryOp { left, op, .. } = expr
        && op == chained
    {
        (expr, length) = (left, length + 1);
    }
    length
}

fn terms(chain: Expr, chained: &BinaryOperator) -> Vec<Expr> {
    let (mut chain, mut terms) = (chain, Vec::new());
    loop {
        match chain {
            Expr::BinaryOp { left, op, right } if op == *chained => {
                terms.push(*right);
                chain = *left;
            }
            first => {
                terms.push(first);
                terms.reverse();
                return terms;
            }
        }
    }
}

/// Terms in their order, joined two by two.
pub(crate) fn tree_of(mut terms: Vec<Expr>, op: &BinaryOperator) -> Expr {
    while terms.len() > 1 {
        let mut pairs = Vec::with_capacity(terms.len().div_ceil(2));
        let mut rest = terms.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) },
                None => left,
            });
        }
        terms = pairs;
    }
    terms.pop().unwrap_or_else(|| Expr::value(Value::Boolean(*op == BinaryOperator::And)))
}
