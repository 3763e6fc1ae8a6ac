//! Ids as they are looked up by: Consul's index of UUIDs, with its complaints.

use thiserror::Error;

/// A text that can be the id of nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum UuidError {
    #[error("UUID must be 36 characters")]
    Length,
    #[error("UUID should have maximum of 4 \"-\"; got {0}")]
    Hyphens(usize),
    #[error("Invalid UUID: encoding/hex: odd length hex string")]
    Odd,
    #[error("Invalid UUID: encoding/hex: invalid byte: {0}")]
    Digit(String),
}

const LENGTH: usize = 36;
const HYPHENS_MAX: usize = 4;

/// The id in the one form that keys have: lower-case digits in groups. An id may be
/// written with capitals, and with its hyphens elsewhere.
pub(super) fn parse(text: &str) -> Result<String, UuidError> {
    if text.len() != LENGTH {
        return Err(UuidError::Length);
    }
    let hyphens = text.matches('-').count();
    if hyphens > HYPHENS_MAX {
        return Err(UuidError::Hyphens(hyphens));
    }
    let digits: String = text.chars().filter(|digit| *digit != '-').collect();
    if let Some(other) = digits.chars().find(|digit| !digit.is_ascii_hexdigit()) {
        return Err(UuidError::Digit(go_name(other)));
    }
    if digits.len() % 2 == 1 {
        return Err(UuidError::Odd);
    }
    Ok(format(&digits.to_ascii_lowercase()))
}

/// 128 bits as an id.
pub(super) fn from_bits(bits: u128) -> String {
    format(&format!("{bits:032x}"))
}

/// Digits in groups; those beyond the 32 of an id stay at the end.
fn format(digits: &str) -> String {
    let group = |from: usize, to: usize| &digits[from..to];
    [group(0, 8), group(8, 12), group(12, 16), group(16, 20), group(20, digits.len())].join("-")
}

/// A character as Go's `%#U` shows it.
fn go_name(character: char) -> String {
    format!("U+{:04X} '{character}'", character as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_in_any_spelling_and_refused_in_the_words_of_consul() {
        let cases = [
            ("ABCDEF00-0000-0000-0000-000000000009", Ok("abcdef00-0000-0000-0000-000000000009")),
            ("abcdef000-000-0000-0000-000000000009", Ok("abcdef00-0000-0000-0000-000000000009")),
            ("all-shops", Err("UUID must be 36 characters")),
            ("", Err("UUID must be 36 characters")),
            (
                "00000000-0000-0000-0000-0000000000-9",
                Err("UUID should have maximum of 4 \"-\"; got 5"),
            ),
            (
                "zzzzzzzz-0000-0000-0000-000000000009",
                Err("Invalid UUID: encoding/hex: invalid byte: U+007A 'z'"),
            ),
            (
                "000000000000-0000-0000-0000000000009",
                Err("Invalid UUID: encoding/hex: odd length hex string"),
            ),
        ];
        for (text, expected) in cases {
            let parsed = parse(text);
            let parsed = parsed.as_deref().map_err(ToString::to_string);
            assert_eq!(parsed, expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn bits_become_an_id() {
        assert_eq!(from_bits(0xab), "00000000-0000-0000-0000-0000000000ab");
        assert!(parse(&from_bits(u128::MAX)).is_ok());
    }
}
