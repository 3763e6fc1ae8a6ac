//! Calls on a stream: net/rpc with msgpack (`reference/rpc-wire.md` 4).
//!
//! A request is a header and the argument, a response a header and the reply: msgpack values
//! one behind the other, without a length in front. A value is cut out of the stream as
//! bytes; what is in it is up to those who called.

//!
//! Nothing that comes is believed: a value has a limit of bytes, of values in it and of depth,
//! all requests that are being read or answered at a time have one together ([`Budget`]),
//! and who stops in the middle of a request, or does not take its answer, is not waited for.

mod budget;
pub mod client;
pub mod header;
pub mod server;
pub mod value;

pub use budget::Budget;

/// A request is refused when its argument has more bytes than this. Consul's largest are
/// transactions (`limits.txn_max_req_len` and `kv_max_value_size`, half a MiB each).
pub const ARGUMENT_BYTES_MAX: usize = 64 << 20;

/// A request is refused when its argument consists of more values than this, since each may
/// become a struct of some hundred bytes.
pub const ARGUMENT_VALUES_MAX: u64 = 1 << 20;

/// A reply is refused when it has more bytes than this. Lists of a whole catalog are long.
pub const REPLY_BYTES_MAX: usize = 1 << 30;

/// Most bytes of a header: a method and, in a response, an error's text.
pub const HEADER_BYTES_MAX: usize = 1 << 20;

/// Most bytes of all requests that a server reads or answers at a time.
pub const REQUEST_BYTES_MAX: usize = 1 << 30;
