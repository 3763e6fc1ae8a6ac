//! A real server, for the chores that ask one and take it away.
//!
//! - `http`: a kept connection.
//! - `server`: starting, pausing and killing the server, a real process.

pub(crate) mod http;
pub(crate) mod server;
