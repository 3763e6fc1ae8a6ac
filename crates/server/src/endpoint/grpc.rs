//! The services that are reached over gRPC (`reference/grpc-and-xds.md` sections 3 and 4).

use grpc::answer::{self, Asked};
use grpc::messages::{SubscribeRequest, TransferLeaderRequest, TransferLeaderResponse};
use grpc::{Handler, Request, Response, Status, paths, unfold};
use rpc::{BoxFuture, Peer};
use types::{Datacenter, SecretId};

use crate::Server;
use crate::forward::FORWARDED_METADATA;
use crate::grpc_status::status_of;
use crate::rate_limit::Caller;
use crate::subscribe::{Subscription, subscribe};

/// All of them.
pub(super) struct Services {
    pub(super) server: Server,
}

impl Handler for Services {
    fn handle(&self, from: &Peer, request: Request) -> BoxFuture<'static, Response> {
        let server = self.server.called_by(Caller::Client(Some(from.address.ip())));
        match request.uri().path() {
            paths::SUBSCRIBE if server.shared.options.enable_streaming => {
                answer::stream(request, |asked: Asked<SubscribeRequest>| async move {
                    let begun = subscribe(&server, asked.message).await?;
                    Ok(unfold(Some(begun), Subscription::next))
                })
            }
            paths::TRANSFER_LEADER => answer::once(request, |asked| transfer_leader(server, asked)),
            path => {
                let refusal = answer::unimplemented(path);
                Box::pin(std::future::ready(refusal))
            }
        }
    }
}

async fn transfer_leader(
    server: Server,
    asked: Asked<TransferLeaderRequest>,
) -> Result<TransferLeaderResponse, Status> {
    // It was meant for the leader. Sent on, it might come back.
    if !asked.text(FORWARDED_METADATA).is_empty() && !server.raft().is_leader() {
        return Err(status_of(&contract::CallError::no_leader()));
    }
    let (own, token) = (Datacenter::default(), SecretId::from(asked.token()));
    let id = Some(asked.message.id.as_str()).filter(|id| !id.is_empty());
    let moved = server.transfer_leadership(&own, id, &token).await;
    moved.map_err(|error| status_of(&error))?;
    Ok(TransferLeaderResponse { success: true })
}

#[cfg(test)]
mod tests;
