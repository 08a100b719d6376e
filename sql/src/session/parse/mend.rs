//! What the parser library takes for a mistake and PostgreSQL does not: spelled otherwise, or refused by name. Looked at only after a
//! statement did not parse, so that no other statement pays for it.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{is_blank, order_sequence_options};
use crate::error::SqlError;

/// What a statement says that its tokens no longer do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mended {
    /// OVERRIDING SYSTEM VALUE.
    overrides_generated: bool,
}

impl Mended {
    /// Says it in the statement's tree.
    pub fn put_back(self, statement: &mut ast::Statement) {
        if let ast::Statement::Insert(insert) = statement
            && self.overrides_generated
        {
            // Hive's OVERWRITE, which is refused where it is written, stands for it.
            insert.overwrite = true;
        }
    }
}

/// The words of a statement, unquoted ones in lower case, other tokens as they are; with where they stand.
fn words(tokens: &[TokenWithSpan]) -> Vec<(usize, String)> {
    let spelled = |token: &Token| match token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
        // A collation is quoted where its name is not in lower case.
        Token::Word(word) if matches!(word.value.as_str(), "C" | "POSIX" | "default" | "ucs_basic") => {
            word.value.to_lowercase()
        }
        Token::Word(_) | Token::SingleQuotedString(_) => String::new(),
        other => other.to_string(),
    };
    let told = tokens.iter().enumerate().filter(|(_, token)| !is_blank(&token.token));
    told.map(|(at, token)| (at, spelled(&token.token))).collect()
}

/// Where a sequence of words starts, and where its last one stands, among `words`.
fn find(words: &[(usize, String)], wanted: &[&str]) -> Option<usize> {
    words.windows(wanted.len()).position(|window| window.iter().zip(wanted).all(|((_, word), wanted)| word == wanted))
}

/// Spells a statement as the parser library reads it; none if there is nothing to change.
pub(super) fn mend(tokens: &mut Vec<TokenWithSpan>) -> Option<Mended> {
    let mut mended = Mended::default();
    let mut changed = false;
    let mut remove = |tokens: &mut Vec<TokenWithSpan>, wanted: &[&str], from: usize| {
        let words = words(tokens);
        let mut todo = &words[..];
        let mut found = Vec::new();
        while let Some(start) = find(todo, wanted) {
            let last = start + wanted.len() - 1;
            found.push((todo[start + from].0, todo[last].0));
            todo = &todo[last + 1..];
        }
        found.iter().rev().for_each(|(first, last)| drop(tokens.drain(*first..=*last)));
        changed |= !found.is_empty();
        !found.is_empty()
    };
    // trim(LEADING FROM x) is trim(LEADING x), trim(FROM x) is trim(x).
    for side in ["leading", "trailing", "both"] {
        remove(tokens, &["trim", "(", side, "from"], 3);
    }
    remove(tokens, &["trim", "(", "from"], 2);
    remove(tokens, &["between", "asymmetric"], 1);
    remove(tokens, &["drop", "index", "concurrently"], 2);
    // The only collation there is may be named.
    for name in ["c", "posix", "default", "ucs_basic"] {
        remove(tokens, &["collate", name], 0);
    }
    // Every transaction is serializable, and none waits for a snapshot.
    if ["begin", "start", "set"].iter().any(|first| words(tokens).first().is_some_and(|(_, word)| word == first)) {
        remove(tokens, &["not", "deferrable"], 0);
        remove(tokens, &["deferrable"], 0);
    }
    mended.overrides_generated = remove(tokens, &["overriding", "system", "value"], 0);
    changed |= spell_abort(tokens) | enclose_query(tokens) | order_identity_options(tokens);
    changed.then_some(mended)
}

/// ABORT is ROLLBACK.
fn spell_abort(tokens: &mut [TokenWithSpan]) -> bool {
    let first = words(tokens).into_iter().next();
    match first.filter(|(_, word)| word == "abort") {
        Some((at, _)) => {
            tokens[at].token = Token::make_keyword("ROLLBACK");
            true
        }
        None => false,
    }
}

/// `INSERT … SELECT … ON CONFLICT …`: the query in parentheses, for its end to be seen.
fn enclose_query(tokens: &mut Vec<TokenWithSpan>) -> bool {
    let words = words(tokens);
    let Some(conflict) = find(&words, &["on", "conflict"]) else { return false };
    let mut depth = 0;
    let query = words[..conflict].iter().position(|(_, word)| {
        match word.as_str() {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        depth == 0 && word == "select"
    });
    let (Some(query), Some("insert")) = (query, words.first().map(|(_, word)| word.as_str())) else { return false };
    tokens.insert(words[conflict].0, TokenWithSpan::wrap(Token::RParen));
    tokens.insert(words[query].0, TokenWithSpan::wrap(Token::LParen));
    true
}

/// The options of identity columns, in the order in which the parser library wants them.
fn order_identity_options(tokens: &mut Vec<TokenWithSpan>) -> bool {
    let mut from = 0;
    let mut changed = false;
    loop {
        let words = words(tokens);
        let is_list =
            |window: &[(usize, String)]| window[0].0 >= from && window[0].1 == "identity" && window[1].1 == "(";
        let Some(start) = words.windows(2).position(is_list) else { return changed };
        let open = words[start + 1].0;
        let Some(length) = tokens[open..].iter().position(|token| token.token == Token::RParen) else { return changed };
        let mut options = tokens[open + 1..open + length].to_vec();
        order_sequence_options(&mut options);
        from = open + 1 + options.len();
        tokens.splice(open + 1..open + length, options);
        changed = true;
    }
}

/// What PostgreSQL has and we have not, by the words that only it begins with.
const PHRASES: [(&[&str], &str); 34] = [
    (&["between", "symmetric"], "BETWEEN SYMMETRIC"),
    (&["overriding", "user", "value"], "OVERRIDING USER VALUE"),
    (&["including"], "LIKE … INCLUDING"),
    (&["excluding"], "LIKE … EXCLUDING"),
    (&["exclude", "using"], "EXCLUDE"),
    (&["exclude", "("], "EXCLUDE"),
    (&["exclude", "current", "row"], "EXCLUDE in a window's frame"),
    (&["exclude", "group"], "EXCLUDE in a window's frame"),
    (&["exclude", "ties"], "EXCLUDE in a window's frame"),
    (&["exclude", "no", "others"], "EXCLUDE in a window's frame"),
    (&["partition", "of"], "PARTITION OF"),
    (&["inherits", "("], "INHERITS"),
    (&["inherit"], "INHERIT"),
    (&["rows", "from", "("], "ROWS FROM"),
    (&["no", "key", "update"], "FOR NO KEY UPDATE"),
    (&["key", "share"], "FOR KEY SHARE"),
    (&["current", "of"], "WHERE CURRENT OF"),
    (&["nulls", "not", "distinct"], "NULLS NOT DISTINCT"),
    (&["group", "by", "distinct"], "GROUP BY DISTINCT"),
    (&["using", "<"], "ORDER BY … USING"),
    (&["using", ">"], "ORDER BY … USING"),
    (&["search", "depth", "first"], "SEARCH"),
    (&["search", "breadth", "first"], "SEARCH"),
    (&["set", "statistics"], "SET STATISTICS"),
    (&["set", "storage"], "SET STORAGE"),
    (&["set", "compression"], "SET COMPRESSION"),
    (&["set", "schema"], "SET SCHEMA"),
    (&["set", "logged"], "SET LOGGED"),
    (&["set", "unlogged"], "SET UNLOGGED"),
    (&["set", "constraints"], "SET CONSTRAINTS"),
    (&["cluster", "on"], "CLUSTER ON"),
    (&["prepare", "transaction"], "PREPARE TRANSACTION"),
    (&["commit", "prepared"], "COMMIT PREPARED"),
    (&["xmlelement", "("], "the function xmlelement"),
];

/// Commands that PostgreSQL has and the parser library does not know, or not all of.
const COMMANDS: [&str; 8] = ["do", "fetch", "import", "load", "move", "reassign", "refresh", "security"];

/// What else can be created, altered and dropped.
const OBJECTS: [&str; 32] = [
    "access",
    "aggregate",
    "cast",
    "collation",
    "conversion",
    "default",
    "domain",
    "event",
    "extension",
    "foreign",
    "function",
    "group",
    "language",
    "large",
    "materialized",
    "operator",
    "owned",
    "policy",
    "procedure",
    "publication",
    "routine",
    "rule",
    "server",
    "statistics",
    "subscription",
    "system",
    "tablespace",
    "text",
    "transform",
    "trigger",
    "type",
    "view",
];

/// The error for what is no mistake but is not supported; none if nothing of that is found.
pub(super) fn refused(tokens: &[TokenWithSpan]) -> Option<SqlError> {
    let words = words(tokens);
    let word = |at: usize| words.get(at).map_or("", |(_, word)| word.as_str());
    if COMMANDS.contains(&word(0)) {
        return Some(SqlError::unsupported(word(0).to_uppercase()));
    }
    if ["create", "alter", "drop"].contains(&word(0)) {
        // CREATE OR REPLACE, CREATE TRUSTED LANGUAGE, …
        let skipped = ["or", "replace", "constraint", "trusted", "temp", "temporary", "recursive"];
        let object = (1..words.len()).map(word).find(|word| !skipped.contains(word)).unwrap_or_default();
        if OBJECTS.contains(&object) {
            return Some(SqlError::unsupported(format!("{} {}", word(0), object).to_uppercase()));
        }
    }
    if word(0) == "alter" && ["database", "schema", "sequence"].contains(&word(1)) {
        return Some(SqlError::unsupported(format!("ALTER {}", word(1).to_uppercase())));
    }
    if let Some(target) = find(&words, &["on", "conflict", "("]) {
        let end = words[target..].iter().position(|(_, word)| word == ")").map(|length| target + length + 1);
        if end.is_some_and(|end| word(end) == "where") {
            return Some(SqlError::unsupported("ON CONFLICT … WHERE beside its columns"));
        }
    }
    PHRASES.iter().find(|(phrase, _)| find(&words, phrase).is_some()).map(|(_, name)| SqlError::unsupported(*name))
}
