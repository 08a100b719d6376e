//! PostgreSQL's dialect as the parser library has it, held to time that grows with the text.
//!
//! The library tries one way to read what it sees, and another when that fails. Where such choices nest, it may take twice as long for each
//! level: always for arguments of functions, which it takes for named by expressions first, and for mistakes within casts and their kin. The
//! former is switched off, as names of arguments are words; for the rest there is a bound on what it does.

use std::any::TypeId;
use std::cell::Cell;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// How often the library may begin to read an expression, for each token.
const STEPS_A_TOKEN: usize = 64;
/// How often it may in any case.
const STEPS_MIN: usize = 10_000;

/// The dialect, for one text.
#[derive(Debug)]
pub(super) struct Postgres {
    library: PostgreSqlDialect,
    steps_left: Cell<usize>,
}

impl Postgres {
    /// For a text of so many tokens.
    pub fn for_tokens(tokens: usize) -> Self {
        Postgres { library: PostgreSqlDialect {}, steps_left: Cell::new(tokens * STEPS_A_TOKEN + STEPS_MIN) }
    }
}

macro_rules! as_the_library {
    ($($what:ident),* $(,)?) => {
        $(fn $what(&self) -> bool {
            self.library.$what()
        })*
    };
}

impl Dialect for Postgres {
    fn dialect(&self) -> TypeId {
        self.library.dialect()
    }

    fn parse_prefix(&self, _: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let left = self.steps_left.get().checked_sub(1);
        self.steps_left.set(left.unwrap_or(0));
        // The one error after which the library tries no other way.
        left.is_none().then_some(Err(ParserError::RecursionLimitExceeded))
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        self.library.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.library.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.library.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.library.is_identifier_part(ch)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        self.library.is_custom_operator_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        self.library.is_reserved_for_identifier(keyword)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        self.library.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        self.library.prec_value(precedence)
    }

    as_the_library!(
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_alter_column_type_using,
        supports_array_typedef_with_brackets,
        supports_bitwise_shift_operators,
        supports_comma_separated_trim,
        supports_comment_on,
        supports_comment_optimizer_hint,
        supports_create_index_with_clause,
        supports_create_table_like_parenthesized,
        supports_empty_projections,
        supports_explain_with_utility_options,
        supports_factorial_operator,
        supports_filter_during_aggregation,
        supports_geometric_types,
        supports_group_by_expr,
        supports_insert_table_alias,
        supports_interval_options,
        supports_listen_notify,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_nested_comments,
        supports_notnull_operator,
        supports_numeric_literal_underscores,
        supports_select_wildcard_with_alias,
        supports_set_names,
        supports_string_escape_constant,
        supports_unicode_string_literal,
        supports_xml_expressions,
    );
}
