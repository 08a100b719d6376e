//! The types of a statement's parameters, found while binding.

use crate::error::{SqlError, code};
use crate::types::PgType;

/// The parameters' types as far as they are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParamTypes {
    types: Vec<Option<PgType>>,
}

impl ParamTypes {
    /// Starts with what the client fixed.
    pub fn given(types: &[Option<PgType>]) -> Self {
        let known = |ty: &Option<PgType>| ty.filter(|ty| *ty != PgType::Unknown);
        ParamTypes { types: types.iter().map(known).collect() }
    }

    /// The type of the parameter of this number (from 0), which thereby exists.
    pub fn get(&mut self, number: usize) -> Option<PgType> {
        if self.types.len() <= number {
            self.types.resize(number + 1, None);
        }
        self.types[number]
    }

    /// Fixes a type that was not known.
    pub fn infer(&mut self, number: usize, ty: PgType) {
        if self.get(number).is_none() {
            self.types[number] = Some(ty);
        }
    }

    /// The types as known so far.
    pub fn known(&self) -> &[Option<PgType>] {
        &self.types
    }

    /// All types.
    ///
    /// # Errors
    /// 42P18 for one that was not inferred.
    pub fn finish(&self) -> Result<Vec<PgType>, SqlError> {
        let settle = |(number, ty): (usize, &Option<PgType>)| {
            ty.ok_or_else(|| {
                SqlError::new(
                    code::INDETERMINATE_DATATYPE,
                    format!("could not determine data type of parameter ${}", number + 1),
                )
            })
        };
        self.types.iter().enumerate().map(settle).collect()
    }
}
