//! Limits on metadata.
