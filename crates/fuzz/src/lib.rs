//! Fuzz targets for every parser that meets the outside, and for what follows
//! the parser: commands on a state, logs on a disk, answers on the wire.
//!
//! A target is a function that takes bytes and panics if a promise is broken:
//! nothing panics or hangs, what is refused changes nothing and says why, what
//! is accepted survives being written and read again. [`targets::TARGETS`] names
//! them all.
//!
//! # Running
//!
//! `cargo test -p fuzz` gives each target its corpus, then inputs made of the
//! corpus by [`mutate`], for a moment. To go on longer, on stable and without
//! more tools:
//!
//! ```text
//! BOLERO_RANDOM_TEST_TIME_MS=600000 cargo test -p fuzz --profile fast filter
//! BOLERO_RANDOM_SEED=<seed of a failure> cargo test -p fuzz filter
//! ```
//!
//! With `cargo install cargo-bolero` and a nightly toolchain, libFuzzer follows
//! the coverage (the corpus stays in the repository, crashes are named on exit):
//!
//! ```text
//! cargo bolero test -p fuzz --corpus-dir crates/fuzz/corpus/filter filter
//! ```
//!
//! # Corpus
//!
//! `corpus/<target>/` holds inputs as people and programs send them. What is not
//! text (DNS messages, msgpack) is written there by
//! `UPDATE_CORPUS=1 cargo test -p fuzz corpus`. An input that once broke something
//! becomes a regression test in the crate that was mended.
//!
//! Never shipped.

pub mod choices;
pub mod corpus;
pub mod mutate;
pub mod targets;
