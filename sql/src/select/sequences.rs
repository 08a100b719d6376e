//! `nextval`, `setval`, `currval` and `lastval` in queries that read rows: they wait for counters in the keyspace, outside the
//! transaction.
//!
//! They are computed a batch of rows at a time, call by call. So one query cannot both move sequences and ask where they stand, which
//! PostgreSQL answers row by row.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::errors::external;
use crate::arrow::{DatumBuilder, datum_at, field, is_settled, type_of};
use crate::catalog::SequenceDescriptor;
use crate::error::{SqlError, code};
use crate::functions;
use crate::query::QueryContext;
use crate::types::{CastContext, Datum, PgType, cast};

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Next,
    Set,
    Current,
    Last,
}

/// Those that move sequences.
pub(super) const MOVERS: [&str; 2] = ["nextval", "setval"];

/// Those that ask where they stand.
pub(super) const ASKERS: [&str; 2] = ["currval", "lastval"];

struct SequenceFunction {
    kind: Kind,
    /// Which call of its query it is: calls that read alike draw values of their own.
    call: usize,
    signature: Signature,
    context: QueryContext,
}

/// The function of sequences of this name, for a query's call of this number; none for other names.
pub(super) fn function(name: &str, call: usize, context: &QueryContext) -> Option<Arc<ScalarUDF>> {
    let kind = match name {
        "nextval" => Kind::Next,
        "setval" => Kind::Set,
        "currval" => Kind::Current,
        "lastval" => Kind::Last,
        _ => return None,
    };
    let takes_any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
    let signature = Signature::one_of(takes_any, Volatility::Volatile);
    // A plan holds no transaction.
    let context = QueryContext { transaction: None, params: Arc::from([]), ..context.clone() };
    let function = SequenceFunction { kind, call, signature, context };
    Some(Arc::new(AsyncScalarUDF::new(Arc::new(function)).into_scalar_udf()))
}

impl SequenceFunction {
    /// What its arguments are cast to, given their types; `None` when there is no such function.
    fn wanted(&self, given: &[PgType]) -> Option<Vec<PgType>> {
        let named = |ty: PgType| match ty {
            PgType::Regclass | PgType::Oid => Some(PgType::Regclass),
            PgType::Unknown | PgType::Text | PgType::Varchar | PgType::Name => Some(PgType::Text),
            _ => None,
        };
        let number = |ty: PgType| match ty {
            PgType::Unknown | PgType::Int2 | PgType::Int4 | PgType::Int8 => Some(PgType::Int8),
            _ => None,
        };
        let flag = |ty: PgType| matches!(ty, PgType::Unknown | PgType::Bool).then_some(PgType::Bool);
        match (self.kind, given) {
            (Kind::Last, []) => Some(vec![]),
            (Kind::Next | Kind::Current, [name]) => Some(vec![named(*name)?]),
            (Kind::Set, [name, value]) => Some(vec![named(*name)?, number(*value)?]),
            (Kind::Set, [name, value, given]) => Some(vec![named(*name)?, number(*value)?, flag(*given)?]),
            _ => None,
        }
    }

    fn sequence(&self, name: &Datum) -> Result<&Arc<SequenceDescriptor>, SqlError> {
        let QueryContext { catalog, session, .. } = &self.context;
        match name {
            Datum::Text(name) => catalog.sequence_named(session.database_id, &session.search_path, name),
            Datum::Oid(id) => catalog.sequence(*id).ok_or_else(|| {
                SqlError::new(code::WRONG_OBJECT_TYPE, format!("the relation with OID {id} is not a sequence"))
            }),
            _ => Err(SqlError::internal("a sequence is named by something else than a name")),
        }
    }

    /// The value for one row.
    async fn value(&self, arguments: &[Datum]) -> Result<Datum, SqlError> {
        let sequences = &self.context.sequences;
        if arguments.iter().any(Datum::is_null) {
            return Ok(Datum::Null);
        }
        let [name, rest @ ..] = arguments else { return sequences.session.last().map(Datum::Int8) };
        let sequence = self.sequence(name)?;
        let value = match self.kind {
            Kind::Set => {
                let value = rest[0].as_i64().ok_or_else(|| SqlError::internal("setval to no integer"))?;
                sequences.set(sequence, value, rest.get(1) != Some(&Datum::Bool(false))).await?;
                value
            }
            Kind::Next => {
                sequences.prepare(sequence, 1).await?;
                sequences.session.draw(sequence.id)?
            }
            Kind::Current | Kind::Last => sequences.session.current(sequence.id)?,
        };
        Ok(Datum::Int8(value))
    }
}

/// The type of an argument; a text literal may still become anything.
fn given(field: &FieldRef, literal: bool) -> PgType {
    match type_of(field).0 {
        PgType::Text if literal && !is_settled(field) => PgType::Unknown,
        ty => ty,
    }
}

impl ScalarUDFImpl for SequenceFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Next => "nextval",
            Kind::Set => "setval",
            Kind::Current => "currval",
            Kind::Last => "lastval",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let literals = args.scalar_arguments.iter().map(Option::is_some);
        let types: Vec<PgType> =
            args.arg_fields.iter().zip(literals).map(|(field, literal)| given(field, literal)).collect();
        match self.wanted(&types) {
            Some(_) => Ok(Arc::new(field(self.name(), PgType::Int8, -1, true))),
            None => Err(external(functions::no_function(self.name(), &types))),
        }
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal("a sequence is not drawn from at once".into()))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for SequenceFunction {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let literals = args.args.iter().map(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let types: Vec<PgType> =
            args.arg_fields.iter().zip(literals).map(|(field, literal)| given(field, literal)).collect();
        let wanted = self.wanted(&types).ok_or_else(|| external(functions::no_function(self.name(), &types)))?;
        let arrays: Vec<ArrayRef> =
            args.args.iter().map(|argument| argument.to_array(args.number_rows)).collect::<Result<_>>()?;
        if let (Kind::Next, [ColumnarValue::Scalar(name)]) = (self.kind, &args.args[..])
            && !name.is_null()
        {
            // All from one: in one round.
            let name = self.argument(types[0], wanted[0], &arrays[0], 0).map_err(external)?;
            let sequence = self.sequence(&name).map_err(external)?;
            self.context.sequences.prepare(sequence, args.number_rows).await.map_err(external)?;
        }
        let mut builder = DatumBuilder::new(PgType::Int8, args.number_rows);
        for row in 0..args.number_rows {
            let places = types.iter().zip(&wanted).zip(&arrays);
            let arguments = places.map(|((from, to), array)| self.argument(*from, *to, array, row));
            let arguments: Vec<Datum> = arguments.collect::<Result<_, SqlError>>().map_err(external)?;
            builder.push(&self.value(&arguments).await.map_err(external)?).map_err(external)?;
        }
        Ok(ColumnarValue::Array(builder.finish()))
    }
}

impl SequenceFunction {
    fn argument(&self, from: PgType, to: PgType, array: &ArrayRef, row: usize) -> Result<Datum, SqlError> {
        let read = if from == PgType::Unknown { PgType::Text } else { from };
        cast(datum_at(read, array, row)?, from, to, -1, CastContext::Explicit, &self.context.session.types)
    }
}

impl PartialEq for SequenceFunction {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, self.call) == (other.kind, other.call)
    }
}

impl Eq for SequenceFunction {}

impl std::hash::Hash for SequenceFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.kind, self.call).hash(state);
    }
}

impl std::fmt::Debug for SequenceFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
