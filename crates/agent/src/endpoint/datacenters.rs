//! `/v1/catalog/datacenters`: what the WAN pool knows. No token is asked for.

use http::Method;
use http_server::LocalRoute;

use super::{handler, json, route};
use crate::delegate::Delegate;

/// The route.
pub(crate) fn routes(delegate: &Delegate) -> Vec<LocalRoute> {
    let list = handler(delegate, |delegate, request| async move {
        Ok(json(&request, &delegate.datacenters().await?))
    });
    vec![route("/v1/catalog/datacenters", Method::GET, list)]
}
