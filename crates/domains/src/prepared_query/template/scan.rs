//! Texts to tokens.

use std::fmt;

/// Where something begins: both count from one, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Place {
    const START: Place = Place { line: 1, column: 1 };

    fn advance(&mut self, text: &str) {
        for character in text.chars() {
            if character == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text outside of `${…}`.
    Literal,
    /// Text inside of quotes.
    Quoted,
    Integer,
    Float,
    Bool,
    Identifier,
    /// `${`
    Begin,
    /// `}`
    End,
    OpenQuote,
    CloseQuote,
    /// Brackets, commas and operators, told apart by their text.
    Symbol,
    /// What is no token at all.
    Invalid,
    /// The end of the text.
    Eof,
}

/// A token, with its text as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    pub(super) text: &'t str,
    pub(super) place: Place,
}

impl Token<'_> {
    pub(super) fn is(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }
}

/// As complaints name it.
impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text;
        match self.kind {
            Kind::Eof => f.write_str("end of string"),
            Kind::Invalid => write!(f, "invalid sequence {text:?}"),
            Kind::Integer => write!(f, "integer {text}"),
            Kind::Float => write!(f, "float {text}"),
            Kind::Quoted => write!(f, "string {text:?}"),
            Kind::Literal => write!(f, "literal {text:?}"),
            Kind::OpenQuote => f.write_str("opening quote"),
            Kind::CloseQuote => f.write_str("closing quote"),
            Kind::Symbol if text.len() > 1 => f.write_str(text),
            _ => write!(f, "{text:?}"),
        }
    }
}

/// All tokens, ending with [`Kind::Eof`]. After an invalid one nothing else follows.
pub(super) fn scan(text: &str) -> Vec<Token<'_>> {
    let mut scanner = Scanner { rest: text, place: Place::START, tokens: Vec::new() };
    scanner.run();
    let eof = Token { kind: Kind::Eof, text: "", place: scanner.place };
    scanner.tokens.push(eof);
    scanner.tokens
}

struct Scanner<'t> {
    rest: &'t str,
    place: Place,
    tokens: Vec<Token<'t>>,
}

impl<'t> Scanner<'t> {
    fn run(&mut self) {
        // How many `${` are open: inside of one, text is quoted.
        let mut open = 0_usize;
        while let Some(terminator) = self.text(open > 0) {
            open += usize::from(terminator == Kind::Begin);
            match self.interpolation() {
                Some(Kind::End) => open = open.saturating_sub(1),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn push(&mut self, kind: Kind, length: usize) -> Kind {
        let (text, rest) = self.rest.split_at(length);
        self.tokens.push(Token { kind, text, place: self.place });
        self.place.advance(text);
        self.rest = rest;
        kind
    }

    /// Text up to `${`, to the closing quote if it is quoted, or to the end: then `None`.
    fn text(&mut self, quoted: bool) -> Option<Kind> {
        let bytes = self.rest.as_bytes();
        let mut end = 0;
        let terminator = loop {
            match &bytes[end..] {
                [] if quoted => {
                    self.push(Kind::Invalid, bytes.len());
                    return None;
                }
                [] => break None,
                [b'$', b'{', ..] => break Some((Kind::Begin, 2)),
                [b'"', ..] if quoted => break Some((Kind::CloseQuote, 1)),
                [b'$', b'$', ..] => end += 2,
                [b'\\', b'"' | b'\\', ..] if quoted => end += 2,
                _ => end += 1,
            }
        };
        if end > 0 {
            self.push(if quoted { Kind::Quoted } else { Kind::Literal }, end);
        }
        terminator.map(|(kind, length)| self.push(kind, length))
    }

    /// What stands inside of `${…}`, up to its end or to an opening quote; `None` if
    /// the text is over first.
    fn interpolation(&mut self) -> Option<Kind> {
        loop {
            let blanks =
                self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            let (blank, rest) = self.rest.split_at(blanks);
            self.place.advance(blank);
            self.rest = rest;
            let (kind, length) = token(self.rest)?;
            match self.push(kind, length) {
                kind @ (Kind::End | Kind::OpenQuote) => return Some(kind),
                Kind::Invalid => return None,
                _ => {}
            }
        }
    }
}

/// What the text begins with, and how many bytes of it.
fn token(text: &str) -> Option<(Kind, usize)> {
    let first = text.chars().next()?;
    let two = ["!=", "<=", ">=", "==", "&&", "||"].iter().any(|symbol| text.starts_with(symbol));
    Some(match first {
        _ if two => (Kind::Symbol, 2),
        '}' => (Kind::End, 1),
        '"' => (Kind::OpenQuote, 1),
        '(' | ')' | '[' | ']' | ',' | '.' | '+' | '-' | '*' | '/' | '%' | '?' | ':' | '!' | '<'
        | '>' => (Kind::Symbol, 1),
        '0'..='9' => number(text),
        '_' => identifier(text),
        _ if first.is_alphabetic() => identifier(text),
        _ => (Kind::Invalid, first.len_utf8()),
    })
}

/// Digits with at most one period, which is not the last of them.
fn number(text: &str) -> (Kind, usize) {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(text);
    match text[whole..].strip_prefix('.').map(digits) {
        Some(fraction) if fraction > 0 => (Kind::Float, whole + 1 + fraction),
        _ => (Kind::Integer, whole),
    }
}

/// Letters, digits, `_`, `-`, `.`, and `*` between periods.
fn identifier(text: &str) -> (Kind, usize) {
    let mut end = 0;
    for (at, character) in text.char_indices() {
        let before = text[..at].chars().next_back();
        let belongs = match character {
            '*' => before == Some('.') && text[at + 1..].starts_with('.'),
            '_' | '-' | '.' => true,
            other => other.is_alphanumeric(),
        };
        if !belongs {
            break;
        }
        end = at + character.len_utf8();
    }
    match &text[..end] {
        "true" | "false" => (Kind::Bool, end),
        _ => (Kind::Identifier, end),
    }
}
