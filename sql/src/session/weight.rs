//! What a text takes in memory once it is parsed, before it is parsed.
//!
//! Trees are many times as large as their text: a literal in a list of a million costs as much as one by itself. So tokens are counted,
//! roughly, at a fraction of the cost of making them.

/// What a token takes while its statement is parsed and planned: itself, and its part of a tree.
const PARSING_BYTES: usize = 384;
/// What is left of that once it is: its part of the tree, and of a plan.
const KEPT_BYTES: usize = 192;
/// What a statement takes besides.
const STATEMENT_BYTES: usize = 1 << 10;

/// What was counted in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight {
    text_bytes: usize,
    tokens: usize,
    statements: usize,
}

impl Weight {
    /// Counts. Words, numbers, quoted strings, and all other characters but blanks are tokens.
    pub fn of(text: &str) -> Weight {
        let mut weight = Weight { text_bytes: text.len(), tokens: 0, statements: 1 };
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                _ if byte.is_ascii_whitespace() => continue,
                b'\'' | b'"' => while bytes.next().is_some_and(|next| next != byte) {},
                b';' => weight.statements += 1,
                _ if is_of_word(byte) => while bytes.next_if(|next| is_of_word(*next)).is_some() {},
                _ => {}
            }
            weight.tokens += 1;
        }
        weight
    }

    /// What parsing it takes: tokens, trees, and the text itself, whole, by statements and in literals.
    pub fn parsing_bytes(&self) -> usize {
        3 * self.text_bytes + self.tokens * PARSING_BYTES + self.statements * STATEMENT_BYTES
    }

    /// What is kept of it as long as a statement of it is.
    pub fn kept_bytes(&self) -> usize {
        2 * self.text_bytes + self.tokens * KEPT_BYTES + self.statements * STATEMENT_BYTES
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted_not_bytes() {
        let tokens = |text| Weight::of(text).tokens;
        assert_eq!(tokens("SELECT 1, 2.5 FROM t_1 WHERE a <> 'it''s; long'"), 12);
        let long = format!("'{}'", "x".repeat(1_000));
        assert_eq!(tokens(&long), 1);
        assert_eq!(tokens("((((1))))"), 9);
        assert_eq!(tokens("'never ended"), 1);
        assert_eq!(Weight::of("SELECT 1; SELECT 2;").statements, 3);
    }
}
