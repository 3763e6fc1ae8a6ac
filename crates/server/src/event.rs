//! User events reach the agents of a datacenter through one of its servers
//! (`reference/rpc-wire.md` section 14, `Internal.EventFire`).

use acl::{Permission, Resource};
use contract::CallError;
use contract::remote::encode;
use rpc::retry::Purpose;
use serde::{Deserialize, Serialize};
use types::{Blob, Datacenter, SecretId};

use crate::Server;
use crate::forward::{Answers, ask_answerer};

/// The method.
pub(crate) const EVENT_FIRE: &str = "Internal.EventFire";

/// What stands before the name of an event in the pool.
const POOL_PREFIX: &str = "consul:event:";

/// An event on its way to all agents of a datacenter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EventFireRequest {
    /// Whether any server may do it: any can.
    pub allow_stale: bool,
    /// Whose agents.
    pub datacenter: Datacenter,
    /// The name, without what stands before it in the pool.
    pub name: String,
    /// The event, encoded as it travels (`reference/gossip-wire.md` section 16).
    pub payload: Blob,
    /// The token.
    pub token: SecretId,
}

/// Sends an event to all agents of a datacenter.
///
/// # Errors
/// Permission denied, no way to the datacenter, or the pool did not take it.
pub async fn fire_event(server: &Server, request: EventFireRequest) -> Result<(), CallError> {
    let call = (EVENT_FIRE, encode(&request));
    let (datacenter, answers) = (&request.datacenter, Answers::Anybody);
    if ask_answerer(server, datacenter, answers, call, Purpose::Write).await?.is_some() {
        return Ok(());
    }
    let name = request.name.as_str();
    server.authorizer(&request.token).require(Permission::write(Resource::Event, name))?;
    let (name, payload) = (format!("{POOL_PREFIX}{name}"), request.payload.0);
    let sent = server.gossip().user_event(&name, payload, false).await;
    sent.map_err(CallError::failed)
}
