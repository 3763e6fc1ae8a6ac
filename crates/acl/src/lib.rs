//! Permissions and authorizers
