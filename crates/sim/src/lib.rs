//! Deterministic cluster simulator: faults under a seed, checkers, planted bugs
