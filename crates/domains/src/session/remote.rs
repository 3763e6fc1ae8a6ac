//! Sessions on the server port.

use std::sync::Arc;

use bytes::Bytes;
use contract::remote::{
    CommandMethod, QueryMethod, QueryOptions, ReplyReader, decode_args, encode, encode_with_facts,
    header, is_zero, nil_if_empty, reading, with_token,
};
use contract::{CallError, MethodClass, MethodDef, ReadFacts, RemoteCall};
use serde::{Deserialize, Serialize};
use types::session::Session;
use types::{Datacenter, Index, NodeName, SecretId, SessionId};

use super::command::{SessionCommand, SessionOp, SessionReply};
use super::query::{NodeSessions, SessionInfo, Sessions};
use crate::requests::{DcRequest, NO_NODE, NodeRequest, given};

pub(super) const METHODS: &[MethodDef] = &[
    MethodDef::of("Session.Apply", MethodClass::Write, decode_apply),
    MethodDef::of(RENEW, MethodClass::Write, decode_renew),
    MethodDef::read::<SessionInfo>(),
    MethodDef::read::<Sessions>(),
    MethodDef::read::<NodeSessions>(),
];

/// The leader alone knows of renewals, and they are no part of the log.
const RENEW: &str = "Session.Renew";

/// `SessionSpecificRequest`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SessionRequest {
    /// The id, as agents name it that know no other field.
    #[serde(skip_serializing_if = "is_zero")]
    session: SessionId,
    #[serde(rename = "SessionID")]
    session_id: SessionId,
}

impl SessionRequest {
    /// Old and new servers find the id where they look for it.
    fn of(id: &SessionId) -> Self {
        Self { session: id.clone(), session_id: id.clone() }
    }

    fn id(self) -> SessionId {
        if self.session_id.is_empty() { self.session } else { self.session_id }
    }
}

/// `IndexedSessions`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedSessions<R> {
    sessions: R,
}

type Rows = Vec<Arc<Session>>;

/// What a renewal asks for, which is a read's argument.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RenewRequest<'c> {
    datacenter: &'c Datacenter,
    session: &'c SessionId,
    #[serde(rename = "SessionID")]
    session_id: &'c SessionId,
}

impl CommandMethod for SessionCommand {
    fn request(&self, token: &SecretId) -> (&'static str, Bytes) {
        let id = &self.session.id;
        match self.op {
            SessionOp::Create | SessionOp::Destroy => (Self::METHOD, with_token(self, token)),
            SessionOp::Renew => {
                let request =
                    RenewRequest { datacenter: &self.datacenter, session: id, session_id: id };
                (RENEW, with_token(&request, token))
            }
        }
    }

    fn encode_reply(reply: &SessionReply) -> Bytes {
        match reply {
            SessionReply::Created { id } => encode(id),
            SessionReply::Destroyed(_) => encode(""),
            SessionReply::Renewed([session]) => {
                let facts = ReadFacts { index: session.modify_index, ..ReadFacts::default() };
                encode_with_facts(&IndexedSessions { sessions: Some([session]) }, &facts)
            }
            SessionReply::NotFound(_) => {
                let none: Option<[&Session; 1]> = None;
                let facts = ReadFacts { index: Index(1), ..ReadFacts::default() };
                encode_with_facts(&IndexedSessions { sessions: none }, &facts)
            }
        }
    }

    fn reply_reader(&self) -> ReplyReader<SessionReply> {
        match self.op {
            SessionOp::Create => reading(Self::METHOD, |id| Ok(SessionReply::Created { id })),
            SessionOp::Destroy => {
                reading(Self::METHOD, |_: String| Ok(SessionReply::Destroyed(true)))
            }
            SessionOp::Renew => {
                let id = self.session.id.clone();
                reading(RENEW, |renewed: IndexedSessions<Rows>| {
                    let session = renewed.sessions.into_iter().next();
                    Ok(session
                        .map_or(SessionReply::NotFound(id), |one| SessionReply::Renewed([one])))
                })
            }
        }
    }
}

fn decode_apply(args: &[u8]) -> Result<RemoteCall, CallError> {
    let command: SessionCommand = decode_args(args)?;
    match command.op {
        SessionOp::Create => {
            given(command.session.node.as_str().to_owned(), "Must provide Node")?;
        }
        SessionOp::Destroy => {
            given(command.session.id.as_str().to_owned(), "Must provide ID")?;
        }
        // It has a method of its own.
        SessionOp::Renew => return Err(CallError::failed("Invalid Session operation 'renew'")),
    }
    Ok(RemoteCall::write(command, header(args)?.token))
}

fn decode_renew(args: &[u8]) -> Result<RemoteCall, CallError> {
    let id = decode_args::<SessionRequest>(args)?.id();
    let options = header(args)?;
    let command = SessionCommand {
        datacenter: options.datacenter,
        op: SessionOp::Renew,
        session: Session { id, ..Session::default() },
    };
    Ok(RemoteCall::write(command, options.token))
}

impl QueryMethod for SessionInfo {
    type Request = SessionRequest;
    type Wire<'r> = IndexedSessions<Option<&'r [Arc<Session>]>>;
    type Received = IndexedSessions<Rows>;

    fn request(&self) -> SessionRequest {
        SessionRequest::of(&self.id)
    }

    fn of_request(request: SessionRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { id: request.id() })
    }

    fn wire(reply: &Rows) -> Self::Wire<'_> {
        IndexedSessions { sessions: nil_if_empty(reply) }
    }

    fn of_wire(&self, received: Self::Received, _facts: &ReadFacts) -> Result<Rows, CallError> {
        Ok(received.sessions)
    }
}

impl QueryMethod for NodeSessions {
    type Request = NodeRequest;
    type Wire<'r> = IndexedSessions<Option<&'r [Arc<Session>]>>;
    type Received = IndexedSessions<Rows>;

    fn request(&self) -> NodeRequest {
        NodeRequest::of(self.node.as_str())
    }

    fn of_request(request: NodeRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { node: NodeName::from(given(request.node, NO_NODE)?) })
    }

    fn wire(reply: &Rows) -> Self::Wire<'_> {
        IndexedSessions { sessions: nil_if_empty(reply) }
    }

    fn of_wire(&self, received: Self::Received, _facts: &ReadFacts) -> Result<Rows, CallError> {
        Ok(received.sessions)
    }
}

impl QueryMethod for Sessions {
    type Request = DcRequest;
    type Wire<'r> = IndexedSessions<Option<&'r [Arc<Session>]>>;
    type Received = IndexedSessions<Rows>;

    fn request(&self) -> DcRequest {
        DcRequest::default()
    }

    fn of_request(_request: DcRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self)
    }

    fn wire(reply: &Rows) -> Self::Wire<'_> {
        IndexedSessions { sessions: nil_if_empty(reply) }
    }

    fn of_wire(&self, received: Self::Received, _facts: &ReadFacts) -> Result<Rows, CallError> {
        Ok(received.sessions)
    }
}
