//! What the planner library's errors are in PostgreSQL's terms.

use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, Diagnostic, SchemaError};
use datafusion::error::DataFusionError;

use crate::error::{SqlError, code};
use crate::functions;

/// Carries one of our errors through the library.
pub(super) fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The error a client is told.
pub(super) fn sql_error(error: DataFusionError) -> SqlError {
    match find(&error) {
        Some(own) => own,
        None => foreign(&error, None),
    }
}

/// Our own error, wherever in the library's it sits.
fn find(error: &DataFusionError) -> Option<SqlError> {
    match error {
        DataFusionError::External(inner) => find_in(&**inner),
        DataFusionError::ArrowError(inner, _) => match &**inner {
            ArrowError::ExternalError(inner) => find_in(&**inner),
            _ => None,
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => find(inner),
        DataFusionError::Shared(inner) => find(inner),
        DataFusionError::Collection(errors) => errors.iter().find_map(find),
        _ => None,
    }
}

fn find_in(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<SqlError> {
    if let Some(own) = error.downcast_ref::<SqlError>() {
        return Some(own.clone());
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return find(inner);
    }
    match error.downcast_ref::<ArrowError>()? {
        ArrowError::ExternalError(inner) => find_in(&**inner),
        _ => None,
    }
}

fn foreign(error: &DataFusionError, position: Option<u32>) -> SqlError {
    let placed = |error: SqlError| match position {
        Some(position) => error.position(position),
        None => error,
    };
    match error {
        DataFusionError::Context(_, inner) => foreign(inner, position),
        DataFusionError::Diagnostic(diagnostic, inner) => foreign(inner, place(diagnostic).or(position)),
        DataFusionError::Shared(inner) => foreign(inner, position),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => foreign(first, position),
            None => SqlError::internal("an empty list of errors"),
        },
        DataFusionError::SchemaError(schema, _) => placed(schema_error(schema)),
        DataFusionError::ArrowError(inner, _) => match &**inner {
            ArrowError::DivideByZero => SqlError::new(code::DIVISION_BY_ZERO, "division by zero"),
            ArrowError::ArithmeticOverflow(_) => SqlError::new(code::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range"),
            ArrowError::CastError(message) => SqlError::new(code::INVALID_TEXT_REPRESENTATION, cast_message(message)),
            ArrowError::ParseError(message) => SqlError::new(code::INVALID_TEXT_REPRESENTATION, message.clone()),
            other => pattern_error(&other.to_string()).unwrap_or_else(|| SqlError::internal(other)),
        },
        DataFusionError::NotImplemented(message) if message.contains("logical expression") => {
            placed(SqlError::unsupported("this kind of subquery in this place"))
        }
        DataFusionError::NotImplemented(message) if message.starts_with("Unsupported ast node in sqltorel: ") => {
            let node = message.trim_start_matches("Unsupported ast node in sqltorel: ");
            let name = node.split([' ', '(', '{']).next().unwrap_or_default();
            placed(SqlError::unsupported(format!("the expression {name}")))
        }
        DataFusionError::NotImplemented(message) if message.starts_with("Dot access not supported") => {
            placed(SqlError::unsupported("selecting a field of a composite value"))
        }
        DataFusionError::NotImplemented(message) => {
            placed(SqlError::new(code::FEATURE_NOT_SUPPORTED, first_line(message)))
        }
        DataFusionError::Plan(message) => placed(plan_error(message)),
        DataFusionError::SQL(parser, _) => placed(SqlError::syntax(parser.to_string())),
        DataFusionError::ResourcesExhausted(message) => {
            SqlError::new(code::OUT_OF_MEMORY, "out of memory").detail(first_line(message))
        }
        // The library awaits functions in lists of columns, conditions and aggregates only.
        DataFusionError::Internal(message) if message.starts_with("async functions should not be called directly") => {
            SqlError::unsupported("a function of sequences, or one that sleeps, in this place")
        }
        DataFusionError::Execution(message) => execution_error(message),
        other => {
            let words = other.to_string();
            pattern_error(&words).unwrap_or_else(|| SqlError::internal(first_line(&words)))
        }
    }
}

/// What the library's own operators and functions say of a regular expression that they cannot use.
fn pattern_error(words: &str) -> Option<SqlError> {
    let known = ["regex parse error", "Regular expression did not compile", "Compiled regex exceeds size limit"];
    if !known.iter().any(|start| words.contains(start)) {
        return None;
    }
    let reason = words.lines().find_map(|line| line.trim().strip_prefix("error: "));
    let reason = reason.unwrap_or("regular expression is too complex");
    Some(SqlError::new(code::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {reason}")))
}

/// Where in a text of one line: the character, counted from 1.
fn place(diagnostic: &Diagnostic) -> Option<u32> {
    let span = diagnostic.span?;
    (span.start.line == 1).then(|| u32::try_from(span.start.column).ok()).flatten()
}

fn named(column: &Column) -> String {
    match &column.relation {
        Some(relation) => format!("column {}.{} does not exist", relation.table(), super::names::visible(&column.name)),
        None => format!("column \"{}\" does not exist", super::names::visible(&column.name)),
    }
}

fn schema_error(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let is_table = |column: &Column| column.relation.as_ref().is_some_and(|table| table.table() == field.name);
            if field.relation.is_none() && valid_fields.iter().any(is_table) {
                return SqlError::unsupported(format!("the whole row {} as a value", field.name));
            }
            if let Some(relation) = &field.relation {
                let known =
                    |column: &Column| column.relation.as_ref().is_some_and(|other| other.table() == relation.table());
                if !valid_fields.iter().any(known) {
                    let message = format!("missing FROM-clause entry for table \"{}\"", relation.table());
                    return SqlError::new(code::UNDEFINED_TABLE, message);
                }
            }
            SqlError::new(code::UNDEFINED_COLUMN, named(field))
        }
        SchemaError::AmbiguousReference { field } => {
            let name = super::names::visible(&field.name);
            SqlError::new(code::AMBIGUOUS_COLUMN, format!("column reference \"{name}\" is ambiguous"))
        }
        SchemaError::DuplicateQualifiedField { qualifier, .. } => {
            SqlError::new("42712", format!("table name \"{}\" specified more than once", qualifier.table()))
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            let name = super::names::visible(name);
            SqlError::new(code::DUPLICATE_COLUMN, format!("column name \"{name}\" specified more than once"))
        }
    }
}

/// `Cannot cast string 'x' to value of Int32 type`, in PostgreSQL's words.
fn cast_message(message: &str) -> String {
    let said = || {
        let (value, ty) = message.strip_prefix("Cannot cast string '")?.rsplit_once("' to value of ")?;
        let ty = match ty.strip_suffix(" type")? {
            "Int16" => "smallint",
            "Int32" => "integer",
            "Int64" => "bigint",
            "Float32" => "real",
            "Float64" => "double precision",
            "Boolean" => "boolean",
            _ => return None,
        };
        Some(format!("invalid input syntax for type {ty}: \"{value}\""))
    };
    said().unwrap_or_else(|| message.to_owned())
}

fn plan_error(message: &str) -> SqlError {
    let message = first_line(message);
    if message.starts_with("Too many columns! The subquery should only return one column") {
        return SqlError::syntax("subquery must return only one column");
    }
    if let Some((operation, _)) = message.split_once(" queries have different number of columns") {
        let text = format!("each {operation} query must have the same number of columns");
        return SqlError::syntax(text);
    }
    if message.contains("must appear in the GROUP BY clause") {
        let column = message.split('"').nth(1).unwrap_or_default();
        let text =
            format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function");
        return SqlError::new("42803", text);
    }
    if let Some(rest) = message.strip_prefix("Order by column out of bounds, specified: ") {
        let place = rest.split(',').next().unwrap_or_default();
        return SqlError::new(
            code::INVALID_COLUMN_REFERENCE,
            format!("ORDER BY position {place} is not in select list"),
        );
    }
    if let Some(which) =
        ["LIMIT", "OFFSET"].into_iter().find(|which| message.starts_with(&format!("{which} must be >=")))
    {
        let code = if which == "LIMIT" { "2201W" } else { "2201X" };
        return SqlError::new(code, format!("{which} must not be negative"));
    }
    if message.starts_with("SELECT DISTINCT ON expressions must match") {
        return SqlError::new(code::INVALID_COLUMN_REFERENCE, message);
    }
    if let Some(relation) = message.strip_prefix("Invalid qualifier ") {
        return SqlError::new(code::UNDEFINED_TABLE, format!("missing FROM-clause entry for table \"{relation}\""));
    }
    if message.starts_with("Aggregate functions are not allowed in the WHERE clause") {
        return SqlError::new("42803", "aggregate functions are not allowed in WHERE");
    }
    if message.contains("Aggregate function calls cannot be nested") {
        return SqlError::new("42803", "aggregate function calls cannot be nested");
    }
    let code = if message.starts_with("Invalid function") || message.contains("No function matches") {
        let name = message.split('\'').nth(1).unwrap_or_default();
        let plain = name.split('(').next().unwrap_or_default();
        if functions::is_absent(plain) {
            return SqlError::unsupported(format!("the function {plain} of these arguments"));
        }
        return SqlError::new(code::UNDEFINED_FUNCTION, format!("function {name} does not exist"))
            .hint("No function matches the given name and argument types. You might need to add explicit type casts.");
    } else if [
        "GROUP BY",
        "could not be resolved from available columns",
        "Aggregate functions are not allowed",
        "aggregate",
    ]
    .iter()
    .any(|words| message.contains(words))
    {
        "42803"
    } else if message.contains("ORDER BY column out of bounds") || message.contains("Order by") {
        code::INVALID_COLUMN_REFERENCE
    } else if message.contains("number of columns") || message.contains("must have the same number") {
        code::SYNTAX_ERROR
    } else if message.contains("coerce") || message.contains("Cannot infer common") || message.contains("incompatible")
    {
        code::DATATYPE_MISMATCH
    } else if message.contains("not supported") || message.contains("Unsupported") {
        code::FEATURE_NOT_SUPPORTED
    } else {
        code::SYNTAX_ERROR
    };
    SqlError::new(code, message)
}

fn execution_error(message: &str) -> SqlError {
    if message.contains("returned more than one row") || message.contains("more than one row") {
        return SqlError::new(
            code::CARDINALITY_VIOLATION,
            "more than one row returned by a subquery used as an expression",
        );
    }
    SqlError::new(code::DATA_EXCEPTION, first_line(message))
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}
