//! Many streams over one connection: yamux, as hashicorp/yamux speaks it
//! (`reference/rpc-wire.md` 3).
//!
//! - [`frame`]: the twelve bytes in front of everything.
//! - [`session`]: the machine. Bytes and wishes in, bytes and events out; no socket, no clock.
//! - `connection`, `driver`: its shell: handles for streams, and one task for the socket.
//!
//! The published crate was tried and is not used: it tells nothing of a peer that no longer
//! answers or reads (no keep-alive, no limit on the time of a write), ends the whole session where Go refuses
//! one stream, and pulls in a lock crate that `deny.toml` forbids.

mod connection;
mod driver;
pub mod frame;
pub mod session;

pub use connection::{Connection, Incoming, Options, Stream, connect};
pub use driver::Driver;
pub use session::Role;
