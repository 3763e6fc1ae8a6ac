//! The replicated resources, one folder each
