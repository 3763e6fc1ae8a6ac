//! Anti-entropy: keeps the catalog's view of this node equal to the agent's
//! (`reference/checks.md` section 7).
//!
//! A machine without I/O. The shell asks [`Syncer::poll_action`] for work, does it,
//! brings the result to [`Syncer::handle_result`] or [`Syncer::handle_remote`], and
//! asks again whenever the state changed or [`Syncer::poll_timeout`] has come.
//! What happened is told by [`Syncer::poll_event`].
//!
//! - A *full* sync fetches what the catalog has and marks every difference dirty.
//!   It runs alone: nothing is told to the catalog while it is fetched.
//! - Whatever is dirty is told at once, several services side by side, but one
//!   service and its checks strictly one after the other (a [`Lane`]).
//! - What fails is not tried again by itself: the next full sync, which then comes
//!   sooner, finds the difference.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use checks::status::definition::Origin;
use config::runtime::AclTokens;
use contract::{CallError, ErrorKind};
use types::catalog::{DeregisterRequest, Node, NodeService, RegisterRequest};
use types::check::HealthCheck;
use types::{CheckId, SecretId, ServiceId};

use super::difference::{same_check, same_node, same_service};
use super::state::{State, Target};

/// Time between full syncs, before the random part.
const FULL_INTERVAL: Duration = Duration::from_secs(60);
/// Time until a failed sync is repeated, before the random part.
const RETRY_INTERVAL: Duration = Duration::from_secs(15);
/// A full sync comes within this time of meeting a new server.
const SERVER_FOUND_INTERVAL: Duration = Duration::from_secs(3);
/// Up to this many members all times are as they are; above, they are stretched.
const SCALE_THRESHOLD: u64 = 128;
/// Most actions under way at once.
const ACTIONS_MAX: usize = 16;
/// The check that the leader keeps for every member.
const SERF_HEALTH: &str = "serfHealth";
/// The service that the leader keeps for every server.
const CONSUL_SERVICE: &str = "consul";

/// What the catalog has of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct RemoteNode {
    /// The node, if it is registered.
    pub(crate) node: Option<Arc<Node>>,
    /// Its services.
    pub(crate) services: Vec<Arc<NodeService>>,
    /// All its checks, those of its services included.
    pub(crate) checks: Vec<Arc<HealthCheck>>,
    /// The index of this view, for watching.
    pub(crate) index: types::Index,
}

/// What must be done one after the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// The whole node: a full sync.
    All,
    /// The node's own row.
    Node,
    /// A service and its checks.
    Service(ServiceId),
    /// A check of the node.
    Check(CheckId),
}

impl Lane {
    /// That of a check: its service's, if it has one.
    pub(crate) fn of_check(check: &HealthCheck) -> Self {
        let (service, id) = (check.service_id.clone(), check.check_id.clone());
        Target::Check { service, id }.lane()
    }
}

impl Target {
    fn lane(&self) -> Lane {
        match self {
            Target::Node => Lane::Node,
            Target::Service(id) => Lane::Service(id.clone()),
            Target::Check { service, id } if service.is_empty() => Lane::Check(id.clone()),
            Target::Check { service, .. } => Lane::Service(service.clone()),
        }
    }
}

/// Something to do.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Read what the catalog has of the node; answer by [`Syncer::handle_remote`].
    FetchRemote {
        /// The token to read with.
        token: SecretId,
    },
    /// Register the node's own row; answer by [`Syncer::handle_result`].
    SyncNode(Box<RegisterRequest>, SecretId),
    /// Register a service, checks, or both; answer by [`Syncer::handle_result`].
    Register(Box<RegisterRequest>, SecretId),
    /// Remove a service or a check; answer by [`Syncer::handle_result`].
    Deregister(DeregisterRequest, SecretId),
}

/// Something that happened, for the log (`reference/telemetry.md` section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The catalog has this already.
    InSync(Target),
    /// The catalog has been told.
    Synced(Target),
    /// The catalog has removed it.
    Removed(Target),
    /// The token does not allow it; taken for done until the next full sync.
    Blocked {
        /// What was refused.
        target: Target,
        /// Whether it was to be removed.
        removal: bool,
    },
    /// The catalog could not be told.
    Failed {
        /// What was not told.
        target: Target,
        /// Why.
        error: String,
    },
    /// The catalog could not be read.
    FetchFailed(String),
    /// A check that belongs to the leader was left alone.
    Skipped(CheckId),
}

#[derive(Debug)]
struct Flight {
    targets: Vec<Target>,
    removal: bool,
}

/// The machine. What is dirty is in the [`State`] it is called with.
#[derive(Debug)]
pub(crate) struct Syncer {
    is_server: bool,
    tokens: AclTokens,
    members: u64,
    full_at: Instant,
    paused: bool,
    node_synced: bool,
    flights: BTreeMap<Lane, Flight>,
    events: VecDeque<Event>,
}

impl Syncer {
    /// A machine whose first full sync is due at `now`.
    pub(crate) fn new(is_server: bool, tokens: AclTokens, now: Instant) -> Self {
        Self {
            is_server,
            tokens,
            members: 1,
            full_at: now,
            paused: false,
            node_synced: false,
            flights: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    /// Uses other tokens from here on.
    pub(crate) fn set_tokens(&mut self, tokens: AclTokens) {
        self.tokens = tokens;
    }

    /// Takes the number of members of the pool, which stretches the times.
    pub(crate) fn handle_members(&mut self, members: u64) {
        self.members = members;
    }

    /// A server became reachable: what failed may succeed now.
    pub(crate) fn handle_server_found(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        let soon = now + random_below(self.scaled(SERVER_FOUND_INTERVAL), rng);
        self.full_at = self.full_at.min(soon);
    }

    /// Gives out no work until [`Syncer::resume`].
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    /// Gives out work again.
    pub(crate) fn resume(&mut self) {
        self.paused = false;
    }

    /// Moves what has waited long enough to the dirty ones.
    pub(crate) fn handle_timeout(&mut self, state: &mut State, now: Instant) {
        state.handle_timeout(now);
    }

    /// When there is something to do although nothing changes.
    pub(crate) fn poll_timeout(&self, state: &State) -> Option<Instant> {
        if self.paused || self.flights.contains_key(&Lane::All) {
            return None;
        }
        let deferred = state.deferred.values().min().copied();
        Some(deferred.map_or(self.full_at, |at| at.min(self.full_at)))
    }

    /// The next thing to do. Its answer must name the lane.
    pub(crate) fn poll_action(
        &mut self,
        state: &mut State,
        now: Instant,
    ) -> Option<(Lane, Action)> {
        if self.paused || self.flights.contains_key(&Lane::All) {
            return None;
        }
        if now >= self.full_at {
            // What is under way must land first, or its traces would look like differences.
            if !self.flights.is_empty() {
                return None;
            }
            self.flights.insert(Lane::All, Flight { targets: Vec::new(), removal: false });
            return Some((Lane::All, Action::FetchRemote { token: self.agent_token() }));
        }
        if self.flights.len() >= ACTIONS_MAX {
            return None;
        }
        let free = |target: &&Target| !self.flights.contains_key(&target.lane());
        let target = state.dirty.iter().find(free)?.clone();
        state.dirty.remove(&target);
        Some(self.begin(state, target))
    }

    /// Whether there is nothing left to tell of what belongs to a lane.
    pub(crate) fn is_told(&self, lane: &Lane, state: &State) -> bool {
        !self.flights.contains_key(lane)
            && !self.flights.contains_key(&Lane::All)
            && !state.dirty.iter().any(|target| target.lane() == *lane)
    }

    /// When everything is compared with the catalog again.
    pub(crate) fn next_full(&self) -> Instant {
        self.full_at
    }

    /// What happened, in order.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes the answer to [`Action::FetchRemote`].
    pub(crate) fn handle_remote(
        &mut self,
        remote: Result<RemoteNode, CallError>,
        state: &mut State,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) {
        self.flights.remove(&Lane::All);
        match remote {
            Ok(remote) => {
                self.full_at = now + FULL_INTERVAL + random_below(self.scaled(FULL_INTERVAL), rng);
                self.compare_node(&remote, state);
                self.compare_services(&remote, state);
                self.compare_checks(&remote, state);
            }
            Err(error) => {
                self.events.push_back(Event::FetchFailed(error.text().to_owned()));
                if is_unreachable(&error) {
                    state.dirty.clear();
                }
                self.full_at = now + self.retry_delay(rng);
            }
        }
    }

    /// Takes the answer to any other action.
    pub(crate) fn handle_result(
        &mut self,
        lane: &Lane,
        result: Result<(), CallError>,
        state: &mut State,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) {
        let Some(flight) = self.flights.remove(lane) else { return };
        let removal = flight.removal;
        match result {
            Ok(()) => {
                for target in flight.targets {
                    self.node_synced |= target == Target::Node;
                    self.events.push_back(match removal {
                        true => Event::Removed(target),
                        false => Event::Synced(target),
                    });
                }
            }
            Err(error) if is_denied(&error) => {
                let blocked = |target| Event::Blocked { target, removal };
                self.events.extend(flight.targets.into_iter().map(blocked));
            }
            Err(error) => {
                if let Some(target) = flight.targets.into_iter().next() {
                    self.events.push_back(Event::Failed { target, error: error.text().to_owned() });
                }
                if is_unreachable(&error) {
                    // Nothing else would fare better. The next full sync finds it all.
                    state.dirty.clear();
                }
                self.full_at = self.full_at.min(now + self.retry_delay(rng));
            }
        }
    }

    /// The answers to some actions will never come. A full sync at once finds what
    /// they left behind.
    pub(crate) fn handle_lost(&mut self, now: Instant) {
        self.flights.clear();
        self.full_at = now + RETRY_INTERVAL;
    }

    fn begin(&mut self, state: &mut State, target: Target) -> (Lane, Action) {
        let lane = target.lane();
        let mut targets = vec![target.clone()];
        let mut request = self.registration(&state.node);
        let action = match &target {
            Target::Node => {
                request.skip_node_update = false;
                Action::SyncNode(Box::new(request), self.agent_token())
            }
            Target::Service(id) => match state.service(id) {
                None => self.removal(&state.node, id.clone(), CheckId::default()),
                Some(local) => {
                    let token = self.token(&local.token, local.origin);
                    request.service = Some((*local.service).clone());
                    let with_it: Vec<(Target, HealthCheck)> = state
                        .checks_of(id)
                        .filter(|check| self.token(&check.token, check.origin) == token)
                        .map(|local| (check_target(&local.check), (*local.check).clone()))
                        .filter(|(target, _)| state.dirty.contains(target))
                        .collect();
                    let mut checks = Vec::with_capacity(with_it.len());
                    for (target, check) in with_it {
                        state.dirty.remove(&target);
                        targets.push(target);
                        checks.push(check);
                    }
                    request.checks = (!checks.is_empty()).then_some(checks);
                    Action::Register(Box::new(request), token)
                }
            },
            Target::Check { id, .. } => match state.check(id) {
                None => self.removal(&state.node, ServiceId::default(), id.clone()),
                Some(local) => {
                    request.checks = Some(vec![(*local.check).clone()]);
                    let token = self.token(&local.token, local.origin);
                    Action::Register(Box::new(request), token)
                }
            },
        };
        let removal = matches!(action, Action::Deregister(..));
        self.flights.insert(lane.clone(), Flight { targets, removal });
        (lane, action)
    }

    /// The request of the node's own row, to which services and checks are added.
    fn registration(&self, node: &Node) -> RegisterRequest {
        RegisterRequest {
            datacenter: node.datacenter.clone(),
            id: node.id.clone(),
            node: node.node.clone(),
            address: node.address.clone(),
            tagged_addresses: node.tagged_addresses.clone(),
            node_meta: node.meta.clone(),
            locality: node.locality.clone(),
            skip_node_update: self.node_synced,
            ..RegisterRequest::default()
        }
    }

    fn removal(&self, node: &Node, service_id: ServiceId, check_id: CheckId) -> Action {
        let request = DeregisterRequest {
            datacenter: node.datacenter.clone(),
            node: node.node.clone(),
            service_id,
            check_id,
            ..DeregisterRequest::default()
        };
        Action::Deregister(request, self.agent_token())
    }

    fn agent_token(&self) -> SecretId {
        first_of([&self.tokens.agent, &self.tokens.default])
    }

    fn token(&self, own: &SecretId, origin: Origin) -> SecretId {
        let of_files = match origin {
            Origin::File => self.tokens.config_file_service_registration.clone(),
            Origin::Api => SecretId::default(),
        };
        first_of([own, &of_files, &self.tokens.default])
    }

    fn compare_node(&mut self, remote: &RemoteNode, state: &mut State) {
        let same = remote.node.as_deref().is_some_and(|remote| same_node(&state.node, remote));
        self.node_synced = same;
        self.note(same, Target::Node, state);
    }

    fn compare_services(&mut self, remote: &RemoteNode, state: &mut State) {
        let known: BTreeMap<&ServiceId, &NodeService> =
            remote.services.iter().map(|service| (&service.id, &**service)).collect();
        let local: Vec<Arc<NodeService>> =
            state.services().map(|local| local.service.clone()).collect();
        for service in local {
            let found = known.get(&service.id);
            let mut wanted = service.clone();
            if let Some(found) = found
                && service.enable_tag_override
                && found.tags != service.tags
            {
                Arc::make_mut(&mut wanted).tags.clone_from(&found.tags);
                state.set_tags(&service.id, found.tags.clone());
            }
            let same = found.is_some_and(|found| same_service(&wanted, found));
            self.note(same, Target::Service(service.id.clone()), state);
        }
        for service in &remote.services {
            let is_leaders = self.is_server && service.id == CONSUL_SERVICE;
            if !is_leaders && state.service(&service.id).is_none() {
                state.dirty.insert(Target::Service(service.id.clone()));
            }
        }
    }

    fn compare_checks(&mut self, remote: &RemoteNode, state: &mut State) {
        let known: BTreeMap<&CheckId, &HealthCheck> =
            remote.checks.iter().map(|check| (&check.check_id, &**check)).collect();
        let local: Vec<Arc<HealthCheck>> =
            state.checks().map(|local| local.check.clone()).collect();
        for check in local {
            let output_waits = state.deferred.contains_key(&check.check_id);
            let found = known.get(&check.check_id);
            let same = found.is_some_and(|found| same_check(&check, found, output_waits));
            self.note(same, check_target(&check), state);
        }
        for check in &remote.checks {
            if state.check(&check.check_id).is_some() {
                continue;
            }
            if check.check_id == SERF_HEALTH {
                self.events.push_back(Event::Skipped(check.check_id.clone()));
                continue;
            }
            let is_leaders = self.is_server && check.service_id == CONSUL_SERVICE;
            // Checks of a service that goes are removed with it.
            let goes_along = state.dirty.contains(&Target::Service(check.service_id.clone()))
                && state.service(&check.service_id).is_none();
            if !is_leaders && !goes_along {
                state.dirty.insert(check_target(check));
            }
        }
    }

    fn note(&mut self, same: bool, target: Target, state: &mut State) {
        if same {
            state.dirty.remove(&target);
            self.events.push_back(Event::InSync(target));
        } else {
            state.dirty.insert(target);
        }
    }

    fn retry_delay(&self, rng: &mut fastrand::Rng) -> Duration {
        RETRY_INTERVAL + random_below(self.scaled(RETRY_INTERVAL), rng)
    }

    fn scaled(&self, interval: Duration) -> Duration {
        interval.saturating_mul(scale(self.members))
    }
}

/// By how much times are stretched in a pool of this many members.
fn scale(members: u64) -> u32 {
    if members <= SCALE_THRESHOLD {
        return 1;
    }
    let log2_rounded_up = u64::BITS - (members - 1).leading_zeros();
    log2_rounded_up - SCALE_THRESHOLD.ilog2() + 1
}

/// A random time in [0, `limit`).
pub(super) fn random_below(limit: Duration, rng: &mut fastrand::Rng) -> Duration {
    let nanoseconds = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(if nanoseconds == 0 { 0 } else { rng.u64(0..nanoseconds) })
}

fn check_target(check: &HealthCheck) -> Target {
    Target::Check { service: check.service_id.clone(), id: check.check_id.clone() }
}

fn first_of<const N: usize>(tokens: [&SecretId; N]) -> SecretId {
    tokens.into_iter().find(|token| !token.is_empty()).cloned().unwrap_or_default()
}

fn is_denied(error: &CallError) -> bool {
    error.kind() == ErrorKind::Denied
        || error.text().contains("Permission denied")
        || error.text().contains("ACL not found")
}

fn is_unreachable(error: &CallError) -> bool {
    let texts = ["No cluster leader", "No known Consul servers", "No path to datacenter"];
    error.kind() == ErrorKind::Unavailable || texts.iter().any(|text| error.text().contains(text))
}
