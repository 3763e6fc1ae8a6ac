//! Methods as a server finds them.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use types::query_meta::QueryMeta;
use types::{Index, SecretId};

use super::{
    ActionMethod, CommandMethod, QueryMethod, QueryOptions, action, decode_args, encode, header,
    query,
};
use crate::action::AnyAction;
use crate::erased::{AnyCommand, AnyQuery};
use crate::error::CallError;
use crate::options::ReadOptions;
use crate::response::{ReadFacts, applied_reply_of};

/// A method of the server port.
pub struct MethodDef {
    /// The name, `KVS.Get`.
    pub name: &'static str,
    /// As what it counts where calls are limited.
    pub class: MethodClass,
    /// Decodes an argument.
    pub decode: fn(&[u8]) -> Result<RemoteCall, CallError>,
}

/// As what a method counts where calls are limited (`reference/rpc-wire.md` section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodClass {
    /// A read.
    Read,
    /// A write.
    Write,
    /// It is never refused: `Status` and `Operator`.
    Exempt,
}

/// What an argument asks for.
pub enum RemoteCall {
    /// A query.
    Read {
        /// The query.
        query: Arc<dyn AnyQuery>,
        /// Where, how fresh, how long.
        options: ReadOptions,
        /// How the reply is written.
        encode: EncodeReply,
    },
    /// A command.
    Write {
        /// The command. The token is not in it, and so never in the log.
        command: Box<dyn AnyCommand>,
        /// The token.
        token: SecretId,
        /// How the reply is written.
        encode: fn(&(dyn Any + Send)) -> Bytes,
    },
    /// An action.
    Act {
        /// The action, with its options.
        action: Box<dyn AnyAction>,
        /// How the reply is written.
        encode: EncodeReply,
    },
}

/// Writes the reply to a query or an action.
#[derive(Clone, Copy, Debug)]
pub struct EncodeReply {
    encode: fn(&(dyn Any + Send + Sync), &ReadFacts) -> Bytes,
    /// Whoever asks has the rows as of this index and needs no others.
    has: Option<Index>,
}

impl EncodeReply {
    /// The bytes of a reply.
    ///
    /// # Panics
    /// If it is the reply to something else.
    pub fn encode(&self, reply: &(dyn Any + Send + Sync), facts: &ReadFacts) -> Bytes {
        if self.has == Some(facts.index) {
            return encode(&QueryMeta { not_modified: true, ..facts.to_meta("") });
        }
        (self.encode)(reply, facts)
    }
}

impl MethodDef {
    /// The method of a query.
    pub const fn read<Q: QueryMethod>() -> Self {
        Self {
            name: Q::METHOD,
            class: class_of(Q::METHOD, MethodClass::Read),
            decode: |args| {
                let options = header(args)?;
                let query = Q::of_request(decode_args(args)?, &options)?;
                Ok(RemoteCall::read(query, &options))
            },
        }
    }

    /// The method of a command that is its own argument.
    pub const fn write<C: CommandMethod>() -> Self {
        Self {
            name: C::METHOD,
            class: class_of(C::METHOD, MethodClass::Write),
            decode: |args| Ok(RemoteCall::write(decode_args::<C>(args)?, header(args)?.token)),
        }
    }

    /// The method of an action.
    pub const fn act<A: ActionMethod>() -> Self {
        Self {
            name: A::METHOD,
            class: class_of(A::METHOD, MethodClass::Read),
            decode: |args| {
                let options = header(args)?.to_read_options();
                let action = A::of_request(decode_args(args)?, options)?;
                let encode = EncodeReply { encode: action::encode_reply::<A>, has: None };
                Ok(RemoteCall::Act { action: Box::new(action), encode })
            },
        }
    }

    /// A method whose argument says what kind of call it is.
    pub const fn of(
        name: &'static str,
        class: MethodClass,
        decode: fn(&[u8]) -> Result<RemoteCall, CallError>,
    ) -> Self {
        Self { name, class: class_of(name, class), decode }
    }
}

const fn class_of(name: &str, class: MethodClass) -> MethodClass {
    const EXEMPT: &[u8] = b"Operator.";
    let name = name.as_bytes();
    let mut at = 0;
    while at < EXEMPT.len() {
        if at == name.len() || name[at] != EXEMPT[at] {
            return class;
        }
        at += 1;
    }
    MethodClass::Exempt
}

impl RemoteCall {
    /// A query that was asked with these options.
    pub fn read<Q: QueryMethod>(query: Q, options: &QueryOptions) -> Self {
        let allowed = Q::MAY_BE_NOT_MODIFIED
            && options.allow_not_modified_response
            && options.min_query_index > Index::ZERO;
        let has = allowed.then_some(options.min_query_index);
        RemoteCall::Read {
            query: Arc::new(query),
            options: options.to_read_options(),
            encode: EncodeReply { encode: query::encode_reply::<Q>, has },
        }
    }

    /// A command that was sent with this token.
    pub fn write<C: CommandMethod>(command: C, token: SecretId) -> Self {
        RemoteCall::Write {
            command: Box::new(command),
            token,
            encode: |reply| C::encode_reply(applied_reply_of::<C>(reply)),
        }
    }
}
