//! What crosses the network, as pure functions over bytes (`reference/gossip-wire.md`
//! sections 1 to 5 and 10).
//!
//! A packet, inside to outside: a [`message`] (or several in a compound), perhaps compressed,
//! perhaps with a checksum ([`packet`]); then encrypted, and with a label in front ([`seal`]).
//! A stream carries one message each way with the same layers but the checksum ([`stream`]).
//! User messages are [`serf`]'s.
//!
//! Nothing here trusts what it reads: sizes, depths, counts and what may come out of a
//! decompression are bounded by the constants of the modules. Randomness (nonces) is passed in.

mod field;
pub mod keyring;
pub mod lzw;
pub mod message;
pub mod packet;
pub mod seal;
pub mod serf;
pub mod stream;

pub use keyring::{Key, Keyring};
pub use message::{MessageType, Versions};
pub use seal::{Nonce, SealVersion, Security};
pub use stream::{Progress, PushPull, StreamMessage, StreamReader};
