//! The file that keeps a pool's keys: a JSON array of base64, the primary one first
//! (`reference/gossip-wire.md` section 13). It is written as Consul writes it.

use types::json;

use crate::wire::keyring::{KEYS_MAX, KeyError};
use crate::wire::{Key, Keyring};

/// Most bytes of a file: more than [`KEYS_MAX`] keys take.
pub const BYTES_MAX: usize = 64 * KEYS_MAX;

/// Why a file is none of keys. No text shows one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringFileError {
    /// Too large.
    #[error("it has more than {BYTES_MAX} bytes")]
    TooLarge,
    /// It is no array of texts.
    #[error("it is not a JSON array of keys in base64")]
    Json,
    /// There is nothing in it.
    #[error("it holds no key")]
    Empty,
    /// More keys than a ring may hold.
    #[error("it holds more than {KEYS_MAX} keys")]
    TooMany,
    /// One of them is no key.
    #[error("key {place} of it: {error}")]
    Key {
        /// Which, from 1 on.
        place: usize,
        /// Why not.
        error: KeyError,
    },
}

/// The keys in a file.
///
/// # Errors
/// See [`KeyringFileError`].
pub fn read(file: &[u8]) -> Result<Keyring, KeyringFileError> {
    if file.len() > BYTES_MAX {
        return Err(KeyringFileError::TooLarge);
    }
    let texts: Vec<String> =
        json::decode(file, json::Unknown::Deny).map_err(|_| KeyringFileError::Json)?;
    if texts.is_empty() {
        return Err(KeyringFileError::Empty);
    }
    let keys = texts.iter().enumerate().map(|(place, text)| {
        Key::from_base64(text).map_err(|error| KeyringFileError::Key { place: place + 1, error })
    });
    Keyring::from_keys(keys.collect::<Result<Vec<_>, _>>()?).ok_or(KeyringFileError::TooMany)
}

/// The file of a ring. Keep it from everybody but its owner.
pub fn write(keyring: &Keyring) -> String {
    let keys: Vec<String> =
        keyring.keys().iter().map(|key| format!("  \"{}\"", key.expose_base64())).collect();
    format!("[\n{}\n]", keys.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Consul writes it.
    const FILE: &str =
        "[\n  \"pUqJrVyVRj5jsiYEkM/tFQ==\",\n  \"HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=\"\n]";

    #[test]
    fn the_file_of_consul_is_read_and_written() {
        let keyring = read(FILE.as_bytes()).expect("two keys");
        assert_eq!(keyring.keys().len(), 2);
        assert_eq!(keyring.primary().expose().len(), 16);
        assert_eq!(write(&keyring), FILE);
    }

    #[test]
    fn what_holds_no_keys_is_refused_without_showing_them() {
        let check = |file: &str, expected: &str| {
            let error = read(file.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expected, "{file}");
        };
        check("[]", "it holds no key");
        check("{}", "it is not a JSON array of keys in base64");
        check("[1]", "it is not a JSON array of keys in base64");
        check("", "it is not a JSON array of keys in base64");
        check("[\"secret!\"]", "key 1 of it: the key is not standard base64 text");
        check(
            "[\"pUqJrVyVRj5jsiYEkM/tFQ==\",\"c2VjcmV0\"]",
            "key 2 of it: key size must be 16, 24 or 32 bytes",
        );
        check(&" ".repeat(BYTES_MAX + 1), "it has more than 65536 bytes");
    }
}
