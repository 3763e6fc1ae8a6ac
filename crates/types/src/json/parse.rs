//! The grammar: bytes to a tree, with the error texts of Go's scanner.
//!
//! Objects keep the order of the document and equal keys, because the decoder
//! needs to know which came last.

use std::borrow::Cow;

use super::MAX_DEPTH;
use super::error::{DecodeError, Kind};

/// A parsed value that borrows from the document where it can.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// The number as it was spelled.
    Number(Cow<'a, str>),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl From<serde_json::Value> for Json<'_> {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Json::Null,
            serde_json::Value::Bool(value) => Json::Bool(value),
            serde_json::Value::Number(number) => Json::Number(number.to_string().into()),
            serde_json::Value::String(text) => Json::String(text.into()),
            serde_json::Value::Array(items) => {
                Json::Array(items.into_iter().map(Json::from).collect())
            }
            serde_json::Value::Object(fields) => Json::Object(
                fields.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            ),
        }
    }
}

/// Reads the first value of `bytes` and returns it with what follows.
pub(super) fn parse(bytes: &[u8]) -> Result<(Json<'_>, &[u8]), DecodeError> {
    let mut parser = Parser { bytes, at: 0, depth: 0 };
    parser.skip_space();
    if parser.at == bytes.len() {
        return Err(Kind::Empty.into());
    }
    let value = parser.value()?;
    Ok((value, &bytes[parser.at..]))
}

/// Complains unless only white space follows, as Go does for whole documents.
pub(super) fn expect_end(rest: &[u8]) -> Result<(), DecodeError> {
    match rest.iter().find(|byte| !is_space(**byte)) {
        Some(byte) => Err(invalid(*byte, "after top-level value")),
        None => Ok(()),
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn value(&mut self) -> Result<Json<'a>, DecodeError> {
        match self.peek()? {
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::array),
            b'"' => {
                self.at += 1;
                self.string().map(Json::String)
            }
            b't' => self.literal("true", Json::Bool(true)),
            b'f' => self.literal("false", Json::Bool(false)),
            b'n' => self.literal("null", Json::Null),
            b'-' | b'0'..=b'9' => self.number(),
            other => Err(invalid(other, "looking for beginning of value")),
        }
    }

    fn nested(
        &mut self,
        body: fn(&mut Self) -> Result<Json<'a>, DecodeError>,
    ) -> Result<Json<'a>, DecodeError> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Kind::TooDeep.into());
        }
        self.skip_space();
        let value = body(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Json<'a>, DecodeError> {
        let mut fields = Vec::new();
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(Json::Object(fields));
        }
        loop {
            self.skip_space();
            match self.peek()? {
                b'"' => self.at += 1,
                other => return Err(invalid(other, "looking for beginning of object key string")),
            }
            let key = self.string()?;
            self.skip_space();
            match self.peek()? {
                b':' => self.at += 1,
                other => return Err(invalid(other, "after object key")),
            }
            self.skip_space();
            fields.push((key, self.value()?));
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(Json::Object(fields));
                }
                other => return Err(invalid(other, "after object key:value pair")),
            }
        }
    }

    fn array(&mut self) -> Result<Json<'a>, DecodeError> {
        let mut items = Vec::new();
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            self.skip_space();
            items.push(self.value()?);
            self.skip_space();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(Json::Array(items));
                }
                other => return Err(invalid(other, "after array element")),
            }
        }
    }

    fn literal(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, DecodeError> {
        for expected in word.bytes() {
            let found = self.peek()?;
            if found != expected {
                let context = format!("in literal {word} (expecting '{}')", char::from(expected));
                return Err(invalid(found, &context));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Json<'a>, DecodeError> {
        let start = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.skip_digits(),
            other => return Err(invalid(other, "in numeric literal")),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.expect_digits("after decimal point in numeric literal")?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.expect_digits("in exponent of numeric literal")?;
        }
        Ok(Json::Number(String::from_utf8_lossy(&self.bytes[start..self.at])))
    }

    fn expect_digits(&mut self, context: &str) -> Result<(), DecodeError> {
        match self.peek()? {
            b'0'..=b'9' => self.skip_digits(),
            other => return Err(invalid(other, context)),
        }
        Ok(())
    }

    fn skip_digits(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    /// Reads a string whose opening quote is behind us. Bytes that are not
    /// UTF-8 become U+FFFD, as in Go.
    fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let mut text = Cow::Borrowed("");
        loop {
            let rest = &self.bytes[self.at..];
            let run = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
                .ok_or(Kind::UnexpectedEnd)?;
            let fragment = String::from_utf8_lossy(&rest[..run]);
            if text.is_empty() {
                text = fragment;
            } else {
                text.to_mut().push_str(&fragment);
            }
            self.at += run + 1;
            match rest[run] {
                b'"' => return Ok(text),
                b'\\' => {
                    let escaped = self.escape()?;
                    text.to_mut().push(escaped);
                }
                control => return Err(invalid(control, "in string literal")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, DecodeError> {
        let escape = self.peek()?;
        self.at += 1;
        Ok(match escape {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            other => return Err(invalid(other, "in string escape code")),
        })
    }

    /// `\uXXXX`, joined with the next escape when both are one surrogate pair.
    /// A surrogate alone becomes U+FFFD.
    fn unicode_escape(&mut self) -> Result<char, DecodeError> {
        let first = self.hex4()?;
        if let Some(c) = char::from_u32(first) {
            return Ok(c);
        }
        if first < 0xdc00 && self.bytes[self.at..].starts_with(b"\\u") {
            let before = self.at;
            self.at += 2;
            let second = self.hex4()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, DecodeError> {
        let mut code = 0;
        for _ in 0..4 {
            let byte = self.peek()?;
            let digit = char::from(byte)
                .to_digit(16)
                .ok_or_else(|| invalid(byte, "in \\u hexadecimal character escape"))?;
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn skip_space(&mut self) {
        while self.bytes.get(self.at).is_some_and(|byte| is_space(*byte)) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Result<u8, DecodeError> {
        self.bytes.get(self.at).copied().ok_or_else(|| Kind::UnexpectedEnd.into())
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn invalid(byte: u8, context: &str) -> DecodeError {
    Kind::InvalidCharacter { byte, context: context.to_owned() }.into()
}
