//! Side by side benchmarks with the peers.
fn main() {}
