//! Tables that say which selectors a type has.
//!
//! A table is an ordinary `static`; nothing is derived or registered:
//!
//! ```
//! use filter::{Field, Filter, Schema};
//!
//! struct Member {
//!     name: String,
//!     port: i64,
//! }
//!
//! static MEMBER: Schema<Member> = Schema {
//!     fields: &[
//!         Field::text("Name", |member| &member.name),
//!         Field::signed("Port", |member| member.port),
//!     ],
//! };
//!
//! let filter = Filter::compile("Name == web and Port != 80", &MEMBER).unwrap();
//! assert!(filter.matches(&Member { name: "web".to_owned(), port: 8080 }));
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::error::FilterError;
use crate::evaluate::{
    InAnyElement, InMapValue, InStruct, ListLength, MapKey, MembershipTest, Test, wrong_operator,
    wrong_selector,
};
use crate::expression::Match;

/// The selectors of a type. Names are compared exactly and must be unique.
pub struct Schema<T: 'static> {
    /// The fields, in any order.
    pub fields: &'static [Field<T>],
}

/// One selector.
pub struct Field<T: 'static> {
    /// The name, as in the JSON of the type.
    pub name: &'static str,
    /// Its kind and how it is read.
    pub access: Access<T>,
}

/// The kind of a field and how it is read. The kind decides which operators
/// the field has (`reference/http-api.md` section 1.11, "Types").
pub enum Access<T: 'static> {
    /// Text that the row has.
    Text(fn(&T) -> &str),
    /// Text that has to be made for some rows.
    MadeText(fn(&T) -> Cow<'_, str>),
    /// A number.
    Signed(fn(&T) -> i64),
    /// A number that is never negative.
    Unsigned(fn(&T) -> u64),
    /// A truth value.
    Flag(fn(&T) -> bool),
    /// A list of texts.
    TextList(fn(&T) -> &[String]),
    /// A map from text to text; `None` is empty.
    TextMap(fn(&T) -> Option<&BTreeMap<String, String>>),
    /// Something with fields of its own: [`StructOf`], [`ListOf`] or [`MapOf`].
    Nested(&'static dyn Projection<T>),
}

impl<T> Field<T> {
    /// A field of kind [`Access::Text`].
    pub const fn text(name: &'static str, get: fn(&T) -> &str) -> Self {
        Self { name, access: Access::Text(get) }
    }

    /// A field of kind [`Access::MadeText`].
    pub const fn made_text(name: &'static str, get: fn(&T) -> Cow<'_, str>) -> Self {
        Self { name, access: Access::MadeText(get) }
    }

    /// A field of kind [`Access::Signed`].
    pub const fn signed(name: &'static str, get: fn(&T) -> i64) -> Self {
        Self { name, access: Access::Signed(get) }
    }

    /// A field of kind [`Access::Unsigned`].
    pub const fn unsigned(name: &'static str, get: fn(&T) -> u64) -> Self {
        Self { name, access: Access::Unsigned(get) }
    }

    /// A field of kind [`Access::Flag`].
    pub const fn flag(name: &'static str, get: fn(&T) -> bool) -> Self {
        Self { name, access: Access::Flag(get) }
    }

    /// A field of kind [`Access::TextList`].
    pub const fn text_list(name: &'static str, get: fn(&T) -> &[String]) -> Self {
        Self { name, access: Access::TextList(get) }
    }

    /// A field of kind [`Access::TextMap`].
    pub const fn text_map(
        name: &'static str,
        get: fn(&T) -> Option<&BTreeMap<String, String>>,
    ) -> Self {
        Self { name, access: Access::TextMap(get) }
    }

    /// A field of kind [`Access::Nested`].
    pub const fn nested(name: &'static str, projection: &'static dyn Projection<T>) -> Self {
        Self { name, access: Access::Nested(projection) }
    }
}

/// A way from a row to a part of it whose type the row's schema need not name.
pub trait Projection<T>: Sync {
    /// Compiles the comparison whose path is used up to `depth`.
    ///
    /// # Errors
    /// When the rest of the path, the operator or the value does not fit the part.
    fn compile(
        &self,
        comparison: &Match,
        depth: usize,
    ) -> Result<Box<dyn Evaluate<T>>, FilterError>;
}

/// A compiled comparison behind a [`Projection`].
pub trait Evaluate<T>: Send + Sync {
    /// Whether the row passes.
    fn holds(&self, row: &T) -> bool;
}

/// A struct in the row. It has no operators itself, only selectors below it.
pub struct StructOf<T: 'static, U: 'static> {
    /// The struct.
    pub get: fn(&T) -> &U,
    /// Its selectors.
    pub schema: &'static Schema<U>,
}

/// A list of structs: `is empty`, and selectors below it that hold when they
/// hold for ANY element.
pub struct ListOf<T: 'static, E: 'static, U: 'static> {
    /// The list.
    pub get: fn(&T) -> &[E],
    /// From what the list holds (perhaps an `Arc`) to the struct.
    pub element: fn(&E) -> &U,
    /// The selectors of an element.
    pub schema: &'static Schema<U>,
}

/// A map from text to structs: `in`, `is empty`, and selectors below a key.
pub struct MapOf<T: 'static, U: 'static> {
    /// The map; `None` is empty.
    pub get: fn(&T) -> Option<&BTreeMap<String, U>>,
    /// The selectors of a value.
    pub schema: &'static Schema<U>,
}

impl<T, U> Projection<T> for StructOf<T, U> {
    fn compile(
        &self,
        comparison: &Match,
        depth: usize,
    ) -> Result<Box<dyn Evaluate<T>>, FilterError> {
        if depth == comparison.selector.0.len() {
            return Err(wrong_operator(comparison));
        }
        let inner = Test::compile(self.schema, comparison, depth)?;
        Ok(Box::new(InStruct { get: self.get, inner }))
    }
}

impl<T, E, U> Projection<T> for ListOf<T, E, U> {
    fn compile(
        &self,
        comparison: &Match,
        depth: usize,
    ) -> Result<Box<dyn Evaluate<T>>, FilterError> {
        if depth == comparison.selector.0.len() {
            return match MembershipTest::compile(comparison)? {
                MembershipTest::Empty(empty) => Ok(Box::new(ListLength { get: self.get, empty })),
                MembershipTest::Contains { .. } => Err(wrong_operator(comparison)),
            };
        }
        let inner = Test::compile(self.schema, comparison, depth)?;
        Ok(Box::new(InAnyElement { get: self.get, element: self.element, inner }))
    }
}

impl<T, U> Projection<T> for MapOf<T, U> {
    fn compile(
        &self,
        comparison: &Match,
        depth: usize,
    ) -> Result<Box<dyn Evaluate<T>>, FilterError> {
        let path = &comparison.selector.0;
        let Some(key) = path.get(depth) else {
            let test = MembershipTest::compile(comparison)?;
            return Ok(Box::new(MapKey { get: self.get, test }));
        };
        if path.len() == depth + 1 {
            return Err(wrong_operator(comparison));
        }
        let inner = Test::compile(self.schema, comparison, depth + 1)?;
        let when_missing = comparison.operator.when_missing();
        Ok(Box::new(InMapValue { get: self.get, key: key.clone(), inner, when_missing }))
    }
}

impl<T> Schema<T> {
    pub(crate) fn field(
        &self,
        comparison: &Match,
        depth: usize,
    ) -> Result<&'static Field<T>, FilterError> {
        let name = comparison.selector.0.get(depth);
        let found = name.and_then(|name| self.fields.iter().find(|field| field.name == name));
        found.ok_or_else(|| wrong_selector(comparison))
    }
}
