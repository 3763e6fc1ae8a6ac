//! The parser: ordered choice over the grammar of `reference/http-api.md`
//! section 1.11.
//!
//! Consul's texts name the farthest place that any attempt reached and all that
//! could have stood there. To say the same, every failed attempt is noted, also
//! those whose alternative succeeds; only the notes at the farthest place stay.
//! A few mistakes (an unclosed parenthesis or string) have a text of their own,
//! which goes before that list. Of those only `Unmatched parentheses` is recorded
//! from Consul; the wording of the others is not verified.
//!
//! No alternative that recurses is tried twice at one place, so the work grows
//! with the length of the text alone.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::expression::{Expression, Match, Operator, Selector};
use crate::quote::{Quoted, unquote};

/// Longest expression, in bytes. Longer ones do not fit a request line.
pub const MAX_LENGTH: usize = 64 * 1024;
/// Deepest nesting of parentheses and `not`.
pub const MAX_DEPTH: usize = 256;

/// A text that is no expression.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// The grammar does not go on as the text does.
    #[error("{place}: no match found, expected: {expected}")]
    NoMatch {
        /// Where.
        place: Place,
        /// What could have stood there, as a list in words.
        expected: String,
    },
    /// A mistake in a rule that has a name.
    #[error("{place}: rule \"{rule}\": {reason}")]
    Rule {
        /// Where.
        place: Place,
        /// The rule.
        rule: &'static str,
        /// The mistake.
        reason: &'static str,
    },
    /// Longer than [`MAX_LENGTH`].
    #[error("the expression has {length} bytes, more than the limit of {MAX_LENGTH}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("{place}: the expression is nested deeper than the limit of {MAX_DEPTH}")]
    TooDeep {
        /// Where.
        place: Place,
    },
}

/// A place in the text, printed as `line:column (offset)`.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{line}:{column} ({offset})")]
pub struct Place {
    /// Line, from 1. A line break counts to the line it begins, as its column 0.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Offset in bytes, from 0.
    pub offset: usize,
}

impl Place {
    fn find(text: &str, offset: usize) -> Self {
        let mut place = Place { line: 1, column: 1, offset };
        for (at, character) in text.char_indices() {
            if character == '\n' {
                (place.line, place.column) = (place.line + 1, 0);
            }
            if at >= offset {
                break;
            }
            place.column += 1;
        }
        place
    }
}

pub(crate) fn parse(text: &str) -> Result<Expression, ParseError> {
    if text.len() > MAX_LENGTH {
        return Err(ParseError::TooLong { length: text.len() });
    }
    let mut parser =
        Parser { text, at: 0, depth: 0, farthest: 0, wanted: BTreeSet::new(), error: None };
    let parsed = parser.whole();
    match (parser.error.take(), parsed) {
        (Some(error), _) => Err(error),
        (None, Some(expression)) => Ok(expression),
        (None, None) => Err(parser.no_match()),
    }
}

/// What could have stood at a place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Want {
    Literal(&'static str),
    Class(&'static str),
    End,
}

const SPACE: &str = r"[ \t\r\n]";
const LETTER: &str = "[a-zA-Z]";
const WORD: &str = "[a-zA-Z0-9_]";
const DIGIT: &str = "[0-9]";
const FIRST_DIGIT: &str = "[1-9]";

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    farthest: usize,
    wanted: BTreeSet<Want>,
    /// The first mistake with a text of its own: it decides, whatever is parsed after it.
    error: Option<ParseError>,
}

impl Parser<'_> {
    fn whole(&mut self) -> Option<Expression> {
        self.spaces();
        let expression = self.any()?;
        self.spaces();
        if self.at < self.text.len() {
            self.want(Want::End);
            return None;
        }
        Some(expression)
    }

    fn any(&mut self) -> Option<Expression> {
        let terms = self.chain("or", Self::all)?;
        Some(single(terms).unwrap_or_else(Expression::Any))
    }

    fn all(&mut self) -> Option<Expression> {
        let terms = self.chain("and", Self::term)?;
        Some(single(terms).unwrap_or_else(Expression::All))
    }

    fn chain(
        &mut self,
        joint: &'static str,
        element: fn(&mut Self) -> Option<Expression>,
    ) -> Option<Vec<Expression>> {
        let mut terms = vec![element(self)?];
        loop {
            let end = self.at;
            let next = (self.required_spaces() && self.literal(joint) && self.required_spaces())
                .then(|| element(self))
                .flatten();
            match next {
                Some(term) => terms.push(term),
                None => {
                    self.at = end;
                    return Some(terms);
                }
            }
        }
    }

    fn term(&mut self) -> Option<Expression> {
        let start = self.at;
        if self.depth == MAX_DEPTH {
            let place = Place::find(self.text, self.at);
            self.error.get_or_insert(ParseError::TooDeep { place });
            return None;
        }
        self.depth += 1;
        let nested = self.negation().or_else(|| {
            self.at = start;
            self.grouping()
        });
        self.depth -= 1;
        nested.or_else(|| {
            self.at = start;
            self.comparison().map(Expression::Match)
        })
    }

    fn negation(&mut self) -> Option<Expression> {
        if !(self.literal("not") && self.required_spaces()) {
            return None;
        }
        self.term().map(|inner| Expression::Not(Box::new(inner)))
    }

    fn grouping(&mut self) -> Option<Expression> {
        if !self.literal("(") {
            return None;
        }
        self.spaces();
        let inner = self.any()?;
        self.spaces();
        if self.literal(")") {
            return Some(inner);
        }
        self.mistake(self.at, "grouping", "Unmatched parentheses");
        None
    }

    fn comparison(&mut self) -> Option<Match> {
        let start = self.at;
        if let Some(selector) = self.selector()
            && let Some((operator, value)) = self.operator_after_selector()
        {
            return Some(Match { selector, operator, value });
        }
        self.at = start;
        let value = self.value()?;
        let operator = if self.words(&["in"]) {
            Operator::In
        } else if self.words(&["not", "in"]) {
            Operator::NotIn
        } else {
            return None;
        };
        if !self.required_spaces() {
            return None;
        }
        let selector = self.selector()?;
        Some(Match { selector, operator, value })
    }

    fn operator_after_selector(&mut self) -> Option<(Operator, String)> {
        let start = self.at;
        for (symbol, operator) in [("==", Operator::Equal), ("!=", Operator::NotEqual)] {
            self.at = start;
            self.spaces();
            if self.literal(symbol) {
                self.spaces();
                return self.value().map(|value| (operator, value));
            }
        }
        self.at = start;
        let with_value: [(&[&'static str], Operator); 4] = [
            (&["contains"], Operator::In),
            (&["not", "contains"], Operator::NotIn),
            (&["matches"], Operator::Matches),
            (&["not", "matches"], Operator::NotMatches),
        ];
        for (words, operator) in with_value {
            self.at = start;
            if self.words(words)
                && self.required_spaces()
                && let Some(value) = self.value()
            {
                return Some((operator, value));
            }
        }
        self.at = start;
        if self.words(&["is", "empty"]) {
            return Some((Operator::IsEmpty, String::new()));
        }
        let not_empty = self.words(&["is", "not", "empty"]);
        not_empty.then(|| (Operator::IsNotEmpty, String::new()))
    }

    /// Words with spaces before each; stays in place when they are not all there.
    fn words(&mut self, words: &[&'static str]) -> bool {
        let start = self.at;
        let found = words.iter().all(|word| self.required_spaces() && self.literal(word));
        if !found {
            self.at = start;
        }
        found
    }

    fn value(&mut self) -> Option<String> {
        if let Some(selector) = self.selector() {
            return Some(selector.to_string());
        }
        self.number().or_else(|| self.string())
    }

    fn selector(&mut self) -> Option<Selector> {
        let mut path = vec![self.identifier()?];
        loop {
            let end = self.at;
            let part = if self.literal(".") { self.identifier() } else { self.index() };
            match part {
                Some(part) => path.push(part),
                None => {
                    self.at = end;
                    return Some(Selector(path));
                }
            }
        }
    }

    fn identifier(&mut self) -> Option<String> {
        let start = self.at;
        if !self.class(LETTER, |c| c.is_ascii_alphabetic()) {
            return None;
        }
        while self.class(WORD, |c| c.is_ascii_alphanumeric() || c == '_') {}
        Some(self.text[start..self.at].to_owned())
    }

    fn index(&mut self) -> Option<String> {
        if !self.literal("[") {
            return None;
        }
        self.spaces();
        let Some(key) = self.string() else {
            self.mistake(self.at, "index", "Invalid index");
            return None;
        };
        self.spaces();
        if self.literal("]") {
            return Some(key);
        }
        self.mistake(self.at, "index", "Unclosed index expression");
        None
    }

    fn number(&mut self) -> Option<String> {
        let start = self.at;
        self.literal("-");
        if !self.literal("0") {
            if !self.class(FIRST_DIGIT, |c| matches!(c, '1'..='9')) {
                self.at = start;
                return None;
            }
            while self.class(DIGIT, |c| c.is_ascii_digit()) {}
        }
        let whole = self.at;
        if self.literal(".") {
            let fraction = self.at;
            while self.class(DIGIT, |c| c.is_ascii_digit()) {}
            if self.at == fraction {
                self.at = whole;
            }
        }
        if matches!(self.peek(), None | Some(' ' | '\t' | '\r' | '\n' | ')')) {
            return Some(self.text[start..self.at].to_owned());
        }
        self.mistake(self.at, "number", "Invalid number literal");
        None
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        if self.literal("`") {
            let inside = self.rest_until_quote('`', start)?;
            return Some(inside.to_owned());
        }
        if !self.literal("\"") {
            return None;
        }
        let inside = self.rest_until_quote('"', start)?;
        let unquoted = unquote(inside);
        if unquoted.is_none() {
            self.mistake(start, "string", "invalid syntax");
        }
        unquoted
    }

    /// The text up to the closing quote, which is stepped over. In double quotes a
    /// backslash takes the character after it along.
    fn rest_until_quote(&mut self, quote: char, start: usize) -> Option<&str> {
        let inside = self.at;
        let mut escaped = false;
        while let Some(character) = self.peek() {
            self.at += character.len_utf8();
            if escaped {
                escaped = false;
            } else if character == quote {
                return Some(&self.text[inside..self.at - 1]);
            } else {
                escaped = quote == '"' && character == '\\';
            }
        }
        self.mistake(self.at, "string", "Unterminated string literal");
        self.at = start;
        None
    }

    fn spaces(&mut self) {
        while self.class(SPACE, |c| matches!(c, ' ' | '\t' | '\r' | '\n')) {}
    }

    fn required_spaces(&mut self) -> bool {
        let start = self.at;
        self.spaces();
        self.at > start
    }

    fn literal(&mut self, text: &'static str) -> bool {
        let found = self.text[self.at..].starts_with(text);
        if found {
            self.at += text.len();
        } else {
            self.want(Want::Literal(text));
        }
        found
    }

    fn class(&mut self, shown: &'static str, accepts: fn(char) -> bool) -> bool {
        match self.peek() {
            Some(character) if accepts(character) => {
                self.at += character.len_utf8();
                true
            }
            _ => {
                self.want(Want::Class(shown));
                false
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn want(&mut self, want: Want) {
        if self.at > self.farthest {
            self.farthest = self.at;
            self.wanted.clear();
        }
        if self.at == self.farthest {
            self.wanted.insert(want);
        }
    }

    fn mistake(&mut self, at: usize, rule: &'static str, reason: &'static str) {
        if self.error.is_none() {
            let place = Place::find(self.text, at);
            self.error = Some(ParseError::Rule { place, rule, reason });
        }
    }

    fn no_match(&self) -> ParseError {
        let mut shown: Vec<String> = self
            .wanted
            .iter()
            .filter_map(|want| match want {
                Want::Literal(text) => Some(Quoted(text).to_string()),
                Want::Class(class) => Some((*class).to_owned()),
                Want::End => None,
            })
            .collect();
        shown.sort();
        if self.wanted.contains(&Want::End) {
            shown.push("EOF".to_owned());
        }
        let last = shown.pop().unwrap_or_default();
        let expected =
            if shown.is_empty() { last } else { format!("{} or {last}", shown.join(", ")) };
        ParseError::NoMatch { place: Place::find(self.text, self.farthest), expected }
    }
}

/// The only element, or the list back.
fn single(mut terms: Vec<Expression>) -> Result<Expression, Vec<Expression>> {
    match terms.pop() {
        Some(only) if terms.is_empty() => Ok(only),
        Some(last) => {
            terms.push(last);
            Err(terms)
        }
        None => Err(terms),
    }
}
