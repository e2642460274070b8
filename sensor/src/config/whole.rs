//! Whole numbers with a range: what a file may say, what its schema says, and what an error says are one figure.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::sink::terminal::thousands;

/// A number from `MIN` to `MAX`, which are never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Whole<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Whole<MIN, MAX> {
    /// A number that is known to be in range, such as a default.
    ///
    /// # Panics
    /// Outside the range; in a constant this is a compile error.
    #[must_use]
    pub const fn new(n: u64) -> Self {
        assert!(MIN <= n && n <= MAX, "out of range");
        Self(n)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    fn checked<E: Error>(n: u64) -> Result<Self, E> {
        if (MIN..=MAX).contains(&n) {
            return Ok(Self(n));
        }
        Err(E::custom(format_args!("{} is out of range: {}", thousands(n), Range::<MIN, MAX>)))
    }
}

/// What is allowed, in words.
struct Range<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> fmt::Display for Range<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} to {}", thousands(MIN), thousands(MAX))
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_i64(Range::<MIN, MAX>)
    }
}

impl<const MIN: u64, const MAX: u64> Visitor<'_> for Range<MIN, MAX> {
    type Value = Whole<MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Self::Value, E> {
        Whole::checked(n)
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<Self::Value, E> {
        u64::try_from(n)
            .map_err(|_| E::custom(format_args!("{n} is out of range: {self}")))
            .and_then(Whole::checked)
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<Self::Value, E> {
        Err(E::invalid_type(Unexpected::Float(n), &self))
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Whole<MIN, MAX> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("WholeFrom{MIN}To{MAX}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": MIN, "maximum": MAX})
    }
}
