//! Evaluation.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{Comparison, Function, Scalar, like};
use crate::error::{SqlError, code};
use crate::session::SessionView;
use crate::stack::level;
use crate::types::{Datum, arithmetic, cast, compare, compare_sql, negate};

/// What an expression is evaluated in.
pub(crate) struct EvalContext<'a> {
    /// The row that columns refer to.
    pub row: &'a [Datum],
    /// The parameters.
    pub params: &'a [Datum],
    /// The session's settings.
    pub view: &'a SessionView,
    /// Values drawn from sequences ahead of evaluation.
    pub sequences: &'a Sequences,
}

/// Values drawn from sequences ahead of evaluation, and those that `currval` gives.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    state: parking_lot::Mutex<SequenceState>,
}

#[derive(Debug, Default)]
struct SequenceState {
    ready: Vec<(u32, std::collections::VecDeque<i64>)>,
    current: Vec<(u32, i64)>,
    /// The sequence drawn from last.
    last: Option<u32>,
}

impl Sequences {
    /// How many values of the sequence are ready.
    pub fn ready(&self, id: u32) -> usize {
        self.state.lock().ready.iter().find(|(known, _)| *known == id).map_or(0, |(_, values)| values.len())
    }

    /// Makes values ready.
    pub fn supply(&self, id: u32, values: impl IntoIterator<Item = i64>) {
        let mut state = self.state.lock();
        match state.ready.iter_mut().find(|(known, _)| *known == id) {
            Some((_, ready)) => ready.extend(values),
            None => state.ready.push((id, values.into_iter().collect())),
        }
    }

    /// Forgets the values that are ready, for a sequence that was set or dropped.
    pub fn forget(&self, id: u32) {
        self.state.lock().ready.retain(|(known, _)| *known != id);
    }

    /// Notes the value that `currval` gives from now on.
    pub fn note(&self, id: u32, value: i64) {
        let mut state = self.state.lock();
        state.current.retain(|(known, _)| *known != id);
        state.current.push((id, value));
    }

    /// The next of the values that are ready.
    ///
    /// # Errors
    /// XX000 when there is none.
    pub fn draw(&self, id: u32) -> Result<i64, SqlError> {
        let drawn = {
            let mut state = self.state.lock();
            state.last = Some(id);
            state.ready.iter_mut().find(|(known, _)| *known == id).and_then(|(_, ready)| ready.pop_front())
        };
        let value = drawn.ok_or_else(|| SqlError::internal("a sequence was drawn from that was not made ready"))?;
        self.note(id, value);
        Ok(value)
    }

    /// `currval`.
    ///
    /// # Errors
    /// 55000 before the first value was drawn.
    pub fn current(&self, id: u32) -> Result<i64, SqlError> {
        let state = self.state.lock();
        let current = state.current.iter().find(|(known, _)| *known == id);
        current.map(|(_, value)| *value).ok_or_else(undefined_in_session)
    }

    /// `lastval`.
    ///
    /// # Errors
    /// As [`Sequences::current`].
    pub fn last(&self) -> Result<i64, SqlError> {
        let last = self.state.lock().last;
        self.current(last.ok_or_else(undefined_in_session)?)
    }
}

impl Scalar {
    /// The value, owned.
    pub fn eval(&self, context: &EvalContext<'_>) -> Result<Datum, SqlError> {
        self.eval_ref(context).map(Cow::into_owned)
    }

    /// Whether it is true (neither false nor NULL).
    pub fn eval_condition(&self, context: &EvalContext<'_>) -> Result<bool, SqlError> {
        Ok(matches!(*self.eval_ref(context)?, Datum::Bool(true)))
    }

    /// The value, borrowed where it lies somewhere already.
    pub fn eval_ref<'a>(&'a self, context: &EvalContext<'a>) -> Result<Cow<'a, Datum>, SqlError> {
        match self {
            Scalar::Const(value) => Ok(Cow::Borrowed(value)),
            Scalar::Column(position) => Ok(Cow::Borrowed(&context.row[*position])),
            Scalar::Param(number) => context.params.get(*number).map(Cow::Borrowed).ok_or_else(|| {
                SqlError::new(code::UNDEFINED_PARAMETER, format!("there is no parameter ${}", number + 1))
            }),
            _ => level(|| self.compute(context)).map(Cow::Owned),
        }
    }

    fn compute(&self, context: &EvalContext<'_>) -> Result<Datum, SqlError> {
        match self {
            Scalar::Const(_) | Scalar::Column(_) | Scalar::Param(_) => self.eval(context),
            Scalar::Arithmetic(operator, pair) => {
                arithmetic(*operator, &*pair.0.eval_ref(context)?, &*pair.1.eval_ref(context)?)
            }
            Scalar::Negate(inner) => negate(&*inner.eval_ref(context)?),
            Scalar::Compare(comparison, pair) => {
                let ordering = compare_sql(&*pair.0.eval_ref(context)?, &*pair.1.eval_ref(context)?);
                Ok(ordering.map_or(Datum::Null, |ordering| Datum::Bool(comparison.holds(ordering))))
            }
            Scalar::Distinct(pair, negated) => {
                let same = compare(&*pair.0.eval_ref(context)?, &*pair.1.eval_ref(context)?).is_eq();
                Ok(Datum::Bool(same == *negated))
            }
            Scalar::And(parts) => connect(parts, context, false),
            Scalar::Or(parts) => connect(parts, context, true),
            Scalar::Not(inner) => Ok(invert(&*inner.eval_ref(context)?)),
            Scalar::IsNull(inner, negated) => Ok(Datum::Bool(inner.eval_ref(context)?.is_null() != *negated)),
            Scalar::IsBool(inner, value, negated) => {
                let holds = *inner.eval_ref(context)? == Datum::Bool(*value);
                Ok(Datum::Bool(holds != *negated))
            }
            Scalar::InList(inner, list, negated) => in_list(inner, list, *negated, context),
            Scalar::Quantified(comparison, pair, all) => quantified(*comparison, pair, *all, context),
            Scalar::Case(branches, otherwise) => {
                for (condition, value) in branches {
                    if condition.eval_condition(context)? {
                        return value.eval(context);
                    }
                }
                otherwise.eval(context)
            }
            Scalar::Switch(operand, branches, otherwise) => switch(operand, branches, otherwise, context),
            Scalar::Between(parts) => between(parts, context),
            Scalar::Cast(inner, to) => {
                cast(inner.eval(context)?, to.from, to.to, to.typmod, to.context, &context.view.types)
            }
            Scalar::Like(pair, options) => {
                let (value, pattern) = (pair.0.eval_ref(context)?, pair.1.eval_ref(context)?);
                match (value.as_str(), pattern.as_str()) {
                    (Some(value), Some(pattern)) => {
                        Ok(Datum::Bool(like::matches(value, pattern, *options)? != options.negated))
                    }
                    _ => Ok(Datum::Null),
                }
            }
            Scalar::Concat(pair) => {
                let (left, right) = (pair.0.eval_ref(context)?, pair.1.eval_ref(context)?);
                match (left.as_str(), right.as_str()) {
                    (Some(left), Some(right)) => Ok(Datum::Text(format!("{left}{right}"))),
                    _ => Ok(Datum::Null),
                }
            }
            Scalar::Coalesce(parts) => {
                for part in parts {
                    let value = part.eval_ref(context)?;
                    if !value.is_null() {
                        return Ok(value.into_owned());
                    }
                }
                Ok(Datum::Null)
            }
            Scalar::Call(function, arguments) => call(*function, arguments, context),
            Scalar::NextVal(id) => context.sequences.draw(*id).map(Datum::Int8),
            Scalar::SetVal(_, value, _) => Ok(Datum::Int8(*value)),
        }
    }
}

fn invert(value: &Datum) -> Datum {
    match value {
        Datum::Bool(value) => Datum::Bool(!value),
        _ => Datum::Null,
    }
}

/// AND (`decisive` false) and OR (`decisive` true) in three-valued logic.
fn connect(parts: &[Scalar], context: &EvalContext<'_>, decisive: bool) -> Result<Datum, SqlError> {
    let mut unknown = false;
    for part in parts {
        match *part.eval_ref(context)? {
            Datum::Bool(value) if value == decisive => return Ok(Datum::Bool(decisive)),
            Datum::Bool(_) => {}
            _ => unknown = true,
        }
    }
    Ok(if unknown { Datum::Null } else { Datum::Bool(!decisive) })
}

fn in_list(inner: &Scalar, list: &[Scalar], negated: bool, context: &EvalContext<'_>) -> Result<Datum, SqlError> {
    let value = inner.eval_ref(context)?;
    let mut unknown = false;
    for candidate in list {
        match compare_sql(&value, &*candidate.eval_ref(context)?) {
            Some(Ordering::Equal) => return Ok(Datum::Bool(!negated)),
            Some(_) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { Datum::Null } else { Datum::Bool(negated) })
}

fn switch(
    operand: &Scalar,
    branches: &[(Scalar, Scalar)],
    otherwise: &Scalar,
    context: &EvalContext<'_>,
) -> Result<Datum, SqlError> {
    let operand = operand.eval_ref(context)?;
    for (candidate, value) in branches {
        if compare_sql(&operand, &*candidate.eval_ref(context)?) == Some(Ordering::Equal) {
            return value.eval(context);
        }
    }
    otherwise.eval(context)
}

fn between(parts: &(Scalar, Scalar, Scalar), context: &EvalContext<'_>) -> Result<Datum, SqlError> {
    let value = parts.0.eval_ref(context)?;
    let above = compare_sql(&value, &*parts.1.eval_ref(context)?).map(Ordering::is_ge);
    let below = compare_sql(&value, &*parts.2.eval_ref(context)?).map(Ordering::is_le);
    Ok(match (above, below) {
        (Some(false), _) | (_, Some(false)) => Datum::Bool(false),
        (Some(true), Some(true)) => Datum::Bool(true),
        _ => Datum::Null,
    })
}

fn quantified(
    comparison: Comparison,
    pair: &(Scalar, Scalar),
    all: bool,
    context: &EvalContext<'_>,
) -> Result<Datum, SqlError> {
    let value = pair.0.eval_ref(context)?;
    let array = pair.1.eval_ref(context)?;
    let Datum::Array(array) = &*array else { return Ok(Datum::Null) };
    let mut unknown = false;
    for candidate in &array.values {
        match compare_sql(&value, candidate) {
            // ANY is decided by the first that holds, ALL by the first that does not.
            Some(ordering) if comparison.holds(ordering) != all => return Ok(Datum::Bool(!all)),
            Some(_) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { Datum::Null } else { Datum::Bool(all) })
}

fn call(function: Function, arguments: &[Scalar], context: &EvalContext<'_>) -> Result<Datum, SqlError> {
    let view = context.view;
    let argument = |at: usize| arguments[at].eval_ref(context);
    Ok(match function {
        Function::Now => Datum::TimestampTz(view.types.transaction_micros),
        Function::CurrentDate => {
            let local = local_micros(view);
            Datum::Date(i32::try_from(local.div_euclid(86_400_000_000)).unwrap_or(i32::MAX))
        }
        Function::LocalTimestamp => Datum::Timestamp(local_micros(view)),
        Function::Random => Datum::Float8((view.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64),
        Function::RandomUuid => {
            let mut bytes = view.random.next_u128().to_be_bytes();
            bytes[6] = bytes[6] & 0x0f | 0x40;
            bytes[8] = bytes[8] & 0x3f | 0x80;
            Datum::Uuid(bytes)
        }
        Function::RowId => Datum::Int8(view.row_ids.next()),
        Function::CurrentUser => Datum::Text(view.user.clone()),
        Function::CurrentDatabase => Datum::Text(view.database.clone()),
        Function::CurrentSchema => view.search_path.first().map_or(Datum::Null, |name| Datum::Text(name.clone())),
        Function::Version => Datum::Text(crate::session::VERSION.to_owned()),
        Function::BackendPid => Datum::Int4(view.backend_pid as i32),
        Function::Lower => map_text(&*argument(0)?, |text| Datum::Text(text.to_lowercase())),
        Function::Upper => map_text(&*argument(0)?, |text| Datum::Text(text.to_uppercase())),
        Function::Length => {
            map_text(&*argument(0)?, |text| Datum::Int4(i32::try_from(text.chars().count()).unwrap_or(i32::MAX)))
        }
        Function::Abs => {
            let value = argument(0)?;
            match compare_sql(&value, &Datum::Int4(0)) {
                Some(Ordering::Less) => negate(&value)?,
                _ => value.into_owned(),
            }
        }
        Function::NullIf => {
            let value = argument(0)?;
            match compare_sql(&value, &*argument(1)?) {
                Some(Ordering::Equal) => Datum::Null,
                _ => value.into_owned(),
            }
        }
        Function::Greatest => extreme(arguments, context, Ordering::Greater)?,
        Function::Least => extreme(arguments, context, Ordering::Less)?,
        Function::CurrVal => {
            let id = argument(0)?.as_i64().and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
            Datum::Int8(context.sequences.current(id)?)
        }
        Function::LastVal => Datum::Int8(context.sequences.last()?),
    })
}

fn undefined_in_session() -> SqlError {
    SqlError::new(
        code::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "currval and lastval have no value before nextval was called in this session",
    )
}

fn local_micros(view: &SessionView) -> i64 {
    let micros = view.types.transaction_micros;
    micros + i64::from(view.types.timezone.offset_at_utc(micros)) * 1_000_000
}

fn map_text(value: &Datum, map: impl FnOnce(&str) -> Datum) -> Datum {
    value.as_str().map_or(Datum::Null, map)
}

fn extreme(arguments: &[Scalar], context: &EvalContext<'_>, wanted: Ordering) -> Result<Datum, SqlError> {
    let mut best = Datum::Null;
    for argument in arguments {
        let value = argument.eval_ref(context)?;
        if !value.is_null() && (best.is_null() || compare(&value, &best) == wanted) {
            best = value.into_owned();
        }
    }
    Ok(best)
}
