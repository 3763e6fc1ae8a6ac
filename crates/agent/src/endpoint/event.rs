//! `/v1/event/`: events that reach every agent (`reference/http-api.md` 2.9).

use std::time::Duration;

use contract::{CallError, Request};
use http::Method;
use http_server::{LocalRoute, Reply};
use types::Blob;
use types::user_event::UserEvent;

use super::{handler, json, route};
use crate::user_event::UserEvents;

/// The longest wait, and the one of a client that does not say.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// The routes.
pub(crate) fn routes(events: &UserEvents) -> Vec<LocalRoute> {
    let fire = handler(events, |events, request| async move { fire(&events, &request).await });
    let list = handler(events, |events, request| async move { list(&events, &request).await });
    vec![route("/v1/event/fire/", Method::PUT, fire), route("/v1/event/list", Method::GET, list)]
}

async fn fire(events: &UserEvents, request: &Request) -> Result<Reply, CallError> {
    let text = |name| request.params.text(name).to_owned();
    let event = UserEvent {
        name: request.tail_or("Missing name")?.to_owned(),
        payload: Blob(request.body.clone()),
        node_filter: text("node"),
        service_filter: text("service"),
        tag_filter: text("tag"),
        ..UserEvent::default()
    };
    let fired = events.fire(request.datacenter(), event, &request.token).await?;
    Ok(json(request, &fired))
}

async fn list(events: &UserEvents, request: &Request) -> Result<Reply, CallError> {
    let options = request.read_options()?;
    let (name, token) = (request.params.text("name"), &request.token);
    let listing = match options.min_index.0 {
        0 => events.list(name, token),
        _ => {
            let asked = options.max_wait.filter(|wait| !wait.is_zero()).unwrap_or(WAIT_MAX);
            events.wait(name, token, options.min_index, asked.min(WAIT_MAX)).await
        }
    };
    let mut reply = json(request, &listing.events);
    reply.response = reply.response.with_header("X-Consul-Index", listing.index.to_string());
    Ok(reply)
}
