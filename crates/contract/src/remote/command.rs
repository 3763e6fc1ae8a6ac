//! Commands as methods.

use std::any::Any;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use types::SecretId;

use super::{Args, Outgoing, decode_reply, join};
use crate::call::Command;
use crate::error::CallError;

/// Reads what the leader replied to a command, which may be gone by then. The reply is the
/// command's `Reply`.
pub type DecodeReply = ReplyReader<Box<dyn Any + Send>>;

/// As [`DecodeReply`], typed.
pub type ReplyReader<R> = Box<dyn FnOnce(&[u8]) -> Result<R, CallError> + Send + 'static>;

/// How a command is sent to another server. What implements [`CommandMethod`] has it; a
/// command that only leaders make, for themselves, has an empty `impl`.
pub trait RemoteCommand {
    /// The call. None if no method carries the command.
    fn to_request(&self, token: &SecretId) -> Option<Outgoing> {
        let _ = token;
        None
    }

    /// How the reply is read.
    fn reply_decoder(&self) -> DecodeReply {
        Box::new(|_| Err(CallError::failed("only a leader can do this, and for itself")))
    }
}

/// A command that is a method of Consul's.
pub trait CommandMethod: Command {
    /// The method.
    const METHOD: &'static str = Self::NAME;

    /// The method and the argument. Most commands are their own argument but for the token,
    /// which is no part of what enters the log.
    fn request(&self, token: &SecretId) -> (&'static str, Bytes) {
        (Self::METHOD, with_token(self, token))
    }

    /// Writes the reply.
    fn encode_reply(reply: &Self::Reply) -> Bytes;

    /// How the reply is read; see [`reading`].
    fn reply_reader(&self) -> ReplyReader<Self::Reply>;
}

/// Reads a reply as it is on the wire and makes of it what it stands for.
pub fn reading<W: DeserializeOwned, R>(
    method: &'static str,
    reply_of: impl FnOnce(W) -> Result<R, CallError> + Send + 'static,
) -> ReplyReader<R> {
    Box::new(move |bytes| reply_of(decode_reply(method, bytes)?))
}

/// The fields of a write request that are in no command.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WriteRequest<'t> {
    token: &'t SecretId,
}

/// An argument with the token among its fields.
pub fn with_token<T: Serialize + ?Sized>(request: &T, token: &SecretId) -> Bytes {
    join(request, &WriteRequest { token })
}

impl<C: CommandMethod> RemoteCommand for C {
    fn to_request(&self, token: &SecretId) -> Option<Outgoing> {
        let (method, args) = self.request(token);
        Some(Outgoing { method, args: Args(args) })
    }

    fn reply_decoder(&self) -> DecodeReply {
        let read = self.reply_reader();
        Box::new(move |bytes| Ok(Box::new(read(bytes)?) as Box<dyn Any + Send>))
    }
}
