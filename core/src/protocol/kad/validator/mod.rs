//! Which values are valid, and which is the best.

use super::key::RecordKey;
use crate::time::UnixTime;
use core::fmt;

/// Placeholder: the real one is written elsewhere at the same time.
pub trait Validator: fmt::Debug + Send + Sync {
    /// Whether a value may be stored under a key.
    ///
    /// # Errors
    /// Why not.
    fn validate(&self, key: &RecordKey, value: &[u8], now: UnixTime) -> Result<(), InvalidRecord>;
    /// The index of the best of some valid values. Stable: equal values, equal choice.
    fn select(&self, key: &RecordKey, values: &[&[u8]]) -> usize;
}

/// Why a value is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidRecord {
    /// Placeholder.
    Invalid,
}

/// Accepts everything, the last one is the best.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptAll;

impl Validator for AcceptAll {
    fn validate(&self, _: &RecordKey, _: &[u8], _: UnixTime) -> Result<(), InvalidRecord> {
        Ok(())
    }
    fn select(&self, _: &RecordKey, values: &[&[u8]]) -> usize {
        values.len().saturating_sub(1)
    }
}
impl fmt::Display for InvalidRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid")
    }
}
/// Placeholder.
pub fn public_dht() -> AcceptAll {
    AcceptAll
}
