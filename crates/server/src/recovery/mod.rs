//! Guided recovery: so many servers are lost for good that the others find no majority, and an
//! operator makes those that are left the quorum, while they run.
//!
//! `plan` judges; this module finds out what it goes by and has Raft do it
//! ([`raft::Core::recover`]). Consul has no such thing: there all servers are stopped and
//! given a `peers.json`, which is possible here too ([`crate::raft_host`]).

mod plan;

use std::collections::BTreeMap;
use std::time::Duration;

use contract::CallError;
use raft::{Configuration, LogPosition, ServerId, Suffrage, Term};
use tokio::time::{Instant, timeout};
use types::member::Member;
use types::operator::{RaftServer, Recovery, RecoveryServer};
use types::{GoDuration, Index, SecretId};

use self::plan::{MemberFacts, Refusal, ServerFacts, judge};
use crate::Server;
use crate::autopilot::{Known, ask_all};
use crate::raft_host::RaftStats;
use crate::server_member::ServerMember;

/// How long the other servers may take to say where their logs end.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long those that are left may take to elect a leader before the operator is told that
/// it takes longer.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(20);

/// What is known, and what comes of it.
struct Judged {
    stats: RaftStats,
    servers: Vec<ServerFacts>,
    outcome: Result<Configuration, Refusal>,
}

/// What a recovery would do, or why there is to be none. Nothing is changed.
///
/// # Errors
/// Permission denied, or this server is stopping.
pub async fn plan(server: &Server, token: &SecretId) -> Result<Recovery, CallError> {
    server.may_read_operator(token)?;
    let judged = judged(server).await?;
    Ok(shown(server, &judged))
}

/// Makes the servers that are left the quorum, if this server's log still ends where the
/// operator saw it end, and waits until they have a leader.
///
/// # Errors
/// Permission denied, or refused: nothing was changed then. There may be no leader yet.
pub async fn recover(
    server: &Server,
    (term, index): (u64, u64),
    token: &SecretId,
) -> Result<(), CallError> {
    server.may_write_operator(token)?;
    let Judged { servers, outcome, .. } = judged(server).await?;
    let left = outcome.map_err(|refusal| CallError::failed(refusal.to_string()))?;
    let is_left = |server: &&ServerFacts| left.server(&server.id).is_some();
    let names = |servers: Vec<&ServerFacts>| {
        servers.into_iter().map(ServerFacts::name).collect::<Vec<_>>().join(", ")
    };
    let (left_names, lost_names): (Vec<_>, Vec<_>) = servers.iter().partition(is_left);
    let (remaining, lost) = (names(left_names), names(lost_names));
    tracing::warn!(target: "agent.server", remaining, lost, index, "An operator makes the servers that are left the Raft configuration: the others are lost for good");
    let expected = LogPosition { term: Term(term), index: Index(index) };
    let mut leader = server.raft().watch_leader();
    let recovered = server.raft().recover(left, expected).await;
    recovered.map_err(|error| error.to_call_error())?;
    let elected = timeout(ELECTION_TIMEOUT, leader.wait_for(Option::is_some)).await;
    match elected {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(CallError::failed("this server is stopping")),
        Err(_) => Err(CallError::failed(
            "the servers that are left are the quorum, but have not elected a leader yet: \
             their logs say why",
        )),
    }
}

fn shown(asked: &Server, judged: &Judged) -> Recovery {
    let Judged { stats, servers, outcome } = judged;
    let shown = servers.iter().map(|server| RecoveryServer {
        id: server.id.0.to_string(),
        node: server
            .member
            .as_ref()
            .map_or(RaftServer::UNKNOWN_NODE, |member| &member.name)
            .to_owned(),
        address: server.address.to_string(),
        voter: server.suffrage == Suffrage::Voter,
        status: server.member.as_ref().map_or("none", |member| member.status.as_str()).to_owned(),
        answers: server.last.is_some(),
        last_term: server.last.map_or(0, |last| last.term.0),
        last_index: server.last.map_or(0, |last| last.index.0),
    });
    Recovery {
        id: stats.status.id.0.to_string(),
        last_term: stats.status.last.term.0,
        last_index: stats.status.last.index.0,
        commit_index: stats.status.commit.0,
        last_contact: GoDuration::from(asked.raft().last_contact()),
        servers: shown.collect(),
        refused: outcome.as_ref().err().map(ToString::to_string).unwrap_or_default(),
    }
}

async fn judged(server: &Server) -> Result<Judged, CallError> {
    let members = server.gossip().members();
    let stats = server.raft().stats().await.map_err(|error| error.to_call_error())?;
    let answers = ask_all(server, &stats, &members, Instant::now() + ASK_TIMEOUT).await;
    let servers = facts(&stats, &members, &answers);
    let leader = server.raft().leader();
    let leader = leader.map(|leader| match servers.iter().find(|facts| facts.id == leader.id) {
        Some(facts) => facts.name().to_owned(),
        None => leader.id.0.to_string(),
    });
    let outcome = judge(&stats.status.id, leader.as_deref(), &servers);
    Ok(Judged { stats, servers, outcome })
}

fn facts(
    stats: &RaftStats,
    members: &[Member],
    answers: &BTreeMap<ServerId, Known>,
) -> Vec<ServerFacts> {
    let of_gossip: Vec<ServerMember> = members.iter().filter_map(ServerMember::parse).collect();
    let facts = |server: &raft::Server| ServerFacts {
        id: server.id.clone(),
        address: server.address.clone(),
        suffrage: server.suffrage,
        member: of_gossip.iter().find(|member| member.id == server.id).map(|member| MemberFacts {
            name: member.name.clone(),
            address: member.address,
            status: member.status,
        }),
        last: match answers.get(&server.id) {
            _ if server.id == stats.status.id => Some(stats.status.last),
            Some(known) => {
                Some(LogPosition { term: Term(known.last_term), index: Index(known.last_index) })
            }
            None => None,
        },
    };
    stats.configuration.servers.iter().map(facts).collect()
}
