//! A watch as the configuration defines it: a query and one handler.

use std::fmt;
use std::time::Duration;

use client::watch::{Fingerprint, Parameters, WatchHead, WatchQuery, take_text};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::Value as Json;
use types::GoDuration;

use super::handler::{Handler, HttpHandler, ScriptHandler};
use crate::invocation::Invocation;

/// How long an HTTP handler may take when its definition does not say.
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);

/// One watch. Two of the same fingerprint are the same.
#[derive(Clone)]
pub(super) struct Definition {
    pub(super) query: WatchQuery,
    pub(super) handler: Handler,
    /// Of the definition as it was written.
    pub(super) fingerprint: Fingerprint,
}

impl PartialEq for Definition {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

// Headers of a handler may hold a secret.
impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition").field("query", &self.query).finish_non_exhaustive()
    }
}

impl Definition {
    /// Reads one definition.
    ///
    /// # Errors
    /// Consul's complaint.
    pub(super) fn read(written: &Json) -> Result<Self, String> {
        let mut parameters = written.as_object().cloned().unwrap_or_default();
        parameters.entry("handler_type").or_insert_with(|| "script".into());
        let parsed = parse(&mut parameters)
            .map_err(|error| format!("Failed to parse watch ({}): {error}", go_map(&parameters)))?;
        Ok(Self {
            query: parsed.query,
            handler: parsed.handler.into_handler()?,
            fingerprint: Fingerprint::of(&types::json::encode(written)),
        })
    }
}

struct Parsed {
    query: WatchQuery,
    handler: Handlers,
}

/// What a definition says about its handler.
struct Handlers {
    kind: String,
    http: Option<HttpHandler>,
    line: Option<Json>,
    args: Option<Json>,
}

/// Takes everything out of `parameters`; what is left when it fails is part of the complaint.
fn parse(parameters: &mut Parameters) -> Result<Parsed, String> {
    let head = WatchHead::take(parameters).map_err(|error| error.to_string())?;
    let kind = take_text(parameters, "handler_type").map_err(|error| error.to_string())?;
    let mut http = None;
    if kind == "http" {
        let config = parameters
            .get("http_handler_config")
            .ok_or("Handler type 'http' requires 'http_handler_config' to be set")?;
        let handler = http_handler(config)
            .map_err(|error| format!("Failed to parse 'http_handler_config': {error}"))?;
        http = Some(handler);
        parameters.remove("http_handler_config");
    }
    let query = WatchQuery::take(head, parameters).map_err(|error| error.to_string())?;
    let line = parameters.remove("handler");
    let args = parameters.remove("args");
    WatchQuery::nothing_else(parameters).map_err(|error| error.to_string())?;
    Ok(Parsed { query, handler: Handlers { kind, http, line, args } })
}

impl Handlers {
    fn into_handler(self) -> Result<Handler, String> {
        const NONE: &str = "Must define a watch handler";
        const TWO: &str = "Only one watch handler allowed";
        match (self.kind.as_str(), self.http, self.line, self.args) {
            ("http", Some(http), None, None) => Ok(Handler::Http(http)),
            ("http", ..) | ("script", _, Some(_), Some(_)) => Err(TWO.to_owned()),
            ("script", _, None, None) => Err(NONE.to_owned()),
            ("script", _, Some(line), None) => {
                let line = line.as_str().filter(|line| !line.is_empty());
                let line = line.ok_or("Watch handler must be a string")?;
                let invocation = Invocation::shell(line, std::env::var("SHELL").ok());
                Ok(Handler::Script(ScriptHandler { shown: line.to_owned(), invocation }))
            }
            ("script", _, None, Some(args)) => {
                let words = match &args {
                    Json::String(word) => vec![word.clone()],
                    Json::Array(words) => words
                        .iter()
                        .map(|word| word.as_str().map(str::to_owned))
                        .collect::<Option<_>>()
                        .ok_or("Watch args must be a list of strings")?,
                    _ => return Err("Watch args must be a list of strings".to_owned()),
                };
                let invocation = Invocation::direct(&words).ok_or(NONE)?;
                let shown = format!("[{}]", words.join(" "));
                Ok(Handler::Script(ScriptHandler { shown, invocation }))
            }
            (kind, ..) => Err(format!("Handler type '{kind}' not recognized")),
        }
    }
}

fn http_handler(config: &Json) -> Result<HttpHandler, String> {
    let text = |name: &str| config.get(name).and_then(Json::as_str).unwrap_or_default();
    let url = text("path");
    if url.is_empty() {
        return Err("Requires 'path' to be set".to_owned());
    }
    let method = match text("method") {
        "" => Method::POST,
        method => Method::from_bytes(method.as_bytes())
            .map_err(|_| format!("net/http: invalid method {method:?}"))?,
    };
    let timeout = match text("timeout") {
        "" => HTTP_TIMEOUT,
        text => GoDuration::parse(text)
            .map_err(|error| format!("Failed to parse timeout: {error}"))?
            .to_std(),
    };
    let mut headers = HeaderMap::new();
    let written = config.get("header").and_then(Json::as_object);
    for (name, values) in written.into_iter().flatten() {
        let name_of = HeaderName::try_from(name)
            .map_err(|_| format!("net/http: invalid header field name {name:?}"))?;
        for value in values.as_array().into_iter().flatten().filter_map(Json::as_str) {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| format!("net/http: invalid header field value for {name:?}"))?;
            value.set_sensitive(true);
            headers.append(&name_of, value);
        }
    }
    let uri: Uri = url.parse().map_err(|error| format!("parse {url:?}: {error}"))?;
    let skip_verify = config.get("tls_skip_verify").and_then(Json::as_bool).unwrap_or(false);
    HttpHandler::new(url, &uri, method, headers, timeout, skip_verify)
}

/// A map as Go's `%#v` prints it. Headers stay hidden, and so does the token, which is taken
/// out first.
fn go_map(members: &Parameters) -> String {
    let member = |(name, value): (&String, &Json)| match name.as_str() {
        "header" | "token" => format!("{name:?}:\"hidden\""),
        _ => format!("{name:?}:{}", go_value(value)),
    };
    let members: Vec<_> = members.iter().map(member).collect();
    format!("map[string]interface {{}}{{{}}}", members.join(", "))
}

fn go_value(value: &Json) -> String {
    match value {
        Json::Object(members) => go_map(members),
        Json::Array(values) => {
            let values: Vec<_> = values.iter().map(go_value).collect();
            format!("[]interface {{}}{{{}}}", values.join(", "))
        }
        Json::String(text) => format!("{text:?}"),
        Json::Null => "interface {}(nil)".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The complaints were seen in Consul 1.8.7 with the same definitions.
    #[test]
    fn wrong_definitions_are_refused_in_consuls_words() {
        for (definition, complaint) in [
            (json!({"type": "key", "key": "a"}), "Must define a watch handler"),
            (
                json!({"type": "key", "key": "a", "handler_type": "script"}),
                "Must define a watch handler",
            ),
            (json!({"type": "key", "key": "a", "args": []}), "Must define a watch handler"),
            (
                json!({"type": "key", "key": "a", "args": ["true"], "handler": "x"}),
                "Only one watch handler allowed",
            ),
            (
                json!({"type": "key", "key": "a", "handler_type": "http", "args": ["true"],
                       "http_handler_config": {"path": "http://127.0.0.1:1"}}),
                "Only one watch handler allowed",
            ),
            (
                json!({"type": "key", "key": "a", "handler_type": "weird", "args": ["true"]}),
                "Handler type 'weird' not recognized",
            ),
            (
                json!({"type": "key"}),
                "Failed to parse watch (map[string]interface {}{}): Must specify a single key to watch",
            ),
            (
                json!({"type": "key", "args": ["true", "b"]}),
                "Failed to parse watch (map[string]interface {}{\"args\":[]interface {}{\"true\", \
                 \"b\"}}): Must specify a single key to watch",
            ),
            (
                json!({"args": ["true", "b"], "token": "secret"}),
                "Failed to parse watch (map[string]interface {}{\"args\":[]interface {}{\"true\", \
                 \"b\"}, \"handler_type\":\"script\"}): Watch type must be specified",
            ),
            (
                json!({"type": "weather", "handler": "x", "args": ["true", "b"]}),
                "Failed to parse watch (map[string]interface {}{\"args\":[]interface {}{\"true\", \
                 \"b\"}, \"handler\":\"x\"}): Unsupported watch type: weather",
            ),
            (
                json!({"type": "key", "key": "a", "stale": true, "service": "foo", "args": ["x"]}),
                "Failed to parse watch (map[string]interface {}{\"service\":\"foo\"}): Invalid \
                 parameters: [service]",
            ),
            (
                json!({"type": "key", "key": "a", "handler_type": "http"}),
                "Failed to parse watch (map[string]interface {}{\"key\":\"a\"}): Handler type 'http' \
                 requires 'http_handler_config' to be set",
            ),
            (
                json!({"type": "key", "key": "a", "handler_type": "http",
                       "http_handler_config": {"timeout": "x"}}),
                "Failed to parse watch (map[string]interface {}{\"http_handler_config\":\
                 map[string]interface {}{\"timeout\":\"x\"}, \"key\":\"a\"}): Failed to parse \
                 'http_handler_config': Requires 'path' to be set",
            ),
            (
                json!({"type": "key", "key": "a", "handler_type": "http",
                       "http_handler_config": {"path": "http://x", "timeout": "x",
                                               "header": {"X-Secret": ["secret"]}}}),
                "Failed to parse watch (map[string]interface {}{\"http_handler_config\":\
                 map[string]interface {}{\"header\":\"hidden\", \"path\":\"http://x\", \
                 \"timeout\":\"x\"}, \"key\":\"a\"}): Failed to parse 'http_handler_config': Failed \
                 to parse timeout: time: invalid duration \"x\"",
            ),
            (
                json!({"type": "key", "key": 5, "args": ["x"]}),
                "Failed to parse watch (map[string]interface {}{\"args\":[]interface {}{\"x\"}, \
                 \"key\":5}): Expecting key to be a string",
            ),
        ] {
            assert_eq!(Definition::read(&definition).unwrap_err(), complaint, "{definition}");
        }
    }

    #[test]
    fn a_definition_is_the_same_until_something_in_it_changes() {
        let read = |definition: Json| Definition::read(&definition).unwrap();
        let one = read(json!({"type": "key", "key": "a", "args": ["x"], "token": "secret"}));
        assert!(one == read(json!({"key": "a", "type": "key", "token": "secret", "args": ["x"]})));
        assert!(one != read(json!({"type": "key", "key": "a", "args": ["y"], "token": "secret"})));
        assert!(!format!("{one:?}").contains("secret"));
    }
}
