//! The binary `consul`.
fn main() {}
