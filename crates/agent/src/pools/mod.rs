//! The gossip pools that this agent is in: that of its datacenter, and for a server that of
//! the servers of all datacenters.
//!
//! [`Pools::run`] does what goes on by itself: it joins those who are configured, tells the
//! router which servers there are, and takes the servers of the datacenter into the WAN pool
//! (`reference/gossip-wire.md` section 17).

mod keys;
mod options;
mod routes;
mod server;

use std::collections::BTreeSet;
use std::time::Duration;

use config::RuntimeConfig;
use gossip::consul;
use gossip::serf::Joined;
use rpc::Router;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use types::coordinate::{Coordinate, DatacenterMap, NodeCoordinate};
use types::member::{Member, MemberStatus};
use types::{Datacenter, NodeId};

use self::routes::{Reach, Told};
pub(crate) use self::server::ServerGossip;
use crate::advice;
use crate::gossip::{Pool, PoolError};
use crate::local::Local;
use crate::multi_error;
use crate::retry_join::RetryJoin;
use crate::user_event::broadcast::Delivery;

/// User events that wait to be taken in.
const DELIVERIES_MAX: usize = 256;

/// How often servers that are not in the WAN pool are looked for.
const FLOOD_INTERVAL: Duration = Duration::from_secs(60);

/// The pools. Cloning gives another handle to the same.
#[derive(Clone)]
pub(crate) struct Pools {
    lan: Pool,
    wan: Option<Pool>,
    router: Router,
    datacenter: Datacenter,
}

impl Pools {
    /// Listens, in pools of one. The router is told of servers by [`Self::run`].
    ///
    /// # Errors
    /// An address cannot be had, or what is kept in the data directory cannot be read.
    pub(crate) async fn start(
        config: &RuntimeConfig,
        node_id: &NodeId,
        router: Router,
    ) -> Result<Self, String> {
        let datacenter = config.identity.datacenter.clone();
        let failed = |pool: &str, error: &dyn std::fmt::Display| {
            let kind = if config.server { "server" } else { "client" };
            format!("Failed to start Consul {kind}: Failed to start {pool} serf: {error}")
        };
        let wan = match options::wan(config, node_id) {
            Some(options) => {
                Some(Pool::start(options).await.map_err(|error| failed("WAN", &error))?)
            }
            None => None,
        };
        let lan = options::lan(config, node_id);
        let lan = Pool::start(lan).await.map_err(|error| failed("LAN", &error))?;
        tracing::info!(target: "agent.router", "Initializing LAN area manager");
        Ok(Self { lan, wan, router, datacenter })
    }

    /// The pool of the datacenter.
    pub(crate) fn lan(&self) -> &Pool {
        &self.lan
    }

    /// The pool of the servers of all datacenters.
    pub(crate) fn wan(&self) -> Option<&Pool> {
        self.wan.as_ref()
    }

    /// What knows which server to ask.
    pub(crate) fn router(&self) -> &Router {
        &self.router
    }

    /// The members of the LAN pool, by name.
    pub(crate) fn lan_members(&self) -> Vec<Member> {
        self.lan.members().borrow().clone()
    }

    /// The members of the WAN pool, by name; none where there is no such pool.
    pub(crate) fn wan_members(&self) -> Vec<Member> {
        self.wan.as_ref().map(|wan| wan.members().borrow().clone()).unwrap_or_default()
    }

    /// Joins agents of the datacenter; tells how many answered, or why none did.
    ///
    /// # Errors
    /// Nobody answered.
    pub(crate) async fn join_lan(&self, addresses: Vec<String>) -> Result<usize, String> {
        let lan_addresses = shown(&addresses);
        tracing::info!(target: "agent", "(LAN) joining: lan_addresses={lan_addresses}");
        let Joined { contacted: number_of_nodes, errors } = self.lan.join(addresses).await;
        if number_of_nodes > 0 {
            tracing::info!(target: "agent", number_of_nodes, "(LAN) joined");
            return Ok(number_of_nodes);
        }
        let error = multi_error::list(&errors);
        let hint = advice::on_gossip(&error);
        tracing::warn!(target: "agent", number_of_nodes, error, hint, "(LAN) couldn't join");
        Err(with_hint(error, hint))
    }

    /// Joins servers of other datacenters; tells how many answered, or why none did.
    ///
    /// # Errors
    /// Nobody answered, or this agent is not in the WAN pool.
    pub(crate) async fn join_wan(&self, addresses: Vec<String>) -> Result<usize, String> {
        let Some(wan) = &self.wan else {
            return Err("WAN federation is disabled: only a server with a WAN gossip port \
                        (ports.serf_wan) can join other datacenters"
                .to_owned());
        };
        let wan_addresses = shown(&addresses);
        tracing::info!(target: "agent", "(WAN) joining: wan_addresses={wan_addresses}");
        let Joined { contacted: number_of_nodes, errors } = wan.join(addresses).await;
        if number_of_nodes > 0 {
            tracing::info!(target: "agent", number_of_nodes, "(WAN) joined");
            return Ok(number_of_nodes);
        }
        let error = multi_error::list(&errors);
        let hint = advice::on_gossip(&error);
        tracing::warn!(target: "agent", number_of_nodes, error, hint, "(WAN) couldn't join");
        Err(with_hint(error, hint))
    }

    /// Counts a member that failed as one that left, in the LAN pool and, a server, in the
    /// WAN pool too; `in_wan_only` for the WAN pool alone, where names end in the datacenter.
    ///
    /// # Errors
    /// Nobody knows a member of that name, or word of it was not passed on in time.
    pub(crate) async fn force_leave(
        &self,
        name: &str,
        prune: bool,
        in_wan_only: bool,
    ) -> Result<(), String> {
        let text = |error: PoolError| error.to_string();
        let known = |members: Vec<Member>, name: &str| members.iter().any(|m| m.name == name);
        let wan_name = match in_wan_only {
            true => name.to_owned(),
            false => consul::wan_name(name, self.datacenter.as_str()),
        };
        let in_lan = !in_wan_only && known(self.lan_members(), name);
        let in_wan = known(self.wan_members(), &wan_name);
        if !(in_lan || in_wan_only && in_wan) {
            return Err(format!("agent: No node found with name '{name}'"));
        }
        if in_lan {
            tracing::info!(target: "agent", node = name, "Force leaving node");
            self.lan.force_leave(name, prune).await.map_err(text)?;
        }
        match &self.wan {
            Some(wan) if in_wan => wan.force_leave(&wan_name, prune).await.map_err(text),
            _ => Ok(()),
        }
    }

    /// Leaves the WAN pool, and then the LAN pool; done when the others know.
    pub(crate) async fn leave(&self) -> Result<(), String> {
        let mut outcome = Ok(());
        for pool in self.wan.iter().chain([&self.lan]) {
            outcome = pool.leave().await.map_err(|error| error.to_string()).and(outcome);
        }
        outcome
    }

    /// Stops. Without [`Self::leave`] before it, the others take it for a failure.
    pub(crate) async fn shutdown(&self) {
        for pool in self.wan.iter().chain([&self.lan]) {
            pool.shutdown().await;
        }
    }

    /// The coordinate of this agent in the LAN pool.
    pub(crate) async fn coordinate(&self) -> Coordinate {
        self.lan.coordinate().await.unwrap_or_else(Coordinate::fresh)
    }

    /// The servers of each datacenter in the WAN pool that were measured; without that pool,
    /// none.
    pub(crate) async fn datacenter_maps(&self) -> Vec<DatacenterMap> {
        let Some(wan) = &self.wan else { return Vec::new() };
        let measured = wan.coordinates().await;
        let own = wan.coordinate().await;
        let mut maps: Vec<DatacenterMap> = Vec::new();
        for member in self.wan_members() {
            let Some(server) = consul::Server::from_member(&member) else { continue };
            if member.status != MemberStatus::ALIVE {
                continue;
            }
            let coord = match measured.get(&member.name) {
                Some(coordinate) => Some(coordinate.clone()),
                None => own.clone().filter(|_| wan.is_own(&member)),
            };
            if coord.is_none() {
                continue;
            }
            let datacenter = Datacenter::from(server.datacenter.as_str());
            let node = NodeCoordinate {
                node: server.short_name.as_str().into(),
                segment: String::new(),
                coord,
            };
            match maps.iter_mut().find(|map| map.datacenter == datacenter) {
                Some(map) => map.coordinates.push(node),
                None => maps.push(DatacenterMap {
                    datacenter,
                    area_id: "wan".to_owned(),
                    coordinates: vec![node],
                }),
            }
        }
        maps
    }

    /// Completes when a pool stops by itself, with what to do about it.
    pub(crate) async fn fatal(&self) -> String {
        let wan = async {
            match &self.wan {
                Some(wan) => wan.stopped().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.lan.stopped() => {}
            () = wan => {}
        }
        "the gossip pool has stopped: another agent has the name of this one; give one of them \
         another node_name"
            .to_owned()
    }

    /// The user events that reach this agent.
    pub(crate) fn deliveries(&self, stop: &watch::Receiver<bool>) -> mpsc::Receiver<Delivery> {
        let (deliveries, queue) = mpsc::channel(DELIVERIES_MAX);
        let (mut events, mut stop) = (self.lan.events(), stop.clone());
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = events.recv() => event,
                    _ = stop.wait_for(|stop| *stop) => return,
                };
                let event = match event {
                    Ok(gossip::serf::Event::User(event)) => event,
                    Ok(_) => continue,
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(target: "agent", missed, "Too many events wait to be taken in; some were missed");
                        continue;
                    }
                    Err(RecvError::Closed) => return,
                };
                let delivery = Delivery {
                    lamport_time: event.lamport_time,
                    name: event.name,
                    payload: event.payload.to_vec(),
                };
                if deliveries.send(delivery).await.is_err() {
                    return;
                }
            }
        });
        queue
    }

    /// Does what goes on by itself, until `stop`.
    ///
    /// # Errors
    /// Nobody could be joined in as many attempts as there may be: the agent is to end.
    pub(crate) async fn run(
        &self,
        config: &RuntimeConfig,
        local: &Local,
        stop: watch::Receiver<bool>,
    ) -> Result<(), String> {
        let lan = RetryJoin { cluster: "LAN", settings: config.join.lan.clone() };
        let wan = RetryJoin { cluster: "WAN", settings: config.join.wan.clone() };
        let joins_wan = async {
            match self.wan {
                Some(_) => wan.run(|addresses| self.join_wan(addresses), stop.clone()).await,
                None => Ok(()),
            }
        };
        let joins = async {
            let joined = lan.run(|addresses| self.join_lan(addresses), stop.clone());
            match tokio::try_join!(joined, joins_wan) {
                Ok(_) => std::future::pending().await,
                Err(exhausted) => exhausted,
            }
        };
        let follows = async {
            tokio::join!(self.follow_lan(local), self.follow_wan(), self.flood());
        };
        let mut stops = stop.clone();
        tokio::select! {
            exhausted = joins => Err(exhausted),
            () = follows => Ok(()),
            _ = stops.wait_for(|stop| *stop) => Ok(()),
        }
    }

    async fn follow_lan(&self, local: &Local) {
        let (mut members, mut told) = (self.lan.members(), Told::default());
        loop {
            let now = members.borrow_and_update().clone();
            let alive = now.iter().filter(|m| m.status == MemberStatus::ALIVE).count();
            local.set_members(u64::try_from(alive).unwrap_or(u64::MAX));
            if told.update(&now, &self.datacenter, Reach::Own, &self.router) {
                local.server_found();
            }
            if members.changed().await.is_err() {
                return;
            }
        }
    }

    async fn follow_wan(&self) {
        let Some(wan) = &self.wan else { return };
        let (mut members, mut told) = (wan.members(), Told::default());
        loop {
            let now = members.borrow_and_update().clone();
            told.update(&now, &self.datacenter, Reach::Others, &self.router);
            if members.changed().await.is_err() {
                return;
            }
        }
    }

    /// Takes the servers of the datacenter into the WAN pool.
    async fn flood(&self) {
        let Some(wan) = &self.wan else { return };
        let mut members = self.lan.members();
        let mut looks = tokio::time::interval(FLOOD_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                changed = members.changed() => if changed.is_err() { return },
            }
            let lan = members.borrow_and_update().clone();
            let missing = missing(&lan, &self.wan_members(), self.datacenter.as_str());
            if missing.is_empty() {
                continue;
            }
            let joined = wan.join(missing).await;
            for error in joined.errors {
                tracing::debug!(target: "agent.server", error, "Failed to flood-join server");
            }
        }
    }
}

/// The living servers of the LAN pool that are not in the WAN pool, as addresses to join.
fn missing(lan: &[Member], wan: &[Member], datacenter: &str) -> Vec<String> {
    let known: BTreeSet<&str> = wan
        .iter()
        .filter(|member| member.status == MemberStatus::ALIVE)
        .map(|member| member.name.as_str())
        .collect();
    let servers = lan.iter().filter(|member| member.status == MemberStatus::ALIVE);
    let seed = |member: &Member| {
        let server = consul::Server::from_member(member)?;
        let name = consul::wan_name(&server.short_name, datacenter);
        let port = server.wan_join_port.filter(|_| !known.contains(name.as_str()))?;
        Some(format!("{name}/{}", std::net::SocketAddr::new(server.address.ip(), port)))
    };
    servers.filter_map(seed).collect()
}

/// An error, with what can be done about it.
fn with_hint(error: String, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{}\n\n{hint}", error.trim_end()),
        None => error,
    }
}

/// A list as Go shows it.
fn shown(addresses: &[String]) -> String {
    format!("[{}]", addresses.join(", "))
}

#[cfg(test)]
mod tests {
    use gossip::consul::ServerTags;

    use super::*;

    #[test]
    fn servers_that_the_wan_pool_lacks_are_joined_by_name_and_port() {
        let server = |name: &str, wan_join_port| Member {
            name: name.to_owned(),
            addr: "10.0.0.1".to_owned(),
            tags: ServerTags { port: 8300, wan_join_port, ..ServerTags::default() }.to_tags(),
            status: MemberStatus::ALIVE,
            ..Member::default()
        };
        let failed = Member { status: MemberStatus(4), ..server("s4", Some(8302)) };
        let lan = [server("s1", Some(8302)), server("s2", Some(8302)), server("s3", None), failed];
        let wan = [server("s1.dc1", None)];
        assert_eq!(missing(&lan, &wan, "dc1"), ["s2.dc1/10.0.0.1:8302"]);
        assert_eq!(missing(&lan[..1], &wan, "dc1"), Vec::<String>::new());
    }
}
