//! An HTTP client for Consul's API
