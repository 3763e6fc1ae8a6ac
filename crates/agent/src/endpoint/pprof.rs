//! `/debug/pprof/`: what of Go's profiles a process without Go's runtime can answer.
//!
//! There are no goroutines, no garbage collector and no execution tracer here, and a
//! sampling profiler in the process would interrupt it wherever it stands, in the middle
//! of an allocation too. So the command line and the (empty) table of symbols are told,
//! and for the rest the answer says what to use: `perf` and `/v1/agent/metrics`.
//! Behaviour: `reference/http-api.md` 2.19.

use acl::{Permission, Resource};
use bytes::Bytes;
use contract::{Body, Request, Response};
use http::{Method, StatusCode};
use http_server::{LocalRoute, Reply};

use super::{handler, route};
use crate::process::AgentHandle;

const INDEX: &str = "/debug/pprof/\n\ncmdline\nsymbol\n";

/// The route. It is not there while `enable_debug` is off.
pub(crate) fn routes(agent: &AgentHandle) -> Vec<LocalRoute> {
    let show = handler(agent, |agent, request| async move {
        let config = agent.config();
        if config.acl.enabled {
            // Whoever may not see it is told nothing, not even why.
            let permission = Permission::read(Resource::Operator, "");
            if agent.authorizer()(&request.token).require(permission).is_err() {
                return Ok(empty(StatusCode::FORBIDDEN));
            }
        } else if !config.switches.enable_debug {
            return Ok(empty(StatusCode::NOT_FOUND));
        }
        Ok(answer(&request, std::env::args_os()))
    });
    vec![route("/debug/pprof/", Method::GET, show)]
}

fn empty(status: StatusCode) -> Reply {
    Response { status, ..Response::not_found() }.into()
}

fn answer(request: &Request, arguments: impl Iterator<Item = std::ffi::OsString>) -> Reply {
    match request.tail.as_str() {
        "" => Response::text(StatusCode::OK, INDEX).into(),
        "cmdline" => {
            let arguments: Vec<_> = arguments.map(|word| word.into_encoded_bytes()).collect();
            let bytes = Bytes::from(arguments.join(&0));
            let body = Body::Bytes { content_type: "text/plain; charset=utf-8", bytes };
            Response { body, ..Response::ok() }.into()
        }
        "symbol" => Response::text(StatusCode::OK, "num_symbols: 0\n").into(),
        "profile" | "trace" | "heap" | "allocs" | "goroutine" | "threadcreate" | "block"
        | "mutex" => {
            let text = format!(
                "there is no {} profile: Proconsul has no Go runtime. Use \
                 `perf record -g -p {}` for where time goes, and /v1/agent/metrics for memory, \
                 tasks and how busy the threads are.\n",
                request.tail,
                std::process::id()
            );
            Response::text(StatusCode::NOT_IMPLEMENTED, text).into()
        }
        _ => Response::text(StatusCode::NOT_FOUND, "Unknown profile\n").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::tests::request;
    use super::*;

    fn get(tail: &str) -> (StatusCode, String) {
        let mut request = request("/debug/pprof/", &[]);
        request.tail = tail.to_owned();
        let words = ["consul", "agent", "-dev"].map(std::ffi::OsString::from);
        let response = answer(&request, words.into_iter()).response;
        let Body::Bytes { bytes, .. } = response.body else { panic!("it is text") };
        (response.status, String::from_utf8(bytes.to_vec()).expect("it is text"))
    }

    #[test]
    fn what_there_is_is_told_and_what_not_too() {
        assert_eq!(get(""), (StatusCode::OK, INDEX.to_owned()));
        assert_eq!(get("cmdline"), (StatusCode::OK, "consul\0agent\0-dev".to_owned()));
        assert_eq!(get("symbol"), (StatusCode::OK, "num_symbols: 0\n".to_owned()));
        let (status, text) = get("heap");
        assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
        assert!(text.starts_with("there is no heap profile: "), "{text}");
        assert_eq!(get("nope"), (StatusCode::NOT_FOUND, "Unknown profile\n".to_owned()));
    }
}
