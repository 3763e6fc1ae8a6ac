//! The language as its users see it: golden files, recorded answers, properties.

mod catalog;
mod evaluation;
mod grammar;
mod properties;
mod rows;
