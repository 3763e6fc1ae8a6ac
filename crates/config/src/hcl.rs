//! HCL 1, the dialect of Consul's files, read into [`Value`].
//!
//! A file is a list of items `key value`, `key = value` and blocks
//! `key "label" … { … }`. Every block and object becomes a one-element list of
//! objects, and blocks of one name gather in that list: that is how HCL 1
//! decodes into a map, and the reason why Consul takes a list of one object
//! where it wants an object. Strings keep `${…}` as written. Commas between
//! items are allowed, as are comments `#`, `//` and `/* */`, and heredocs
//! `<<EOF` and `<<-EOF`. Language: <https://github.com/hashicorp/hcl/tree/hcl1>.

use std::collections::BTreeMap;

use crate::value::{DEPTH_MAX, VALUES_MAX, Value};

mod scan;

use scan::{Position, Scanner, Token, TokenKind};

/// Reads one HCL document. Errors name the position: `At 1:9: …`.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { scanner: Scanner::new(text), peeked: None, values: 0 };
    let object = parser.items(0, false)?;
    Ok(Value::Object(object))
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    peeked: Option<Token>,
    values: usize,
}

fn at(position: Position, message: impl AsRef<str>) -> String {
    format!("At {}:{}: {}", position.line, position.column, message.as_ref())
}

impl Parser<'_> {
    fn next(&mut self) -> Result<Token, String> {
        match self.peeked.take() {
            Some(token) => Ok(token),
            None => self.scanner.token(),
        }
    }

    fn peek(&mut self) -> Result<&Token, String> {
        if self.peeked.is_none() {
            self.peeked = Some(self.scanner.token()?);
        }
        // The line above put it there.
        Ok(self.peeked.as_ref().expect("a token was just peeked"))
    }

    fn count(&mut self, depth: usize, position: Position) -> Result<(), String> {
        self.values += 1;
        if depth > DEPTH_MAX {
            return Err(at(position, format!("more than {DEPTH_MAX} levels of nesting")));
        }
        if self.values > VALUES_MAX {
            return Err(at(position, format!("more than {VALUES_MAX} values")));
        }
        Ok(())
    }

    /// Items up to the closing brace, or to the end of the document.
    fn items(&mut self, depth: usize, braced: bool) -> Result<BTreeMap<String, Value>, String> {
        let mut object = BTreeMap::new();
        loop {
            let token = self.next()?;
            match token.kind {
                TokenKind::End if !braced => return Ok(object),
                TokenKind::CloseBrace if braced => return Ok(object),
                TokenKind::End => {
                    return Err(at(token.position, "object expected closing RBRACE got: EOF"));
                }
                TokenKind::Identifier(key) | TokenKind::Text(key) => {
                    self.item(&mut object, key, token.position, depth)?;
                }
                other => {
                    return Err(at(
                        token.position,
                        format!("expected: IDENT | STRING got: {}", other.name()),
                    ));
                }
            }
            if matches!(self.peek()?.kind, TokenKind::Comma) {
                self.next()?;
            }
        }
    }

    /// What follows a key: `= value`, or labels and a block.
    fn item(
        &mut self,
        object: &mut BTreeMap<String, Value>,
        key: String,
        position: Position,
        depth: usize,
    ) -> Result<(), String> {
        self.count(depth, position)?;
        let mut labels: Vec<String> = Vec::new();
        loop {
            let token = self.next()?;
            match token.kind {
                TokenKind::Assign if labels.is_empty() => {
                    let value = self.value(depth + 1)?;
                    insert(object, key, value);
                    return Ok(());
                }
                TokenKind::OpenBrace => {
                    self.count(depth + labels.len(), token.position)?;
                    let mut value = block(self.items(depth + labels.len() + 1, true)?);
                    while let Some(label) = labels.pop() {
                        value = block(BTreeMap::from([(label, value)]));
                    }
                    insert(object, key, value);
                    return Ok(());
                }
                TokenKind::Identifier(label) | TokenKind::Text(label) => {
                    if labels.len() >= DEPTH_MAX {
                        return Err(at(token.position, "too many labels"));
                    }
                    labels.push(label);
                }
                TokenKind::End if labels.is_empty() => {
                    return Err(at(
                        position,
                        format!("key '{key}' expected start of object ('{{') or assignment ('=')"),
                    ));
                }
                _ => {
                    return Err(at(
                        token.position,
                        format!(
                            "key '{}' expected start of object ('{{') or assignment ('=')",
                            [vec![key], labels].concat().join(" ")
                        ),
                    ));
                }
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        let token = self.next()?;
        self.count(depth, token.position)?;
        match token.kind {
            TokenKind::Text(text) | TokenKind::Heredoc(text) => Ok(Value::Str(text)),
            TokenKind::Int(number) => Ok(Value::Int(number)),
            TokenKind::Float(number) => Ok(Value::Float(number)),
            TokenKind::Identifier(word) if word == "true" => Ok(Value::Bool(true)),
            TokenKind::Identifier(word) if word == "false" => Ok(Value::Bool(false)),
            TokenKind::OpenBrace => Ok(block(self.items(depth + 1, true)?)),
            TokenKind::OpenBracket => self.list(depth),
            TokenKind::Identifier(word) => {
                Err(at(token.position, format!("Unknown token: {word}; a text needs quotes")))
            }
            other => Err(at(token.position, format!("Unknown token: {}", other.name()))),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        let mut items = Vec::new();
        let mut after_value = false;
        loop {
            let token = self.peek()?;
            let position = token.position;
            match &token.kind {
                TokenKind::CloseBracket => {
                    self.next()?;
                    return Ok(Value::List(items));
                }
                TokenKind::Comma if after_value => {
                    self.next()?;
                    after_value = false;
                }
                TokenKind::End => {
                    return Err(at(position, "list expected closing RBRACK got: EOF"));
                }
                other if after_value => {
                    let name = other.name();
                    return Err(at(
                        position,
                        format!("error parsing list, expected comma or list end, got: {name}"),
                    ));
                }
                _ => {
                    // In a list an object is one element, not a block.
                    match self.value(depth + 1)? {
                        Value::List(mut inner) if is_block(&inner) => items.append(&mut inner),
                        value => items.push(value),
                    }
                    after_value = true;
                }
            }
        }
    }
}

/// Whether a list is what [`block`] made or a list of objects in brackets.
fn is_block(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| matches!(item, Value::Object(_)))
}

fn block(object: BTreeMap<String, Value>) -> Value {
    Value::List(vec![Value::Object(object)])
}

/// Blocks of one name gather; of other values the last stays.
fn insert(object: &mut BTreeMap<String, Value>, key: String, value: Value) {
    match (object.get_mut(&key), value) {
        (Some(Value::List(old)), Value::List(new)) if is_block(old) && is_block(&new) => {
            old.extend(new);
        }
        (_, value) => {
            object.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        parse(text).unwrap().to_json().to_string()
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err()
    }

    #[test]
    fn values_of_every_kind_are_read() {
        let cases = [
            ("a = 1", r#"{"a":1}"#),
            (
                "a = -7 b = 0x1F c = 010 d = 1.5 e = 2e3 f = -1.5E-1",
                r#"{"a":-7,"b":31,"c":8,"d":1.5,"e":2000,"f":-0.15}"#,
            ),
            (r#"a = "x\n\t\"\\\u00e9" "b c" = true"#, r#"{"a":"x\n\t\"\\é","b c":true}"#),
            (r#"a = "${env("X")} and ${b}""#, r#"{"a":"${env(\"X\")} and ${b}"}"#),
            ("a = [1, \"x\", [true],]", r#"{"a":[1,"x",[true]]}"#),
            ("a = { b = 1 }", r#"{"a":[{"b":1}]}"#),
            ("a { b = 1 } a { b = 2 }", r#"{"a":[{"b":1},{"b":2}]}"#),
            ("a = [{ b = 1 }, { b = 2 }]", r#"{"a":[{"b":1},{"b":2}]}"#),
            (r#"a "x" "y" { b = 1 }"#, r#"{"a":[{"x":[{"y":[{"b":1}]}]}]}"#),
            ("a = 1 a = 2", r#"{"a":2}"#),
            ("# one\n// two\n/* three\n */ a = 1 # four", r#"{"a":1}"#),
            ("a = <<EOF\none\n  two\nEOF\nb = 1", r#"{"a":"one\n  two\n","b":1}"#),
            ("a = <<-EOF\n    one\n      two\n    EOF\n", r#"{"a":"one\n  two\n"}"#),
            ("a = <<-EOF\n    one\n  two\n    EOF\n", r#"{"a":"    one\n  two\n"}"#),
            ("", "{}"),
            ("a = {}, b = [],", r#"{"a":[{}],"b":[]}"#),
            ("a-b.c_d = 1", r#"{"a-b.c_d":1}"#),
            ("\u{feff}a = 1\r\nb = 2\r\n", r#"{"a":1,"b":2}"#),
        ];
        for (text, expected) in cases {
            assert_eq!(json(text), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_name_their_place() {
        let cases = [
            ("ports {", "At 1:8: object expected closing RBRACE got: EOF"),
            ("a = ", "At 1:5: Unknown token: EOF"),
            ("\n= 1", "At 2:1: expected: IDENT | STRING got: ASSIGN"),
            ("a = \"x", "At 1:5: literal not terminated"),
            ("a = \"x\ny\"", "At 1:5: literal not terminated"),
            ("a = [1 2]", "At 1:8: error parsing list, expected comma or list end, got: NUMBER"),
            ("a = [1", "At 1:7: list expected closing RBRACK got: EOF"),
            ("a 1", "At 1:3: key 'a' expected start of object ('{') or assignment ('=')"),
            ("a = maybe", "At 1:5: Unknown token: maybe; a text needs quotes"),
            ("/* x", "At 1:1: comment not terminated"),
            ("a = <<EOF\nx\n", "At 1:5: heredoc not terminated"),
            ("a = 1z", "At 1:5: illegal number \"1z\""),
            ("a = 99999999999999999999", "At 1:5: number 99999999999999999999 is out of range"),
            ("a = \"\\q\"", "At 1:5: illegal escape \\q"),
            ("a = ;", "At 1:5: illegal character ';'"),
        ];
        for (text, expected) in cases {
            assert_eq!(error(text), expected, "{text}");
        }
        assert!(error(&"a {".repeat(500)).ends_with("more than 64 levels of nesting"));
        assert!(error(&format!("a = {}", "[".repeat(500))).ends_with("levels of nesting"));
    }
}
