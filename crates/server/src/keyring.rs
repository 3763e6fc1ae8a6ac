//! The keys that gossip is encrypted with, in the pools of all datacenters
//! (`reference/rpc-wire.md` section 14, `Internal.KeyringOperation`).
//!
//! The server that is asked first does it in the WAN pool and in the LAN pool of its
//! datacenter, and has one server of each other datacenter do it in the LAN pool there. What
//! went wrong in one pool keeps no other from it: it is told with the answers.

use acl::{Permission, Resource};
use bytes::Bytes;
use contract::CallError;
use contract::remote::{decode_reply, encode};
use types::Datacenter;
use types::keyring::{KeyringOperation, KeyringRequest, KeyringResponse, KeyringResponses};

use crate::Server;
use crate::gossip::PoolKind;

/// The method.
pub(crate) const KEYRING_OPERATION: &str = "Internal.KeyringOperation";

/// Has the members of the pools do something with their keys, and tells what those of each
/// pool answered: of the WAN pool, of the LAN pool here, and of those of other datacenters,
/// the nearest first.
///
/// # Errors
/// Permission denied, or nobody knows such an operation.
pub async fn operate_keys(
    server: &Server,
    request: KeyringRequest,
) -> Result<Vec<KeyringResponse>, CallError> {
    let Some(operation) = KeyringOperation::parse(&request.operation) else {
        let text = format!("Invalid keyring operation: {:?}", request.operation);
        return Err(CallError::bad_request(text));
    };
    let lists = operation == KeyringOperation::List;
    if request.local_only && !lists {
        return Err(CallError::bad_request(
            "Invalid use of local-only: local-only can only be set for list requests",
        ));
    }
    let permission = match lists {
        true => Permission::read(Resource::Keyring, ""),
        false => Permission::write(Resource::Keyring, ""),
    };
    server.authorizer(&request.token).require(permission)?;
    let is_everywhere = !request.forwarded && !request.local_only;
    let others = match is_everywhere {
        true => begin_elsewhere(server, &request, !lists),
        false => Vec::new(),
    };
    let gossip = server.gossip();
    let wan = async {
        match is_everywhere {
            true => gossip.operate_keys(PoolKind::Wan, operation, &request).await,
            false => None,
        }
    };
    let lan = gossip.operate_keys(PoolKind::Lan, operation, &request);
    let (wan, lan) = tokio::join!(wan, lan);
    let mut responses: Vec<KeyringResponse> = wan.into_iter().chain(lan).collect();
    for (datacenter, other) in others {
        // A task that is gone has panicked, of which the panic hook has told.
        match other.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(there) => responses.extend(there),
            Err(error) => {
                responses.push(KeyringResponse { datacenter, error, ..KeyringResponse::default() })
            }
        }
    }
    Ok(responses)
}

/// What a server of another datacenter answers, in time.
type Elsewhere = tokio::task::JoinHandle<Result<Vec<KeyringResponse>, String>>;

/// Asks all other datacenters at the same time. They go on even if nobody waits any more.
fn begin_elsewhere(
    server: &Server,
    request: &KeyringRequest,
    changes: bool,
) -> Vec<(Datacenter, Elsewhere)> {
    let ask = |datacenter: Datacenter| {
        let (server, there) = (server.clone(), datacenter.clone());
        let request =
            KeyringRequest { forwarded: true, datacenter: there.clone(), ..request.clone() };
        let asked = tokio::spawn(async move {
            let deadline = server.shared.options.client_timeout;
            let call = (KEYRING_OPERATION, encode(&request));
            let reply = server.peers().call_in(&there, call, deadline, changes).await;
            let reply: Bytes = reply.map_err(|error| error.to_string())?;
            let reply: KeyringResponses =
                decode_reply(KEYRING_OPERATION, &reply).map_err(|error| error.to_string())?;
            Ok(reply.responses)
        });
        (datacenter, asked)
    };
    server.other_datacenters().into_iter().map(ask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cluster::Cluster;

    /// What is answered, as `(datacenter) pool of server: operation`.
    async fn told(server: &Server, request: KeyringRequest) -> Vec<String> {
        let responses = operate_keys(server, request).await.expect("it is an operation");
        let shown = |response: KeyringResponse| {
            let pool = if response.wan { "wan" } else { "lan" };
            let messages: Vec<String> =
                response.messages.into_iter().map(|(who, what)| format!("{who}: {what}")).collect();
            format!("{pool} {}{}", messages.join(" "), response.error)
        };
        responses.into_iter().map(shown).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keys_are_operated_on_once_in_each_pool_of_every_datacenter() {
        let (east, west) = (Cluster::start("east", 1).await, Cluster::start("west", 1).await);
        east.meet(&west);
        west.meet(&east);
        let (server, name) = (&east.servers[0].server, &east.servers[0].addr.name);
        let there = &west.servers[0].addr.name;
        let asked = |operation: &str| KeyringRequest {
            operation: operation.to_owned(),
            ..KeyringRequest::default()
        };
        let everywhere = [
            format!("wan {name}: install"),
            format!("lan {name}: install"),
            format!("lan {there}: install"),
        ];
        assert_eq!(told(server, asked("install")).await, everywhere);
        let local = KeyringRequest { local_only: true, ..asked("list") };
        assert_eq!(told(server, local).await, [format!("lan {name}: list")]);
        let passed_on = KeyringRequest { forwarded: true, ..asked("use") };
        assert_eq!(told(server, passed_on).await, [format!("lan {name}: use")]);
        let refused = operate_keys(server, asked("explode")).await;
        assert!(refused.is_err_and(|error| error.text().contains("Invalid keyring operation")));
        let local = KeyringRequest { local_only: true, ..asked("remove") };
        assert!(operate_keys(server, local).await.is_err());
        // Nobody answers there any more, which keeps nobody here from it.
        west.stop().await;
        let told = told(server, asked("list")).await;
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[1], format!("lan {name}: list"));
        assert!(told[2].starts_with("lan rpc error"), "{told:?}");
        east.stop().await;
    }
}
