//! `/v1/event/` (`reference/http-api.md` 2.9).

use bytes::Bytes;
use serde::Deserialize;

use crate::{Client, Error, Request};

/// An event to send. The filters are regular expressions; empty ones let all through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFire {
    /// The name.
    pub name: String,
    /// What it carries.
    pub payload: Bytes,
    /// Which nodes it is for.
    pub node_filter: String,
    /// Which services a node must have.
    pub service_filter: String,
    /// Which tags those must have.
    pub tag_filter: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fired {
    #[serde(rename = "ID")]
    id: String,
}

impl Client {
    /// Sends an event to all agents. Gives its id.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn event_fire(&self, event: &EventFire) -> Result<String, Error> {
        let request = Request::put(format!("/v1/event/fire/{}", event.name))
            .query_unless_empty("node", &event.node_filter)
            .query_unless_empty("service", &event.service_filter)
            .query_unless_empty("tag", &event.tag_filter)
            .body(event.payload.clone());
        let fired: Fired = self.call(request).await?.json().await?;
        Ok(fired.id)
    }
}
