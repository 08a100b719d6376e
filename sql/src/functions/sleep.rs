//! `pg_sleep`: waits without holding a thread, and ends at once when its statement is cancelled.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::registry::FunctionContext;
use super::udf::external;
use crate::arrow::{DatumBuilder, datum_at, field, type_of};
use crate::types::{CastContext, Datum, PgType, cast};

/// How long a call waits, as its argument says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// Seconds.
    Seconds,
    /// An interval.
    Interval,
}

#[derive(Debug)]
struct Sleep {
    form: Form,
    signature: Signature,
    settings: Arc<crate::types::TypeSettings>,
}

/// `pg_sleep` or `pg_sleep_for`; none for other names.
pub fn sleep(name: &str, context: &FunctionContext) -> Option<Arc<ScalarUDF>> {
    let form = match name {
        "pg_sleep" => Form::Seconds,
        "pg_sleep_for" => Form::Interval,
        _ => return None,
    };
    let signature = Signature::any(1, Volatility::Volatile);
    let function = Sleep { form, signature, settings: context.settings.clone() };
    Some(Arc::new(AsyncScalarUDF::new(Arc::new(function)).into_scalar_udf()))
}

impl PartialEq for Sleep {
    fn eq(&self, other: &Self) -> bool {
        self.form == other.form
    }
}

impl Eq for Sleep {}

impl std::hash::Hash for Sleep {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.form.hash(state);
    }
}

impl Sleep {
    fn duration(&self, argument: Datum, ty: PgType) -> Result<Option<Duration>> {
        let wanted = match self.form {
            Form::Seconds => PgType::Float8,
            Form::Interval => PgType::Interval,
        };
        let value = cast(argument, ty, wanted, -1, CastContext::Explicit, &self.settings).map_err(external)?;
        let seconds = match value {
            Datum::Float8(seconds) => seconds,
            Datum::Interval(span) => {
                (f64::from(span.months) * 30.0 + f64::from(span.days)) * 86_400.0 + span.micros as f64 / 1e6
            }
            _ => return Ok(None),
        };
        Ok(Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)))
    }
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &str {
        match self.form {
            Form::Seconds => "pg_sleep",
            Form::Interval => "pg_sleep_for",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(field(self.name(), PgType::Void, -1, true)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal("a sleep is not computed at once".into()))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ty = match type_of(&args.arg_fields[0]).0 {
            PgType::Text => PgType::Unknown,
            ty => ty,
        };
        let arguments = args.args[0].to_array(args.number_rows)?;
        let mut builder = DatumBuilder::new(PgType::Void, args.number_rows);
        for row in 0..args.number_rows {
            let argument = match arguments.data_type() {
                DataType::Null => Datum::Null,
                _ => datum_at(if ty == PgType::Unknown { PgType::Text } else { ty }, &arguments, row)
                    .map_err(external)?,
            };
            let slept = match self.duration(argument, ty)? {
                Some(duration) => {
                    tokio::time::sleep(duration).await;
                    Datum::Text(String::new())
                }
                None => Datum::Null,
            };
            builder.push(&slept).map_err(external)?;
        }
        Ok(ColumnarValue::Array(builder.finish()))
    }
}
