//! Tokens to trees.

use std::fmt;

use super::scan::{Kind, Place, Token, scan};

/// Most levels of an expression. Each operator of a chain counts as one.
const LEVELS_MAX: usize = 100;

/// A text that follows no grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ParseError {
    place: Place,
    reason: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parse error at {}: {}", self.place, self.reason)
    }
}

/// An expression as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tree {
    pub(super) place: Place,
    pub(super) node: Node,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Variable(String),
    Call(String, Vec<Tree>),
    Index(Box<Tree>, Box<Tree>),
    Binary(Operator, Box<Tree>, Box<Tree>),
    /// Condition, value if so, value if not.
    Choice(Box<[Tree; 3]>),
    Concat(Vec<Tree>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// From those that bind least to those that bind most.
const OPERATORS: [&[(&str, Operator)]; 6] = [
    &[("||", Operator::Or)],
    &[("&&", Operator::And)],
    &[("==", Operator::Equal), ("!=", Operator::NotEqual)],
    &[
        (">", Operator::Greater),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        ("<=", Operator::LessOrEqual),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Modulo)],
];

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Tree, ParseError> {
    Parser { tokens: scan(text), next: 0, levels: 0 }.sequence(Kind::Literal, Kind::Eof)
}

struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    next: usize,
    levels: usize,
}

type Parsed = Result<Tree, ParseError>;

impl<'t> Parser<'t> {
    fn peek(&self) -> Token<'t> {
        // The last token is the end of the text, behind which nothing is read.
        self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn read(&mut self) -> Token<'t> {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn expect(
        &mut self,
        wanted: &str,
        fits: impl Fn(&Token<'_>) -> bool,
    ) -> Result<(), ParseError> {
        let token = self.read();
        if fits(&token) { Ok(()) } else { Err(expected(wanted, &token)) }
    }

    /// One level deeper, as far as there is room.
    fn descend(&mut self, parse: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        let place = self.peek().place;
        self.levels += 1;
        if self.levels > LEVELS_MAX {
            let reason = format!("more than {LEVELS_MAX} levels of expressions");
            return Err(ParseError { place, reason });
        }
        let parsed = parse(self);
        self.levels -= 1;
        parsed
    }

    /// Texts and `${…}` in turn.
    fn sequence(&mut self, text: Kind, end: Kind) -> Parsed {
        let place = self.peek().place;
        let mut parts = Vec::new();
        loop {
            let token = self.read();
            if token.kind == end {
                break;
            } else if token.kind == text {
                let node = Node::Text(unescape(&token)?);
                parts.push(Tree { place: token.place, node });
            } else if token.kind == Kind::Begin {
                parts.push(self.expression()?);
                self.expect("\"}\"", |token| token.kind == Kind::End)?;
            } else {
                return Err(expected("\"${\"", &token));
            }
        }
        match parts.as_mut_slice() {
            [] => Ok(Tree { place, node: Node::Text(String::new()) }),
            [Tree { node: Node::Text(_), .. }] => Ok(parts.remove(0)),
            _ => Ok(Tree { place, node: Node::Concat(parts) }),
        }
    }

    fn expression(&mut self) -> Parsed {
        self.descend(|parser| {
            let condition = parser.binary(0)?;
            if !parser.peek().is("?") {
                return Ok(condition);
            }
            parser.read();
            let chosen = parser.expression()?;
            parser.expect(":", |token| token.is(":"))?;
            let other = parser.expression()?;
            let place = condition.place;
            Ok(Tree { place, node: Node::Choice(Box::new([condition, chosen, other])) })
        })
    }

    fn binary(&mut self, group: usize) -> Parsed {
        let Some(operators) = OPERATORS.get(group) else { return self.term() };
        let mut left = self.binary(group + 1)?;
        let mut chained = 0;
        loop {
            let token = self.peek();
            let Some((_, operator)) = operators.iter().find(|(symbol, _)| token.is(symbol)) else {
                self.levels -= chained;
                return Ok(left);
            };
            self.read();
            chained += 1;
            self.levels += 1;
            let right = self.descend(|parser| parser.binary(group + 1))?;
            let place = left.place;
            let node = Node::Binary(*operator, Box::new(left), Box::new(right));
            left = Tree { place, node };
        }
    }

    fn term(&mut self) -> Parsed {
        let token = self.peek();
        let leaf = |node| Ok(Tree { place: token.place, node });
        match token.kind {
            Kind::OpenQuote => {
                self.read();
                let mut quoted =
                    self.descend(|parser| parser.sequence(Kind::Quoted, Kind::CloseQuote))?;
                quoted.place = token.place;
                Ok(quoted)
            }
            Kind::Integer => {
                self.read();
                match filter::coerce::parse_decimal(token.text) {
                    Ok(number) => leaf(Node::Int(number)),
                    Err(error) => Err(ParseError {
                        place: token.place,
                        reason: format!("invalid integer: {error}"),
                    }),
                }
            }
            Kind::Float => {
                self.read();
                let number = token.text.parse().expect("digits, a period and digits are a float");
                leaf(Node::Float(number))
            }
            Kind::Bool => {
                self.read();
                leaf(Node::Bool(token.text == "true"))
            }
            Kind::Identifier => self.name(),
            Kind::Symbol if token.text == "(" => {
                self.read();
                let inside = self.expression()?;
                self.expect("\")\"", |token| token.is(")"))?;
                Ok(inside)
            }
            Kind::Symbol if token.text == "-" => self.prefix(Operator::Subtract, Node::Int(0)),
            Kind::Symbol if token.text == "!" => self.prefix(Operator::Equal, Node::Bool(false)),
            _ => Err(expected("expression", &token)),
        }
    }

    /// `-x` is `0 - x`, and `!x` is `false == x`.
    fn prefix(&mut self, operator: Operator, left: Node) -> Parsed {
        let place = self.read().place;
        let operand = self.descend(Self::term)?;
        let left = Tree { place, node: left };
        Ok(Tree { place, node: Node::Binary(operator, Box::new(left), Box::new(operand)) })
    }

    /// A variable, an element of one, or a call.
    fn name(&mut self) -> Parsed {
        let name = self.read();
        let place = name.place;
        let next = self.peek();
        if next.is("(") {
            self.read();
            let mut arguments = Vec::new();
            while !self.peek().is(")") {
                arguments.push(self.expression()?);
                if !self.peek().is(",") {
                    break;
                }
                self.read();
            }
            self.expect("\")\"", |token| token.is(")"))?;
            return Ok(Tree { place, node: Node::Call(name.text.to_owned(), arguments) });
        }
        let variable = Tree { place, node: Node::Variable(name.text.to_owned()) };
        if !next.is("[") {
            return Ok(variable);
        }
        self.read();
        let key = self.expression()?;
        self.expect("\"]\"", |token| token.is("]"))?;
        let node = Node::Index(Box::new(variable), Box::new(key));
        Ok(Tree { place: next.place, node })
    }
}

fn expected(wanted: &str, found: &Token<'_>) -> ParseError {
    ParseError { place: found.place, reason: format!("expected {wanted} but found {found}") }
}

/// What a text means: `$$` is a dollar, and in quotes a backslash quotes.
fn unescape(token: &Token<'_>) -> Result<String, ParseError> {
    let mut text = String::with_capacity(token.text.len());
    let mut rest = token.text.char_indices();
    while let Some((at, character)) = rest.next() {
        let next = rest.clone().next().map(|(_, next)| next);
        let meant = match (character, next) {
            ('$', Some('$')) => '$',
            ('\\', Some('\\')) if token.kind == Kind::Quoted => '\\',
            ('\\', Some('"')) if token.kind == Kind::Quoted => '"',
            ('\\', Some('n')) if token.kind == Kind::Quoted => '\n',
            ('\\', _) if token.kind == Kind::Quoted => {
                let kind = if next.is_some() { "invalid" } else { "unfinished" };
                let column = token.place.column + token.text[..at].chars().count() as u32;
                let place = Place { column, ..token.place };
                return Err(ParseError {
                    place,
                    reason: format!("{kind} backslash escape sequence"),
                });
            }
            _ => {
                text.push(character);
                continue;
            }
        };
        rest.next();
        text.push(meant);
    }
    Ok(text)
}
