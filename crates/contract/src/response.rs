//! What a handler answers: a call to run, or a response at once.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use types::query_meta::QueryMeta;
use types::{GoDuration, Index, SecretId};

use crate::action::{Action, AnyAction};
use crate::call::{Command, Query};
use crate::erased::{AnyCommand, AnyQuery};
use crate::options::ReadOptions;

/// A response without the conventions that all responses share.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// Headers beyond the shared ones.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

/// The body of a response.
#[derive(Debug, Default)]
pub enum Body {
    /// Nothing, and no content type.
    #[default]
    Empty,
    /// JSON, already encoded (compact or indented as [`Encoding`] said).
    Json(Bytes),
    /// Bytes of another content type.
    Bytes {
        /// `Content-Type`.
        content_type: &'static str,
        /// The bytes.
        bytes: Bytes,
    },
}

impl Response {
    /// 200 with nothing.
    pub fn ok() -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: Body::Empty }
    }

    /// 404 with nothing.
    pub fn not_found() -> Self {
        Self { status: StatusCode::NOT_FOUND, headers: Vec::new(), body: Body::Empty }
    }

    /// 200 with a value as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T, encoding: Encoding) -> Self {
        Self::encoded(encoding.encode(value))
    }

    /// 200 with encoded JSON.
    pub fn encoded(bytes: Bytes) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: Body::Json(bytes) }
    }

    /// Plain text with this status.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        let bytes = Bytes::from(text.into());
        let body = Body::Bytes { content_type: "text/plain; charset=utf-8", bytes };
        Self { status, headers: Vec::new(), body }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// How JSON is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// No blanks.
    Compact,
    /// Four blanks a level: `?pretty`, and always in `-dev`.
    Indented,
}

impl Encoding {
    /// Encodes a value.
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Bytes {
        match self {
            Encoding::Compact => types::json::encode(value).into(),
            Encoding::Indented => types::json::encode_pretty(value).into(),
        }
    }

    /// Encodes rows as they are stored: see [`types::json::encode_stored`].
    pub fn encode_stored<T: Serialize + ?Sized>(self, value: &T) -> Bytes {
        types::json::encode_stored(value, self == Encoding::Indented).into()
    }
}

/// What a request asks for.
pub enum Call {
    /// A query, which may block.
    Read(ReadCall),
    /// A command, which goes through the log.
    Write(WriteCall),
    /// An action, which reads more than once and does not block.
    Act(ActionCall),
    /// Nothing that needs the state: the answer.
    Answer(Response),
}

/// What is told beside the rows of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadFacts {
    /// The index of the rows.
    pub index: Index,
    /// Whether the cluster has a leader.
    pub known_leader: bool,
    /// How long ago the leader was heard of; zero on the leader.
    pub last_contact: Duration,
    /// Whether rows were taken away because the reader may not see them.
    pub removed: bool,
}

impl ReadFacts {
    /// The same as it stands in bodies, where some calls name the consistency and others
    /// leave it empty.
    pub fn to_meta(self, consistency_level: &'static str) -> QueryMeta {
        QueryMeta {
            index: self.index,
            last_contact: GoDuration::from(self.last_contact),
            known_leader: self.known_leader,
            consistency_level,
            not_modified: false,
            backend: 0,
            results_filtered_by_acls: self.removed,
        }
    }
}

/// An action with the way to show its reply.
pub struct ActionCall {
    /// The action.
    pub action: Box<dyn AnyAction>,
    /// What its reads have in common; facts are told with an error, too.
    pub options: ReadOptions,
    /// How the reply is shown.
    pub show: fn(&(dyn Any + Send + Sync), Encoding) -> Response,
    /// Whether and how the agent's cache can answer.
    pub cache: CacheKind,
}

/// A query with the way to show its reply.
pub struct ReadCall {
    /// The query.
    pub query: Arc<dyn AnyQuery>,
    /// Where, how fresh, how long.
    pub options: ReadOptions,
    /// How the reply is shown.
    pub show: Show,
    /// Whether `X-Consul-Effective-Consistency` is sent.
    pub tells_consistency: bool,
    /// Whether the facts of a read are sent even with an error.
    pub facts_with_error: bool,
    /// Whether the answer goes with the facts of a read (`X-Consul-Index` and its like).
    pub facts: Facts,
    /// Whether and how the agent's cache can answer.
    pub cache: CacheKind,
}

/// With which answers the facts of a read are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Facts {
    /// With all.
    #[default]
    Sent,
    /// With none.
    Withheld,
    /// With all but a 404.
    SentUnlessNotFound,
}

impl Facts {
    /// Whether they are sent with an answer of this status.
    pub fn go_with(self, status: StatusCode) -> bool {
        match self {
            Facts::Sent => true,
            Facts::Withheld => false,
            Facts::SentUnlessNotFound => status != StatusCode::NOT_FOUND,
        }
    }
}

/// How the agent's cache serves a read (`reference/http-api.md` 1.8 and 1.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheKind {
    /// Not at all; `cached` is ignored.
    #[default]
    None,
    /// Kept and refreshed in the background.
    Refreshed,
    /// Fed by a stream of events, which also serves blocking reads.
    Streamed,
}

/// Shows one reply of a query in a way of its own.
pub type ShowOnce = Box<dyn FnOnce(&(dyn Any + Send + Sync), Encoding) -> Response + Send>;

/// As [`ShowOnce`], for answers that have the facts in their body.
pub type ShowFacts = fn(&(dyn Any + Send + Sync), &ReadFacts, Encoding) -> Response;

/// How the reply of a query is shown.
pub enum Show {
    /// As JSON. The same bytes serve everybody who asks the same question.
    Json(fn(&(dyn Any + Send + Sync), Encoding) -> Bytes),
    /// In a way of its own.
    Custom(ShowOnce),
    /// In a way of its own, together with the facts of the read.
    WithFacts(ShowFacts),
}

/// A command with the way to show its reply.
pub struct WriteCall {
    /// The command.
    pub command: Box<dyn AnyCommand>,
    /// The token.
    pub token: SecretId,
    /// How the reply is shown.
    pub show: fn(&(dyn Any + Send), Encoding) -> Response,
}

impl Call {
    /// A query whose reply is shown as JSON.
    pub fn read<Q: Query>(query: Q, options: ReadOptions) -> Self
    where
        Q::Reply: Serialize,
    {
        let show = Show::Json(|reply, encoding| encoding.encode(reply_of::<Q>(reply)));
        Self::read_shown(query, options, show)
    }

    /// A query whose reply is shown in a way of its own.
    pub fn read_with<Q: Query>(
        query: Q,
        options: ReadOptions,
        show: impl FnOnce(&Q::Reply, Encoding) -> Response + Send + 'static,
    ) -> Self {
        let show =
            Show::Custom(Box::new(move |reply, encoding| show(reply_of::<Q>(reply), encoding)));
        Self::read_shown(query, options, show)
    }

    /// A query whose answer tells the facts of the read in its body; see [`reply_of`].
    pub fn read_with_facts<Q: Query>(query: Q, options: ReadOptions, show: ShowFacts) -> Self {
        Self::read_shown(query, options, Show::WithFacts(show))
    }

    fn read_shown<Q: Query>(query: Q, options: ReadOptions, show: Show) -> Self {
        Call::Read(ReadCall {
            query: Arc::new(query),
            options,
            show,
            tells_consistency: false,
            facts_with_error: false,
            facts: Facts::Sent,
            cache: CacheKind::None,
        })
    }

    /// The same, sending the facts of a read even with an error.
    #[must_use]
    pub fn with_facts_of_errors(mut self) -> Self {
        if let Call::Read(read) = &mut self {
            read.facts_with_error = true;
        }
        self
    }

    /// The same, sending `X-Consul-Effective-Consistency`, and facts even with an error.
    #[must_use]
    pub fn telling_consistency(mut self) -> Self {
        if let Call::Read(read) = &mut self {
            read.tells_consistency = true;
            read.facts_with_error = true;
        }
        self
    }

    /// The same, without the headers that tell facts of a read.
    #[must_use]
    pub fn bare(mut self) -> Self {
        if let Call::Read(read) = &mut self {
            read.facts = Facts::Withheld;
        }
        self
    }

    /// The same, without those headers when the answer is a 404.
    #[must_use]
    pub fn bare_if_not_found(mut self) -> Self {
        if let Call::Read(read) = &mut self {
            read.facts = Facts::SentUnlessNotFound;
        }
        self
    }

    /// The same, with the agent's cache.
    #[must_use]
    pub fn cached_as(mut self, cache: CacheKind) -> Self {
        match &mut self {
            Call::Read(read) => read.cache = cache,
            Call::Act(call) => call.cache = cache,
            Call::Write(_) | Call::Answer(_) => {}
        }
        self
    }

    /// An action whose reply is shown as JSON, with lists as they are stored.
    pub fn act<A: Action>(action: A, options: ReadOptions) -> Self
    where
        A::Reply: Serialize,
    {
        let show = |reply: &(dyn Any + Send + Sync), encoding: Encoding| {
            let reply = reply.downcast_ref::<A::Reply>();
            let reply = reply.expect("an action's reply has the action's reply type");
            Response::encoded(encoding.encode_stored(reply))
        };
        let action = Box::new(action);
        Call::Act(ActionCall { action, options, show, cache: CacheKind::None })
    }

    /// A command whose reply is shown as JSON.
    pub fn write<C: Command>(command: C, token: &SecretId) -> Self
    where
        C::Reply: Serialize,
    {
        let show = |reply: &(dyn Any + Send), encoding: Encoding| {
            Response::json(applied_reply_of::<C>(reply), encoding)
        };
        Call::Write(WriteCall { command: Box::new(command), token: token.clone(), show })
    }

    /// A command whose reply is shown in a way of its own; see [`applied_reply_of`].
    pub fn write_with<C: Command>(
        command: C,
        token: &SecretId,
        show: fn(&(dyn Any + Send), Encoding) -> Response,
    ) -> Self {
        Call::Write(WriteCall { command: Box::new(command), token: token.clone(), show })
    }

    /// A command that answers `true` once it is applied.
    pub fn write_then_true<C: Command>(command: C, token: &SecretId) -> Self {
        let show = |_: &(dyn Any + Send), encoding: Encoding| Response::json(&true, encoding);
        Call::Write(WriteCall { command: Box::new(command), token: token.clone(), show })
    }

    /// A command that answers with nothing once it is applied.
    pub fn write_then_nothing<C: Command>(command: C, token: &SecretId) -> Self {
        let show = |_: &(dyn Any + Send), _: Encoding| Response::ok();
        Call::Write(WriteCall { command: Box::new(command), token: token.clone(), show })
    }
}

/// The reply of a query of this type.
///
/// # Panics
/// If it is the reply of another query.
pub fn reply_of<Q: Query>(reply: &(dyn Any + Send + Sync)) -> &Q::Reply {
    reply.downcast_ref::<Q::Reply>().expect("a query's reply has the query's reply type")
}

/// The reply of a command of this type.
///
/// # Panics
/// If it is the reply of another command.
pub fn applied_reply_of<C: Command>(reply: &(dyn Any + Send)) -> &C::Reply {
    reply.downcast_ref::<C::Reply>().expect("a command's reply has the command's reply type")
}
