//! `/v1/agent/`: the agent itself. Services and checks have files of their own.

use ::acl::{Permission, Resource};
use contract::{CallError, Request, Response};
use http::Method;
use http_server::{LocalRoute, Reply};
use serde::Serialize;
use serde_json::{Value, json as value};
use types::catalog::Meta;
use types::coordinate::Coordinate;
use types::member::Member;
use types::version::{CONSUL_BUILD_DATE, CONSUL_REVISION, CONSUL_VERSION, PROCONSUL_VERSION};

use super::{handler, json, route};
use crate::process::{AgentHandle, Order};

/// The routes.
pub(crate) fn routes(agent: &AgentHandle) -> Vec<LocalRoute> {
    let get = |path, handler| route(path, Method::GET, handler);
    let put = |path, handler| route(path, Method::PUT, handler);
    vec![
        get(
            "/v1/agent/self",
            handler(agent, |agent, request| async move { show_self(&agent, &request).await }),
        ),
        get("/v1/agent/version", handler(agent, |_, request| async move { Ok(version(&request)) })),
        get(
            "/v1/agent/members",
            handler(agent, |agent, request| async move { members(&agent, &request) }),
        ),
        put(
            "/v1/agent/join/",
            handler(agent, |agent, request| async move { join(&agent, &request).await }),
        ),
        put(
            "/v1/agent/leave",
            handler(agent, |agent, request| async move { leave(&agent, &request).await }),
        ),
        put(
            "/v1/agent/force-leave/",
            handler(agent, |agent, request| async move { force_leave(&agent, &request).await }),
        ),
        put(
            "/v1/agent/reload",
            handler(agent, |agent, request| async move { reload(&agent, &request).await }),
        ),
    ]
}

fn require(agent: &AgentHandle, request: &Request, write: bool) -> Result<(), CallError> {
    let config = agent.config();
    let node = config.identity.node_name.as_str();
    let permission = match write {
        true => Permission::write(Resource::Agent, node),
        false => Permission::read(Resource::Agent, node),
    };
    Ok((agent.authorizer())(&request.token).require(permission)?)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AgentSelf {
    config: SelfConfig,
    debug_config: Value,
    coord: Option<Coordinate>,
    member: Member,
    stats: crate::stats::Stats,
    meta: Meta,
    #[serde(rename = "xDS")]
    xds: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SelfConfig {
    datacenter: String,
    primary_datacenter: String,
    node_name: String,
    #[serde(rename = "NodeID")]
    node_id: String,
    revision: &'static str,
    server: bool,
    version: &'static str,
    build_date: &'static str,
    proconsul_version: &'static str,
}

async fn show_self(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    require(agent, request, false)?;
    let config = agent.config();
    let ports = &config.ports;
    let shown = config::runtime::shown_port;
    let reply = AgentSelf {
        config: SelfConfig {
            datacenter: config.identity.datacenter.as_str().to_owned(),
            primary_datacenter: config.identity.primary_datacenter.as_str().to_owned(),
            node_name: config.identity.node_name.as_str().to_owned(),
            node_id: agent.node_id().as_str().to_owned(),
            revision: CONSUL_REVISION,
            server: config.server,
            version: CONSUL_VERSION,
            build_date: CONSUL_BUILD_DATE,
            proconsul_version: PROCONSUL_VERSION,
        },
        debug_config: debug_config(&config),
        coord: match config.switches.disable_coordinates {
            true => None,
            false => Some(agent.pools().coordinate().await),
        },
        member: agent.lan_member(),
        stats: crate::stats::gather(agent).await,
        meta: Some(agent.node_meta()),
        xds: value!({
            "SupportedProxies": {},
            "Port": shown(ports.grpc_tls.or(ports.grpc)),
            "Ports": {"Plaintext": shown(ports.grpc), "TLS": shown(ports.grpc_tls)},
        }),
    };
    Ok(json(request, &reply))
}

/// The running configuration under the names that tools know, secrets left out.
fn debug_config(config: &config::RuntimeConfig) -> Value {
    let ports = &config.ports;
    let shown = config::runtime::shown_port;
    let addresses = |list: &[config::runtime::ListenAddr]| -> Vec<String> {
        list.iter()
            .map(|address| match address {
                config::runtime::ListenAddr::Tcp(socket) => format!("tcp://{socket}"),
                config::runtime::ListenAddr::Unix(path) => format!("unix://{}", path.display()),
            })
            .collect()
    };
    let mut shown_settings = value!({
        "AdvertiseAddrLAN": config.network.advertise_lan.to_string(),
        "AdvertiseAddrWAN": config.network.advertise_wan.to_string(),
        "ACLsEnabled": config.acl.enabled,
        "BindAddr": config.network.bind.to_string(),
        "Bootstrap": config.bootstrap.bootstrap,
        "BootstrapExpect": config.bootstrap.expect,
        "CheckOutputMaxSize": config.checks.output_max_size,
        "CheckUpdateInterval": config.checks.update_interval.to_string(),
        "ClientAddrs": config.network.client.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "ConnectEnabled": config.connect.enabled,
        "DNSAddrs": addresses(&config.listeners.dns),
        "DNSDomain": config.dns.domain,
        "DNSAltDomain": config.dns.alt_domain,
        "DNSPort": shown(ports.dns),
        "DataDir": config.data_dir.as_ref().map(|dir| dir.display().to_string()).unwrap_or_default(),
        "Datacenter": config.identity.datacenter.as_str(),
        "DevMode": config.dev,
        "DisableCoordinates": config.switches.disable_coordinates,
        "DisableRemoteExec": config.switches.disable_remote_exec,
        "EnableDebug": config.switches.enable_debug,
        "EnableLocalScriptChecks": config.checks.scripts.local,
        "EnableRemoteScriptChecks": config.checks.scripts.remote,
    });
    let rest = value!({
        "GRPCPort": shown(ports.grpc),
        "GRPCTLSPort": shown(ports.grpc_tls),
        "HTTPAddrs": addresses(&config.listeners.http),
        "HTTPMaxConnsPerClient": config.limits.http_max_conns_per_client,
        "HTTPPort": shown(ports.http),
        "HTTPSAddrs": addresses(&config.listeners.https),
        "HTTPSPort": shown(ports.https),
        "KVMaxValueSize": config.limits.kv_max_value_size,
        "LeaveOnTerm": config.leave.on_terminate,
        "Logging": {"LogLevel": config.log.level_text, "LogJSON": config.log.json},
        "NodeMeta": config.identity.node_meta,
        "NodeName": config.identity.node_name.as_str(),
        "PrimaryDatacenter": config.identity.primary_datacenter.as_str(),
        "SerfPortLAN": ports.serf_lan,
        "SerfPortWAN": shown(ports.serf_wan),
        "ServerMode": config.server,
        "ServerPort": ports.server,
        "SkipLeaveOnInt": config.leave.skip_on_interrupt,
        "TaggedAddresses": config.identity.tagged_addresses,
        "TranslateWANAddrs": config.network.translate_wan_addrs,
        "TxnMaxReqLen": config.limits.txn_max_req_len,
        "UIConfig": {"Enabled": config.ui.enabled, "ContentPath": config.ui.content_path},
        "Version": CONSUL_VERSION,
        "VersionPrerelease": "",
        "VersionMetadata": "",
    });
    if let (Value::Object(all), Value::Object(rest)) = (&mut shown_settings, rest) {
        all.extend(rest);
    }
    shown_settings
}

fn version(request: &Request) -> Reply {
    let reply = value!({
        "SHA": CONSUL_REVISION,
        "BuildDate": CONSUL_BUILD_DATE,
        "HumanVersion": CONSUL_VERSION,
        "FIPS": "",
    });
    json(request, &reply)
}

fn members(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    let wan = !request.params.text("wan").is_empty();
    let segment = request.params.text("segment");
    if wan && !segment.is_empty() && segment != "_all" {
        return Err(CallError::bad_request("Cannot provide a segment with wan=true"));
    }
    if !segment.is_empty() && segment != "_all" {
        return Err(CallError::failed(
            "Network segments are not supported in this version of Consul",
        ));
    }
    // A client knows no other pool than its own.
    let mut members = match agent.pools().wan() {
        Some(_) if wan => agent.pools().wan_members(),
        _ => agent.lan_members(),
    };
    let who = (agent.authorizer())(&request.token);
    members.retain(|member| who.allows(Permission::read(Resource::Node, &member.name)));
    let filter = request.params.text("filter");
    if !filter.is_empty() {
        let filter = filter::Filter::compile(filter, &MEMBER)
            .map_err(|error| CallError::failed(error.to_string()))?;
        members.retain(|member| filter.matches(member));
    }
    Ok(json(request, &members))
}

/// What `filter=` may ask of a member.
static MEMBER: filter::Schema<Member> = filter::Schema {
    fields: &[
        filter::Field::text("Name", |member| &member.name),
        filter::Field::text("Addr", |member| &member.addr),
        filter::Field::unsigned("Port", |member| member.port.into()),
        filter::Field::text_map("Tags", |member| Some(&member.tags)),
        filter::Field::signed("Status", |member| member.status.0.into()),
        filter::Field::unsigned("ProtocolMin", |member| member.protocol_min.into()),
        filter::Field::unsigned("ProtocolMax", |member| member.protocol_max.into()),
        filter::Field::unsigned("ProtocolCur", |member| member.protocol_cur.into()),
        filter::Field::unsigned("DelegateMin", |member| member.delegate_min.into()),
        filter::Field::unsigned("DelegateMax", |member| member.delegate_max.into()),
        filter::Field::unsigned("DelegateCur", |member| member.delegate_cur.into()),
    ],
};

async fn join(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    require(agent, request, true)?;
    let addresses = vec![request.tail.clone()];
    let joined = match request.params.has("wan") {
        true => agent.pools().join_wan(addresses).await,
        false => agent.pools().join_lan(addresses).await,
    };
    joined.map_err(CallError::failed)?;
    Ok(Response::ok().into())
}

async fn force_leave(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    (agent.authorizer())(&request.token).require(Permission::write(Resource::Operator, ""))?;
    let (prune, wan) = (request.params.has("prune"), request.params.has("wan"));
    let left = agent.pools().force_leave(&request.tail, prune, wan).await;
    left.map_err(CallError::failed)?;
    Ok(Response::ok().into())
}

async fn leave(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    require(agent, request, true)?;
    agent.order(Order::Leave).await?;
    Ok(Response::ok().into())
}

async fn reload(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    require(agent, request, true)?;
    agent.order(Order::Reload).await?;
    Ok(Response::ok().into())
}
