//! Requests, the options of reads, and what an answer says beside its rows.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method};
use types::{GoDuration, Index, SecretId};

use crate::escape::{path_escape, query_escape};

/// A request to any path of the API.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Whether the path is escaped, and may be followed by a query string.
    escaped: bool,
    pub(crate) query: BTreeMap<String, Vec<String>>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

// Headers may hold a token and bodies a secret.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("target", &self.target())
            .finish_non_exhaustive()
    }
}

impl Request {
    /// A request to `path`, which is not escaped and begins with a slash.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            escaped: false,
            query: BTreeMap::new(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// A request to a path, perhaps with a query string, that is escaped already: the
    /// address of something that is not Consul's API.
    pub fn escaped(method: Method, target: impl Into<String>) -> Self {
        Self { escaped: true, ..Self::new(method, target) }
    }

    /// A GET.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A PUT.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// A DELETE.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Sets a parameter, taking the place of an earlier value.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.insert(name.to_owned(), vec![value.into()]);
        self
    }

    /// Sets a parameter unless the value is empty.
    #[must_use]
    pub fn query_unless_empty(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.query(name, value) }
    }

    /// Gives a parameter each of these values; none for no values.
    #[must_use]
    pub fn query_each(mut self, name: &str, values: &[String]) -> Self {
        if !values.is_empty() {
            self.query.insert(name.to_owned(), values.to_vec());
        }
        self
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends these bytes.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends this value as JSON.
    #[must_use]
    pub fn json<T: serde::Serialize + ?Sized>(self, value: &T) -> Self {
        self.header("Content-Type", "application/json").body(types::json::encode(value))
    }

    /// Sets what the options of a read say.
    #[must_use]
    pub fn options(mut self, options: &QueryOptions) -> Self {
        for (name, value) in [
            ("ns", &options.namespace),
            ("partition", &options.partition),
            ("peer", &options.peer),
            ("dc", &options.datacenter),
            ("near", &options.near),
            ("filter", &options.filter),
        ] {
            self = self.query_unless_empty(name, value);
        }
        for (name, set) in [
            ("stale", options.allow_stale),
            ("consistent", options.require_consistent),
            ("cached", options.use_cache),
        ] {
            if set {
                self = self.query(name, "");
            }
        }
        if options.wait_index.0 != 0 {
            self = self.query("index", options.wait_index.0.to_string());
        }
        if options.wait_time.as_nanos() != 0 {
            self = self.query("wait", milliseconds(options.wait_time));
        }
        if !options.node_meta.is_empty() {
            let pairs = options.node_meta.iter().map(|(key, value)| format!("{key}:{value}"));
            self.query.insert("node-meta".to_owned(), pairs.collect());
        }
        if !options.token.is_empty() {
            self = self.header("X-Consul-Token", options.token.as_str());
        }
        self
    }

    /// Path and query string, escaped as Go escapes them.
    pub(crate) fn target(&self) -> String {
        let mut target = if self.escaped { self.path.clone() } else { path_escape(&self.path) };
        let has_query = self.escaped && target.contains('?');
        let pairs = self.query.iter().flat_map(|(name, values)| {
            values.iter().map(move |value| (name.as_str(), value.as_str()))
        });
        for (number, (name, value)) in pairs.enumerate() {
            target.push(if number == 0 && !has_query { '?' } else { '&' });
            target.push_str(&query_escape(name));
            target.push('=');
            target.push_str(&query_escape(value));
        }
        target
    }
}

/// A wait as the API takes it; what is shorter than a millisecond but not zero becomes one.
pub(crate) fn milliseconds(duration: GoDuration) -> String {
    format!("{}ms", (duration.as_nanos() / 1_000_000).max(1))
}

/// How a read is done. The default reads from the leader without waiting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryOptions {
    /// The datacenter; empty for the client's.
    pub datacenter: String,
    /// Enterprise's namespace; empty for the client's.
    pub namespace: String,
    /// Enterprise's partition; empty for the client's.
    pub partition: String,
    /// The cluster peer whose imported rows are read; empty for none.
    pub peer: String,
    /// Whether any server may answer.
    pub allow_stale: bool,
    /// Whether the leader confirms that it is still the leader.
    pub require_consistent: bool,
    /// Whether the agent may answer from its cache.
    pub use_cache: bool,
    /// Waits until the rows changed after this index; zero does not wait.
    pub wait_index: Index,
    /// Longest wait; zero leaves it to the agent.
    pub wait_time: GoDuration,
    /// Sorts by round trip from this node; `_agent` for the agent's own.
    pub near: String,
    /// Only nodes with all this metadata.
    pub node_meta: BTreeMap<String, String>,
    /// A filter expression.
    pub filter: String,
    /// A token in place of the client's.
    pub token: SecretId,
}

/// What an answer says beside its rows (`reference/http-api.md` section 1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryMeta {
    /// The index of the rows; give it as `wait_index` to wait for the next change.
    pub last_index: Index,
    /// Milliseconds since the answering server heard from the leader.
    pub last_contact_ms: u64,
    /// Whether the answering server knows a leader.
    pub known_leader: bool,
}

impl QueryMeta {
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let number = |name: &str| text(name).and_then(|value| value.parse().ok()).unwrap_or(0);
        Self {
            last_index: Index(number("x-consul-index")),
            last_contact_ms: number("x-consul-lastcontact"),
            known_leader: text("x-consul-knownleader") == Some("true"),
        }
    }
}

/// The answer of a read.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    /// What was asked for.
    pub rows: T,
    /// What the answer says beside it.
    pub meta: QueryMeta,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_written_in_the_order_of_their_names() {
        let options = QueryOptions {
            datacenter: "dc2".into(),
            allow_stale: true,
            wait_index: Index(7),
            wait_time: GoDuration::from_nanos(1),
            node_meta: BTreeMap::from([("b".into(), "2".into()), ("a".into(), "1".into())]),
            filter: "a == b".into(),
            ..QueryOptions::default()
        };
        assert_eq!(
            Request::get("/v1/kv/a b").query("recurse", "").options(&options).target(),
            "/v1/kv/a%20b?dc=dc2&filter=a+%3D%3D+b&index=7&node-meta=a%3A1&node-meta=b%3A2\
             &recurse=&stale=&wait=1ms"
        );
    }

    #[test]
    fn a_token_is_not_shown() {
        let options = QueryOptions { token: "secret".into(), ..QueryOptions::default() };
        let request = Request::get("/v1/kv/k").options(&options);
        assert!(!format!("{request:?} {options:?}").contains("secret"));
    }

    #[test]
    fn a_plain_read_has_no_query_string() {
        let request = Request::get("/v1/kv/k").options(&QueryOptions::default());
        assert_eq!(request.target(), "/v1/kv/k");
    }
}
