//! The filter expression language: parse, check against a schema, evaluate.
//!
//! The language is the one of `filter=` in the HTTP API (`reference/http-api.md`
//! section 1.11): `Service.Port == 8080 and not Checks.Status == critical`.
//!
//! - [`Expression::parse`] knows the grammar alone and answers with Consul's
//!   parser texts.
//! - A [`Schema`] is a static table that says which selectors a type has and how
//!   to read them; [`schemas`] has those of the catalog's types.
//! - [`Filter::compile`] puts both together once, [`Filter::matches`] then looks
//!   at one row without allocating. [`LazyFilter`] reports what does not fit only
//!   when a row is looked at.
//!
//! - [`Pattern`] and [`coerce`] are Go's regular expressions and Go's `strconv`, for other
//!   places where Consul's words are theirs.
//!
//! Length, nesting and the size of regular expressions are bounded; no text can
//! make this crate panic or recurse without limit.

pub mod coerce;
mod error;
mod evaluate;
mod expression;
mod parse;
mod pattern;
mod quote;
mod schema;
pub mod schemas;

pub use error::{CoerceError, CompileError, FilterError};
pub use evaluate::{Filter, LazyFilter, MAX_PATTERNS};
pub use expression::{Expression, Match, Operator, Selector};
pub use parse::{MAX_DEPTH, MAX_LENGTH, ParseError, Place};
pub use pattern::{Pattern, PatternError};
pub use schema::{Access, Evaluate, Field, ListOf, MapOf, Projection, Schema, StructOf};
