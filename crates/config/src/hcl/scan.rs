//! The tokens of HCL 1.

use super::at;

/// A place in the text, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) position: Position,
}

#[derive(Clone, Debug)]
pub(super) enum TokenKind {
    Identifier(String),
    Text(String),
    Heredoc(String),
    Int(i64),
    Float(f64),
    Assign,
    Comma,
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    End,
}

impl TokenKind {
    /// The name that error messages use.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Identifier(_) => "IDENT",
            Self::Text(_) => "STRING",
            Self::Heredoc(_) => "HEREDOC",
            Self::Int(_) => "NUMBER",
            Self::Float(_) => "FLOAT",
            Self::Assign => "ASSIGN",
            Self::Comma => "COMMA",
            Self::OpenBrace => "LBRACE",
            Self::CloseBrace => "RBRACE",
            Self::OpenBracket => "LBRACK",
            Self::CloseBracket => "RBRACK",
            Self::End => "EOF",
        }
    }
}

pub(super) struct Scanner<'a> {
    rest: &'a str,
    position: Position,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { rest, position: Position { line: 1, column: 1 } }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            self.position = Position { line: self.position.line + 1, column: 1 };
        } else {
            self.position.column += 1;
        }
        Some(c)
    }

    /// Takes the characters as long as `wanted` holds.
    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let start = self.rest;
        while self.peek().is_some_and(&wanted) {
            self.bump();
        }
        &start[..start.len() - self.rest.len()]
    }

    pub(super) fn token(&mut self) -> Result<Token, String> {
        self.skip_space_and_comments()?;
        let position = self.position;
        let kind = match self.peek() {
            None => TokenKind::End,
            Some('"') => TokenKind::Text(self.text(position)?),
            Some('<') => TokenKind::Heredoc(self.heredoc(position)?),
            Some('-' | '0'..='9') => self.number(position)?,
            Some(c) if c.is_alphabetic() || c == '_' => {
                let word = self.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
                TokenKind::Identifier(word.to_owned())
            }
            Some(c) => {
                self.bump();
                match c {
                    '=' => TokenKind::Assign,
                    ',' => TokenKind::Comma,
                    '{' => TokenKind::OpenBrace,
                    '}' => TokenKind::CloseBrace,
                    '[' => TokenKind::OpenBracket,
                    ']' => TokenKind::CloseBracket,
                    c => return Err(at(position, format!("illegal character {c:?}"))),
                }
            }
        };
        Ok(Token { kind, position })
    }

    fn skip_space_and_comments(&mut self) -> Result<(), String> {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if self.rest.starts_with("/*") {
                let start = self.position;
                let Some(end) = self.rest.find("*/") else {
                    return Err(at(start, "comment not terminated"));
                };
                let after = self.rest.len() - end - 2;
                while self.rest.len() > after {
                    self.bump();
                }
            } else {
                return Ok(());
            }
        }
    }

    /// A text in quotes. `${…}` is kept as written, quotes inside it too.
    fn text(&mut self, start: Position) -> Result<String, String> {
        self.bump();
        let mut out = String::new();
        let mut braces = 0usize;
        loop {
            let Some(c) = self.bump() else {
                return Err(at(start, "literal not terminated"));
            };
            match c {
                '"' if braces == 0 => return Ok(out),
                '\n' if braces == 0 => return Err(at(start, "literal not terminated")),
                '$' if braces == 0 && self.peek() == Some('{') => {
                    self.bump();
                    braces = 1;
                    out.push_str("${");
                }
                '\\' if braces == 0 => out.push(self.escape(start)?),
                c => {
                    match c {
                        '{' if braces > 0 => braces += 1,
                        '}' if braces > 0 => braces -= 1,
                        _ => {}
                    }
                    out.push(c);
                }
            }
        }
    }

    fn escape(&mut self, start: Position) -> Result<char, String> {
        let Some(c) = self.bump() else {
            return Err(at(start, "literal not terminated"));
        };
        Ok(match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' => '\\',
            '"' => '"',
            'x' => self.code(start, 2, 16)?,
            'u' => self.code(start, 4, 16)?,
            'U' => self.code(start, 8, 16)?,
            '0'..='7' => {
                let first = c.to_digit(8).unwrap_or(0);
                let rest = self.code(start, 2, 8)? as u32;
                char::from_u32(first * 64 + rest).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            c => return Err(at(start, format!("illegal escape \\{c}"))),
        })
    }

    fn code(&mut self, start: Position, digits: u32, radix: u32) -> Result<char, String> {
        let mut code: u32 = 0;
        for _ in 0..digits {
            let digit = self.bump().and_then(|c| c.to_digit(radix));
            let digit = digit.ok_or_else(|| at(start, "illegal char escape"))?;
            code = code.wrapping_mul(radix).wrapping_add(digit);
        }
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// `<<MARK` or `<<-MARK`, the lines, and a line that is the mark alone. With
    /// the dash, the indent of the closing mark is taken off all lines when all
    /// have it.
    fn heredoc(&mut self, start: Position) -> Result<String, String> {
        if !self.rest.starts_with("<<") {
            return Err(at(start, "heredoc expected second '<', didn't see it"));
        }
        self.bump();
        self.bump();
        let indented = self.peek() == Some('-');
        if indented {
            self.bump();
        }
        let mark = self.take_while(|c| c.is_alphanumeric() || c == '_');
        self.take_while(|c| c == '\r');
        if mark.is_empty() || self.bump() != Some('\n') {
            return Err(at(start, "zero-length heredoc anchor"));
        }
        let mut lines: Vec<&str> = Vec::new();
        loop {
            let line = self.take_while(|c| c != '\n');
            let ended = line.trim() == mark;
            if ended && (indented || line.trim_end() == mark) {
                return Ok(join_heredoc(&lines, line, indented));
            }
            lines.push(line);
            if self.bump().is_none() {
                return Err(at(start, "heredoc not terminated"));
            }
        }
    }

    fn number(&mut self, start: Position) -> Result<TokenKind, String> {
        let sign = if self.peek() == Some('-') { self.bump().map_or("", |_| "-") } else { "" };
        let mut digits =
            self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_')).to_owned();
        let hex = digits.starts_with("0x") || digits.starts_with("0X");
        if !hex && digits.ends_with(['e', 'E']) && matches!(self.peek(), Some('+' | '-')) {
            digits.push_str(self.take_while(|c| matches!(c, '+' | '-')));
            digits.push_str(self.take_while(|c| c.is_ascii_alphanumeric()));
        }
        let text = format!("{sign}{digits}");
        let illegal = || at(start, format!("illegal number \"{text}\""));
        if !hex && digits.contains(['.', 'e', 'E']) {
            let number: f64 = text.parse().map_err(|_| illegal())?;
            return if number.is_finite() {
                Ok(TokenKind::Float(number))
            } else {
                Err(at(start, format!("number {text} is out of range")))
            };
        }
        let (body, radix) = if hex {
            (&digits[2..], 16)
        } else if digits.len() > 1 && digits.starts_with('0') {
            (&digits[1..], 8)
        } else {
            (digits.as_str(), 10)
        };
        if body.is_empty() || !body.chars().all(|c| c.is_digit(radix)) {
            return Err(illegal());
        }
        i64::from_str_radix(&format!("{sign}{body}"), radix)
            .map(TokenKind::Int)
            .map_err(|_| at(start, format!("number {text} is out of range")))
    }
}

fn join_heredoc(lines: &[&str], closing: &str, indented: bool) -> String {
    let indent = &closing[..closing.len() - closing.trim_start().len()];
    let all_have_it = lines.iter().all(|line| line.is_empty() || line.starts_with(indent));
    let mut out = String::new();
    for line in lines {
        let line =
            if indented && all_have_it { line.strip_prefix(indent).unwrap_or(line) } else { line };
        out.push_str(line);
        out.push('\n');
    }
    out
}
