//! Compiled filters: what is checked once, and what is done for every row.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;

use crate::coerce::{parse_bool, parse_signed, parse_unsigned};
use crate::error::{CoerceError, CompileError, FilterError};
use crate::expression::{Expression, Match, Operator};
use crate::pattern;
use crate::schema::{Access, Evaluate, Projection, Schema};

/// Most regular expressions in one filter: each may take a megabyte once compiled.
pub const MAX_PATTERNS: usize = 64;

/// An expression that was checked against a type's selectors.
pub struct Filter<T: 'static>(Condition<T>);

impl<T> Filter<T> {
    /// Parses an expression and checks it: selectors exist, operators fit, values
    /// have the right type, regular expressions compile.
    ///
    /// An empty text is no expression. Callers take an empty `filter=` for none.
    ///
    /// # Errors
    /// With the text of Consul's 500 answer.
    pub fn compile(text: &str, schema: &'static Schema<T>) -> Result<Self, CompileError> {
        let condition = Condition::new(&parse(text)?, schema);
        match condition.first_fault() {
            Some(fault) => Err(CompileError(fault.clone())),
            None => Ok(Self(condition)),
        }
    }

    /// Whether a row passes.
    pub fn matches(&self, row: &T) -> bool {
        // `compile` let no faulty comparison through.
        self.0.holds(row).unwrap_or(false)
    }
}

/// A filter that reports what does not fit the type only when a row is looked at,
/// as `/v1/agent/checks` does: without rows, any expression passes.
pub struct LazyFilter<T: 'static>(Condition<T>);

impl<T> LazyFilter<T> {
    /// Parses an expression.
    ///
    /// # Errors
    /// Only when the text is no expression.
    pub fn compile(text: &str, schema: &'static Schema<T>) -> Result<Self, CompileError> {
        Ok(Self(Condition::new(&parse(text)?, schema)))
    }

    /// Whether a row passes.
    ///
    /// # Errors
    /// When the answer depends on a comparison that does not fit the type. A
    /// comparison that `and` or `or` does not come to is not looked at.
    pub fn matches(&self, row: &T) -> Result<bool, FilterError> {
        self.0.holds(row).map_err(Clone::clone)
    }
}

impl<T> fmt::Debug for Filter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for LazyFilter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyFilter").finish_non_exhaustive()
    }
}

fn parse(text: &str) -> Result<Expression, CompileError> {
    let expression =
        Expression::parse(text).map_err(|error| CompileError(FilterError::Parse(error)))?;
    let count = expression.patterns();
    if count > MAX_PATTERNS {
        return Err(CompileError(FilterError::TooManyPatterns { count }));
    }
    Ok(expression)
}

enum Condition<T: 'static> {
    Any(Vec<Condition<T>>),
    All(Vec<Condition<T>>),
    Not(Box<Condition<T>>),
    Test(Test<T>),
    Fault(FilterError),
}

impl<T> Condition<T> {
    /// Recursion is as deep as the expression, which the parser bounds.
    fn new(expression: &Expression, schema: &'static Schema<T>) -> Self {
        let list = |terms: &[Expression]| terms.iter().map(|t| Self::new(t, schema)).collect();
        match expression {
            Expression::Any(terms) => Condition::Any(list(terms)),
            Expression::All(terms) => Condition::All(list(terms)),
            Expression::Not(inner) => Condition::Not(Box::new(Self::new(inner, schema))),
            Expression::Match(comparison) => {
                Test::compile(schema, comparison, 0).map_or_else(Condition::Fault, Condition::Test)
            }
        }
    }

    fn first_fault(&self) -> Option<&FilterError> {
        match self {
            Condition::Any(terms) | Condition::All(terms) => {
                terms.iter().find_map(Condition::first_fault)
            }
            Condition::Not(inner) => inner.first_fault(),
            Condition::Test(_) => None,
            Condition::Fault(fault) => Some(fault),
        }
    }

    fn holds(&self, row: &T) -> Result<bool, &FilterError> {
        match self {
            Condition::Any(terms) => {
                for term in terms {
                    if term.holds(row)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Condition::All(terms) => {
                for term in terms {
                    if !term.holds(row)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Not(inner) => inner.holds(row).map(|held| !held),
            Condition::Test(test) => Ok(test.holds(row)),
            Condition::Fault(fault) => Err(fault),
        }
    }
}

/// One comparison on a row, with everything about it decided.
pub(crate) enum Test<T: 'static> {
    Text { get: fn(&T) -> &str, test: TextTest },
    MadeText { get: fn(&T) -> Cow<'_, str>, test: TextTest },
    Signed { get: fn(&T) -> i64, value: i64, equal: bool },
    Unsigned { get: fn(&T) -> u64, value: u64, equal: bool },
    Flag { get: fn(&T) -> bool, value: bool },
    TextList { get: fn(&T) -> &[String], test: MembershipTest },
    TextMap { get: TextMap<T>, test: MembershipTest },
    TextMapValue { get: TextMap<T>, key: String, test: TextTest, when_missing: bool },
    Nested(Box<dyn Evaluate<T>>),
}

type TextMap<T> = fn(&T) -> Option<&BTreeMap<String, String>>;

impl<T> Test<T> {
    /// Compiles the part of the path from `depth` on.
    pub(crate) fn compile(
        schema: &'static Schema<T>,
        comparison: &Match,
        depth: usize,
    ) -> Result<Self, FilterError> {
        let access = &schema.field(comparison, depth)?.access;
        let depth = depth + 1;
        let path = &comparison.selector.0;
        match *access {
            Access::Nested(projection) => {
                Projection::compile(projection, comparison, depth).map(Test::Nested)
            }
            Access::TextMap(get) if path.len() == depth + 1 => Ok(Test::TextMapValue {
                get,
                key: path[depth].clone(),
                test: TextTest::compile(comparison)?,
                when_missing: comparison.operator.when_missing(),
            }),
            _ if path.len() > depth => Err(wrong_selector(comparison)),
            Access::Text(get) => Ok(Test::Text { get, test: TextTest::compile(comparison)? }),
            Access::MadeText(get) => {
                Ok(Test::MadeText { get, test: TextTest::compile(comparison)? })
            }
            Access::Signed(get) => {
                let equal = equality(comparison)?;
                Ok(Test::Signed { get, value: coerce(comparison, parse_signed)?, equal })
            }
            Access::Unsigned(get) => {
                let equal = equality(comparison)?;
                Ok(Test::Unsigned { get, value: coerce(comparison, parse_unsigned)?, equal })
            }
            Access::Flag(get) => {
                let equal = equality(comparison)?;
                Ok(Test::Flag { get, value: coerce(comparison, parse_bool)? == equal })
            }
            Access::TextList(get) => {
                Ok(Test::TextList { get, test: MembershipTest::compile(comparison)? })
            }
            Access::TextMap(get) => {
                Ok(Test::TextMap { get, test: MembershipTest::compile(comparison)? })
            }
        }
    }

    fn holds(&self, row: &T) -> bool {
        match self {
            Test::Text { get, test } => test.holds(get(row)),
            Test::MadeText { get, test } => test.holds(&get(row)),
            Test::Signed { get, value, equal } => (get(row) == *value) == *equal,
            Test::Unsigned { get, value, equal } => (get(row) == *value) == *equal,
            Test::Flag { get, value } => get(row) == *value,
            Test::TextList { get, test } => match test {
                MembershipTest::Empty(empty) => get(row).is_empty() == *empty,
                MembershipTest::Contains { value, contained } => {
                    get(row).iter().any(|element| element == value) == *contained
                }
            },
            Test::TextMap { get, test } => test.holds_for_map(get(row)),
            Test::TextMapValue { get, key, test, when_missing } => {
                let value = get(row).and_then(|map| map.get(key));
                value.map_or(*when_missing, |value| test.holds(value))
            }
            Test::Nested(nested) => nested.holds(row),
        }
    }
}

/// A comparison of text.
pub(crate) enum TextTest {
    Equal { value: String, equal: bool },
    Contains { value: String, contained: bool },
    Matches { pattern: Regex, matched: bool },
}

impl TextTest {
    fn compile(comparison: &Match) -> Result<Self, FilterError> {
        let value = &comparison.value;
        Ok(match comparison.operator {
            Operator::Equal => TextTest::Equal { value: value.clone(), equal: true },
            Operator::NotEqual => TextTest::Equal { value: value.clone(), equal: false },
            Operator::In => TextTest::Contains { value: value.clone(), contained: true },
            Operator::NotIn => TextTest::Contains { value: value.clone(), contained: false },
            Operator::Matches => {
                TextTest::Matches { pattern: pattern::compile(value)?, matched: true }
            }
            Operator::NotMatches => {
                TextTest::Matches { pattern: pattern::compile(value)?, matched: false }
            }
            Operator::IsEmpty | Operator::IsNotEmpty => return Err(wrong_operator(comparison)),
        })
    }

    fn holds(&self, text: &str) -> bool {
        match self {
            TextTest::Equal { value, equal } => (text == value) == *equal,
            TextTest::Contains { value, contained } => text.contains(value.as_str()) == *contained,
            TextTest::Matches { pattern, matched } => pattern.is_match(text) == *matched,
        }
    }
}

/// A comparison of a list or map as a whole.
pub(crate) enum MembershipTest {
    Contains { value: String, contained: bool },
    Empty(bool),
}

impl MembershipTest {
    pub(crate) fn compile(comparison: &Match) -> Result<Self, FilterError> {
        let value = || comparison.value.clone();
        match comparison.operator {
            Operator::In => Ok(MembershipTest::Contains { value: value(), contained: true }),
            Operator::NotIn => Ok(MembershipTest::Contains { value: value(), contained: false }),
            Operator::IsEmpty => Ok(MembershipTest::Empty(true)),
            Operator::IsNotEmpty => Ok(MembershipTest::Empty(false)),
            _ => Err(wrong_operator(comparison)),
        }
    }

    fn holds_for_map<V>(&self, map: Option<&BTreeMap<String, V>>) -> bool {
        match self {
            MembershipTest::Empty(empty) => map.is_none_or(BTreeMap::is_empty) == *empty,
            MembershipTest::Contains { value, contained } => {
                map.is_some_and(|map| map.contains_key(value)) == *contained
            }
        }
    }
}

/// A test on a struct in the row.
pub(crate) struct InStruct<T, U: 'static> {
    pub(crate) get: fn(&T) -> &U,
    pub(crate) inner: Test<U>,
}

impl<T, U> Evaluate<T> for InStruct<T, U> {
    fn holds(&self, row: &T) -> bool {
        self.inner.holds((self.get)(row))
    }
}

/// A test that any element of a list passes.
pub(crate) struct InAnyElement<T, E, U: 'static> {
    pub(crate) get: fn(&T) -> &[E],
    pub(crate) element: fn(&E) -> &U,
    pub(crate) inner: Test<U>,
}

impl<T, E, U> Evaluate<T> for InAnyElement<T, E, U> {
    fn holds(&self, row: &T) -> bool {
        (self.get)(row).iter().any(|element| self.inner.holds((self.element)(element)))
    }
}

/// Whether a list of structs is empty.
pub(crate) struct ListLength<T, E> {
    pub(crate) get: fn(&T) -> &[E],
    pub(crate) empty: bool,
}

impl<T, E> Evaluate<T> for ListLength<T, E> {
    fn holds(&self, row: &T) -> bool {
        (self.get)(row).is_empty() == self.empty
    }
}

/// A test of a map of structs as a whole.
pub(crate) struct MapKey<T, U> {
    pub(crate) get: fn(&T) -> Option<&BTreeMap<String, U>>,
    pub(crate) test: MembershipTest,
}

impl<T, U> Evaluate<T> for MapKey<T, U> {
    fn holds(&self, row: &T) -> bool {
        self.test.holds_for_map((self.get)(row))
    }
}

/// A test on one value of a map of structs.
pub(crate) struct InMapValue<T, U: 'static> {
    pub(crate) get: fn(&T) -> Option<&BTreeMap<String, U>>,
    pub(crate) key: String,
    pub(crate) inner: Test<U>,
    pub(crate) when_missing: bool,
}

impl<T, U> Evaluate<T> for InMapValue<T, U> {
    fn holds(&self, row: &T) -> bool {
        let value = (self.get)(row).and_then(|map| map.get(&self.key));
        value.map_or(self.when_missing, |value| self.inner.holds(value))
    }
}

pub(crate) fn wrong_selector(comparison: &Match) -> FilterError {
    FilterError::Selector { selector: comparison.selector.to_string() }
}

pub(crate) fn wrong_operator(comparison: &Match) -> FilterError {
    let selector = comparison.selector.to_string();
    FilterError::Operator { operator: comparison.operator, selector }
}

/// Whether `==` or `!=` was asked for; anything else does not fit.
fn equality(comparison: &Match) -> Result<bool, FilterError> {
    match comparison.operator {
        Operator::Equal => Ok(true),
        Operator::NotEqual => Ok(false),
        _ => Err(wrong_operator(comparison)),
    }
}

fn coerce<V>(
    comparison: &Match,
    parse: fn(&str) -> Result<V, CoerceError>,
) -> Result<V, FilterError> {
    parse(&comparison.value).map_err(|reason| FilterError::Value {
        value: comparison.value.clone(),
        selector: comparison.selector.to_string(),
        reason,
    })
}
