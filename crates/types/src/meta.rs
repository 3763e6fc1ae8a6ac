//! Limits on the metadata of nodes, services, config entries and peerings
//! (`reference/http-api.md` 1.12).

use std::collections::BTreeMap;

use thiserror::Error;

/// Most pairs in one map.
pub const MAX_PAIRS: usize = 64;
/// Most bytes of a key.
pub const MAX_KEY_LEN: usize = 128;
/// Most bytes of a value.
pub const MAX_VALUE_LEN: usize = 512;
/// Keys that start so belong to Consul.
pub const RESERVED_PREFIX: &str = "consul-";

/// Metadata that is refused. The texts are Consul's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MetaError {
    /// More than [`MAX_PAIRS`].
    #[error("Node metadata cannot contain more than {MAX_PAIRS} key/value pairs")]
    TooMany,
    /// A pair breaks a rule.
    #[error("Couldn't load metadata pair ('{key}', '{value}'): {reason}")]
    Pair {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// The rule.
        reason: PairError,
    },
}

/// The rule that a pair breaks.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PairError {
    /// The key is empty.
    #[error("Key cannot be blank")]
    BlankKey,
    /// The key has a character outside `[a-zA-Z0-9_-]`.
    #[error("Key contains invalid characters")]
    InvalidKey,
    /// The key is longer than [`MAX_KEY_LEN`].
    #[error("Key is too long (limit: {MAX_KEY_LEN} characters)")]
    LongKey,
    /// The key starts with [`RESERVED_PREFIX`].
    #[error("Key prefix '{RESERVED_PREFIX}' is reserved for internal use")]
    ReservedKey,
    /// The value is longer than [`MAX_VALUE_LEN`].
    #[error("Value is too long (limit: {MAX_VALUE_LEN} characters)")]
    LongValue,
}

/// Checks all pairs. `exempt` lists keys that may start with
/// [`RESERVED_PREFIX`] all the same, as a gateway's registration may.
///
/// # Errors
/// The first pair, in the order of keys, that breaks a rule.
pub fn validate(meta: &BTreeMap<String, String>, exempt: &[&str]) -> Result<(), MetaError> {
    if meta.len() > MAX_PAIRS {
        return Err(MetaError::TooMany);
    }
    meta.iter().try_for_each(|(key, value)| {
        validate_pair(key, value, exempt.contains(&key.as_str()))
            .map_err(|reason| MetaError::Pair { key: key.clone(), value: value.clone(), reason })
    })
}

fn validate_pair(key: &str, value: &str, exempt: bool) -> Result<(), PairError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if key.is_empty() {
        Err(PairError::BlankKey)
    } else if !key.bytes().all(allowed) {
        Err(PairError::InvalidKey)
    } else if key.len() > MAX_KEY_LEN {
        Err(PairError::LongKey)
    } else if key.starts_with(RESERVED_PREFIX) && !exempt {
        Err(PairError::ReservedKey)
    } else if value.len() > MAX_VALUE_LEN {
        Err(PairError::LongValue)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, value: &str, expected: Result<(), &str>) {
        let meta = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let prefix = format!("Couldn't load metadata pair ('{key}', '{value}'): ");
        let result = validate(&meta, &["consul-wan-federation"]).map_err(|e| e.to_string());
        assert_eq!(result, expected.map_err(|reason| format!("{prefix}{reason}")), "{key}");
    }

    #[test]
    fn pairs_are_held_to_the_rules() {
        check("rack_1-a", "x", Ok(()));
        check("", "x", Err("Key cannot be blank"));
        check("bad key!", "v", Err("Key contains invalid characters"));
        check(&"k".repeat(128), "v", Ok(()));
        check(&"k".repeat(129), "v", Err("Key is too long (limit: 128 characters)"));
        check("consul-x", "v", Err("Key prefix 'consul-' is reserved for internal use"));
        check("consul-wan-federation", "1", Ok(()));
        check("k", &"v".repeat(512), Ok(()));
        check("k", &"v".repeat(513), Err("Value is too long (limit: 512 characters)"));
    }

    #[test]
    fn no_more_than_sixty_four_pairs_are_allowed() {
        let meta = |count: usize| (0..count).map(|n| (format!("k{n}"), String::new())).collect();
        assert_eq!(validate(&meta(64), &[]), Ok(()));
        assert_eq!(
            validate(&meta(65), &[]).unwrap_err().to_string(),
            "Node metadata cannot contain more than 64 key/value pairs"
        );
    }
}
