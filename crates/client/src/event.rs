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

impl EventFire {
    /// Sends the event to all agents. Gives its id.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn send(&self, client: &Client) -> Result<String, Error> {
        let request = Request::put(format!("/v1/event/fire/{}", self.name))
            .query_unless_empty("node", &self.node_filter)
            .query_unless_empty("service", &self.service_filter)
            .query_unless_empty("tag", &self.tag_filter)
            .body(self.payload.clone());
        let fired: Fired = client.call(request).await?.json().await?;
        Ok(fired.id)
    }
}
