//! PostgreSQL's operators and casts as functions of the planner library, which has others under the same signs.
//!
//! ```text
//!   arrays ─▶ both of one plain number type? ─▶ checked Arrow kernels
//!          └▶ datums, row by row ─▶ types::{cast, arithmetic, compare} ─▶ array
//! ```
//!
//! All of them are pure: what they need of the session (its time zone, its names) is taken when the query is planned, and a
//! session whose settings change plans anew.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::kernels::numeric as kernels;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast;

use super::errors::external;
use crate::arrow::{self, DatumBuilder, datum_at, type_of};
use crate::error::SqlError;
use crate::interrupt;
use crate::types::{self, BinaryOperator, CastContext, Datum, PgType, TypeSettings};

mod compute;

/// Unary minus.
pub(super) const NEGATE: &str = "-";
/// BETWEEN of a value that is computed once.
pub(super) const BETWEEN: &str = "BETWEEN";
const CAST: &str = "cast";
const ANY: &str = "ANY";
const ALL: &str = "ALL";
/// Behind the name of ANY or ALL: the array is of a subquery's rows.
const OF_ROWS: &str = "rows";

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A cast to a type and its modifier.
    Cast(PgType, i32),
    /// `+ - * / % ^`.
    Arithmetic(BinaryOperator),
    /// Unary minus.
    Negate,
    /// A comparison of values that Arrow compares otherwise.
    Compare(Comparison),
    /// `x op ANY (array)`; ALL with `true`. With a second `true` the array is of a subquery's rows, NULL when there are none.
    Quantified(Comparison, bool, bool),
    /// A number's bytes without its display scale: equal for equal numbers.
    NumericKey,
    /// The bytes of an index key: equal for equal values, and in their order.
    ValueKey,
    /// The first that is not NULL.
    Coalesce,
    /// NULL if both are equal, else the first.
    NullIf,
    /// The greatest that is not NULL; the least with `true`.
    Extreme(bool),
    /// `BETWEEN`, of a value that is computed once.
    Between,
    /// `IS DISTINCT FROM`; `IS NOT DISTINCT FROM` with `false`.
    Distinct(bool),
}

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// The comparison that the parser's operator is.
    pub fn of(op: &ast::BinaryOperator) -> Option<Comparison> {
        Some(match op {
            ast::BinaryOperator::Eq => Comparison::Equal,
            ast::BinaryOperator::NotEq => Comparison::NotEqual,
            ast::BinaryOperator::Lt => Comparison::Less,
            ast::BinaryOperator::LtEq => Comparison::LessOrEqual,
            ast::BinaryOperator::Gt => Comparison::Greater,
            ast::BinaryOperator::GtEq => Comparison::GreaterOrEqual,
            _ => return None,
        })
    }

    /// The operator as written.
    pub const fn symbol(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }

    fn by_symbol(symbol: &str) -> Option<Comparison> {
        [
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
        ]
        .into_iter()
        .find(|comparison| comparison.symbol() == symbol)
    }

    /// Whether it holds for operands that compare so.
    pub fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::NotEqual => ordering.is_ne(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// The name by which a rewritten query calls a cast.
pub(super) fn cast_name(ty: PgType, typmod: i32) -> String {
    format!("{CAST} {} {} {typmod}", types::format_type(ty, typmod), ty.oid())
}

/// The name by which a rewritten query calls ANY or ALL, of an array or of an array of a subquery's rows.
pub(super) fn quantified_name(op: &ast::BinaryOperator, all: bool, of_rows: bool) -> Option<String> {
    let comparison = Comparison::of(op)?;
    Some(Kind::Quantified(comparison, all, of_rows).name())
}

/// One of our functions.
pub(super) struct Call {
    pub kind: Kind,
    name: String,
    settings: Arc<TypeSettings>,
    signature: Signature,
}

impl Kind {
    /// What it is called, by rewritten queries too: the planner library gives a call by another name an alias, for which it asks twice for
    /// all that is known of what is below.
    fn name(self) -> String {
        match self {
            Kind::Cast(ty, typmod) => cast_name(ty, typmod),
            Kind::Arithmetic(operator) => operator.symbol().to_owned(),
            Kind::Negate => NEGATE.to_owned(),
            Kind::Compare(comparison) => comparison.symbol().to_owned(),
            Kind::Quantified(comparison, all, of_rows) => {
                let suffix = if of_rows { format!(" {OF_ROWS}") } else { String::new() };
                format!("{} {}{suffix}", comparison.symbol(), if all { ALL } else { ANY })
            }
            Kind::NumericKey => "key".to_owned(),
            Kind::ValueKey => "value key".to_owned(),
            Kind::Coalesce => "coalesce".to_owned(),
            Kind::NullIf => "nullif".to_owned(),
            Kind::Between => BETWEEN.to_owned(),
            Kind::Distinct(distinct) => if distinct { "IS DISTINCT FROM" } else { "IS NOT DISTINCT FROM" }.to_owned(),
            Kind::Extreme(least) => if least { "least" } else { "greatest" }.to_owned(),
        }
    }
}

impl Call {
    /// A function of this kind, under the session's settings.
    pub fn udf(kind: Kind, settings: &Arc<TypeSettings>) -> Arc<ScalarUDF> {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Call { kind, name: kind.name(), settings: settings.clone(), signature }))
    }

    /// The function that a rewritten query calls by this name.
    pub fn by_name(name: &str, settings: &Arc<TypeSettings>) -> Option<Arc<ScalarUDF>> {
        let plain = match name {
            NEGATE => Some(Kind::Negate),
            BETWEEN => Some(Kind::Between),
            "coalesce" => Some(Kind::Coalesce),
            "nullif" => Some(Kind::NullIf),
            "greatest" => Some(Kind::Extreme(false)),
            "least" => Some(Kind::Extreme(true)),
            _ => None,
        };
        if let Some(kind) = plain {
            return Some(Call::udf(kind, settings));
        }
        let words: Vec<&str> = name.split(' ').collect();
        let kind = match words[..] {
            // Names of types may have blanks.
            [CAST, _, .., ty, typmod] => Kind::Cast(PgType::from_oid(ty.parse().ok()?)?, typmod.parse().ok()?),
            [symbol, quantifier @ (ANY | ALL), ref of_rows @ ..] => {
                Kind::Quantified(Comparison::by_symbol(symbol)?, quantifier == ALL, *of_rows == [OF_ROWS])
            }
            _ => return None,
        };
        Some(Call::udf(kind, settings))
    }

    /// What a function of ours does; none for the others.
    pub fn kind_of(udf: &ScalarUDF) -> Option<Kind> {
        let inner: &dyn std::any::Any = &**udf.inner();
        inner.downcast_ref::<Call>().map(|call| call.kind)
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.settings.timezone == other.settings.timezone
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal("the type depends on the fields".into()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        // Planning asks over and over.
        interrupt::check().map_err(external)?;
        let ty = |place: usize| args.arg_fields.get(place).map_or(PgType::Unknown, |field| type_of(field).0);
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        let field = match self.kind {
            // A text that is no longer a literal of no type.
            Kind::Cast(PgType::Text, _) => arrow::settled_text(&self.name, nullable || ty(0) == PgType::Unknown),
            Kind::Cast(to, typmod) => arrow::field(&self.name, to, typmod, nullable || ty(0) == PgType::Unknown),
            Kind::Arithmetic(operator) => {
                let (left, right) = (ty(0), ty(1));
                let result = match (left, right) {
                    (PgType::Unknown, other) | (other, PgType::Unknown) => Some(other),
                    _ => types::result_type(operator, left, right),
                };
                let result = result.ok_or_else(|| external(no_operator(operator.symbol(), left, right)))?;
                arrow::field(&self.name, result, -1, nullable)
            }
            Kind::Negate => match ty(0) {
                operand if operand.is_number() || operand == PgType::Interval => {
                    arrow::field(&self.name, operand, -1, nullable)
                }
                PgType::Unknown => arrow::field(&self.name, PgType::Int4, -1, true),
                operand => {
                    let name = types::format_type(operand, -1);
                    return Err(external(SqlError::new("42883", format!("operator does not exist: - {name}"))));
                }
            },
            Kind::Compare(_) | Kind::Between => arrow::field(&self.name, PgType::Bool, -1, nullable),
            Kind::Quantified(..) => arrow::field(&self.name, PgType::Bool, -1, true),
            Kind::Distinct(_) => arrow::field(&self.name, PgType::Bool, -1, false),
            Kind::NumericKey | Kind::ValueKey => Field::new(&self.name, DataType::Binary, nullable),
            Kind::Coalesce | Kind::Extreme(_) => {
                let nullable = args.arg_fields.iter().all(|field| field.is_nullable());
                arrow::field(&self.name, self.meeting(&args)?, -1, nullable)
            }
            Kind::NullIf => arrow::field(&self.name, ty(0), -1, true),
        };
        Ok(Arc::new(field))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(result) = self.by_kernel(&args)? {
            return Ok(result);
        }
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let columns: Vec<Column> = args
            .args
            .iter()
            .zip(&args.arg_fields)
            .map(|(arg, field)| Column::new(arg, field))
            .collect::<Result<_>>()?;
        let array = self.compute(&columns, rows, &args.return_field)?;
        if scalar {
            return arrow::first_of(&array).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(array))
    }
}

/// "operator does not exist", as PostgreSQL says it.
pub(super) fn no_operator(symbol: &str, left: PgType, right: PgType) -> SqlError {
    let (left, right) = (types::format_type(left, -1), types::format_type(right, -1));
    SqlError::new("42883", format!("operator does not exist: {left} {symbol} {right}"))
        .hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}

/// An argument: a value for each row, or one for all.
struct Column {
    ty: PgType,
    array: ArrayRef,
    constant: Option<Datum>,
}

impl Column {
    fn new(value: &ColumnarValue, field: &Field) -> Result<Column> {
        let (ty, _) = type_of(field);
        Ok(match value {
            ColumnarValue::Array(array) => Column { ty, array: array.clone(), constant: None },
            ColumnarValue::Scalar(scalar) => {
                let array = scalar.to_array()?;
                let constant = Some(datum_at(ty, &array, 0).map_err(external)?);
                Column { ty, array, constant }
            }
        })
    }

    fn get(&self, row: usize) -> Result<Datum> {
        match &self.constant {
            Some(constant) => Ok(constant.clone()),
            None => datum_at(self.ty, &self.array, row).map_err(external),
        }
    }
}

impl Call {
    /// The common arithmetic on plain numbers, without a detour through datums.
    fn by_kernel(&self, args: &ScalarFunctionArgs) -> Result<Option<ColumnarValue>> {
        let Kind::Arithmetic(operator) = self.kind else { return Ok(None) };
        let types = (args.arg_fields[0].data_type(), args.arg_fields[1].data_type());
        if !matches!(types, (DataType::Int32, DataType::Int32) | (DataType::Int64, DataType::Int64)) {
            return Ok(None);
        }
        let kernel = match operator {
            BinaryOperator::Add => kernels::add,
            BinaryOperator::Subtract => kernels::sub,
            BinaryOperator::Multiply => kernels::mul,
            BinaryOperator::Divide => kernels::div,
            BinaryOperator::Modulo | BinaryOperator::Power => return Ok(None),
        };
        let result = datafusion::physical_expr_common::datum::apply(&args.args[0], &args.args[1], kernel);
        let name = if *types.0 == DataType::Int32 { "integer" } else { "bigint" };
        result.map(Some).map_err(|error| match arrow_cause(&error) {
            Some(ArrowError::DivideByZero) => external(SqlError::new("22012", "division by zero")),
            Some(ArrowError::ArithmeticOverflow(_)) => external(SqlError::new("22003", format!("{name} out of range"))),
            _ => error,
        })
    }

    /// The type at which the arguments meet. A literal that nothing has given a type yet has no say.
    fn meeting(&self, args: &ReturnFieldArgs<'_>) -> Result<PgType> {
        let mut meeting: Option<PgType> = None;
        let mut literal = false;
        for (field, scalar) in args.arg_fields.iter().zip(args.scalar_arguments) {
            let ty = type_of(field).0;
            if ty == PgType::Unknown || (scalar.is_some() && ty == PgType::Text) {
                literal |= ty == PgType::Text;
                continue;
            }
            meeting = Some(match meeting {
                None => ty,
                Some(so_far) => super::operators::common(so_far, ty).ok_or_else(|| {
                    let (a, b) = (types::format_type(so_far, -1), types::format_type(ty, -1));
                    let name = self.name.to_uppercase();
                    external(SqlError::new("42804", format!("{name} types {a} and {b} cannot be matched")))
                })?,
            });
        }
        Ok(meeting.unwrap_or(if literal { PgType::Text } else { PgType::Unknown }))
    }

    fn compute(&self, columns: &[Column], rows: usize, field: &Field) -> Result<ArrayRef> {
        if self.kind == Kind::NumericKey {
            return compute::numeric_keys(&columns[0].array);
        }
        if self.kind == Kind::ValueKey {
            return compute::value_keys(&columns[0], rows);
        }
        let (result, _) = type_of(field);
        let mut builder = DatumBuilder::new(result, rows);
        for row in 0..rows {
            interrupt::check().map_err(external)?;
            let value = self.value(columns, row, result).and_then(|value| builder.push(&value).map_err(external));
            value?;
        }
        Ok(builder.finish())
    }

    fn value(&self, columns: &[Column], row: usize, result: PgType) -> Result<Datum> {
        if matches!(self.kind, Kind::Coalesce | Kind::Extreme(_)) {
            return self.choice(columns, row, result);
        }
        let first = columns[0].get(row)?;
        let second = |place: usize| columns.get(place).map_or(Ok(Datum::Null), |column| column.get(row));
        let value = match self.kind {
            Kind::Cast(to, typmod) => {
                types::cast(first, columns[0].ty, to, typmod, CastContext::Explicit, &self.settings)
            }
            Kind::Arithmetic(operator) => compute::arithmetic(operator, &first, &second(1)?, &self.settings),
            Kind::Negate => types::negate(&first),
            Kind::Compare(comparison) => {
                let ordering = types::compare_sql(&first, &second(1)?);
                Ok(ordering.map_or(Datum::Null, |ordering| Datum::Bool(comparison.holds(ordering))))
            }
            Kind::Between => {
                let above = types::compare_sql(&first, &second(1)?).map(std::cmp::Ordering::is_ge);
                let below = types::compare_sql(&first, &second(2)?).map(std::cmp::Ordering::is_le);
                Ok(match (above, below) {
                    (Some(false), _) | (_, Some(false)) => Datum::Bool(false),
                    (Some(true), Some(true)) => Datum::Bool(true),
                    _ => Datum::Null,
                })
            }
            Kind::Quantified(comparison, all, of_rows) => match second(1)? {
                Datum::Null if of_rows => Ok(Datum::Bool(all)),
                array => Ok(compute::quantified(comparison, all, &first, &array)),
            },
            Kind::Distinct(distinct) => Ok(Datum::Bool(types::compare(&first, &second(1)?).is_ne() == distinct)),
            Kind::NullIf => {
                let equal = types::compare_sql(&first, &second(1)?).is_some_and(std::cmp::Ordering::is_eq);
                Ok(if equal { Datum::Null } else { first })
            }
            Kind::NumericKey | Kind::ValueKey | Kind::Coalesce | Kind::Extreme(_) => Ok(Datum::Null),
        };
        value.map_err(external)
    }

    /// One of the arguments, as a value of the type they meet at.
    fn choice(&self, columns: &[Column], row: usize, result: PgType) -> Result<Datum> {
        let mut chosen = Datum::Null;
        for column in columns {
            let value = column.get(row)?;
            if value.is_null() {
                continue;
            }
            let value =
                types::cast(value, column.ty, result, -1, CastContext::Explicit, &self.settings).map_err(external)?;
            match self.kind {
                Kind::Extreme(least) if !chosen.is_null() => {
                    let order = types::compare(&value, &chosen);
                    if (order.is_lt() && least) || (order.is_gt() && !least) {
                        chosen = value;
                    }
                }
                Kind::Extreme(_) => chosen = value,
                _ => return Ok(value),
            }
        }
        Ok(chosen)
    }
}

fn arrow_cause(error: &DataFusionError) -> Option<&ArrowError> {
    match error {
        DataFusionError::ArrowError(error, _) => Some(error),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => arrow_cause(inner),
        _ => None,
    }
}
