//! What can be wrong with a filter. The texts are Consul's
//! (`reference/http-api.md` section 1.11).

use thiserror::Error;

use crate::expression::Operator;
use crate::parse::ParseError;
use crate::quote::Quoted;

/// A filter that could not be made; the text is the body of the 500 answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("Failed to create boolean expression evaluator: {0}")]
pub struct CompileError(pub FilterError);

/// What is wrong, without the words around it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FilterError {
    /// The text is no expression.
    #[error("{0}")]
    Parse(ParseError),
    /// The type has no such field.
    #[error("Selector {} is not valid", Quoted(.selector))]
    Selector {
        /// The path with dots.
        selector: String,
    },
    /// The field cannot be compared so.
    #[error("Invalid match operator {} for selector {}", Quoted(.operator.name()), Quoted(.selector))]
    Operator {
        /// The comparison.
        operator: Operator,
        /// The path with dots.
        selector: String,
    },
    /// The value is not of the field's type.
    #[error("Failed to coerce value {} for selector {}: {reason}", Quoted(.value), Quoted(.selector))]
    Value {
        /// The value as written.
        value: String,
        /// The path with dots.
        selector: String,
        /// Why.
        reason: CoerceError,
    },
    /// The value is no regular expression, or one too large to compile.
    #[error("Failed to compile regular expression {}: {reason}", Quoted(.pattern))]
    Pattern {
        /// The regular expression.
        pattern: String,
        /// Go's text where it is known, else our parser's.
        reason: String,
    },
    /// More regular expressions than [`crate::MAX_PATTERNS`].
    #[error(
        "the expression has {count} regular expressions, more than the limit of {}",
        crate::MAX_PATTERNS
    )]
    TooManyPatterns {
        /// How many it has.
        count: usize,
    },
}

/// A value that is not of the field's type; the texts are those of Go's `strconv`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CoerceError {
    /// Not of that form.
    #[error("strconv.{function}: parsing {}: invalid syntax", Quoted(.value))]
    Syntax {
        /// Go's function: `ParseInt`, `ParseBool`, ….
        function: &'static str,
        /// The value.
        value: String,
    },
    /// A number that does not fit its type.
    #[error("strconv.{function}: parsing {}: value out of range", Quoted(.value))]
    Range {
        /// Go's function: `ParseInt`, `ParseFloat`, ….
        function: &'static str,
        /// The value.
        value: String,
    },
}
