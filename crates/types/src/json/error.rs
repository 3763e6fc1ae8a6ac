//! What is wrong with a JSON document, in the words of Go.

use std::fmt;

use serde::de;

/// Why a document was refused. `Display` gives Go's text, which HTTP endpoints
/// put behind their own prefix (`reference/http-api.md` 1.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(pub(super) Box<Kind>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There was nothing but white space.
    Empty,
    /// The document ends in the middle of a value.
    UnexpectedEnd,
    /// As [`Kind::UnexpectedEnd`], where the whole input was handed over at once.
    TruncatedInput,
    /// A byte that cannot stand where it stands.
    InvalidCharacter { byte: u8, context: String },
    /// More than [`super::MAX_DEPTH`] levels.
    TooDeep,
    /// A field that the struct does not have.
    UnknownField(String),
    /// A value of the wrong type.
    Mismatch(Mismatch),
    /// Two spellings of one field in one object; the decoder retries without
    /// the second, so that callers see this only past the limit of retries.
    Duplicate(&'static str),
    /// A visitor's own words.
    Custom(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// What the document has: `string`, `number 1.5`, `object`, ….
    pub(super) found: String,
    /// Go's name of the type that was wanted.
    pub(super) wanted: String,
    /// The innermost struct; empty while the error has not met a struct.
    pub(super) container: &'static str,
    /// Field names, innermost first.
    pub(super) path: Vec<&'static str>,
    /// Whether structs further out add nothing: their Go counterpart starts a
    /// decoder of its own for this value.
    pub(super) closed: bool,
}

impl DecodeError {
    pub(super) fn mismatch(found: impl Into<String>, wanted: impl Into<String>) -> Self {
        Kind::Mismatch(Mismatch {
            found: found.into(),
            wanted: wanted.into(),
            ..Mismatch::default()
        })
        .into()
    }

    /// Whether the document was well-formed JSON up to where reading stopped.
    pub fn is_syntax(&self) -> bool {
        use Kind::{Empty, InvalidCharacter, TooDeep, TruncatedInput, UnexpectedEnd};
        matches!(
            *self.0,
            Empty | UnexpectedEnd | TruncatedInput | TooDeep | InvalidCharacter { .. }
        )
    }

    /// The name of the field that the struct does not have, as it was spelled.
    pub fn unknown_field(&self) -> Option<&str> {
        match &*self.0 {
            Kind::UnknownField(name) => Some(name),
            _ => None,
        }
    }

    /// The error as seen from the struct `container` around the field.
    ///
    /// A container whose name starts with a dot (`#[serde(rename = ".Alias")]`)
    /// is decoded by a decoder of its own in Go; structs around it add nothing. Of a name
    /// with its package (`api.TxnOp`) the package is not told.
    pub(super) fn in_field(mut self, container: &'static str, field: &'static str) -> Self {
        if let Kind::Mismatch(mismatch) = &mut *self.0
            && !mismatch.closed
        {
            if mismatch.path.is_empty() {
                let in_package =
                    container.rsplit_once('.').filter(|(package, _)| !package.is_empty());
                mismatch.container = in_package.map_or(container, |(_, name)| name);
            }
            mismatch.path.push(field);
            mismatch.closed = container.starts_with('.');
        }
        self
    }
}

impl From<Kind> for DecodeError {
    fn from(kind: Kind) -> Self {
        Self(Box::new(kind))
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Empty => f.write_str("EOF"),
            Kind::UnexpectedEnd => f.write_str("unexpected EOF"),
            Kind::TruncatedInput => f.write_str("unexpected end of JSON input"),
            Kind::InvalidCharacter { byte, context } => {
                write!(f, "invalid character {} {context}", quote_byte(*byte))
            }
            Kind::TooDeep => f.write_str("exceeded max depth"),
            Kind::UnknownField(name) => write!(f, "json: unknown field {}", quote(name)),
            Kind::Mismatch(mismatch) => mismatch.fmt(f),
            Kind::Duplicate(field) => write!(f, "json: field {} is given twice", quote(field)),
            Kind::Custom(message) => f.write_str(message),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "json: cannot unmarshal {} into Go ", self.found)?;
        if self.path.is_empty() {
            return write!(f, "value of type {}", self.wanted);
        }
        write!(f, "struct field {}", self.container)?;
        for field in self.path.iter().rev() {
            write!(f, ".{field}")?;
        }
        write!(f, " of type {}", self.wanted)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Kind::Custom(message.to_string()).into()
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match unexpected {
            de::Unexpected::Bool(_) => "bool",
            de::Unexpected::Unsigned(_) | de::Unexpected::Signed(_) | de::Unexpected::Float(_) => {
                "number"
            }
            de::Unexpected::Str(_) | de::Unexpected::Char(_) | de::Unexpected::Bytes(_) => "string",
            de::Unexpected::Seq => "array",
            de::Unexpected::Unit | de::Unexpected::Option => "null",
            _ => "object",
        };
        Self::mismatch(found, expected.to_string())
    }

    fn duplicate_field(field: &'static str) -> Self {
        Kind::Duplicate(field).into()
    }
}

/// Text as Go's `%q` writes it.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        push_quoted(&mut quoted, c, '"');
    }
    quoted.push('"');
    quoted
}

/// A byte as Go's scanner quotes it: read as a Latin-1 character.
fn quote_byte(byte: u8) -> String {
    let mut quoted = String::from("'");
    push_quoted(&mut quoted, char::from(byte), '\'');
    quoted.push('\'');
    quoted
}

fn push_quoted(out: &mut String, c: char, delimiter: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        c if c == delimiter => {
            out.push('\\');
            out.push(c);
        }
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        c if (c as u32) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
        c if c.is_control() || c == '\u{a0}' || c == '\u{ad}' => {
            out.push_str(&format!("\\u{:04x}", c as u32));
        }
        c => out.push(c),
    }
}
