//! `/v1/session/`.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;

use contract::{Call, CallError, Encoding, Request, Response, Route, Verb, applied_reply_of};
use http::StatusCode;
use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};
use types::json::{self, DecodeError, Unknown};
use types::session::{Behavior, ServiceCheck, Session};
use types::{CheckId, GoDuration, NodeName, SessionId};

use super::command::{SessionCommand, SessionOp, SessionReply};
use super::query::{NodeSessions, SessionInfo, Sessions};

pub(super) const ROUTES: &[Route] = &[
    Route { path: "/v1/session/create", verbs: &[Verb::put(create)] },
    Route { path: "/v1/session/destroy/", verbs: &[Verb::put(destroy)] },
    Route { path: "/v1/session/renew/", verbs: &[Verb::put(renew)] },
    Route { path: "/v1/session/info/", verbs: &[Verb::get(info)] },
    Route { path: "/v1/session/node/", verbs: &[Verb::get(node)] },
    Route { path: "/v1/session/list", verbs: &[Verb::get(list)] },
];

const MISSING_SESSION: &str = "Missing session";

/// What a session gets that does not say.
const LOCK_DELAY: GoDuration = GoDuration::from_secs(15);
const SERF_HEALTH: &str = "serfHealth";

fn create(request: &Request) -> Result<Call, CallError> {
    let body = match request.body.is_empty() {
        true => CreateBody::default(),
        false => CreateBody::parse(&request.body)
            .map_err(|error| CallError::decode("Request decode failed: ", &error))?,
    };
    write(request, SessionOp::Create, body.session(&request.agent.node))
}

fn destroy(request: &Request) -> Result<Call, CallError> {
    let session = named(request)?;
    write(request, SessionOp::Destroy, session)
}

fn renew(request: &Request) -> Result<Call, CallError> {
    let session = named(request)?;
    write(request, SessionOp::Renew, session)
}

fn named(request: &Request) -> Result<Session, CallError> {
    let id = SessionId::from(request.tail_or(MISSING_SESSION)?);
    Ok(Session { id, ..Session::default() })
}

fn write(request: &Request, op: SessionOp, session: Session) -> Result<Call, CallError> {
    let datacenter = request.datacenter();
    let command = SessionCommand { datacenter, op, session };
    Ok(Call::write_with(command, &request.token, show))
}

fn show(reply: &(dyn Any + Send), encoding: Encoding) -> Response {
    match applied_reply_of::<SessionCommand>(reply) {
        SessionReply::NotFound(id) => {
            Response::text(StatusCode::NOT_FOUND, format!("Session id '{id}' not found"))
        }
        reply => Response::json(reply, encoding),
    }
}

fn info(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let id = SessionId::from(request.tail_or(MISSING_SESSION)?);
    Ok(Call::read(SessionInfo { id }, options))
}

fn node(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let node = NodeName::from(request.tail_or("Missing node name")?);
    Ok(Call::read(NodeSessions { node }, options))
}

fn list(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    Ok(Call::read(Sessions, options).with_facts_of_errors())
}

/// The body of a creation (`reference/http-api.md` 3.2). All of it is optional, and
/// fields that nobody knows are skipped.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = ".Alias", rename_all = "PascalCase", default)]
pub(super) struct CreateBody {
    name: Option<String>,
    node: Option<String>,
    lock_delay: Option<LockDelayText>,
    behavior: Option<String>,
    #[serde(rename = "TTL")]
    ttl: Option<String>,
    node_checks: Option<Vec<CheckId>>,
    checks: Option<Vec<CheckId>>,
    service_checks: Option<Vec<ServiceCheck>>,
}

/// A field that counts as given when it is `null`.
const OLD_CHECKS: &str = "Checks";

impl CreateBody {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut body: Self = json::decode(bytes, Unknown::Ignore)?;
        if body.checks.is_none() {
            let fields: BTreeMap<String, IgnoredAny> = json::decode(bytes, Unknown::Ignore)?;
            if fields.keys().any(|name| name.eq_ignore_ascii_case(OLD_CHECKS)) {
                body.checks = Some(Vec::new());
            }
        }
        Ok(body)
    }

    /// The session that is asked for at the agent of this node.
    pub(super) fn session(self, own: &NodeName) -> Session {
        let default_checks = || vec![CheckId::from(SERF_HEALTH)];
        let mut node_checks = self.node_checks.unwrap_or_else(default_checks);
        let mut checks = Vec::new();
        match self.checks {
            None => {}
            Some(old) if old.is_empty() => node_checks.clear(),
            Some(old) if old == default_checks() => {}
            Some(old) => checks = old,
        }
        let node = self.node.filter(|node| !node.is_empty());
        Session {
            name: self.name.unwrap_or_default(),
            node: node.map_or_else(|| own.clone(), NodeName::from),
            lock_delay: self.lock_delay.map_or(LOCK_DELAY, |delay| delay.0),
            behavior: Behavior::from(self.behavior.as_deref().unwrap_or_default()),
            ttl: self.ttl.unwrap_or_default(),
            node_checks,
            service_checks: self.service_checks,
            checks,
            ..Session::default()
        }
    }
}

/// A duration of which small numbers are seconds.
#[derive(Debug)]
struct LockDelayText(GoDuration);

/// Numbers below this one are seconds, others nanoseconds.
const SECONDS_BELOW: i64 = 1000;

impl<'de> Deserialize<'de> for LockDelayText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DelayVisitor;

        impl Visitor<'_> for DelayVisitor {
            type Value = LockDelayText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"15s\" or a number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<LockDelayText, E> {
                GoDuration::parse(text).map(LockDelayText).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<LockDelayText, E> {
                let duration = match number {
                    // None below zero: a delay that is over before it begins.
                    ..0 => GoDuration::ZERO,
                    0..SECONDS_BELOW => GoDuration::from_secs(number),
                    _ => GoDuration::from_nanos(number),
                };
                Ok(LockDelayText(duration))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<LockDelayText, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<LockDelayText, E> {
                self.visit_i64(number as i64)
            }
        }

        deserializer.deserialize_any(DelayVisitor)
    }
}
