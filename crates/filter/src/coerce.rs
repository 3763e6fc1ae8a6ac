//! Texts as values and back: Go's `strconv`, with the texts of its complaints.

use crate::error::CoerceError;

/// Go's `ParseBool`.
pub fn parse_bool(value: &str) -> Result<bool, CoerceError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(CoerceError::Syntax { function: "ParseBool", value: value.to_owned() }),
    }
}

/// Go's `Atoi`: a sign and decimal digits.
pub fn parse_decimal(value: &str) -> Result<i64, CoerceError> {
    let function = "Atoi";
    let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(CoerceError::Syntax { function, value: value.to_owned() });
    }
    value.parse().map_err(|_| CoerceError::Range { function, value: value.to_owned() })
}

/// Go's `ParseFloat(value, 64)`, without hexadecimal forms.
pub fn parse_float(value: &str) -> Result<f64, CoerceError> {
    let function = "ParseFloat";
    let number: f64 =
        value.parse().map_err(|_| CoerceError::Syntax { function, value: value.to_owned() })?;
    let names_infinity = value.bytes().any(|letter| letter.eq_ignore_ascii_case(&b'n'));
    if number.is_infinite() && !names_infinity {
        return Err(CoerceError::Range { function, value: value.to_owned() });
    }
    Ok(number)
}

/// Go's `FormatFloat(number, 'g', -1, 64)`: the fewest digits, and an exponent where it
/// is shorter.
pub fn format_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    } else if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Go's `ParseInt(value, 0, 64)`.
pub fn parse_signed(value: &str) -> Result<i64, CoerceError> {
    let function = "ParseInt";
    let negative = value.starts_with('-');
    let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
    let magnitude = magnitude(digits, function, value)?;
    let signed = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
    i64::try_from(signed).map_err(|_| CoerceError::Range { function, value: value.to_owned() })
}

/// Go's `ParseUint(value, 0, 64)`, which takes no sign.
pub fn parse_unsigned(value: &str) -> Result<u64, CoerceError> {
    magnitude(value, "ParseUint", value)
}

/// Digits with a base prefix and with underscores where Go allows them: between
/// digits and after the prefix.
fn magnitude(text: &str, function: &'static str, value: &str) -> Result<u64, CoerceError> {
    let syntax = || CoerceError::Syntax { function, value: value.to_owned() };
    let (base, digits, mut underscore_allowed) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &text[2..], true),
        [b'0', b'o' | b'O', ..] => (8, &text[2..], true),
        [b'0', b'b' | b'B', ..] => (2, &text[2..], true),
        [b'0', _, ..] => (8, &text[1..], true),
        _ => (10, text, false),
    };
    let mut number = Some(0_u64);
    let mut last_was_digit = false;
    for character in digits.chars() {
        if character == '_' && underscore_allowed {
            (underscore_allowed, last_was_digit) = (false, false);
            continue;
        }
        let digit = character.to_digit(base).ok_or_else(syntax)?;
        number = number
            .and_then(|n| n.checked_mul(u64::from(base)))
            .and_then(|n| n.checked_add(u64::from(digit)));
        (underscore_allowed, last_was_digit) = (true, true);
    }
    if !last_was_digit {
        return Err(syntax());
    }
    number.ok_or_else(|| CoerceError::Range { function, value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_go_writes_them() {
        let cases = [
            (1.5, "1.5"),
            (3.0, "3"),
            (-0.25, "-0.25"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123_456_789.0, "1.23456789e+08"),
            (1e6, "1e+06"),
            (1e21, "1e+21"),
            (100_000.0, "100000"),
            (f64::INFINITY, "+Inf"),
        ];
        for (number, text) in cases {
            assert_eq!(format_float(number), text);
        }
    }

    #[test]
    fn decimals_and_floats_are_refused_in_the_words_of_go() {
        let text = |error: CoerceError| error.to_string();
        assert_eq!(parse_decimal("-12"), Ok(-12));
        assert_eq!(
            parse_decimal("many").map_err(text),
            Err(r#"strconv.Atoi: parsing "many": invalid syntax"#.to_owned())
        );
        assert_eq!(
            parse_decimal("99999999999999999999").map_err(text),
            Err(r#"strconv.Atoi: parsing "99999999999999999999": value out of range"#.to_owned())
        );
        assert_eq!(parse_float("1.5e3"), Ok(1500.0));
        assert_eq!(
            parse_float("1e999").map_err(text),
            Err(r#"strconv.ParseFloat: parsing "1e999": value out of range"#.to_owned())
        );
        assert_eq!(
            parse_float("x").map_err(text),
            Err(r#"strconv.ParseFloat: parsing "x": invalid syntax"#.to_owned())
        );
    }

    #[test]
    fn numbers_are_read_with_go_base_zero() {
        let cases = [
            ("0", Ok(0)),
            ("8080", Ok(8080)),
            ("-5", Ok(-5)),
            ("+5", Ok(5)),
            ("0x1F90", Ok(8080)),
            ("017620", Ok(8080)),
            ("0o17620", Ok(8080)),
            ("0b11", Ok(3)),
            ("1_000", Ok(1000)),
            ("0x_ff", Ok(255)),
            ("0_7", Ok(7)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err("value out of range")),
            ("99999999999999999999999", Err("value out of range")),
            ("", Err("invalid syntax")),
            ("-", Err("invalid syntax")),
            ("0x", Err("invalid syntax")),
            ("08", Err("invalid syntax")),
            ("_1", Err("invalid syntax")),
            ("1__0", Err("invalid syntax")),
            ("1_", Err("invalid syntax")),
            ("1.5", Err("invalid syntax")),
            (" 1", Err("invalid syntax")),
            ("--1", Err("invalid syntax")),
        ];
        for (text, expected) in cases {
            let expected =
                expected.map_err(|why| format!("strconv.ParseInt: parsing \"{text}\": {why}"));
            assert_eq!(parse_signed(text).map_err(|e| e.to_string()), expected);
        }
        assert_eq!(parse_unsigned("18446744073709551615"), Ok(u64::MAX));
        assert!(parse_unsigned("18446744073709551616").is_err());
        assert!(parse_unsigned("-1").is_err() && parse_unsigned("+1").is_err());
    }

    #[test]
    fn bools_are_read_as_go_reads_them() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(parse_bool(text), Ok(true));
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(parse_bool(text), Ok(false));
        }
        for text in ["", "yes", "tRUE", "on"] {
            assert!(parse_bool(text).is_err());
        }
    }
}
