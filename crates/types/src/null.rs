//! Go reads `null` as the zero value.

use serde::{Deserialize, Deserializer};

/// For `#[serde(deserialize_with = "types::null::or_null")]`: `null` is the default value.
pub fn or_null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
