//! Booleans and whole numbers as Go's `flag` package reads them
//! (`reference/cli.md` 1.1).

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberError {
    /// It is something else.
    Syntax,
    /// It does not fit into 64 bits.
    Range,
}

impl NumberError {
    /// Go's words.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            NumberError::Syntax => "parse error",
            NumberError::Range => "value out of range",
        }
    }
}

/// Go's spellings of a boolean.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A number with a sign.
pub(crate) fn parse_signed(text: &str) -> Result<i64, NumberError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = i128::from(parse_unsigned(digits)?);
    let value = if negative { -magnitude } else { magnitude };
    i64::try_from(value).map_err(|_| NumberError::Range)
}

/// A number without a sign, in any of Go's bases, with underscores between digits.
pub(crate) fn parse_unsigned(text: &str) -> Result<u64, NumberError> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits, after_prefix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..], true),
        [b'0', b'b', ..] => (2, &lower[2..], true),
        [b'0', b'o', ..] => (8, &lower[2..], true),
        [b'0', _, ..] => (8, &lower[1..], true),
        _ => (10, lower.as_str(), false),
    };
    // An underscore stands between digits, or between a prefix and a digit.
    let misplaced = digits.contains("__")
        || digits.ends_with('_')
        || (!after_prefix && digits.starts_with('_'));
    let digits = digits.replace('_', "");
    let plain = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    if misplaced || !plain {
        return Err(NumberError::Syntax);
    }
    u64::from_str_radix(&digits, radix).map_err(|_| NumberError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("42", Ok(42)),
            ("-42", Ok(-42)),
            ("+7", Ok(7)),
            ("0x1F", Ok(31)),
            ("0o17", Ok(15)),
            ("017", Ok(15)),
            ("0b101", Ok(5)),
            ("1_000", Ok(1000)),
            ("0x_ff", Ok(255)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(NumberError::Range)),
            ("99999999999999999999", Err(NumberError::Range)),
            ("", Err(NumberError::Syntax)),
            ("-", Err(NumberError::Syntax)),
            ("--1", Err(NumberError::Syntax)),
            ("_1", Err(NumberError::Syntax)),
            ("1_", Err(NumberError::Syntax)),
            ("1__0", Err(NumberError::Syntax)),
            ("08", Err(NumberError::Syntax)),
            ("0x", Err(NumberError::Syntax)),
            ("seven", Err(NumberError::Syntax)),
            ("1.5", Err(NumberError::Syntax)),
        ] {
            assert_eq!(parse_signed(text), expected, "{text}");
        }
        assert_eq!(parse_unsigned("-1"), Err(NumberError::Syntax));
        assert_eq!(parse_unsigned("18446744073709551615"), Ok(u64::MAX));
    }
}
