//! `/v1/session/` (`reference/http-api.md` 3.2).

use serde::{Deserialize, Serialize};
use types::session::Session;
use types::{NodeName, SessionId};

use crate::{Client, Error, Request};

/// A session to make. Fields that are empty are left to the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SessionCreate {
    /// `release` or `delete`: what happens to the keys that it holds.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub behavior: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The node that it belongs to.
    #[serde(skip_serializing_if = "NodeName::is_empty")]
    pub node: NodeName,
    /// Checks of the node that must not be critical; `None` for `serfHealth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_checks: Option<Vec<String>>,
    /// How long keys that it held cannot be locked after its end, as `15s`, which is the default.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lock_delay: String,
    /// How long it lives without being renewed, as `15s`.
    #[serde(rename = "TTL", skip_serializing_if = "String::is_empty")]
    pub ttl: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Created {
    #[serde(rename = "ID")]
    id: SessionId,
}

/// The sessions that an agent knows.
#[derive(Clone, Copy)]
pub struct Sessions<'c>(pub &'c Client);

impl Sessions<'_> {
    /// Makes a session. Gives its id.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn create(&self, session: &SessionCreate) -> Result<SessionId, Error> {
        let request = Request::put("/v1/session/create").json(session);
        let created: Created = self.0.call(request).await?.json().await?;
        Ok(created.id)
    }

    /// Lets the time of a session begin anew. `None` if it is not there any more.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn renew(&self, id: &SessionId) -> Result<Option<Session>, Error> {
        let response = self.0.send(Request::put(format!("/v1/session/renew/{id}"))).await?;
        if response.status() == http::StatusCode::NOT_FOUND {
            response.bytes().await?;
            return Ok(None);
        }
        let sessions: Vec<Session> = response.success().await?.json().await?;
        Ok(sessions.into_iter().next())
    }

    /// Ends a session; one that is not there is as good.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn destroy(&self, id: &SessionId) -> Result<(), Error> {
        self.0.call_silently(Request::put(format!("/v1/session/destroy/{id}"))).await
    }
}
