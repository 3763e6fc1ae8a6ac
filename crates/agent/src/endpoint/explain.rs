//! `/v1/proconsul/explain`: why something is seen, or not. Consul has nothing like it.

use contract::{CallError, Request};
use http::Method;
use http_server::{LocalRoute, Reply};

use super::status::check_datacenter;
use super::{handler, json, route};
use crate::explain::Explainer;

/// The route: `?service=NAME`, `?dns=NAME` or `?key=KEY`. Names are parameters, because
/// a path would be cleaned of the very slashes that may be the trouble with a key.
pub(crate) fn routes(explainer: &Explainer) -> Vec<LocalRoute> {
    let explain =
        handler(explainer, |explainer, request| async move { explain(&explainer, &request).await });
    vec![route("/v1/proconsul/explain", Method::GET, explain)]
}

async fn explain(explainer: &Explainer, request: &Request) -> Result<Reply, CallError> {
    check_datacenter(request)?;
    let subject = |name| request.params.get(name).filter(|value| !value.is_empty());
    let explanation = match (subject("service"), subject("dns"), subject("key")) {
        (Some(service), None, None) => explainer.service(service, request).await?,
        (None, Some(name), None) => explainer.dns(name, request).await?,
        (None, None, Some(key)) => explainer.key(key, request).await?,
        _ => {
            let text = "Name one thing to be explained: ?service=NAME, ?dns=NAME or ?key=KEY";
            return Err(CallError::bad_request(text));
        }
    };
    Ok(json(request, &explanation))
}
