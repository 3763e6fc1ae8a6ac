//! The tree of an expression and its printed form.

use std::fmt::{self, Display as _};

use crate::parse::{self, ParseError};
use crate::quote::Quoted;

/// A parsed expression. Chains of `or` and of `and` are flat lists, so that a
/// filter that names a thousand nodes is no thousand levels deep.
///
/// `Display` prints an expression that parses to the same tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// `A or B or …`: two or more.
    Any(Vec<Expression>),
    /// `A and B and …`: two or more.
    All(Vec<Expression>),
    /// `not A`.
    Not(Box<Expression>),
    /// One comparison.
    Match(Match),
}

impl Expression {
    /// Parses a text of at most [`crate::MAX_LENGTH`] bytes, nested at most
    /// [`crate::MAX_DEPTH`] deep.
    ///
    /// # Errors
    /// With Consul's text: where the parser stopped and what could have stood there.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::parse(text)
    }
}

/// One comparison of a field with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The field.
    pub selector: Selector,
    /// How it is compared.
    pub operator: Operator,
    /// With what; empty for the operators that take no value.
    pub value: String,
}

/// The path to a field: `Meta.os` and `Meta["os"]` are the same path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(pub Vec<String>);

/// How a field is compared. `contains` is `in` with its sides swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `in`, `contains`
    In,
    /// `not in`, `not contains`
    NotIn,
    /// `is empty`
    IsEmpty,
    /// `is not empty`
    IsNotEmpty,
    /// `matches`
    Matches,
    /// `not matches`
    NotMatches,
}

impl Operator {
    /// Every operator, for tests over all of them.
    pub const ALL: [Operator; 8] = [
        Operator::Equal,
        Operator::NotEqual,
        Operator::In,
        Operator::NotIn,
        Operator::IsEmpty,
        Operator::IsNotEmpty,
        Operator::Matches,
        Operator::NotMatches,
    ];

    /// The name in error texts.
    pub fn name(self) -> &'static str {
        match self {
            Operator::Equal => "Equal",
            Operator::NotEqual => "Not Equal",
            Operator::In => "In",
            Operator::NotIn => "Not In",
            Operator::IsEmpty => "Is Empty",
            Operator::IsNotEmpty => "Is Not Empty",
            Operator::Matches => "Matches",
            Operator::NotMatches => "Not Matches",
        }
    }

    /// What the comparison answers when the selected map key is missing.
    /// Consul: `matches` is true then, and so is `not matches`.
    pub(crate) fn when_missing(self) -> bool {
        !matches!(self, Operator::Equal | Operator::IsNotEmpty | Operator::In)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expression::Any(terms) => chain(f, terms, " or ", |t| matches!(t, Expression::Any(_))),
            Expression::All(terms) => chain(f, terms, " and ", Expression::is_chain),
            Expression::Not(inner) => {
                f.write_str("not ")?;
                operand(f, inner, inner.is_chain())
            }
            Expression::Match(comparison) => comparison.fmt(f),
        }
    }
}

impl Expression {
    /// How many regular expressions there are.
    pub(crate) fn patterns(&self) -> usize {
        match self {
            Expression::Any(terms) | Expression::All(terms) => {
                terms.iter().map(Expression::patterns).sum()
            }
            Expression::Not(inner) => inner.patterns(),
            Expression::Match(comparison) => {
                matches!(comparison.operator, Operator::Matches | Operator::NotMatches).into()
            }
        }
    }

    fn is_chain(&self) -> bool {
        matches!(self, Expression::Any(_) | Expression::All(_))
    }
}

fn chain(
    f: &mut fmt::Formatter<'_>,
    terms: &[Expression],
    joint: &str,
    needs_parentheses: fn(&Expression) -> bool,
) -> fmt::Result {
    for (position, term) in terms.iter().enumerate() {
        if position > 0 {
            f.write_str(joint)?;
        }
        operand(f, term, needs_parentheses(term))?;
    }
    Ok(())
}

fn operand(f: &mut fmt::Formatter<'_>, term: &Expression, parentheses: bool) -> fmt::Result {
    if parentheses { write!(f, "({term})") } else { term.fmt(f) }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = Quoted(&self.value);
        let path = SelectorSource(&self.selector);
        match self.operator {
            Operator::Equal => write!(f, "{path} == {value}"),
            Operator::NotEqual => write!(f, "{path} != {value}"),
            // The value first: after a selector that is itself named `not`, the
            // words `not contains` would read as a negation.
            Operator::In => write!(f, "{value} in {path}"),
            Operator::NotIn => write!(f, "{value} not in {path}"),
            Operator::IsEmpty => write!(f, "{path} is empty"),
            Operator::IsNotEmpty => write!(f, "{path} is not empty"),
            Operator::Matches => write!(f, "{path} matches {value}"),
            Operator::NotMatches => write!(f, "{path} not matches {value}"),
        }
    }
}

/// Prints the path with dots, as error texts show it.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, part) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(".")?;
            }
            f.write_str(part)?;
        }
        Ok(())
    }
}

/// Prints the path as the grammar reads it.
struct SelectorSource<'a>(&'a Selector);

impl fmt::Display for SelectorSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, part) in self.0.0.iter().enumerate() {
            match position {
                0 => f.write_str(part)?,
                _ if is_identifier(part) => write!(f, ".{part}")?,
                _ => write!(f, "[{}]", Quoted(part))?,
            }
        }
        Ok(())
    }
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
