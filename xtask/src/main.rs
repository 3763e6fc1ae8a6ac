//! Repository chores: `cargo xtask tidy`, `cargo xtask bench`.
fn main() {}
