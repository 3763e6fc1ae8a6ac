//! What is watched: the parameters of a definition, and the request they make.

use std::fmt;

use serde_json::{Map, Value as Json};
use types::{Index, SecretId};

use super::shape::{self, Shape};
use crate::{QueryOptions, Request};

/// The parameters of a watch by their names, as they stand in a file. What is understood is
/// taken out, so that what remains is what nobody asked for.
pub type Parameters = Map<String, Json>;

/// Parameters that do not make a watch, in Consul's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWatch {
    /// There is no type.
    #[error("Watch type must be specified")]
    NoType,
    /// There is no such type.
    #[error("Unsupported watch type: {0}")]
    UnknownType(String),
    /// A parameter that the type needs is missing.
    #[error("Must specify a single {0} to watch")]
    Missing(&'static str),
    /// Checks are those of a service or those in a state.
    #[error("Cannot specify service and state")]
    ServiceAndState,
    /// A parameter is not what it should be.
    #[error("Expecting {name} to be a {expected}")]
    WrongKind {
        /// The parameter.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// An entry of a list is not a text.
    #[error("Index {position} of {name} expected to be string")]
    WrongEntry {
        /// The list.
        name: &'static str,
        /// Which entry.
        position: usize,
    },
    /// Parameters that the type does not have.
    #[error("Invalid parameters: [{}]", .0.join(" "))]
    Unknown(Vec<String>),
}

/// A watch as it was defined: what is asked again and again.
#[derive(Clone, PartialEq, Eq)]
pub struct WatchQuery {
    target: Target,
    datacenter: String,
    token: SecretId,
    stale: bool,
    filter: String,
}

// The token's own Debug hides it.
impl fmt::Debug for WatchQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchQuery")
            .field("target", &self.target)
            .field("datacenter", &self.datacenter)
            .field("stale", &self.stale)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Key(String),
    KeyPrefix(String),
    Services,
    Nodes,
    Service { name: String, tags: Vec<String>, passing_only: bool },
    ChecksOfService(String),
    ChecksInState(String),
    Event(String),
    ConnectRoots,
    ConnectLeaf(String),
    AgentService(String),
}

/// What an answer says about the state that it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocking {
    /// `X-Consul-Index`, which only grows while the state lives.
    Index,
    /// `X-Consul-Index` made from the id of the last event: it has no order.
    EventIndex,
    /// `ContentHash`.
    Hash,
}

/// The parameters that every watch has. They come first: what else a definition has, a
/// handler for example, is looked at only when there is a type.
pub struct WatchHead {
    kind: String,
    datacenter: String,
    token: SecretId,
}

impl WatchHead {
    /// Takes the parameters that every watch has out of `parameters`.
    ///
    /// # Errors
    /// [`InvalidWatch::NoType`], [`InvalidWatch::WrongKind`].
    pub fn take(parameters: &mut Parameters) -> Result<Self, InvalidWatch> {
        let datacenter = take_text(parameters, "datacenter")?;
        let token = SecretId::from(take_text(parameters, "token")?.as_str());
        let kind = take_text(parameters, "type")?;
        if kind.is_empty() {
            return Err(InvalidWatch::NoType);
        }
        Ok(Self { kind, datacenter, token })
    }
}

impl WatchQuery {
    /// Reads a definition that has nothing but a query.
    ///
    /// # Errors
    /// [`InvalidWatch`].
    pub fn parse(mut parameters: Parameters) -> Result<Self, InvalidWatch> {
        let head = WatchHead::take(&mut parameters)?;
        let query = Self::take(head, &mut parameters)?;
        Self::nothing_else(&parameters)?;
        Ok(query)
    }

    /// Takes the parameters of the type out of `parameters` and leaves the rest, also when it
    /// fails: Consul's complaint shows what is left.
    ///
    /// # Errors
    /// [`InvalidWatch`], but not [`InvalidWatch::Unknown`]: see [`Self::nothing_else`].
    pub fn take(head: WatchHead, parameters: &mut Parameters) -> Result<Self, InvalidWatch> {
        let WatchHead { kind, datacenter, token } = head;
        let mut query = Self {
            target: Target::Services,
            datacenter,
            token,
            stale: false,
            filter: String::new(),
        };
        query.target = match kind.as_str() {
            "key" => {
                query.stale = take_flag(parameters, "stale")?;
                Target::Key(take_needed(parameters, "key")?)
            }
            "keyprefix" => {
                query.stale = take_flag(parameters, "stale")?;
                Target::KeyPrefix(take_needed(parameters, "prefix")?)
            }
            "services" | "nodes" => {
                query.take_stale_and_filter(parameters)?;
                if kind == "nodes" { Target::Nodes } else { Target::Services }
            }
            "service" => {
                query.take_stale_and_filter(parameters)?;
                Target::Service {
                    name: take_needed(parameters, "service")?,
                    tags: take_texts(parameters, "tag")?,
                    passing_only: take_flag(parameters, "passingonly")?,
                }
            }
            "checks" => query.take_checks(parameters)?,
            "event" => Target::Event(take_text(parameters, "name")?),
            "connect_roots" => Target::ConnectRoots,
            "connect_leaf" => Target::ConnectLeaf(take_text(parameters, "service")?),
            "agent_service" => Target::AgentService(take_text(parameters, "service_id")?),
            _ => return Err(InvalidWatch::UnknownType(kind)),
        };
        Ok(query)
    }

    fn take_stale_and_filter(&mut self, parameters: &mut Parameters) -> Result<(), InvalidWatch> {
        self.stale = take_flag(parameters, "stale")?;
        self.filter = take_text(parameters, "filter")?;
        Ok(())
    }

    fn take_checks(&mut self, parameters: &mut Parameters) -> Result<Target, InvalidWatch> {
        self.stale = take_flag(parameters, "stale")?;
        let service = take_text(parameters, "service")?;
        let state = take_text(parameters, "state")?;
        self.filter = take_text(parameters, "filter")?;
        match (service.is_empty(), state.is_empty()) {
            (false, false) => Err(InvalidWatch::ServiceAndState),
            (false, true) => Ok(Target::ChecksOfService(service)),
            (true, false) => Ok(Target::ChecksInState(state)),
            (true, true) => Ok(Target::ChecksInState("any".to_owned())),
        }
    }

    /// That nothing remains in the parameters.
    ///
    /// # Errors
    /// [`InvalidWatch::Unknown`] with the names of what remains.
    pub fn nothing_else(parameters: &Parameters) -> Result<(), InvalidWatch> {
        if parameters.is_empty() {
            return Ok(());
        }
        Err(InvalidWatch::Unknown(parameters.keys().cloned().collect()))
    }

    /// The name of the type.
    pub fn kind(&self) -> &'static str {
        match self.target {
            Target::Key(_) => "key",
            Target::KeyPrefix(_) => "keyprefix",
            Target::Services => "services",
            Target::Nodes => "nodes",
            Target::Service { .. } => "service",
            Target::ChecksOfService(_) | Target::ChecksInState(_) => "checks",
            Target::Event(_) => "event",
            Target::ConnectRoots => "connect_roots",
            Target::ConnectLeaf(_) => "connect_leaf",
            Target::AgentService(_) => "agent_service",
        }
    }

    pub(super) fn blocking(&self) -> Blocking {
        match self.target {
            Target::Event(_) => Blocking::EventIndex,
            Target::AgentService(_) => Blocking::Hash,
            _ => Blocking::Index,
        }
    }

    pub(super) fn shape(&self) -> &'static Shape {
        match self.target {
            Target::Key(_) => &shape::KEY,
            Target::KeyPrefix(_) => &shape::KEYS,
            Target::Services => &shape::SERVICES,
            Target::Nodes => &shape::NODES,
            Target::Service { .. } => &shape::SERVICE_ENTRIES,
            Target::ChecksOfService(_) | Target::ChecksInState(_) => &shape::CHECKS,
            Target::Event(_) => &shape::EVENTS,
            Target::ConnectRoots => &shape::ROOTS,
            Target::ConnectLeaf(_) => &shape::LEAF,
            Target::AgentService(_) => &shape::AGENT_SERVICE,
        }
    }

    /// Whether "not found" is an answer: a key that does not exist.
    pub(super) fn may_be_absent(&self) -> bool {
        matches!(self.target, Target::Key(_) | Target::KeyPrefix(_))
    }

    /// Whether the answer is a list of which the first row counts.
    pub(super) fn wants_the_first_row(&self) -> bool {
        matches!(self.target, Target::Key(_))
    }

    /// The request that waits for what is newer than `index` or `hash`; zero and the empty
    /// text do not wait.
    pub(super) fn request(&self, index: Index, hash: &str) -> Request {
        let kv = |key: &str| format!("/v1/kv/{}", key.strip_prefix('/').unwrap_or(key));
        let request = match &self.target {
            Target::Key(key) => Request::get(kv(key)),
            Target::KeyPrefix(prefix) => Request::get(kv(prefix)).query("recurse", ""),
            Target::Services => Request::get("/v1/catalog/services"),
            Target::Nodes => Request::get("/v1/catalog/nodes"),
            Target::Service { name, tags, passing_only } => {
                let mut request = Request::get(format!("/v1/health/service/{name}"));
                if !tags.is_empty() {
                    request.query.insert("tag".to_owned(), tags.clone());
                }
                if *passing_only { request.query("passing", "1") } else { request }
            }
            Target::ChecksOfService(name) => Request::get(format!("/v1/health/checks/{name}")),
            Target::ChecksInState(state) => Request::get(format!("/v1/health/state/{state}")),
            Target::Event(name) => Request::get("/v1/event/list").query_unless_empty("name", name),
            Target::ConnectRoots => Request::get("/v1/agent/connect/ca/roots"),
            Target::ConnectLeaf(service) => {
                Request::get(format!("/v1/agent/connect/ca/leaf/{service}"))
            }
            Target::AgentService(id) => Request::get(format!("/v1/agent/service/{id}")),
        };
        let options = QueryOptions {
            datacenter: self.datacenter.clone(),
            allow_stale: self.stale,
            wait_index: index,
            filter: self.filter.clone(),
            token: self.token.clone(),
            ..QueryOptions::default()
        };
        request.options(&options).query_unless_empty("hash", hash)
    }
}

/// A text that may be missing.
///
/// # Errors
/// [`InvalidWatch::WrongKind`].
pub fn take_text(parameters: &mut Parameters, name: &'static str) -> Result<String, InvalidWatch> {
    match parameters.get(name) {
        None => Ok(String::new()),
        Some(Json::String(text)) => {
            let text = text.clone();
            parameters.remove(name);
            Ok(text)
        }
        Some(_) => Err(InvalidWatch::WrongKind { name, expected: "string" }),
    }
}

fn take_needed(parameters: &mut Parameters, name: &'static str) -> Result<String, InvalidWatch> {
    let text = take_text(parameters, name)?;
    if text.is_empty() { Err(InvalidWatch::Missing(name)) } else { Ok(text) }
}

fn take_flag(parameters: &mut Parameters, name: &'static str) -> Result<bool, InvalidWatch> {
    match parameters.get(name) {
        None => Ok(false),
        Some(Json::Bool(flag)) => {
            let flag = *flag;
            parameters.remove(name);
            Ok(flag)
        }
        Some(_) => Err(InvalidWatch::WrongKind { name, expected: "boolean" }),
    }
}

/// One text or a list of them.
fn take_texts(
    parameters: &mut Parameters,
    name: &'static str,
) -> Result<Vec<String>, InvalidWatch> {
    let texts = match parameters.get(name) {
        None => return Ok(Vec::new()),
        Some(Json::String(text)) => vec![text.clone()],
        Some(Json::Array(entries)) => {
            let text = |(position, entry): (usize, &Json)| match entry {
                Json::String(text) => Ok(text.clone()),
                _ => Err(InvalidWatch::WrongEntry { name, position }),
            };
            entries.iter().enumerate().map(text).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(InvalidWatch::WrongKind { name, expected: "string or []string" }),
    };
    parameters.remove(name);
    Ok(texts)
}
