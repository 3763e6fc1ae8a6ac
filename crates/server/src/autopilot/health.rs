//! Which servers are healthy, which may vote, and which are given up.
//!
//! `reference/raft-and-snapshots.md` section 15. No clock and no network: facts and a moment
//! in, judgements out.

use std::collections::BTreeMap;
use std::time::Duration;

use raft::{ServerId, Suffrage};
use types::autopilot::{AutopilotConfiguration, AutopilotServer, AutopilotState};
use types::member::MemberStatus;
use types::{GoDuration, Timestamp};

/// A server of the quorum's configuration, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its id.
    pub id: ServerId,
    /// Its address in the configuration.
    pub address: String,
    /// Whether it votes.
    pub suffrage: Suffrage,
    /// Whether it is the leader.
    pub leads: bool,
    /// What gossip knows of it; `None` if it knows nothing.
    pub member: Option<MemberFacts>,
    /// How long ago it and the leader heard of each other; `None` for never.
    pub last_contact: Option<Duration>,
    /// The term of the end of its log.
    pub last_term: u64,
    /// The end of its log.
    pub last_index: u64,
}

/// What gossip knows of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFacts {
    /// The node's name.
    pub name: String,
    /// The version it runs.
    pub version: String,
    /// How it is doing.
    pub status: MemberStatus,
}

/// Since when each server is as healthy as it is.
#[derive(Debug, Default)]
pub struct ServerHealth {
    by_id: BTreeMap<ServerId, Stable>,
}

#[derive(Clone, Copy, Debug)]
struct Stable {
    healthy: bool,
    since: Timestamp,
}

impl ServerHealth {
    /// These are all servers of the configuration, and this is how they are doing.
    pub fn handle_servers(
        &mut self,
        configuration: &AutopilotConfiguration,
        servers: &[ServerFacts],
        now: Timestamp,
    ) -> AutopilotState {
        self.by_id.retain(|id, _| servers.iter().any(|server| server.id == *id));
        let leader = servers.iter().find(|server| server.leads);
        let shown = servers.iter().map(|server| {
            let healthy = leader.is_some_and(|leader| is_healthy(configuration, leader, server));
            let stable = self.note(&server.id, healthy, now);
            (server.id.0.to_string(), show(server, stable))
        });
        let shown: BTreeMap<String, AutopilotServer> = shown.collect();
        let voters: Vec<&AutopilotServer> =
            shown.values().filter(|server| server.status != AutopilotServer::NON_VOTER).collect();
        let healthy_voters = voters.iter().filter(|voter| voter.healthy).count();
        let tolerance = healthy_voters.saturating_sub(voters.len() / 2 + 1) as u64;
        AutopilotState {
            healthy: !shown.is_empty() && shown.values().all(|server| server.healthy),
            failure_tolerance: tolerance,
            optimistic_failure_tolerance: tolerance,
            leader: leader.map_or_else(String::new, |leader| leader.id.0.to_string()),
            voters: voters.iter().map(|voter| voter.id.clone()).collect(),
            servers: shown,
        }
    }

    fn note(&mut self, id: &ServerId, healthy: bool, now: Timestamp) -> Stable {
        let stable = self.by_id.entry(id.clone()).or_insert(Stable { healthy, since: now });
        if stable.healthy != healthy {
            *stable = Stable { healthy, since: now };
        }
        *stable
    }
}

/// Gossip says it lives, it and the leader heard of each other lately, and its log is that
/// of the leader but for a few entries.
fn is_healthy(
    configuration: &AutopilotConfiguration,
    leader: &ServerFacts,
    server: &ServerFacts,
) -> bool {
    let alive = server.member.as_ref().is_some_and(|m| m.status == MemberStatus::ALIVE);
    let threshold = configuration.last_contact_threshold.to_std();
    let in_contact =
        server.leads || server.last_contact.is_some_and(|contact| contact <= threshold);
    let behind = leader.last_index.saturating_sub(server.last_index);
    alive
        && in_contact
        && server.last_term == leader.last_term
        && behind <= configuration.max_trailing_logs
}

fn show(server: &ServerFacts, stable: Stable) -> AutopilotServer {
    let member = server.member.as_ref();
    let status = match server.suffrage {
        Suffrage::Voter if server.leads => AutopilotServer::LEADER,
        Suffrage::Voter => AutopilotServer::VOTER,
        Suffrage::Nonvoter => AutopilotServer::NON_VOTER,
    };
    AutopilotServer {
        id: server.id.0.to_string(),
        name: member.map_or_else(String::new, |member| member.name.clone()),
        address: server.address.clone(),
        node_status: member.map_or("none", |member| node_status(member.status)).to_owned(),
        version: member.map_or_else(String::new, |member| member.version.clone()),
        last_contact: server.last_contact.map_or(GoDuration::ZERO, GoDuration::from),
        last_term: server.last_term,
        last_index: server.last_index,
        healthy: stable.healthy,
        stable_since: stable.since,
        read_replica: false,
        status: status.to_owned(),
        // Of the catalog, which is asked last.
        meta: None,
        node_type: AutopilotServer::VOTER.to_owned(),
    }
}

/// Who is leaving still answers.
fn node_status(status: MemberStatus) -> &'static str {
    match status.as_str() {
        "alive" | "leaving" => "alive",
        "left" => "left",
        "failed" => "failed",
        _ => "none",
    }
}

/// The servers that may vote from now on: healthy for that many nanoseconds.
pub fn promotions(
    state: &AutopilotState,
    stable_nanos: i128,
    now: Timestamp,
) -> Vec<&AutopilotServer> {
    let is_due = |server: &&AutopilotServer| {
        server.status == AutopilotServer::NON_VOTER
            && server.healthy
            && now.unix_nanos() - server.stable_since.unix_nanos() >= stable_nanos
    };
    state.servers.values().filter(is_due).collect()
}

/// The servers that are given up: those that gossip says failed or does not know, first
/// those that do not vote, then voters as long as neither too many go at once nor too few
/// remain.
pub fn removals<'s>(
    configuration: &AutopilotConfiguration,
    state: &'s AutopilotState,
) -> Vec<&'s AutopilotServer> {
    if !configuration.cleanup_dead_servers {
        return Vec::new();
    }
    let is_dead = |server: &&AutopilotServer| {
        matches!(server.node_status.as_str(), "failed" | "none")
            && server.status != AutopilotServer::LEADER
    };
    let (mut listeners, mut voters): (Vec<_>, Vec<_>) = state
        .servers
        .values()
        .filter(is_dead)
        .partition(|server| server.status == AutopilotServer::NON_VOTER);
    listeners.sort_by_key(|server| server.node_status == "none");
    // Of the voters, those that nobody knows go before those that may come back.
    voters.sort_by_key(|server| server.node_status != "none");
    let all = state.voters.len();
    let at_once = all.saturating_sub(1) / 2;
    let spare = all.saturating_sub(usize::try_from(configuration.min_quorum).unwrap_or(usize::MAX));
    voters.truncate(at_once.min(spare));
    listeners.into_iter().chain(voters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i128) -> Timestamp {
        Timestamp::from_unix_nanos(seconds * 1_000_000_000)
    }

    /// A voter that is as well as can be.
    fn server(id: &str) -> ServerFacts {
        ServerFacts {
            id: ServerId(id.into()),
            address: format!("{id}:8300"),
            suffrage: Suffrage::Voter,
            leads: false,
            member: Some(MemberFacts {
                name: format!("node-{id}"),
                version: "1.21.4".to_owned(),
                status: MemberStatus::ALIVE,
            }),
            last_contact: Some(Duration::from_millis(10)),
            last_term: 3,
            last_index: 1000,
        }
    }

    fn leader(id: &str) -> ServerFacts {
        ServerFacts { leads: true, last_contact: Some(Duration::ZERO), ..server(id) }
    }

    fn with_status(status: u8, server: ServerFacts) -> ServerFacts {
        let member = server.member.map(|m| MemberFacts { status: MemberStatus(status), ..m });
        ServerFacts { member, ..server }
    }

    fn assess(servers: &[ServerFacts]) -> AutopilotState {
        let configuration = AutopilotConfiguration::default();
        ServerHealth::default().handle_servers(&configuration, servers, at(0))
    }

    fn ids(servers: &[&AutopilotServer]) -> String {
        servers.iter().map(|server| server.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_server_is_healthy_if_it_lives_is_in_contact_and_has_the_log() {
        let healthy = |server: ServerFacts| assess(&[leader("a"), server]).servers["b"].healthy;
        let b = || server("b");
        let ms = Duration::from_millis;
        let cases = [
            (b(), true),
            (ServerFacts { last_contact: Some(ms(200)), ..b() }, true),
            (ServerFacts { last_contact: Some(ms(201)), ..b() }, false),
            (ServerFacts { last_contact: None, ..b() }, false),
            (ServerFacts { last_index: 750, ..b() }, true),
            (ServerFacts { last_index: 749, ..b() }, false),
            (ServerFacts { last_index: 1001, ..b() }, true),
            (ServerFacts { last_term: 2, ..b() }, false),
            (ServerFacts { member: None, ..b() }, false),
            (with_status(4, b()), false),
        ];
        for (server, expected) in cases {
            assert_eq!(healthy(server.clone()), expected, "{server:?}");
        }
        assert!(!assess(&[server("a")]).healthy, "without a leader nobody is");
        assert!(!assess(&[]).healthy);
    }

    #[test]
    fn as_many_may_fail_as_leave_a_quorum_of_healthy_voters() {
        let dead = |id| ServerFacts { last_contact: None, ..server(id) };
        let listener = |id| ServerFacts { suffrage: Suffrage::Nonvoter, ..server(id) };
        let cases = [
            (vec![leader("a")], true, 0),
            (vec![leader("a"), server("b")], true, 0),
            (vec![leader("a"), server("b"), server("c")], true, 1),
            (vec![leader("a"), server("b"), dead("c")], false, 0),
            (vec![leader("a"), dead("b"), dead("c")], false, 0),
            (vec![leader("a"), server("b"), server("c"), listener("d")], true, 1),
            (vec![leader("a"), server("b"), server("c"), server("d"), server("e")], true, 2),
        ];
        for (servers, healthy, tolerance) in cases {
            let state = assess(&servers);
            assert_eq!((state.healthy, state.failure_tolerance), (healthy, tolerance), "{state:?}");
        }
    }

    #[test]
    fn health_is_stable_since_it_last_changed() {
        let (mut health, configuration) =
            (ServerHealth::default(), AutopilotConfiguration::default());
        let lost = ServerFacts { last_contact: None, ..server("b") };
        let mut since = |servers: &[ServerFacts], now| {
            let state = health.handle_servers(&configuration, servers, at(now));
            state.servers.get("b").map(|server| (server.healthy, server.stable_since))
        };
        assert_eq!(since(&[leader("a"), server("b")], 10), Some((true, at(10))));
        assert_eq!(since(&[leader("a"), server("b")], 20), Some((true, at(10))));
        assert_eq!(since(&[leader("a"), lost.clone()], 30), Some((false, at(30))));
        assert_eq!(since(&[leader("a"), lost], 40), Some((false, at(30))));
        assert_eq!(since(&[leader("a")], 50), None);
        assert_eq!(since(&[leader("a"), server("b")], 60), Some((true, at(60))));
    }

    #[test]
    fn a_listener_that_is_healthy_for_long_enough_may_vote() {
        let listener = |id| ServerFacts { suffrage: Suffrage::Nonvoter, ..server(id) };
        let ill = ServerFacts { last_contact: None, ..listener("c") };
        let state = assess(&[leader("a"), listener("b"), ill, server("d")]);
        let ten_seconds = 10_000_000_000;
        assert_eq!(ids(&promotions(&state, ten_seconds, at(9))), "");
        assert_eq!(ids(&promotions(&state, ten_seconds, at(10))), "b");
    }

    #[test]
    fn dead_servers_are_given_up_while_a_quorum_remains() {
        let failed = |id| with_status(4, server(id));
        let unknown = |id| ServerFacts { member: None, ..server(id) };
        let listener = |id| ServerFacts { suffrage: Suffrage::Nonvoter, ..failed(id) };
        let servers =
            [leader("a"), failed("b"), unknown("c"), server("d"), server("e"), listener("f")];
        let state = assess(&servers);
        let removed = |min_quorum, cleanup_dead_servers| {
            let default = AutopilotConfiguration::default();
            let configuration =
                AutopilotConfiguration { min_quorum, cleanup_dead_servers, ..default };
            ids(&removals(&configuration, &state))
        };
        assert_eq!(removed(0, true), "f c b");
        assert_eq!(removed(3, true), "f c b");
        assert_eq!(removed(4, true), "f c");
        assert_eq!(removed(5, true), "f");
        assert_eq!(removed(9, true), "f");
        assert_eq!(removed(0, false), "");
        // Two of three are more than may go at once.
        let three = assess(&[leader("a"), failed("b"), failed("c")]);
        assert_eq!(ids(&removals(&AutopilotConfiguration::default(), &three)), "b");
    }

    #[test]
    fn what_is_shown_is_what_gossip_and_raft_say() {
        let state = assess(&[leader("a"), with_status(3, server("b"))]);
        let a = &state.servers["a"];
        assert_eq!(
            (a.name.as_str(), a.status.as_str(), a.node_status.as_str()),
            ("node-a", "leader", "alive")
        );
        assert_eq!(a.last_contact, GoDuration::ZERO);
        let b = &state.servers["b"];
        assert_eq!((b.status.as_str(), b.node_status.as_str()), ("voter", "left"));
        assert_eq!(
            (state.leader.as_str(), state.voters),
            ("a", vec!["a".to_owned(), "b".to_owned()])
        );
    }
}
