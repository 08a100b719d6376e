//! The table of functions, and how a call finds its row.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::{arrays, json, json_build, make, math, moments, regexp, series, strings, system};
use crate::SqlError;
use crate::types::{CastContext, Datum, PgType, TypeSettings, cast, cast_context, format_type};

/// What functions need of the session.
#[derive(Clone, Debug)]
pub struct FunctionContext {
    /// Time zone, transaction time, names.
    pub settings: Arc<TypeSettings>,
    /// `current_user`.
    pub user: String,
    /// `current_database()`.
    pub database: String,
    /// Schemas searched, those that exist, in order.
    pub search_path: Vec<String>,
    /// `version()`.
    pub version: String,
    /// `pg_backend_pid()`.
    pub backend_pid: i32,
    /// All settings by name, for `current_setting`.
    pub parameters: Arc<BTreeMap<String, String>>,
    /// Where `set_config` puts what it is called with.
    pub asked_settings: crate::session::AskedSettings,
    /// Randomness.
    pub random: clock::Random,
}

impl FunctionContext {
    /// Whether functions give the same in both.
    pub fn same_session(&self, other: &FunctionContext) -> bool {
        let settings = self.settings.timezone == other.settings.timezone && self.parameters == other.parameters;
        settings && self.user == other.user && self.database == other.database && self.search_path == other.search_path
    }
}

/// One call, as a function's body sees it.
pub struct Call<'a> {
    /// The session's part.
    pub context: &'a FunctionContext,
    /// The arguments' types, after casts.
    pub types: &'a [PgType],
    /// The arguments' type modifiers, where a cast has not done away with them.
    pub typmods: &'a [i32],
    /// The result's type.
    pub result: PgType,
}

impl Call<'_> {
    /// The session's type settings.
    pub fn settings(&self) -> &TypeSettings {
        &self.context.settings
    }

    /// An argument in text.
    pub fn text(&self, arguments: &[Datum], place: usize) -> String {
        let typmod = self.typmods.get(place).copied().unwrap_or(-1);
        crate::types::to_text(&arguments[place], self.types[place], typmod, self.settings())
    }
}

/// A function's body. Arguments are of the declared types; of strict functions none is NULL.
pub(super) type Body = fn(&Call<'_>, &[Datum]) -> Result<Datum, SqlError>;

/// What a function takes in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arg {
    /// This type.
    Is(PgType),
    /// Anything, as it is.
    Any,
    /// An array of anything.
    AnyArray,
    /// An element of the array among the arguments.
    Element,
    /// Whatever all arguments so marked have in common.
    Common,
}

/// What a function gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ret {
    /// This type.
    Is(PgType),
    /// The type of an argument.
    Same(usize),
}

/// Whether a function gives the same for the same arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volatile {
    /// Always.
    Immutable,
    /// Within a statement.
    Stable,
    /// Never mind.
    Volatile,
}

/// One row of the table.
pub(super) struct Overload {
    args: Vec<Arg>,
    /// Whether the last argument repeats, any number of times.
    variadic: bool,
    result: Ret,
    strict: bool,
    pub(super) volatile: Volatile,
    body: Body,
}

/// The table under construction.
#[derive(Default)]
pub(super) struct Registry(pub(super) BTreeMap<&'static str, Vec<Overload>>);

impl Registry {
    fn add(&mut self, name: &'static str, args: &[Arg], result: Ret, body: Body) -> &mut Overload {
        let overload = Overload {
            args: args.to_vec(),
            variadic: false,
            result,
            strict: true,
            volatile: Volatile::Immutable,
            body,
        };
        let overloads = self.0.entry(name).or_default();
        overloads.push(overload);
        overloads.last_mut().expect("one was pushed")
    }

    /// A function that is NULL when an argument is.
    pub fn strict(&mut self, name: &'static str, args: &[PgType], result: PgType, body: Body) -> &mut Overload {
        let args: Vec<Arg> = args.iter().copied().map(Arg::Is).collect();
        self.add(name, &args, Ret::Is(result), body)
    }

    /// A function of arguments of any kind.
    pub fn polymorphic(&mut self, name: &'static str, args: &[Arg], result: Ret, body: Body) -> &mut Overload {
        self.add(name, args, result, body)
    }
}

impl Overload {
    /// The last argument repeats.
    pub fn variadic(&mut self) -> &mut Overload {
        self.variadic = true;
        self
    }

    /// NULL arguments reach the body.
    pub fn called_on_null(&mut self) -> &mut Overload {
        self.strict = false;
        self
    }

    /// Depends on the session.
    pub fn stable(&mut self) -> &mut Overload {
        self.volatile = Volatile::Stable;
        self
    }

    /// Differs from call to call.
    pub fn volatile(&mut self) -> &mut Overload {
        self.volatile = Volatile::Volatile;
        self
    }

    /// Arguments declared.
    pub(super) fn arity(&self) -> usize {
        self.args.len()
    }

    fn arg(&self, place: usize) -> Option<Arg> {
        match self.args.get(place) {
            Some(arg) => Some(*arg),
            None if self.variadic => self.args.last().copied(),
            None => None,
        }
    }
}

static TABLE: LazyLock<Registry> = LazyLock::new(|| {
    let mut registry = Registry::default();
    strings::register(&mut registry);
    math::register(&mut registry);
    moments::register(&mut registry);
    make::register(&mut registry);
    series::register(&mut registry);
    regexp::register(&mut registry);
    json::register(&mut registry);
    json_build::register(&mut registry);
    arrays::register(&mut registry);
    system::register(&mut registry);
    registry
});

/// The whole table.
pub(super) fn table() -> &'static BTreeMap<&'static str, Vec<Overload>> {
    &TABLE.0
}

/// Whether there is a function of this name.
pub fn exists(name: &str) -> bool {
    TABLE.0.contains_key(name)
}

/// A call site's function.
#[derive(Clone)]
pub struct Resolved {
    overload: &'static Overload,
    from: Vec<PgType>,
    to: Vec<PgType>,
    /// The type of what it gives.
    pub result: PgType,
}

impl Resolved {
    /// The types the arguments are cast to.
    pub fn argument_types(&self) -> &[PgType] {
        &self.to
    }

    /// Whether it gives the same for the same arguments.
    pub fn volatile(&self) -> Volatile {
        self.overload.volatile
    }

    /// Casts the arguments and calls the function.
    pub fn call(
        &self,
        context: &FunctionContext,
        mut arguments: Vec<Datum>,
        typmods: &[i32],
    ) -> Result<Datum, SqlError> {
        if self.overload.strict && arguments.iter().any(Datum::is_null) {
            return Ok(Datum::Null);
        }
        for (place, argument) in arguments.iter_mut().enumerate() {
            let (from, to) = (self.from[place], self.to[place]);
            if from != to {
                let value = std::mem::take(argument);
                *argument = cast(value, from, to, -1, CastContext::Explicit, &context.settings)?;
            }
        }
        let kept = |place: usize, typmod: i32| if self.from[place] == self.to[place] { typmod } else { -1 };
        let typmods: Vec<i32> = match typmods.iter().any(|typmod| *typmod >= 0) {
            true => typmods.iter().enumerate().map(|(place, typmod)| kept(place, *typmod)).collect(),
            false => Vec::new(),
        };
        let call = Call { context, types: &self.to, typmods: &typmods, result: self.result };
        (self.overload.body)(&call, &arguments)
    }
}

/// Finds the function for argument types, `Unknown` for literals of no type yet; 42883 when there is none.
pub fn resolve(name: &str, types: &[PgType]) -> Result<Resolved, SqlError> {
    let candidates = TABLE.0.get(name).map_or(&[][..], Vec::as_slice).iter();
    let fitting = candidates.filter_map(|overload| fit(overload, types));
    // The first of the best: most exact matches, then most preferred types for what is unknown.
    let best = fitting.fold(None, |best: Option<(u32, Resolved)>, next| match best {
        Some(best) if best.0 >= next.0 => Some(best),
        _ => Some(next),
    });
    best.map(|(_, resolved)| resolved).ok_or_else(|| no_function(name, types))
}

/// 42883: there is none of this name for arguments of these types.
pub fn no_function(name: &str, types: &[PgType]) -> SqlError {
    let names: Vec<String> = types.iter().map(|ty| format_type(*ty, -1)).collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        let hint = "No operator matches the given name and argument types. You might need to add explicit type casts.";
        return SqlError::new("42883", format!("operator does not exist: {}", names.join(&format!(" {name} "))))
            .hint(hint);
    }
    SqlError::new("42883", format!("function {name}({}) does not exist", names.join(", ")))
        .hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

/// The score of an overload for these types and what it makes of them; none if it does not fit.
fn fit(overload: &'static Overload, types: &[PgType]) -> Option<(u32, Resolved)> {
    let least = overload.args.len() - usize::from(overload.variadic);
    if types.len() < least || (types.len() > overload.args.len() && !overload.variadic) {
        return None;
    }
    let arg = |place: usize| overload.arg(place);
    let common =
        common_type((0..types.len()).filter(|place| arg(*place) == Some(Arg::Common)).map(|place| types[place]));
    let array = (0..types.len()).find(|place| arg(*place) == Some(Arg::AnyArray) && types[*place].is_array());
    let element = array
        .and_then(|place| types[place].element())
        .or_else(|| (0..types.len()).find(|place| arg(*place) == Some(Arg::Element)).map(|place| known(types[place])));
    let mut score = 0;
    let mut to = Vec::with_capacity(types.len());
    for (place, from) in types.iter().enumerate() {
        let want = match arg(place)? {
            Arg::Is(want) => want,
            Arg::Any => *from,
            Arg::Common => common?,
            Arg::Element => element?,
            Arg::AnyArray if from.is_array() => *from,
            Arg::AnyArray if *from == PgType::Unknown => element?.array()?,
            Arg::AnyArray => return None,
        };
        match (from, cast_context(*from, want)) {
            (from, _) if *from == want => score += 8,
            // A literal is first taken for what stands beside it.
            (PgType::Unknown, _) if types.contains(&want) => score += 6,
            (PgType::Unknown, _) if want == PgType::Text => score += 3,
            (PgType::Unknown, _) => score += u32::from(want.is_preferred()) + 1,
            (_, Some(CastContext::Implicit)) => score += 1 + 2 * u32::from(want.is_preferred()),
            _ => return None,
        }
        to.push(want);
    }
    let result = match overload.result {
        Ret::Is(ty) => ty,
        Ret::Same(place) => *to.get(place)?,
    };
    Some((score, Resolved { overload, from: types.to_vec(), to, result }))
}

fn known(ty: PgType) -> PgType {
    if ty == PgType::Unknown { PgType::Text } else { ty }
}

/// The type in which values of these meet, as CASE and greatest choose it; text if all are unknown.
fn common_type(types: impl Iterator<Item = PgType>) -> Option<PgType> {
    let mut common = PgType::Unknown;
    for ty in types.filter(|ty| *ty != PgType::Unknown) {
        if common == PgType::Unknown || cast_context(common, ty) == Some(CastContext::Implicit) && common != ty {
            common = ty;
        } else if cast_context(ty, common) != Some(CastContext::Implicit) {
            return None;
        }
    }
    Some(known(common))
}
