//! Statements about the cluster as a whole, which the parser library does not know.
//!
//! ```text
//!   CHECK REPLICAS [FROM [TABLE] t]
//!   SET CLUSTER SETTING a.b.c {= | TO} {value | DEFAULT}      RESET CLUSTER SETTING a.b.c
//!   SHOW CLUSTER SETTING a.b.c                                SHOW [ALL] CLUSTER SETTINGS
//! ```

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{Postgres, StatementKind, at_end, parser, syntax_error};
use crate::error::SqlError;

/// `CHECK REPLICAS …`.
pub(super) fn check_replicas(tokens: &mut Vec<TokenWithSpan>, text: &str) -> Result<StatementKind, SqlError> {
    parsed(tokens, text, |parser| {
        words(parser, &["check", "replicas"])?;
        if !parser.parse_keyword(Keyword::FROM) {
            return Ok(StatementKind::CheckReplicas { table: None });
        }
        let _ = parser.parse_keyword(Keyword::TABLE);
        parser.parse_object_name(false).map(|table| StatementKind::CheckReplicas { table: Some(table) })
    })
}

/// `SET CLUSTER SETTING …`, `RESET CLUSTER SETTING …`.
pub(super) fn set_setting(tokens: &mut Vec<TokenWithSpan>, text: &str) -> Result<StatementKind, SqlError> {
    parsed(tokens, text, |parser| {
        let is_reset = parser.parse_keyword(Keyword::RESET);
        words(parser, if is_reset { &["cluster", "setting"] } else { &["set", "cluster", "setting"] })?;
        let name = setting_name(parser)?;
        if is_reset {
            return Ok(StatementKind::SetClusterSetting { name, value: None });
        }
        if !parser.consume_token(&Token::Eq) && !parser.parse_keyword(Keyword::TO) {
            return parser.expected("= or TO", parser.peek_token());
        }
        setting_value(parser).map(|value| StatementKind::SetClusterSetting { name, value })
    })
}

/// `SHOW CLUSTER SETTING …`, `SHOW [ALL] CLUSTER SETTINGS`.
pub(super) fn show_settings(tokens: &mut Vec<TokenWithSpan>, text: &str) -> Result<StatementKind, SqlError> {
    parsed(tokens, text, |parser| {
        words(parser, &["show"])?;
        let is_all = parser.parse_keyword(Keyword::ALL);
        words(parser, &["cluster"])?;
        if is_all || is_word(&parser.peek_token(), "settings") {
            words(parser, &["settings"])?;
            return Ok(StatementKind::ShowClusterSettings { name: None });
        }
        words(parser, &["setting"])?;
        setting_name(parser).map(|name| StatementKind::ShowClusterSettings { name: Some(name) })
    })
}

/// Whether what follows CLUSTER makes it these statements' word: a parameter of the session may be called so.
pub(super) fn is_setting(word: &str) -> bool {
    matches!(word, "setting" | "settings")
}

fn parsed(
    tokens: &mut Vec<TokenWithSpan>,
    text: &str,
    parse: impl FnOnce(&mut Parser<'_>) -> Result<StatementKind, ParserError>,
) -> Result<StatementKind, SqlError> {
    let dialect = Postgres::for_tokens(tokens.len());
    let mut parser = parser(&dialect, std::mem::take(tokens));
    let kind = parse(&mut parser).map_err(|error| syntax_error(&error, text))?;
    at_end(&mut parser, text)?;
    Ok(kind)
}

fn is_word(token: &TokenWithSpan, wanted: &str) -> bool {
    matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

/// The words that have to come next.
pub(super) fn words(parser: &mut Parser<'_>, wanted: &[&str]) -> Result<(), ParserError> {
    for word in wanted {
        if !is_word(&parser.peek_token(), word) {
            return parser.expected(&word.to_uppercase(), parser.peek_token());
        }
        parser.next_token();
    }
    Ok(())
}

fn setting_name(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let mut name = String::new();
    loop {
        let Token::Word(word) = &parser.peek_token().token else {
            return parser.expected("the name of a cluster setting", parser.peek_token());
        };
        name.push_str(&word.value.to_lowercase());
        parser.next_token();
        if !parser.consume_token(&Token::Period) {
            return Ok(name);
        }
        name.push('.');
    }
}

/// Text, a number, or a word; `None` for DEFAULT.
fn setting_value(parser: &mut Parser<'_>) -> Result<Option<String>, ParserError> {
    if parser.parse_keyword(Keyword::DEFAULT) {
        return Ok(None);
    }
    let sign = if parser.consume_token(&Token::Minus) { "-" } else { "" };
    let value = match &parser.peek_token().token {
        Token::Number(digits, _) => format!("{sign}{digits}"),
        _ if !sign.is_empty() => return parser.expected("a number", parser.peek_token()),
        Token::SingleQuotedString(text) => text.clone(),
        Token::Word(word) => word.value.clone(),
        _ => return parser.expected("a value", parser.peek_token()),
    };
    parser.next_token();
    Ok(Some(value))
}
