//! A real server, for the chores that ask one and take it away.
//!
//! - `http`: a kept connection.
//! - `cluster`, `network`: several agents, and what is between them.
//! - `disk`: a small disk, to be filled.
//! - `server`: starting, pausing and killing the server, a real process.

pub(crate) mod cluster;
pub(crate) mod disk;
pub(crate) mod http;
pub(crate) mod network;
pub(crate) mod server;
