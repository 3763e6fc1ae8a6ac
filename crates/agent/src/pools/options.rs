//! What the pools are started with.

use std::path::PathBuf;

use config::RuntimeConfig;
use config::runtime::{GossipPool, GossipTimings};
use gossip::consul::{ClientTags, MergeRules, ServerTags, Tags, wan_name};
use gossip::memberlist::Timings;
use types::NodeId;

use crate::gossip::{PoolKind, PoolOptions};

/// The least time for which failed members are kept.
const RECONNECT_TIMEOUT_MIN: std::time::Duration = std::time::Duration::from_secs(8 * 3600);

/// The pool of all agents of the datacenter.
pub(super) fn lan(config: &RuntimeConfig, node_id: &NodeId) -> PoolOptions {
    let identity = &config.identity;
    let name = identity.node_name.as_str();
    let merge = MergeRules::Lan {
        datacenter: identity.datacenter.as_str().to_owned(),
        name: name.to_owned(),
        node_id: node_id.as_str().to_owned(),
    };
    let tags = match config.server {
        true => server_tags(config, node_id, config.ports.serf_wan),
        false => client_tags(config, node_id),
    };
    let options = pool(config, PoolKind::Lan, name, &config.gossip.lan);
    PoolOptions { tags, merge, ..options }
}

/// The pool of the servers of all datacenters, where this agent is in it.
pub(super) fn wan(config: &RuntimeConfig, node_id: &NodeId) -> Option<PoolOptions> {
    let settings = config.gossip.wan.as_ref().filter(|_| config.server)?;
    let identity = &config.identity;
    let name = wan_name(identity.node_name.as_str(), identity.datacenter.as_str());
    let options = pool(config, PoolKind::Wan, &name, settings);
    let tags = server_tags(config, node_id, None);
    Some(PoolOptions { tags, merge: MergeRules::Wan, ..options })
}

fn pool(config: &RuntimeConfig, kind: PoolKind, name: &str, settings: &GossipPool) -> PoolOptions {
    let gossip = &config.gossip;
    let options = PoolOptions::new(kind, name, settings.bind, fastrand::u64(..));
    let reconnect_timeout = match settings.reconnect_timeout {
        unset if unset.is_zero() => options.reconnect_timeout,
        set => set.to_std().max(RECONNECT_TIMEOUT_MIN),
    };
    PoolOptions {
        server: config.server,
        advertise: settings.advertise,
        allowed_networks: settings.allowed_cidrs.clone(),
        timings: timings(options.timings, &settings.timings),
        reconnect_timeout,
        encrypt: Some(gossip.encrypt.clone()).filter(|key| !key.is_empty()),
        verify_incoming: gossip.encrypt_verify_incoming,
        verify_outgoing: gossip.encrypt_verify_outgoing,
        folder: folder(config),
        keyring_file: !gossip.disable_keyring_file,
        rejoin_after_leave: config.leave.rejoin_after,
        // Two servers of one name are for an operator to tell apart.
        resolve_name_conflicts: !config.server,
        ..options
    }
}

fn folder(config: &RuntimeConfig) -> Option<PathBuf> {
    config.data_dir.as_deref().filter(|_| !config.dev).map(|dir| dir.join("serf"))
}

fn timings(of_kind: Timings, settings: &GossipTimings) -> Timings {
    Timings {
        gossip_interval: settings.gossip_interval.to_std(),
        gossip_nodes: usize::try_from(settings.gossip_nodes).unwrap_or(usize::MAX),
        probe_interval: settings.probe_interval.to_std(),
        probe_timeout: settings.probe_timeout.to_std(),
        suspicion_mult: settings.suspicion_mult,
        retransmit_mult: settings.retransmit_mult,
        ..of_kind
    }
}

fn server_tags(config: &RuntimeConfig, node_id: &NodeId, wan_join_port: Option<u16>) -> Tags {
    let tls = &config.tls.internal_rpc;
    let tags = ServerTags {
        datacenter: config.identity.datacenter.as_str().to_owned(),
        node_id: node_id.as_str().to_owned(),
        port: config.ports.server,
        grpc_port: config.ports.grpc,
        grpc_tls_port: config.ports.grpc_tls,
        bootstrap: config.bootstrap.bootstrap,
        expect: config.bootstrap.expect,
        read_replica: false,
        use_tls: tls.ca_file.is_some() || tls.ca_path.is_some(),
        acls: config.acl.enabled,
        wan_join_port,
    };
    tags.to_tags()
}

fn client_tags(config: &RuntimeConfig, node_id: &NodeId) -> Tags {
    let tags = ClientTags {
        datacenter: config.identity.datacenter.as_str().to_owned(),
        node_id: node_id.as_str().to_owned(),
        reconnect_timeout: config.gossip.advertise_reconnect_timeout.to_std(),
    };
    tags.to_tags()
}
