//! Expressions of every kind.

use datafusion::sql::sqlparser::ast::{self, Expr};
use datafusion::sql::sqlparser::tokenizer::Location;

use super::{BindError, BindResult, Binder, normalize};
use crate::error::{SqlError, code};
use crate::scalar::{CastTo, Comparison, EvalContext, Function, LikeOptions, Scalar, Sequences};
use crate::stack::level;
use crate::types::{CastContext, Datum, PgType, cast_context, format_type, from_sqlparser, parse_text};

/// A bound expression and its type. `Unknown` for string literals, NULL and parameters that have met nothing yet.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub scalar: Scalar,
    pub ty: PgType,
    pub typmod: i32,
}

impl Bound {
    pub fn new(scalar: Scalar, ty: PgType) -> Self {
        Bound { scalar, ty, typmod: -1 }
    }

    pub fn constant(value: Datum, ty: PgType) -> Self {
        Bound::new(Scalar::Const(value), ty)
    }

    /// A string literal.
    pub fn unknown(text: String) -> Self {
        Bound::constant(Datum::Text(text), PgType::Unknown)
    }
}

impl Binder<'_> {
    /// Binds an expression; its type may be left `Unknown`. What follows from constants is one.
    pub fn bind(&mut self, expr: &Expr) -> BindResult<Bound> {
        let mut bound = level(|| self.bind_level(expr))?;
        if bound.scalar.is_computable() {
            bound.scalar = self.fold(bound.scalar)?;
        }
        Ok(bound)
    }

    fn bind_level(&mut self, expr: &Expr) -> BindResult<Bound> {
        match expr {
            Expr::Nested(inner) => self.bind(inner),
            Expr::Identifier(ident) => self.identifier(ident),
            Expr::CompoundIdentifier(parts) => self.compound(parts),
            Expr::Value(value) => self.literal(&value.value),
            Expr::TypedString(typed) => {
                let (ty, typmod) = from_sqlparser(&typed.data_type)?;
                let text = typed.value.clone().into_string().unwrap_or_default();
                self.cast_explicitly(Bound::unknown(text), ty, typmod)
            }
            Expr::Cast { kind: ast::CastKind::Cast | ast::CastKind::DoubleColon, expr, data_type, .. } => {
                let bound = self.bind(expr)?;
                let (ty, typmod) = from_sqlparser(data_type)?;
                self.cast_explicitly(bound, ty, typmod)
            }
            Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::IsNull(inner) => Ok(boolean(Scalar::IsNull(Box::new(self.bind_any(inner)?), false))),
            Expr::IsNotNull(inner) => Ok(boolean(Scalar::IsNull(Box::new(self.bind_any(inner)?), true))),
            Expr::IsTrue(inner) => self.is_bool(inner, true, false),
            Expr::IsNotTrue(inner) => self.is_bool(inner, true, true),
            Expr::IsFalse(inner) => self.is_bool(inner, false, false),
            Expr::IsNotFalse(inner) => self.is_bool(inner, false, true),
            Expr::IsDistinctFrom(left, right) => {
                let (left, right) = self.comparable(left, right)?;
                Ok(boolean(Scalar::Distinct(Box::new((left, right)), false)))
            }
            Expr::IsNotDistinctFrom(left, right) => {
                let (left, right) = self.comparable(left, right)?;
                Ok(boolean(Scalar::Distinct(Box::new((left, right)), true)))
            }
            Expr::Between { expr, negated, low, high } => self.between(expr, low, high, *negated),
            Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            Expr::AnyOp { left, compare_op, right, .. } => self.quantified(left, compare_op, right, false),
            Expr::AllOp { left, compare_op, right } => self.quantified(left, compare_op, right, true),
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_ref(), *negated, false)
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_ref(), *negated, true)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Function(function) => self.function(function),
            Expr::Interval(interval) => match &*interval.value {
                Expr::Value(value) if interval.leading_field.is_none() && interval.last_field.is_none() => {
                    let text = value.value.clone().into_string().unwrap_or_default();
                    self.cast_explicitly(Bound::unknown(text), PgType::Interval, -1)
                }
                _ => Err(BindError::Elsewhere("this form of INTERVAL".into())),
            },
            Expr::Array(array) => self.array(&array.elem),
            other => Err(BindError::Elsewhere(format!("the expression {other}"))),
        }
    }

    /// Binds an expression of any type; what is still unknown becomes text.
    pub fn bind_any(&mut self, expr: &Expr) -> BindResult<Scalar> {
        let bound = self.bind(expr)?;
        Ok(self.settle(bound)?.scalar)
    }

    /// Binds a condition.
    pub fn bind_condition(&mut self, expr: &Expr) -> BindResult<Scalar> {
        let bound = self.bind(expr)?;
        self.as_boolean(bound)
    }

    /// Binds a value to be stored in a column: an assignment cast is added where one is needed.
    pub fn bind_assigned(&mut self, expr: &Expr, column: &str, ty: PgType, typmod: i32) -> BindResult<Scalar> {
        let bound = self.bind(expr)?;
        self.assign(bound, column, ty, typmod)
    }

    /// Casts a value to a column's type as an assignment does.
    pub fn assign(&mut self, bound: Bound, column: &str, ty: PgType, typmod: i32) -> BindResult<Scalar> {
        if bound.ty == PgType::Unknown {
            return self.give_type(bound, ty, typmod);
        }
        if bound.ty == ty && (typmod < 0 || bound.typmod == typmod) {
            return Ok(bound.scalar);
        }
        if cast_context(bound.ty, ty).is_none_or(|least| least > CastContext::Assignment) {
            return Err(BindError::Sql(
                SqlError::new(
                    code::DATATYPE_MISMATCH,
                    format!(
                        "column \"{column}\" is of type {} but expression is of type {}",
                        format_type(ty, -1),
                        format_type(bound.ty, -1)
                    ),
                )
                .hint("You will need to rewrite or cast the expression."),
            ));
        }
        let to = CastTo { from: bound.ty, to: ty, typmod, context: CastContext::Assignment };
        self.cast_scalar(bound.scalar, to)
    }

    /// Gives whatever is still unknown the type text.
    pub fn settle(&mut self, bound: Bound) -> BindResult<Bound> {
        if bound.ty == PgType::Unknown {
            let scalar = self.give_type(bound, PgType::Text, -1)?;
            return Ok(Bound::new(scalar, PgType::Text));
        }
        Ok(bound)
    }

    /// Gives an unknown literal or parameter a type.
    pub(super) fn give_type(&mut self, bound: Bound, ty: PgType, typmod: i32) -> BindResult<Scalar> {
        match bound.scalar {
            Scalar::Const(Datum::Text(text)) => Ok(Scalar::Const(parse_text(&text, ty, typmod, &self.view.types)?)),
            Scalar::Const(Datum::Null) => Ok(Scalar::Const(Datum::Null)),
            Scalar::Param(number) => {
                self.params.infer(number, ty);
                let parameter = Scalar::Param(number);
                if typmod < 0 {
                    return Ok(parameter);
                }
                // The modifier holds for parameters too.
                let to = CastTo { from: ty, to: ty, typmod, context: CastContext::Assignment };
                Ok(Scalar::Cast(Box::new(parameter), to))
            }
            other => Ok(other),
        }
    }

    /// Casts to a type wherever an implicit cast goes there.
    pub(super) fn implicitly(&mut self, bound: Bound, ty: PgType) -> BindResult<Scalar> {
        if bound.ty == PgType::Unknown {
            return self.give_type(bound, ty, -1);
        }
        if bound.ty == ty {
            return Ok(bound.scalar);
        }
        if cast_context(bound.ty, ty) == Some(CastContext::Implicit) {
            let to = CastTo { from: bound.ty, to: ty, typmod: -1, context: CastContext::Implicit };
            return self.cast_scalar(bound.scalar, to);
        }
        Err(BindError::Sql(SqlError::new(
            code::DATATYPE_MISMATCH,
            format!("{} cannot be used as {}", format_type(bound.ty, -1), format_type(ty, -1)),
        )))
    }

    pub(super) fn cast_explicitly(&mut self, bound: Bound, ty: PgType, typmod: i32) -> BindResult<Bound> {
        if ty == PgType::Regclass || bound.ty.is_oid() && bound.ty != PgType::Oid {
            return Err(BindError::Elsewhere("a cast of object names".into()));
        }
        let scalar = if bound.ty == PgType::Unknown {
            match bound.scalar {
                // A parameter takes the type it is cast to.
                Scalar::Param(_) => self.give_type(bound, ty, typmod)?,
                Scalar::Const(Datum::Text(text)) if typmod >= 0 => {
                    let to = CastTo { from: PgType::Text, to: ty, typmod, context: CastContext::Explicit };
                    self.cast_scalar(Scalar::Const(Datum::Text(text)), to)?
                }
                _ => self.give_type(bound, ty, typmod)?,
            }
        } else if bound.ty == ty && typmod < 0 {
            bound.scalar
        } else if cast_context(bound.ty, ty).is_some() {
            let to = CastTo { from: bound.ty, to: ty, typmod, context: CastContext::Explicit };
            self.cast_scalar(bound.scalar, to)?
        } else {
            return Err(BindError::Sql(SqlError::new(
                code::CANNOT_COERCE,
                format!("cannot cast type {} to {}", format_type(bound.ty, -1), format_type(ty, -1)),
            )));
        };
        Ok(Bound { scalar, ty, typmod })
    }

    /// A cast; carried out at once where the value is a constant and the cast does not depend on the session's clock.
    fn cast_scalar(&mut self, scalar: Scalar, to: CastTo) -> BindResult<Scalar> {
        let constant = matches!(scalar, Scalar::Const(_));
        let scalar = Scalar::Cast(Box::new(scalar), to);
        let timeless = !matches!(to.to, PgType::Date | PgType::Time | PgType::Timestamp | PgType::TimestampTz);
        if constant && timeless { self.fold(scalar) } else { Ok(scalar) }
    }

    /// Evaluates an expression of constants. One that fails where it is never reached is left as it is.
    pub(super) fn fold(&self, scalar: Scalar) -> BindResult<Scalar> {
        let context = EvalContext { row: &[], params: &[], view: self.view, sequences: &Sequences::default() };
        match scalar.eval(&context) {
            Ok(value) => Ok(Scalar::Const(value)),
            Err(_) if self.unreached > 0 => Ok(scalar),
            Err(error) => Err(error.into()),
        }
    }

    /// Binds what is reached, or what constants before it say is not.
    pub(super) fn where_reached<T>(
        &mut self,
        reached: bool,
        bind: impl FnOnce(&mut Self) -> BindResult<T>,
    ) -> BindResult<T> {
        self.unreached += u32::from(!reached);
        let bound = bind(self);
        self.unreached -= u32::from(!reached);
        bound
    }

    pub(super) fn as_boolean(&mut self, bound: Bound) -> BindResult<Scalar> {
        match bound.ty {
            PgType::Bool => Ok(bound.scalar),
            PgType::Unknown => self.give_type(bound, PgType::Bool, -1),
            other => Err(BindError::Sql(SqlError::new(
                code::DATATYPE_MISMATCH,
                format!("argument of WHERE must be type boolean, not type {}", format_type(other, -1)),
            ))),
        }
    }

    fn identifier(&mut self, ident: &ast::Ident) -> BindResult<Bound> {
        let name = normalize(ident);
        match self.scope.find(None, &name) {
            Ok(position) => Ok(self.column(position)),
            // Words that PostgreSQL's grammar knows as values.
            Err(error) if ident.quote_style.is_none() => match name.as_str() {
                "current_timestamp" => Ok(Bound::new(Scalar::Call(Function::Now, vec![]), PgType::TimestampTz)),
                "current_date" => Ok(Bound::new(Scalar::Call(Function::CurrentDate, vec![]), PgType::Date)),
                "localtimestamp" => Ok(Bound::new(Scalar::Call(Function::LocalTimestamp, vec![]), PgType::Timestamp)),
                "current_user" | "session_user" | "user" => {
                    Ok(Bound::new(Scalar::Call(Function::CurrentUser, vec![]), PgType::Name))
                }
                "current_role" | "current_catalog" | "current_schema" | "current_time" | "localtime" => {
                    Err(BindError::Elsewhere(name))
                }
                _ => Err(self.placed(error, ident.span.start)),
            },
            Err(error) => Err(self.placed(error, ident.span.start)),
        }
    }

    fn compound(&mut self, parts: &[ast::Ident]) -> BindResult<Bound> {
        let [.., qualifier, name] = parts else { return Err(BindError::Elsewhere("this name".into())) };
        match self.scope.find(Some(&normalize(qualifier)), &normalize(name)) {
            Ok(position) => Ok(self.column(position)),
            Err(error) => Err(self.placed(error, qualifier.span.start)),
        }
    }

    fn column(&self, position: usize) -> Bound {
        let column = &self.scope.columns[position];
        Bound { scalar: Scalar::Column(position), ty: column.ty, typmod: column.typmod }
    }

    fn placed(&self, error: BindError, location: Location) -> BindError {
        match error {
            BindError::Sql(error) => match crate::session::position_of(self.text, location) {
                Some(position) => BindError::Sql(error.position(position)),
                None => BindError::Sql(error),
            },
            other => other,
        }
    }

    fn is_bool(&mut self, inner: &Expr, value: bool, negated: bool) -> BindResult<Bound> {
        let inner = self.bind_condition(inner)?;
        Ok(boolean(Scalar::IsBool(Box::new(inner), value, negated)))
    }

    fn between(&mut self, expr: &Expr, low: &Expr, high: &Expr, negated: bool) -> BindResult<Bound> {
        let bound = self.bind(expr)?;
        let (low, high) = (self.bind(low)?, self.bind(high)?);
        let (value, low) = self.compared(bound.clone(), low)?;
        let (same, high) = self.compared(bound, high)?;
        let is_plain = matches!(value, Scalar::Const(_) | Scalar::Column(_) | Scalar::Param(_));
        let both = if !is_plain && value == same {
            // A value that is computed is computed once, and bound once: what it consists of may be another of these.
            Scalar::Between(Box::new((value, low, high)))
        } else {
            Scalar::And(vec![
                Scalar::Compare(Comparison::GreaterOrEqual, Box::new((value, low))),
                Scalar::Compare(Comparison::LessOrEqual, Box::new((same, high))),
            ])
        };
        Ok(boolean(if negated { Scalar::Not(Box::new(both)) } else { both }))
    }

    fn in_list(&mut self, expr: &Expr, list: &[Expr], negated: bool) -> BindResult<Bound> {
        let bound = self.bind(expr)?;
        let mut value = None;
        let mut candidates = Vec::with_capacity(list.len());
        for candidate in list {
            let candidate = self.bind(candidate)?;
            let (left, right) = self.compared(bound.clone(), candidate)?;
            if value.get_or_insert_with(|| left.clone()) != &left {
                return Err(BindError::Elsewhere("IN over values of different types".into()));
            }
            candidates.push(right);
        }
        let value = value.ok_or_else(|| BindError::Elsewhere("an empty IN list".into()))?;
        Ok(boolean(Scalar::InList(Box::new(value), candidates, negated)))
    }

    fn like(
        &mut self,
        expr: &Expr,
        pattern: &Expr,
        escape: Option<&ast::ValueWithSpan>,
        negated: bool,
        ignore_case: bool,
    ) -> BindResult<Bound> {
        let (value, pattern) = (self.bind(expr)?, self.bind(pattern)?);
        let (value, pattern) = (self.settle(value)?, self.settle(pattern)?);
        if !value.ty.is_string() || !pattern.ty.is_string() {
            return Err(BindError::Elsewhere("LIKE on values that are not strings".into()));
        }
        let escape = match escape.and_then(|value| value.clone().into_string()) {
            None => Some('\\'),
            Some(text) => text.chars().next(),
        };
        let options = LikeOptions { negated, ignore_case, escape };
        Ok(boolean(Scalar::Like(Box::new((value.scalar, pattern.scalar)), options)))
    }

    fn array(&mut self, elements: &[Expr]) -> BindResult<Bound> {
        let bound = elements.iter().map(|element| self.bind(element)).collect::<BindResult<Vec<_>>>()?;
        let (scalars, ty) = self.unify(bound)?;
        let array = ty.array().ok_or_else(|| BindError::Elsewhere("an array of arrays".into()))?;
        let values = scalars.into_iter().map(|scalar| match scalar {
            Scalar::Const(value) => Ok(value),
            _ => Err(BindError::Elsewhere("an array of expressions".into())),
        });
        Ok(Bound::constant(Datum::array(ty, values.collect::<BindResult<_>>()?), array))
    }

    /// Brings values to one type, as CASE, COALESCE and UNION do.
    pub(super) fn unify(&mut self, bound: Vec<Bound>) -> BindResult<(Vec<Scalar>, PgType)> {
        let mut common = PgType::Unknown;
        for candidate in &bound {
            if candidate.ty == PgType::Unknown || candidate.ty == common {
                continue;
            }
            let widens = common == PgType::Unknown
                || cast_context(common, candidate.ty) == Some(CastContext::Implicit)
                    && cast_context(candidate.ty, common) != Some(CastContext::Implicit);
            if widens {
                common = candidate.ty;
            }
        }
        if common == PgType::Unknown {
            common = PgType::Text;
        }
        let scalars = bound.into_iter().map(|one| self.implicitly(one, common)).collect::<BindResult<_>>()?;
        Ok((scalars, common))
    }
}

pub(super) fn boolean(scalar: Scalar) -> Bound {
    Bound::new(scalar, PgType::Bool)
}
