//! The filter expression language: parse, check against a schema, evaluate
