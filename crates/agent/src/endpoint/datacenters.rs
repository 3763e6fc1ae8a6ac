//! `/v1/catalog/datacenters`: what the WAN pool knows. No token is asked for.

use std::sync::Arc;

use contract::{Request, Response};
use http::Method;
use http_server::{LocalRoute, Reply};

use super::{encoding, handler, route};
use crate::cache::datacenters::KeptDatacenters;
use crate::delegate::Delegate;

/// The route. With `uses_cache` (`http_config.use_cache`), `?cached` is heeded.
pub(crate) fn routes(delegate: &Delegate, uses_cache: bool) -> Vec<LocalRoute> {
    let shared = (delegate.clone(), Arc::new(KeptDatacenters::default()));
    let list = handler(&shared, move |(delegate, kept), request: Request| async move {
        let mut options = request.read_options()?;
        options.cached &= uses_cache;
        let (names, cached) = kept.read(&delegate, &options).await?;
        let mut response = Response::json(&names, encoding(&request));
        if let Some((hit, age)) = cached {
            response = response.with_header("X-Cache", if hit { "HIT" } else { "MISS" });
            if hit {
                response = response.with_header("Age", age.as_secs().to_string());
            }
        }
        Ok(Reply::from(response))
    });
    vec![route("/v1/catalog/datacenters", Method::GET, list)]
}
