//! `AS OF SYSTEM TIME …`, which the parser library does not know: cut out of a statement before it is parsed.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{Postgres, at_location, is_blank, parser, syntax_error};
use crate::error::SqlError;

const WORDS: [&str; 4] = ["as", "of", "system", "time"];

/// Removes the clause wherever it stands; its expression, if there is one.
///
/// # Errors
/// When its expression does not parse, when two of them differ, and where it cannot be.
pub(super) fn cut(tokens: &mut Vec<TokenWithSpan>, text: &str) -> Result<Option<Arc<ast::Expr>>, SqlError> {
    let mut found: Option<ast::Expr> = None;
    while let Some((mut start, after)) = find(tokens) {
        let place = tokens[start].span.start;
        let dialect = Postgres::for_tokens(tokens.len());
        let mut parser = parser(&dialect, tokens[after..].to_vec());
        let expr = parser.parse_expr().map_err(|error| syntax_error(&error, text))?;
        let end = after + parser.index().min(tokens.len() - after);
        if found.as_ref().is_some_and(|earlier| *earlier != expr) {
            let error = SqlError::unsupported("reading as of different times in one statement");
            return Err(at_location(error, text, place));
        }
        found = Some(expr);
        // BEGIN READ ONLY, AS OF …
        if let Some(comma) = tokens[..start].iter().rposition(|token| !is_blank(&token.token))
            && tokens[comma].token == Token::Comma
        {
            start = comma;
        }
        tokens.drain(start..end);
    }
    let first = tokens.iter().find(|token| !is_blank(&token.token)).map(|token| token.token.to_string());
    if found.is_some() && first.is_some_and(|first| first.eq_ignore_ascii_case("prepare")) {
        return Err(SqlError::unsupported("AS OF SYSTEM TIME in PREPARE"));
    }
    Ok(found.map(Arc::new))
}

/// Where the clause starts, and where its expression does.
fn find(tokens: &[TokenWithSpan]) -> Option<(usize, usize)> {
    let words: Vec<usize> = (0..tokens.len()).filter(|at| !is_blank(&tokens[*at].token)).collect();
    let is = |at: usize, wanted: &str| match &tokens[at].token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted),
        _ => false,
    };
    let clause = words.windows(WORDS.len()).find(|window| window.iter().zip(WORDS).all(|(at, word)| is(*at, word)))?;
    Some((clause[0], clause[WORDS.len() - 1] + 1))
}
