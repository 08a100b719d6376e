//! LIKE and ILIKE.

use super::LikeOptions;
use crate::error::SqlError;

/// Whether the whole text matches the pattern, regardless of `options.negated`.
pub(super) fn matches(text: &str, pattern: &str, options: LikeOptions) -> Result<bool, SqlError> {
    let fold = |value: &str| if options.ignore_case { value.to_lowercase() } else { value.to_owned() };
    let text: Vec<char> = fold(text).chars().collect();
    let pattern = tokens(&fold(pattern), options.escape)?;
    Ok(matches_from(&text, &pattern))
}

enum Token {
    Exactly(char),
    AnyOne,
    AnyMany,
}

fn tokens(pattern: &str, escape: Option<char>) -> Result<Vec<Token>, SqlError> {
    let mut out = Vec::new();
    let mut rest = pattern.chars();
    while let Some(next) = rest.next() {
        out.push(match next {
            next if Some(next) == escape => Token::Exactly(
                rest.next().ok_or_else(|| SqlError::new("22025", "LIKE pattern must not end with escape character"))?,
            ),
            '%' => Token::AnyMany,
            '_' => Token::AnyOne,
            other => Token::Exactly(other),
        });
    }
    Ok(out)
}

/// Greedy matching that goes back to the last `%` only: linear in memory, quadratic in time at worst.
fn matches_from(text: &[char], pattern: &[Token]) -> bool {
    let (mut at, mut token) = (0, 0);
    let mut last_many: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(token) {
            Some(Token::AnyMany) => {
                last_many = Some((at, token));
                token += 1;
            }
            Some(Token::AnyOne) => {
                at += 1;
                token += 1;
            }
            Some(Token::Exactly(wanted)) if *wanted == text[at] => {
                at += 1;
                token += 1;
            }
            _ => match &mut last_many {
                Some((from, many)) => {
                    *from += 1;
                    at = *from;
                    token = *many + 1;
                }
                None => return false,
            },
        }
    }
    pattern[token..].iter().all(|token| matches!(token, Token::AnyMany))
}
