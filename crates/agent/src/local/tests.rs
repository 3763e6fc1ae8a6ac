//! Tests of the local part: the state and its rules, syncing, files, endpoints.
