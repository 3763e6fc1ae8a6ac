//! Double-quoted text as Go reads and writes it.

use std::fmt::{self, Write};

/// Displays a text in double quotes with Go's escapes.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\x07' => f.write_str("\\a")?,
                '\x08' => f.write_str("\\b")?,
                '\x0c' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\x0b' => f.write_str("\\v")?,
                c if (c as u32) < 0x20 || c == '\x7f' => write!(f, "\\x{:02x}", c as u32)?,
                c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// What stands between the quotes of a Go string literal, with its escapes
/// resolved. `None` for an unknown or cut escape, a line break, or bytes that are
/// not UTF-8 (no field of ours could equal them).
pub(crate) fn unquote(inside: &str) -> Option<String> {
    if !inside.contains(['\\', '\n']) {
        return Some(inside.to_owned());
    }
    let mut bytes = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match character {
            '\n' => return None,
            '\\' => rest = unescape(rest, &mut bytes)?,
            _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Resolves the escape whose backslash was just read; returns what follows it.
fn unescape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let kind = *text.as_bytes().first()?;
    let simple = match kind {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' | b'"' => kind,
        b'x' => {
            bytes.push(u8::try_from(digits(text.get(1..3)?, 16)?).ok()?);
            return text.get(3..);
        }
        b'0'..=b'7' => {
            bytes.push(u8::try_from(digits(text.get(..3)?, 8)?).ok()?);
            return text.get(3..);
        }
        b'u' | b'U' => {
            let end = if kind == b'u' { 5 } else { 9 };
            let character = char::from_u32(digits(text.get(1..end)?, 16)?)?;
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return text.get(end..);
        }
        _ => return None,
    };
    bytes.push(simple);
    text.get(1..)
}

/// Digits only: `from_str_radix` alone would take a sign.
fn digits(text: &str, radix: u32) -> Option<u32> {
    let all = text.chars().all(|c| c.is_digit(radix));
    if all { u32::from_str_radix(text, radix).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_go() {
        let cases = [
            (r"plain", Some("plain")),
            (r"\a\b\f\n\r\t\v\\\x22", Some("\x07\x08\x0c\n\r\t\x0b\\\"")),
            ("\\\"", Some("\"")),
            (r"\x41\101\u00e9\U0001F600", Some("AAé😀")),
            (r"\xc3\xa9", Some("é")),
            (r"\xff", None),
            (r"\q", None),
            (r"\'", None),
            (r"\x4", None),
            (r"\x+1", None),
            (r"\400", None),
            (r"\ud800", None),
            (r"\xé", None),
            ("a\nb", None),
        ];
        for (text, expected) in cases {
            assert_eq!(unquote(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_quoted_reads_back() {
        for text in ["", "a\"b\\", "\x00\x1f\x7f\u{85}", "é😀\n"] {
            let quoted = Quoted(text).to_string();
            assert_eq!(unquote(&quoted[1..quoted.len() - 1]).as_deref(), Some(text));
        }
    }
}
