//! Where PostgreSQL reads a text otherwise than the parser library: mended before, or after, it is parsed.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, SetExpr, UnaryOperator, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Whitespace, Word};

use super::is_blank;

/// Makes one literal of those with nothing but blanks and the end of a line between them.
pub(super) fn join_strings(tokens: &mut Vec<TokenWithSpan>) {
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens.drain(..) {
        if let Token::SingleQuotedString(next) = &token.token
            && let Some(last) = joined.iter().rposition(|token| !is_blank(&token.token))
            && joined[last + 1..].iter().any(|token| token.token == Token::Whitespace(Whitespace::Newline))
            && let Token::SingleQuotedString(so_far) | Token::EscapedStringLiteral(so_far) = &mut joined[last].token
        {
            so_far.push_str(next);
            joined.truncate(last + 1);
            continue;
        }
        joined.push(token);
    }
    *tokens = joined;
}

/// Takes signs off the ends of operators: `a>-1` is `a > -1`. As in PostgreSQL, an operator ends in a sign only if it also has a character
/// that none of the SQL standard's has.
pub(super) fn split_signs(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut split = Vec::with_capacity(tokens.len());
    for token in tokens {
        let Token::CustomBinaryOperator(symbol) = &token.token else {
            split.push(token);
            continue;
        };
        let length = symbol.trim_end_matches(['+', '-']).len().max(1);
        if length == symbol.len() || symbol.contains(['~', '!', '@', '#', '%', '^', '&', '|', '`', '?']) {
            split.push(token);
            continue;
        }
        let mut start = token.span.start;
        let (operator, signs) = symbol.split_at(length);
        for part in std::iter::once(operator).chain(signs.split_inclusive(['+', '-'])) {
            let end = Location { column: start.column + part.len() as u64, ..start };
            split.push(TokenWithSpan::new(operator_token(part), Span::new(start, end)));
            start = end;
        }
    }
    split
}

fn operator_token(symbol: &str) -> Token {
    match symbol {
        "+" => Token::Plus,
        "-" => Token::Minus,
        "*" => Token::Mul,
        "/" => Token::Div,
        "=" => Token::Eq,
        "<" => Token::Lt,
        ">" => Token::Gt,
        "<=" => Token::LtEq,
        ">=" => Token::GtEq,
        "<>" => Token::Neq,
        other => Token::CustomBinaryOperator(other.to_owned()),
    }
}

/// Whether a word is the postfix test ISNULL, which the parser library takes for a name.
pub(super) fn is_null_test(word: &Word, before: &[TokenWithSpan]) -> bool {
    let is_name = |token: &Token| match token {
        Token::Word(word) => word.keyword == Keyword::AS,
        token => *token == Token::Period,
    };
    word.quote_style.is_none()
        && word.value.eq_ignore_ascii_case("isnull")
        && before.iter().rev().find(|token| !is_blank(&token.token)).is_some_and(|token| !is_name(&token.token))
}

/// `x ISNULL` is `x IS NULL`.
pub(super) fn spell_null_test(tokens: &mut Vec<TokenWithSpan>) {
    let spelled = [Token::make_keyword("IS"), Token::Whitespace(Whitespace::Space), Token::make_keyword("NULL")];
    tokens.extend(spelled.map(TokenWithSpan::wrap));
}

/// Whether a table is named next: there, ONLY says nothing, as no table has children.
pub(super) fn is_before_table(before: &[TokenWithSpan]) -> bool {
    match before.iter().rev().find(|token| !is_blank(&token.token)).map(|token| &token.token) {
        Some(Token::Word(word)) => {
            word.quote_style.is_none()
                && matches!(word.keyword, Keyword::FROM | Keyword::UPDATE | Keyword::JOIN | Keyword::USING)
        }
        _ => false,
    }
}

/// `TABLE t` is `SELECT * FROM t`.
pub(super) fn spell_table(tokens: &mut Vec<TokenWithSpan>) {
    let Some(at) = tokens.iter().position(|token| !is_blank(&token.token)) else { return };
    let space = || Token::Whitespace(Whitespace::Space);
    let spelled = [Token::make_keyword("SELECT"), space(), Token::Mul, space(), Token::make_keyword("FROM")]
        .map(TokenWithSpan::wrap);
    tokens.splice(at..=at, spelled);
}

/// `WITH … INSERT INTO t SELECT …` is an INSERT whose query has the WITH.
pub(super) fn with_into_query(statement: ast::Statement) -> ast::Statement {
    let ast::Statement::Query(mut query) = statement else { return statement };
    match &mut *query.body {
        SetExpr::Insert(ast::Statement::Insert(insert)) => {
            let Some(source) = &mut insert.source else { return ast::Statement::Query(query) };
            match (&mut source.with, query.with.take()) {
                (_, None) => {}
                (own @ None, outer) => *own = outer,
                (Some(own), Some(outer)) => {
                    let inner = std::mem::replace(&mut own.cte_tables, outer.cte_tables);
                    own.cte_tables.extend(inner);
                    own.recursive |= outer.recursive;
                }
            }
            ast::Statement::Insert(insert.clone())
        }
        _ => ast::Statement::Query(query),
    }
}

/// A minus binds tighter than a power: `-2 ^ 2` is 4.
pub(super) fn bind_minus_first(statement: &mut ast::Statement) {
    struct Binder;
    impl VisitorMut for Binder {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } = expr
                && is_power(inner)
            {
                let mut power = std::mem::replace(&mut **inner, Expr::value(ast::Value::Null));
                let mut base = &mut power;
                while let Expr::BinaryOp { left, .. } = base {
                    base = left;
                    if !is_power(base) {
                        break;
                    }
                }
                let minus = std::mem::replace(base, Expr::value(ast::Value::Null));
                *base = Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(minus) };
                *expr = power;
            }
            ControlFlow::Continue(())
        }
    }
    let _ = statement.visit(&mut Binder);
}

fn is_power(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::PGExp | BinaryOperator::BitwiseXor, .. })
}

/// Whether there may be tests that the parser library reads too much into.
pub(super) fn has_loose_tests(tokens: &[TokenWithSpan]) -> bool {
    let is_test = |word: &Word| matches!(word.keyword, Keyword::DISTINCT | Keyword::UNKNOWN);
    tokens.iter().any(|token| matches!(&token.token, Token::Word(word) if is_test(word)))
}

/// `a IS DISTINCT FROM b AND c` is `(a IS DISTINCT FROM b) AND c`, and `NOT EXISTS (…) IS UNKNOWN` is `NOT (EXISTS (…) IS UNKNOWN)`: what the
/// parser library takes for one operand goes on behind it. Parentheses are nodes of their own, so that none is taken apart.
pub(super) fn bind_tests_first(statement: &mut ast::Statement) {
    struct Binder;
    impl VisitorMut for Binder {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            match expr {
                Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) if is_loose(right) => {
                    lift(expr, |test| match test {
                        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => right,
                        other => other,
                    });
                }
                Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } if is_loose(inner) => {
                    lift(expr, |not| match not {
                        Expr::UnaryOp { expr: inner, .. } => inner,
                        other => other,
                    });
                }
                Expr::BinaryOp { op: BinaryOperator::And, right, .. }
                    if matches!(&**right, Expr::BinaryOp { op: BinaryOperator::Or, .. }) =>
                {
                    lift(expr, |and| match and {
                        Expr::BinaryOp { right, .. } => right,
                        other => other,
                    });
                }
                Expr::IsUnknown(inner) | Expr::IsNotUnknown(inner) => {
                    if let Expr::Exists { negated: negated @ true, .. } = &mut **inner {
                        *negated = false;
                        let test = std::mem::replace(expr, Expr::value(ast::Value::Null));
                        *expr = Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(test) };
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let _ = statement.visit(&mut Binder);
}

/// AND or OR, without parentheses.
fn is_loose(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. })
}

/// `outer(a AND b)` becomes `outer(a) AND b`, as far down on the left as there are looser operators than `outer`.
fn lift(expr: &mut Expr, operand: impl FnOnce(&mut Expr) -> &mut Expr) {
    let binds_and = matches!(expr, Expr::BinaryOp { .. });
    let mut outer = std::mem::replace(expr, Expr::value(ast::Value::Null));
    let place = operand(&mut outer);
    let mut tree = std::mem::replace(place, Expr::value(ast::Value::Null));
    let first = first_operand(&mut tree, binds_and);
    std::mem::swap(place, first);
    *first = outer;
    *expr = tree;
}

/// The operand on the far left, below operators that are looser than AND, or than any test.
fn first_operand(expr: &mut Expr, than_and: bool) -> &mut Expr {
    match (than_and, expr) {
        (_, Expr::BinaryOp { left, op: BinaryOperator::Or, .. })
        | (false, Expr::BinaryOp { left, op: BinaryOperator::And, .. }) => first_operand(left, than_and),
        (_, other) => other,
    }
}
