//! Go reads `null` as the zero value, and writes it where nobody gave a list.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// For `#[serde(deserialize_with = "types::null::or_null")]`: `null` is the default value.
pub fn or_null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// For `#[serde(serialize_with = "…")]`: an empty list is `[]` for people, and nil in msgpack.
/// Consul's servers tell a list of nothing from none when they judge whether a registration
/// changes anything, and those who give no tags send none.
pub(crate) fn nil_to_machines<S: Serializer>(
    list: &[String],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match list {
        [] if !serializer.is_human_readable() => serializer.serialize_none(),
        list => list.serialize(serializer),
    }
}
