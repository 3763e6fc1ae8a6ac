//! go-sockaddr templates in address values: `{{ GetPrivateIP }}`,
//! `{{ GetInterfaceIP "eth0" }}`, `{{ GetAllInterfaces | include "name" "^eth" |
//! attr "address" }}` (`reference/config.md` 1.3).
//!
//! Only the template language that address values use: text, pipelines,
//! functions, quoted texts, numbers and parentheses. The interfaces of the
//! machine are a parameter.

use crate::load::InterfaceAddr;

mod functions;

pub(crate) use functions::special as is_special;

/// Longest template and longest result, in bytes.
const TEXT_MAX: usize = 64 << 10;
/// Deepest parentheses.
const NESTING_MAX: usize = 16;

/// Expands every `{{ … }}` in `text`. Text without one is returned as it is.
pub fn expand(text: &str, interfaces: &[InterfaceAddr]) -> Result<String, String> {
    if text.len() > TEXT_MAX {
        return Err(format!("longer than {TEXT_MAX} bytes"));
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let (before, tail) = rest.split_at(start);
        let end = end_of_action(&tail[2..]).ok_or("unclosed action")?;
        let mut action = &tail[2..2 + end];
        let mut after = &tail[2 + end + 2..];
        let mut before = before;
        if let Some(trimmed) = action.strip_prefix("- ") {
            action = trimmed;
            before = before.trim_end();
        }
        if let Some(trimmed) = action.strip_suffix(" -") {
            action = trimmed;
            after = after.trim_start();
        }
        out.push_str(before);
        let mut parser = Parser { tokens: tokens(action)?, position: 0 };
        let value = parser.pipeline(interfaces, 0)?;
        if let Some(token) = parser.tokens.get(parser.position) {
            return Err(format!("unexpected {} in command", token.shown()));
        }
        out.push_str(&value.text());
        rest = after;
        if out.len() > TEXT_MAX {
            return Err(format!("the result is longer than {TEXT_MAX} bytes"));
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The position of `}}` outside of quotes.
fn end_of_action(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quote = None;
    let mut position = 0;
    while position < bytes.len() {
        match (quote, bytes[position]) {
            (None, byte @ (b'"' | b'`')) => quote = Some(byte),
            (Some(b'"'), b'\\') => position += 1,
            (Some(open), byte) if open == byte => quote = None,
            (None, b'}') if bytes.get(position + 1) == Some(&b'}') => return Some(position),
            _ => {}
        }
        position += 1;
    }
    None
}

/// What an expression is worth.
#[derive(Clone, Debug)]
enum Worth {
    Text(String),
    Number(i64),
    Addresses(Vec<InterfaceAddr>),
}

impl Worth {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Addresses(list) => {
                let shown: Vec<_> = list.iter().map(|one| one.address.to_string()).collect();
                shown.join(" ")
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(i64),
    Pipe,
    Open,
    Close,
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Self::Word(word) => format!("<{word}>"),
            Self::Text(text) => format!("{text:?}"),
            Self::Number(number) => format!("<{number}>"),
            Self::Pipe => "<|>".to_owned(),
            Self::Open => "<(>".to_owned(),
            Self::Close => "<)>".to_owned(),
        }
    }
}

fn tokens(action: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut rest = action.trim_start();
    while let Some(first) = rest.chars().next() {
        let used = match first {
            '|' => push(&mut out, Token::Pipe),
            '(' => push(&mut out, Token::Open),
            ')' => push(&mut out, Token::Close),
            '"' | '`' => {
                let (text, used) = quoted(rest, first)?;
                out.push(Token::Text(text));
                used
            }
            c if c.is_alphabetic() || c == '_' => {
                let used =
                    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                out.push(Token::Word(rest[..used].to_owned()));
                used
            }
            c if c.is_ascii_digit() || matches!(c, '-' | '+') => {
                let digits = rest[1..].find(|c: char| !c.is_ascii_digit());
                let used = digits.map_or(rest.len(), |digits| digits + 1);
                let number = rest[..used].parse();
                out.push(Token::Number(
                    number.map_err(|_| format!("bad number: {}", &rest[..used]))?,
                ));
                used
            }
            c => return Err(format!("unexpected {c:?} in command")),
        };
        rest = rest[used..].trim_start();
    }
    Ok(out)
}

fn push(out: &mut Vec<Token>, token: Token) -> usize {
    out.push(token);
    1
}

/// A quoted text and how many bytes it takes.
fn quoted(text: &str, quote: char) -> Result<(String, usize), String> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((position, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((out, position + 1)),
            '\\' if quote == '"' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, c)) => out.push(c),
                None => break,
            },
            c => out.push(c),
        }
    }
    Err("unterminated quoted string".to_owned())
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    fn pipeline(&mut self, interfaces: &[InterfaceAddr], depth: usize) -> Result<Worth, String> {
        if depth > NESTING_MAX {
            return Err(format!("more than {NESTING_MAX} levels of parentheses"));
        }
        let mut piped = None;
        loop {
            piped = Some(self.command(piped, interfaces, depth)?);
            if self.tokens.get(self.position) != Some(&Token::Pipe) {
                return piped.ok_or_else(|| "missing value for command".to_owned());
            }
            self.position += 1;
        }
    }

    /// One function with its arguments, or a single value. The value piped in
    /// is the last argument.
    fn command(
        &mut self,
        piped: Option<Worth>,
        interfaces: &[InterfaceAddr],
        depth: usize,
    ) -> Result<Worth, String> {
        let mut function = None;
        if let Some(Token::Word(name)) = self.tokens.get(self.position) {
            function = Some(name.clone());
            self.position += 1;
        }
        let mut arguments = Vec::new();
        while let Some(token) = self.tokens.get(self.position).cloned() {
            match token {
                Token::Text(text) => arguments.push(Worth::Text(text)),
                Token::Number(number) => arguments.push(Worth::Number(number)),
                Token::Open => {
                    self.position += 1;
                    arguments.push(self.pipeline(interfaces, depth + 1)?);
                    if self.tokens.get(self.position) != Some(&Token::Close) {
                        return Err("unclosed left paren".to_owned());
                    }
                }
                // A function without arguments as an argument.
                Token::Word(name) => {
                    arguments.push(functions::call(&name, Vec::new(), interfaces)?);
                }
                Token::Pipe | Token::Close => break,
            }
            self.position += 1;
        }
        match function {
            Some(name) => {
                arguments.extend(piped);
                functions::call(&name, arguments, interfaces)
            }
            None => match (arguments.pop(), arguments.is_empty(), piped) {
                (Some(value), true, None) => Ok(value),
                (None, _, _) => Err("missing value for command".to_owned()),
                _ => Err("can't give argument to non-function".to_owned()),
            },
        }
    }
}
