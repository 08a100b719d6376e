//! The way from text to statements: tokenize once, cut at semicolons, recognise what the parser library does not know.

mod as_of;
mod cluster;
mod dialect;
mod levels;
mod mend;
mod tidy;

use std::sync::Arc;

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace, Word};

use self::dialect::Postgres;
use super::statement::{Statement, StatementKind};
use crate::error::{SqlError, code};
use crate::stack::{Deep, KEPT_LEVELS_MAX, LEVELS_MAX, contained, too_deep};

pub(crate) use levels::tree_of;

const DIALECT: PostgreSqlDialect = PostgreSqlDialect {};
const AT_END: &str = "syntax error at end of input";

/// Cuts a text into statements.
pub(crate) fn parse(text: &str) -> Result<Vec<Statement>, SqlError> {
    let tokens = tokenized(text)?;
    let whole: Arc<str> = Arc::from(text);
    let mut statements = Vec::new();
    let (lines, powers) = (text.contains('\n'), text.contains('^'));
    for (number, Part { tokens: mut part, semicolon }) in split(tokens).into_iter().enumerate() {
        if lines {
            tidy::join_strings(&mut part);
        }
        let Some(first) = part.iter().find(|token| !is_blank(&token.token)) else { continue };
        let start = offset_of(text, first.span.start).unwrap_or(0);
        let end = part
            .iter()
            .rev()
            .find(|token| !is_blank(&token.token))
            .and_then(|token| offset_of(text, token.span.end))
            .unwrap_or(text.len());
        let (kind, as_of) = contained(levels::while_parsed(&part)?, || {
            let as_of = as_of::cut(&mut part, text)?;
            let (chains, tests) = (levels::has_chains(&part), tidy::has_loose_tests(&part));
            let mut kind = match statement(&mut part, text, as_of.is_some()) {
                Ok(kind) => kind,
                Err(error) => mended(text, number, error).map_err(|error| before_semicolon(error, text, semicolon))?,
            };
            if let (true, StatementKind::Sql(statement)) = (chains, &mut kind) {
                levels::balance(statement);
            }
            if let (true, StatementKind::Sql(statement)) = (powers, &mut kind) {
                tidy::bind_minus_first(statement);
            }
            if let (true, StatementKind::Sql(statement)) = (tests, &mut kind) {
                tidy::bind_tests_first(statement);
            }
            Ok((Deep::new(measured(&kind, as_of.as_deref())?, kind), as_of))
        })?;
        let sql = if start == 0 && end == text.len() { whole.clone() } else { Arc::from(&text[start..end.max(start)]) };
        statements.push(Statement { text: whole.clone(), sql, kind: Arc::new(kind), as_of, hold: None });
    }
    Ok(statements)
}

/// How deep a statement nests.
fn measured(kind: &StatementKind, as_of: Option<&ast::Expr>) -> Result<usize, SqlError> {
    if let Some(as_of) = as_of
        && levels::measured(as_of)? > KEPT_LEVELS_MAX
    {
        return Err(too_deep());
    }
    match kind {
        StatementKind::Sql(statement) => levels::measured(statement),
        StatementKind::SplitAt { rows, .. } => levels::measured(rows),
        _ => Ok(0),
    }
}

fn tokenized(text: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    Tokenizer::new(&DIALECT, text).tokenize_with_location().map(tidy::split_signs).map_err(|error| {
        let rest = offset_of(text, error.location).and_then(|start| text.get(start..)).unwrap_or_default();
        let what = match error.message.as_str() {
            "Unterminated string literal" | "Unterminated encoded string literal" => "unterminated quoted string",
            "Expected close delimiter '\"' before EOF." => "unterminated quoted identifier",
            message if message.starts_with("Unterminated dollar-quoted") => "unterminated dollar-quoted string",
            other => return at_location(SqlError::syntax(other.to_lowercase()), text, error.location),
        };
        at_location(SqlError::syntax(format!("{what} at or near \"{rest}\"")), text, error.location)
    })
}

/// Tries a statement that did not parse once more, spelled as the parser library reads it.
fn mended(text: &str, number: usize, error: SqlError) -> Result<StatementKind, SqlError> {
    if error.code != code::SYNTAX_ERROR {
        return Err(error);
    }
    let Some(Part { mut tokens, .. }) = split(tokenized(text)?).into_iter().nth(number) else { return Err(error) };
    tidy::join_strings(&mut tokens);
    let as_of = as_of::cut(&mut tokens, text)?;
    if let Some(refused) = mend::refused(&tokens) {
        return Err(refused);
    }
    let Some(mended) = mend::mend(&mut tokens) else { return Err(error) };
    let mut kind = statement(&mut tokens, text, as_of.is_some())?;
    if let StatementKind::Sql(statement) = &mut kind {
        mended.put_back(statement);
    }
    Ok(kind)
}

/// A statement that ends too early ends at its semicolon, if it has one.
fn before_semicolon(error: SqlError, text: &str, semicolon: Option<Location>) -> SqlError {
    match semicolon {
        Some(location) if error.message == AT_END => {
            at_location(SqlError::syntax("syntax error at or near \";\""), text, location)
        }
        _ => error,
    }
}

/// Parses one expression: a default or a check as the catalog keeps it.
pub(crate) fn parse_expression(text: &str) -> Result<ast::Expr, SqlError> {
    let tokens = tokenized(text)?;
    contained(levels::while_parsed(&tokens)?, || {
        let chains = levels::has_chains(&tokens);
        let dialect = Postgres::for_tokens(tokens.len());
        let mut expr = parser(&dialect, tokens).parse_expr().map_err(|error| syntax_error(&error, text))?;
        if chains {
            levels::balance(&mut expr);
        }
        check_kept(&expr)?;
        Ok(expr)
    })
}

/// Whether a table can keep an expression.
///
/// # Errors
/// 54001 when it nests too deeply.
pub(crate) fn check_kept(expr: &ast::Expr) -> Result<(), SqlError> {
    if levels::measured(expr)? > KEPT_LEVELS_MAX { Err(too_deep()) } else { Ok(()) }
}

/// How deep a query nests.
///
/// # Errors
/// 54001 when that is more than is followed.
pub(crate) fn levels_of(query: &ast::Query) -> Result<usize, SqlError> {
    levels::measured(query)
}

fn parser(dialect: &Postgres, tokens: Vec<TokenWithSpan>) -> Parser<'_> {
    Parser::new(dialect).with_recursion_limit(LEVELS_MAX).with_tokens_with_locations(tokens)
}

/// The position, in characters from 1, of a location in a text.
pub(crate) fn position_of(text: &str, location: Location) -> Option<u32> {
    if location.line == 0 {
        return None;
    }
    let before: usize =
        text.split_inclusive('\n').take(location.line as usize - 1).map(|line| line.chars().count()).sum();
    u32::try_from(before as u64 + location.column).ok()
}

fn offset_of(text: &str, location: Location) -> Option<usize> {
    let position = position_of(text, location)? as usize - 1;
    if text.is_ascii() {
        return Some(position.min(text.len()));
    }
    Some(text.char_indices().nth(position).map_or(text.len(), |(offset, _)| offset))
}

fn is_blank(token: &Token) -> bool {
    matches!(token, Token::Whitespace(_) | Token::EOF)
}

/// One statement's tokens, and where the semicolon behind it stands.
#[derive(Default)]
struct Part {
    tokens: Vec<TokenWithSpan>,
    semicolon: Option<Location>,
}

fn split(tokens: Vec<TokenWithSpan>) -> Vec<Part> {
    let mut parts = vec![Part::default()];
    for token in tokens {
        let part = parts.last_mut().expect("there is always a part");
        match token.token {
            Token::SemiColon => {
                part.semicolon = Some(token.span.start);
                parts.push(Part::default());
            }
            Token::EOF => {}
            Token::Word(ref word) if tidy::is_null_test(word, &part.tokens) => tidy::spell_null_test(&mut part.tokens),
            Token::Word(ref word) if word.keyword == Keyword::ONLY && tidy::is_before_table(&part.tokens) => {}
            _ => part.tokens.push(token),
        }
    }
    parts
}

/// A statement there is nothing to do for, and why.
fn ignored(tag: &'static str, why: &'static str) -> StatementKind {
    StatementKind::Ignored { tag, notice: Some(why) }
}

fn statement(tokens: &mut Vec<TokenWithSpan>, text: &str, as_of: bool) -> Result<StatementKind, SqlError> {
    let words: Vec<String> = tokens
        .iter()
        .filter(|token| !is_blank(&token.token))
        .take(4)
        .map(|token| match &token.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
            other => other.to_string(),
        })
        .collect();
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    match (word(0), word(1)) {
        ("vacuum", _) => return Ok(ignored("VACUUM", "old versions of rows are removed in the background")),
        ("analyze" | "analyse", _) => return Ok(ignored("ANALYZE", "plans are made without statistics")),
        ("checkpoint", _) => return Ok(ignored("CHECKPOINT", "what is acknowledged is durable")),
        ("reindex", _) => return Ok(ignored("REINDEX", "indexes are kept in order as they are written")),
        ("cluster", _) => return Ok(ignored("CLUSTER", "rows are always in the order of the primary key")),
        ("listen" | "notify", _) => return Err(SqlError::unsupported(words[0].to_uppercase())),
        ("show", "cluster") if cluster::is_setting(word(2)) => return cluster::show_settings(tokens, text),
        ("show", "all") if word(2) == "cluster" => return cluster::show_settings(tokens, text),
        ("show", _) => return show(tokens, text, word(1)),
        ("check", "replicas") => return cluster::check_replicas(tokens, text),
        ("set" | "reset", "cluster") if cluster::is_setting(word(2)) => return cluster::set_setting(tokens, text),
        ("alter", "table" | "index") => {
            if let Some(split) = split_at(tokens, text)? {
                return Ok(split);
            }
        }
        ("create", "database") if !matches!(word(3), "" | ";" | "not") => {
            return Err(SqlError::unsupported("CREATE DATABASE with options"));
        }
        ("insert", "overwrite") => return Err(SqlError::syntax("syntax error at or near \"overwrite\"")),
        ("create", "unlogged") => remove_word(tokens, "unlogged"),
        ("set", "transaction") if as_of && word(2).is_empty() => {
            return Ok(StatementKind::Ignored { tag: "SET", notice: None });
        }
        ("table", _) => tidy::spell_table(tokens),
        ("copy", _) => spell_switches(tokens),
        ("create", "sequence") => order_sequence_options(tokens),
        _ => {}
    }
    let dialect = Postgres::for_tokens(tokens.len());
    let mut parser = parser(&dialect, std::mem::take(tokens));
    let parsed = parser.parse_statement().map_err(|error| syntax_error(&error, text))?;
    at_end(&mut parser, text)?;
    Ok(StatementKind::Sql(tidy::with_into_query(parsed)))
}

fn at_end(parser: &mut Parser<'_>, text: &str) -> Result<(), SqlError> {
    let next = parser.peek_token();
    if next.token == Token::EOF {
        return Ok(());
    }
    let error = SqlError::syntax(format!("syntax error at or near \"{}\"", next.token));
    Err(at_location(error, text, next.span.start))
}

/// `SHOW …`, in all the forms that are answered.
fn show(tokens: &mut Vec<TokenWithSpan>, text: &str, what: &str) -> Result<StatementKind, SqlError> {
    let dialect = Postgres::for_tokens(tokens.len());
    let mut parser = parser(&dialect, std::mem::take(tokens));
    let wrong = |error: ParserError| syntax_error(&error, text);
    parser.next_token();
    let from_table = |parser: &mut Parser<'_>| -> Result<Option<ast::ObjectName>, ParserError> {
        if parser.parse_one_of_keywords(&[Keyword::FROM, Keyword::FOR]).is_none() {
            return Ok(None);
        }
        let _ = parser.parse_one_of_keywords(&[Keyword::TABLE, Keyword::INDEX, Keyword::DATABASE]);
        parser.parse_object_name(false).map(Some)
    };
    let objects = ["tables", "schemas", "databases", "indexes", "index", "columns", "sequences", "users", "roles"];
    let kind = if let Some(name) = objects.iter().find(|name| **name == what) {
        parser.next_token();
        let name = if *name == "index" { "indexes" } else { name };
        StatementKind::ShowObjects { what: name, table: from_table(&mut parser).map_err(wrong)? }
    } else if what == "range" && matches!(parser.peek_nth_token(1).token, Token::Number(..)) {
        parser.next_token();
        let range_id = parser.parse_literal_uint().map_err(wrong)?;
        cluster::words(&mut parser, &["why"]).map_err(wrong)?;
        StatementKind::ExplainRange { range_id }
    } else if matches!(what, "ranges" | "range" | "hot") {
        let hot = what == "hot";
        parser.next_token();
        if hot {
            cluster::words(&mut parser, &["ranges"]).map_err(wrong)?;
        }
        StatementKind::ShowRanges { table: from_table(&mut parser).map_err(wrong)?, hot }
    } else if what == "nodes" {
        parser.next_token();
        StatementKind::ShowNodes
    } else if what == "create" {
        parser.next_token();
        let _ = parser.parse_keyword(Keyword::TABLE);
        StatementKind::ShowObjects { what: "create", table: Some(parser.parse_object_name(false).map_err(wrong)?) }
    } else {
        let mut name = String::new();
        while let Token::Word(word) = &parser.peek_token().token {
            if !name.is_empty() {
                name.push(' ');
            }
            name.push_str(&word.value.to_lowercase());
            parser.next_token();
            if parser.consume_token(&Token::Period) {
                name.push('.');
                if let Token::Word(rest) = parser.next_token().token {
                    name.push_str(&rest.value.to_lowercase());
                }
            }
        }
        StatementKind::ShowSetting { name }
    };
    at_end(&mut parser, text)?;
    Ok(kind)
}

/// `ALTER TABLE t SPLIT AT VALUES (…), …`.
fn split_at(tokens: &[TokenWithSpan], text: &str) -> Result<Option<StatementKind>, SqlError> {
    let is_split = tokens.iter().any(|token| match &token.token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case("split"),
        _ => false,
    });
    if !is_split {
        return Ok(None);
    }
    let dialect = Postgres::for_tokens(tokens.len());
    let mut parser = parser(&dialect, tokens.to_vec());
    let wrong = |error: ParserError| syntax_error(&error, text);
    parser.next_token();
    parser.next_token();
    let _ = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let table = parser.parse_object_name(false).map_err(wrong)?;
    let is_word = |token: &TokenWithSpan, wanted: &str| match &token.token {
        Token::Word(word) => word.value.eq_ignore_ascii_case(wanted),
        _ => false,
    };
    for wanted in ["split", "at"] {
        if !is_word(&parser.peek_token(), wanted) {
            return Ok(None);
        }
        parser.next_token();
    }
    parser.expect_keyword(Keyword::VALUES).map_err(wrong)?;
    let rows = parser
        .parse_comma_separated(|parser| {
            parser.expect_token(&Token::LParen)?;
            let row = parser.parse_comma_separated(Parser::parse_expr)?;
            parser.expect_token(&Token::RParen)?;
            Ok(row)
        })
        .map_err(wrong)?;
    at_end(&mut parser, text)?;
    Ok(Some(StatementKind::SplitAt { table, rows }))
}

fn remove_word(tokens: &mut Vec<TokenWithSpan>, wanted: &str) {
    let found = tokens.iter().position(|token| match &token.token {
        Token::Word(word) => word.value.eq_ignore_ascii_case(wanted),
        _ => false,
    });
    if let Some(at) = found {
        tokens.remove(at);
    }
}

/// The parser library wants the options of a sequence in one order, PostgreSQL takes them in any.
fn order_sequence_options(tokens: &mut Vec<TokenWithSpan>) {
    const ORDER: [&str; 8] = ["as", "increment", "minvalue", "maxvalue", "start", "cache", "cycle", "owned"];
    let word_at = |at: usize| match tokens.get(at).map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
        _ => None,
    };
    let next_word = |at: usize| (at + 1..tokens.len()).find(|at| !is_blank(&tokens[*at].token)).and_then(word_at);
    let mut starts: Vec<(usize, usize)> = Vec::new();
    let mut after_no = false;
    for at in 0..tokens.len() {
        let Some(word) = word_at(at) else { continue };
        let key = if word == "no" { next_word(at) } else { Some(word.clone()) };
        let rank = key.and_then(|key| ORDER.iter().position(|known| *known == key));
        if let Some(rank) = rank.filter(|_| !after_no) {
            starts.push((rank, at));
        }
        after_no = word == "no";
    }
    let Some((_, first)) = starts.first().copied() else { return };
    let ends: Vec<usize> = starts[1..].iter().map(|(_, at)| *at).chain([tokens.len()]).collect();
    let mut clauses: Vec<(usize, Vec<TokenWithSpan>)> =
        starts.iter().zip(ends).map(|((rank, start), end)| (*rank, tokens[*start..end].to_vec())).collect();
    clauses.sort_by_key(|(rank, _)| *rank);
    tokens.truncate(first);
    for (_, clause) in clauses {
        tokens.extend(clause);
        // Clauses may have been parted by the last one's missing blank only.
        tokens.push(TokenWithSpan::wrap(Token::Whitespace(Whitespace::Space)));
    }
}

/// COPY's options are switched with ON and OFF too, of which the parser library knows nothing.
fn spell_switches(tokens: &mut [TokenWithSpan]) {
    for token in tokens {
        if let Token::Word(Word { value, quote_style: None, .. }) = &token.token {
            let spelled = match value.to_lowercase().as_str() {
                "on" => "TRUE",
                "off" => "FALSE",
                _ => continue,
            };
            token.token = Token::make_keyword(spelled);
        }
    }
}

/// PostgreSQL's words for what the parser library says.
fn syntax_error(error: &ParserError, text: &str) -> SqlError {
    let message = match error {
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
        ParserError::RecursionLimitExceeded => {
            return too_deep();
        }
    };
    let (what, location) = match message.rsplit_once(" at Line: ") {
        Some((what, place)) => (what, parse_location(place)),
        None => (message.as_str(), None),
    };
    if let Some(token) = what.strip_prefix("No infix parser for token ") {
        // The token's own text stands in quotes, or in the rest of what was written.
        let named = token.split('"').nth(1).map_or_else(|| token.to_owned(), str::to_owned);
        let error = SqlError::syntax(format!("syntax error at or near \"{named}\""));
        return match location {
            Some(location) => at_location(error, text, location),
            None => error,
        };
    }
    let error = match what.rsplit_once(", found: ") {
        Some((_, "EOF")) => SqlError::syntax(AT_END),
        Some((_, found)) => SqlError::syntax(format!("syntax error at or near \"{found}\"")),
        None => SqlError::syntax(format!("syntax error: {what}")),
    };
    let error = match what.rsplit_once(", found: ") {
        Some((expected, _)) => error.detail(format!("{expected}.")),
        None => error,
    };
    match location {
        Some(location) => at_location(error, text, location),
        None => error,
    }
}

fn parse_location(place: &str) -> Option<Location> {
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

fn at_location(error: SqlError, text: &str, location: Location) -> SqlError {
    match position_of(text, location) {
        Some(position) => error.position(position),
        None => error,
    }
}
