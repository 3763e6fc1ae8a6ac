//! The methods that belong to no domain: what servers ask each other, what operators ask,
//! and what answers that it is off.

use bytes::Bytes;
use contract::remote::{MethodClass, Nothing, QueryOptions, decode_args, encode};
use contract::{CallError, ReadFacts};
use rpc::BoxFuture;
use types::Index;
use types::autopilot::ServerRaftStats;
use types::keyring::KeyringResponses;
use types::msgpack;
use types::operator::{AutopilotStateReply, RaftPeer, RemovePeerRequest};

use super::operator::HealthReply;
use crate::Server;
use crate::autopilot::RAFT_STATS;
use crate::coordinates::datacenter_maps;
use crate::event::{EVENT_FIRE, fire_event};
use crate::keyring::{KEYRING_OPERATION, operate_keys};
use crate::operator::{
    AUTOPILOT_STATE, RAFT_CONFIGURATION, REMOVE_BY_ADDRESS, REMOVE_BY_ID, SERVER_HEALTH,
    STATUS_LEADER, STATUS_PEERS,
};

/// A method.
pub(super) struct Method {
    /// `Status.Ping`.
    pub(super) name: &'static str,
    /// As what it counts where calls are limited.
    pub(super) class: MethodClass,
    /// Answers it: here, or by asking whoever does.
    pub(super) answer: fn(Server, Bytes) -> BoxFuture<'static, Result<Bytes, CallError>>,
}

/// All of them.
pub(super) const METHODS: &[Method] = &[
    exempt("Status.Ping", |_, _| Box::pin(async { Ok(encode(&Nothing {})) })),
    exempt(STATUS_LEADER, |server, args| {
        Box::pin(async move {
            let options: QueryOptions = decode_args(&args)?;
            Ok(encode(&server.leader_address(&options.datacenter).await?))
        })
    }),
    exempt(STATUS_PEERS, |server, args| {
        Box::pin(async move {
            let options: QueryOptions = decode_args(&args)?;
            Ok(encode(&server.peer_addresses(&options.datacenter).await?))
        })
    }),
    exempt(RAFT_STATS, |server, _| Box::pin(async move { raft_stats(&server).await })),
    read("Catalog.ListDatacenters", |server, _| {
        Box::pin(async move { Ok(encode(&server.datacenters())) })
    }),
    read("Coordinate.ListDatacenters", |server, _| {
        Box::pin(async move { Ok(encode(&datacenter_maps(&server).await)) })
    }),
    exempt(RAFT_CONFIGURATION, |server, args| {
        Box::pin(async move {
            let options = decode_args::<QueryOptions>(&args)?.to_read_options();
            let members = server.gossip().members();
            Ok(encode(&server.raft_configuration(&options, &members).await?))
        })
    }),
    exempt(REMOVE_BY_ID, |server, args| {
        Box::pin(async move {
            let request: RemovePeerRequest = decode_args(&args)?;
            remove(&server, &request, RaftPeer::Id(request.id.clone())).await
        })
    }),
    exempt(REMOVE_BY_ADDRESS, |server, args| {
        Box::pin(async move {
            let request: RemovePeerRequest = decode_args(&args)?;
            remove(&server, &request, RaftPeer::Address(request.address.clone())).await
        })
    }),
    exempt(AUTOPILOT_STATE, |server, args| {
        Box::pin(async move {
            let options = decode_args::<QueryOptions>(&args)?.to_read_options();
            let members = server.gossip().members();
            let state = server.autopilot_state(&options, &members).await?;
            Ok(encode(&AutopilotStateReply::from(&state)))
        })
    }),
    exempt(SERVER_HEALTH, |server, args| {
        Box::pin(async move {
            let options = decode_args::<QueryOptions>(&args)?.to_read_options();
            let members = server.gossip().members();
            let health = server.operator_health(&options, &members).await?;
            Ok(encode(&HealthReply::from(health)))
        })
    }),
    write(EVENT_FIRE, |server, args| {
        Box::pin(async move {
            fire_event(&server, decode_args(&args)?).await?;
            Ok(encode(&facts_of(&server).to_meta("")))
        })
    }),
    read(KEYRING_OPERATION, |server, args| {
        Box::pin(async move {
            let responses = operate_keys(&server, decode_args(&args)?).await?;
            let reply = KeyringResponses { responses };
            let mut bytes = Vec::new();
            msgpack::write_joined(&mut bytes, &reply, &facts_of(&server).to_meta(""));
            Ok(bytes.into())
        })
    }),
    write("AutoEncrypt.Sign", AUTO_ENCRYPT_OFF),
    off("ACL.AuthMethodDelete", ACL_OFF),
    off("ACL.AuthMethodList", ACL_OFF),
    off("ACL.AuthMethodRead", ACL_OFF),
    off("ACL.AuthMethodSet", ACL_OFF),
    off("ACL.Authorize", ACL_OFF),
    off("ACL.BindingRuleDelete", ACL_OFF),
    off("ACL.BindingRuleList", ACL_OFF),
    off("ACL.BindingRuleRead", ACL_OFF),
    off("ACL.BindingRuleSet", ACL_OFF),
    off("ACL.BootstrapTokens", ACL_OFF),
    off("ACL.Login", ACL_OFF),
    off("ACL.Logout", ACL_OFF),
    off("ACL.PolicyBatchRead", ACL_OFF),
    off("ACL.PolicyDelete", ACL_OFF),
    off("ACL.PolicyList", ACL_OFF),
    off("ACL.PolicyRead", ACL_OFF),
    off("ACL.PolicyResolve", ACL_OFF),
    off("ACL.PolicySet", ACL_OFF),
    off("ACL.ReplicationStatus", ACL_OFF),
    off("ACL.RoleBatchRead", ACL_OFF),
    off("ACL.RoleDelete", ACL_OFF),
    off("ACL.RoleList", ACL_OFF),
    off("ACL.RoleRead", ACL_OFF),
    off("ACL.RoleResolve", ACL_OFF),
    off("ACL.RoleSet", ACL_OFF),
    off("ACL.TokenBatchRead", ACL_OFF),
    off("ACL.TokenClone", ACL_OFF),
    off("ACL.TokenDelete", ACL_OFF),
    off("ACL.TokenList", ACL_OFF),
    off("ACL.TokenRead", ACL_OFF),
    off("ACL.TokenSet", ACL_OFF),
];

type Answer = fn(Server, Bytes) -> BoxFuture<'static, Result<Bytes, CallError>>;

/// What answers a method of something that is off.
const ACL_OFF: Answer = |_, _| Box::pin(async { Err(CallError::failed("ACL support disabled")) });
const AUTO_ENCRYPT_OFF: Answer = |_, _| {
    Box::pin(async {
        let text = "AutoEncrypt.AllowTLS must be enabled in order to use this endpoint";
        Err(CallError::failed(text))
    })
};

const fn exempt(name: &'static str, answer: Answer) -> Method {
    Method { name, class: MethodClass::Exempt, answer }
}

const fn read(name: &'static str, answer: Answer) -> Method {
    Method { name, class: MethodClass::Read, answer }
}

const fn off(name: &'static str, answer: Answer) -> Method {
    read(name, answer)
}

const fn write(name: &'static str, answer: Answer) -> Method {
    Method { name, class: MethodClass::Write, answer }
}

/// What is told beside an answer that is not of the state.
fn facts_of(server: &Server) -> ReadFacts {
    let (raft, index) = (server.raft(), Index::ZERO);
    let (known_leader, last_contact) = (raft.leader().is_some(), raft.last_contact());
    ReadFacts { index, known_leader, last_contact, removed: false }
}

async fn remove(
    server: &Server,
    request: &RemovePeerRequest,
    peer: RaftPeer,
) -> Result<Bytes, CallError> {
    server.remove_peer(&request.datacenter, &peer, &request.token).await?;
    Ok(encode(&Nothing {}))
}

async fn raft_stats(server: &Server) -> Result<Bytes, CallError> {
    let stats = server.raft().stats().await.map_err(|error| error.to_call_error())?;
    let last = &stats.status.last;
    Ok(encode(&ServerRaftStats {
        last_contact: stats.last_contact_text(),
        last_term: last.term.0,
        last_index: last.index.0,
    }))
}
