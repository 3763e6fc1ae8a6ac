//! The one port of a server and the way to it (`reference/rpc-wire.md`).
//!
//! A connection says with its first byte what it is for; calls are net/rpc with msgpack
//! over yamux streams.
