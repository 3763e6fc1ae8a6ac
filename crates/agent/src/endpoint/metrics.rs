//! `/v1/agent/metrics`: what the agent counted and measured, as JSON, as Prometheus reads
//! it, and as a stream.

use acl::{Permission, Resource};
use bytes::Bytes;
use contract::{Body, CallError, ErrorKind, Request, Response};
use http::{Method, StatusCode, header};
use http_server::{LocalRoute, Reply};
use telemetry::{Metrics, PROMETHEUS_CONTENT_TYPE};

use super::{AuthorizerHook, handler, json, route};

/// The two routes. Both need `agent:read` on this node.
pub(crate) fn routes(metrics: &Metrics, authorizer: &AuthorizerHook) -> Vec<LocalRoute> {
    let shared = (metrics.clone(), authorizer.clone());
    let show = handler(&shared, |(metrics, authorizer), request| async move {
        require_agent_read(&authorizer, &request)?;
        Ok(if wants_prometheus(&request) {
            prometheus(metrics.prometheus())
        } else {
            json(&request, &*metrics.summary())
        })
    });
    let stream = handler(&shared, |(metrics, authorizer), request| async move {
        require_agent_read(&authorizer, &request)?;
        let intervals = metrics.follow().ok_or_else(|| {
            CallError::new(ErrorKind::TooMany, "Too many clients stream the metrics of this agent")
        })?;
        let stream = Some(("text/plain; charset=utf-8", intervals));
        Ok(Reply { stream, ..Reply::from(Response::ok()) })
    });
    vec![
        route("/v1/agent/metrics", Method::GET, show),
        route("/v1/agent/metrics/stream", Method::GET, stream),
    ]
}

/// Refuses tokens that may not read this agent.
pub(super) fn require_agent_read(
    authorizer: &AuthorizerHook,
    request: &Request,
) -> Result<(), CallError> {
    let permission = Permission::read(Resource::Agent, request.agent.node.as_str());
    Ok(authorizer(&request.token).require(permission)?)
}

/// `format=prometheus`, or an `Accept` that only Prometheus sends.
fn wants_prometheus(request: &Request) -> bool {
    let accepted = request.headers.get_all(header::ACCEPT).iter();
    request.params.text("format") == "prometheus"
        || accepted.filter_map(|value| value.to_str().ok()).any(|value| {
            let value = value.replace(' ', "");
            value.contains("application/openmetrics-text")
                || value.contains("text/plain;version=0.4.0")
        })
}

fn prometheus(text: Option<String>) -> Reply {
    let Some(text) = text else {
        let reason = "Prometheus is not enabled since its retention time is not positive";
        return Response::ok().with_header("X-Consul-Reason", reason).into();
    };
    let body = Body::Bytes { content_type: PROMETHEUS_CONTENT_TYPE, bytes: Bytes::from(text) };
    Response { status: StatusCode::OK, headers: Vec::new(), body }.into()
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use acl::Authorizer;
    use contract::{AgentFacts, Params};
    use http::HeaderMap;
    use telemetry::Settings;
    use types::{Datacenter, NodeName, SecretId};

    use super::*;

    /// A `GET` of the agent `a1` with this query.
    pub(in super::super) fn request(path: &str, query: &[(&str, &str)]) -> Request {
        let pairs = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let agent = AgentFacts {
            connect: true,
            coordinates: true,
            datacenter: Datacenter::from("dc1"),
            node: NodeName::from("a1"),
            kv_max_value_size: 1,
            txn_max_req_len: 1,
            discovery_max_stale: Duration::ZERO,
            indents: false,
        };
        Request {
            method: Method::GET,
            path: path.to_owned(),
            tail: String::new(),
            params: Params::new(pairs.collect()),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            token: SecretId::from(""),
            remote: None,
            agent: Arc::new(agent),
        }
    }

    /// Sends a request to the one of these routes that has its path.
    pub(in super::super) async fn call(
        routes: &[LocalRoute],
        request: Request,
    ) -> Result<Reply, CallError> {
        let route = routes.iter().find(|route| route.path == request.path).expect("there is one");
        (route.verbs[0].1)(request).await
    }

    /// A hook for which every token has the same rights.
    pub(in super::super) fn everybody(may: Authorizer) -> AuthorizerHook {
        Arc::new(move |_: &SecretId| may.clone())
    }

    fn routes_with(retention: Duration, may: Authorizer) -> Vec<LocalRoute> {
        let settings = Settings { prometheus_retention: retention, ..Settings::default() };
        routes(&Metrics::install(&settings), &everybody(may))
    }

    fn text(reply: &Reply) -> &str {
        match &reply.response.body {
            Body::Json(bytes) | Body::Bytes { bytes, .. } => {
                std::str::from_utf8(bytes).expect("it is text")
            }
            Body::Empty => "",
        }
    }

    #[tokio::test]
    async fn json_is_shown_unless_prometheus_is_asked_for() {
        let routes = routes_with(Duration::from_secs(60), Authorizer::allow_all());
        let reply = call(&routes, request("/v1/agent/metrics", &[])).await.expect("it is allowed");
        assert!(text(&reply).starts_with(r#"{"Timestamp":"20"#), "{}", text(&reply));
        assert!(text(&reply).contains(r#""Points":[]"#));
        let pretty = request("/v1/agent/metrics", &[("pretty", "")]);
        let reply = call(&routes, pretty).await.expect("it is allowed");
        assert!(text(&reply).starts_with("{\n    \"Timestamp\""));

        let mut asked = vec![request("/v1/agent/metrics", &[("format", "prometheus")])];
        for accept in ["application/openmetrics-text; version=1.0.0", "text/plain; version=0.4.0"] {
            let mut by_header = request("/v1/agent/metrics", &[]);
            by_header.headers.insert(header::ACCEPT, accept.parse().expect("it is a header"));
            asked.push(by_header);
        }
        for request in asked {
            let reply = call(&routes, request).await.expect("it is allowed");
            let Body::Bytes { content_type, .. } = &reply.response.body else { panic!("text") };
            assert_eq!(*content_type, "text/plain; version=0.0.4; charset=utf-8");
            assert!(text(&reply).contains("\n# TYPE consul_rpc_request counter\n"));
            assert!(text(&reply).contains("\nprocess_open_fds "));
        }
    }

    #[tokio::test]
    async fn prometheus_without_retention_is_an_empty_answer_with_a_reason() {
        let routes = routes_with(Duration::ZERO, Authorizer::allow_all());
        let asked = request("/v1/agent/metrics", &[("format", "prometheus")]);
        let reply = call(&routes, asked).await.expect("it is allowed");
        assert_eq!(reply.response.status, StatusCode::OK);
        assert!(matches!(reply.response.body, Body::Empty));
        let reason = "Prometheus is not enabled since its retention time is not positive";
        assert_eq!(reply.response.headers, [("X-Consul-Reason", reason.to_owned())]);
    }

    #[tokio::test]
    async fn the_stream_is_open_until_the_client_goes() {
        let routes = routes_with(Duration::ZERO, Authorizer::allow_all());
        let reply = call(&routes, request("/v1/agent/metrics/stream", &[])).await;
        let (_, stream) = reply.expect("it is allowed").stream.expect("it is a stream");
        assert!(!stream.is_closed());
    }

    #[tokio::test]
    async fn both_need_to_read_the_agent() {
        let routes = routes_with(Duration::ZERO, Authorizer::deny_all());
        for path in ["/v1/agent/metrics", "/v1/agent/metrics/stream"] {
            let Err(error) = call(&routes, request(path, &[])).await else { panic!("{path}") };
            let words = "lacks permission 'agent:read' on \"a1\"";
            assert!(error.text().contains(words), "{}", error.text());
        }
    }
}
