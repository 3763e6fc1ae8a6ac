//! How much there is: gauges of the state, of the members and of this server's role,
//! set again and again (`reference/telemetry.md` section 2, usage gauges).

use std::time::Duration;

use domains::catalog::usage;
use domains::kv::KVS;
use telemetry::names;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use types::member::Member;

use crate::Server;
use crate::leader::until;

/// How often usage is told. Shorter than an interval of the metrics, so that each has it.
const USAGE_INTERVAL: Duration = Duration::from_secs(9);

/// How often it is told who leads, and how many sessions are timed.
const ROLE_INTERVAL: Duration = Duration::from_secs(1);

/// Tells what there is, until `stop`.
pub async fn run(
    server: Server,
    members: watch::Receiver<Vec<Member>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut usage = tokio::time::interval(USAGE_INTERVAL);
    let mut role = tokio::time::interval(ROLE_INTERVAL);
    usage.set_missed_tick_behavior(MissedTickBehavior::Skip);
    role.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = until(&mut stop, true) => return,
            _ = role.tick() => tell_role(&server),
            _ = usage.tick() => {
                tell_state(&server);
                tell_members(&server, &members.borrow());
            }
        }
    }
}

fn tell_role(server: &Server) {
    let leads = server.raft().is_leader();
    names::SERVER_IS_LEADER.set([], f64::from(u8::from(leads)));
    let sessions = if leads { server.shared.memory.sessions.timed_sessions() } else { 0 };
    names::SESSION_TTL_ACTIVE.set([], sessions as f64);
}

fn tell_state(server: &Server) {
    let state = server.store().snapshot();
    let usage = usage(&state);
    let datacenter = || server.shared.options.datacenter.as_str().to_owned().into();
    names::STATE_NODES.set([datacenter()], usage.nodes as f64);
    names::STATE_SERVICES.set([datacenter()], usage.services as f64);
    names::STATE_SERVICE_INSTANCES.set([datacenter()], usage.service_instances as f64);
    let billable = usage.billable_service_instances;
    names::STATE_BILLABLE_SERVICE_INSTANCES.set([datacenter()], billable as f64);
    names::STATE_KV_ENTRIES.set([datacenter()], state.len(&KVS) as f64);
    for (kind, number) in usage.connect_service_instances {
        names::STATE_CONNECT_INSTANCES.set([datacenter(), kind.into()], number as f64);
    }
}

fn tell_members(server: &Server, members: &[Member]) {
    let datacenter = || server.shared.options.datacenter.as_str().to_owned().into();
    let is_server = |member: &&Member| member.tags.get("role").is_some_and(|r| r == "consul");
    let servers = members.iter().filter(is_server).count();
    names::MEMBERS_SERVERS.set([datacenter()], servers as f64);
    names::MEMBERS_CLIENTS.set([datacenter()], (members.len() - servers) as f64);
}
