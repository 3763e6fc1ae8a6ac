//! An HTTP request as a handler sees it: decoded, bounded, without a socket.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use types::{Datacenter, NodeName, SecretId};

use crate::error::CallError;
use crate::options::ReadOptions;

/// A request.
pub struct Request {
    /// The method.
    pub method: Method,
    /// The decoded path.
    pub path: String,
    /// What follows the route's path, for routes that end in `/`.
    pub tail: String,
    /// The query string.
    pub params: Params,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; its size is limited by the route's conventions.
    pub body: Bytes,
    /// The token (`reference/http-api.md` 1.3), empty for the anonymous one.
    pub token: SecretId,
    /// Who asks; none over a unix socket.
    pub remote: Option<IpAddr>,
    /// What a handler may know of the agent that answers.
    pub agent: Arc<AgentFacts>,
}

/// What handlers may know of the agent.
#[derive(Clone, Debug)]
pub struct AgentFacts {
    /// Its datacenter.
    pub datacenter: Datacenter,
    /// Its node name.
    pub node: NodeName,
    /// `limits.kv_max_value_size`, bytes.
    pub kv_max_value_size: u64,
    /// `limits.txn_max_req_len`, bytes.
    pub txn_max_req_len: u64,
    /// `discovery_max_stale`: makes stale the default for catalog and health reads.
    pub discovery_max_stale: std::time::Duration,
    /// `connect.enabled`.
    pub connect: bool,
    /// Whether there are network coordinates: not `disable_coordinates`.
    pub coordinates: bool,
    /// Whether JSON is always indented, as in `-dev`.
    pub indents: bool,
}

impl Request {
    /// The part of the path behind the route, or the error when it is empty.
    pub fn tail_or(&self, missing: &str) -> Result<&str, CallError> {
        if self.tail.is_empty() {
            return Err(CallError::bad_request(missing));
        }
        Ok(&self.tail)
    }

    /// The datacenter that is asked for: `datacenter=`, else `dc=`, else this one.
    pub fn datacenter(&self) -> Datacenter {
        let named = self.params.get("datacenter").or_else(|| self.params.get("dc"));
        match named {
            Some(name) if !name.is_empty() => Datacenter::from(name),
            _ => self.agent.datacenter.clone(),
        }
    }

    /// The options that all reads share, or the 400 they deserve.
    pub fn read_options(&self) -> Result<ReadOptions, CallError> {
        ReadOptions::parse(self)
    }

    /// The body as JSON with Go's rules, unknown fields refused.
    pub fn json<T: serde::de::DeserializeOwned>(&self, prefix: &str) -> Result<T, CallError> {
        types::json::decode(&self.body, types::json::Unknown::Deny)
            .map_err(|error| CallError::decode(prefix, &error))
    }
}

/// A decoded query string, in order.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Decoded pairs.
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of that name.
    pub fn all<'p>(&'p self, name: &str) -> impl Iterator<Item = &'p str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the name occurs, with whatever value: how Consul reads its booleans.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The first value of that name, empty when there is none.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// The query string as Go writes it: names sorted, values in order, escaped.
    pub fn encode(&self) -> String {
        let mut pairs: Vec<&(String, String)> = self.0.iter().collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        let escaped: Vec<String> =
            pairs.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value))).collect();
        escaped.join("&")
    }

    /// All pairs in order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// Escapes text for a query string as Go's `url.QueryEscape` does.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(byte as char);
            }
            b' ' => escaped.push('+'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
