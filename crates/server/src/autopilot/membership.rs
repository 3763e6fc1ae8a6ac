//! How a server comes into the quorum's configuration, and how it goes
//! (`reference/raft-and-snapshots.md` section 15, AddServer).

use std::sync::Arc;

use raft::{Change, Configuration, ServerId, Suffrage};

use crate::Server;
use crate::raft_host::ProposeError;
use crate::server_member::ServerMember;

/// Why the configuration was left as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MembershipError {
    /// Servers with the address of the new one would have to go, and are too many.
    #[error(
        "Preventing server addition that would require removal of too many servers and cause \
         cluster instability"
    )]
    TooManyRemovals,
    /// Raft refused or failed.
    #[error(transparent)]
    Raft(#[from] ProposeError),
}

/// The changes, one after another, by which a server at an address becomes one of the
/// configuration. One that is there keeps its vote; a new one only listens at first.
/// Whoever had the address before goes.
pub(super) fn additions(
    configuration: &Configuration,
    id: &ServerId,
    address: &Arc<str>,
) -> Result<Vec<Change>, MembershipError> {
    let present = configuration.server(id);
    if present.is_some_and(|server| server.address == *address) {
        return Ok(Vec::new());
    }
    let is_other = |server: &&raft::Server| server.address == *address && server.id != *id;
    let (voters, listeners): (Vec<_>, Vec<_>) =
        configuration.servers.iter().filter(is_other).partition(|s| s.suffrage == Suffrage::Voter);
    let spare = configuration.voters().count().saturating_sub(configuration.quorum());
    if voters.len() > spare {
        return Err(MembershipError::TooManyRemovals);
    }
    let removals = voters.into_iter().chain(listeners);
    let mut changes: Vec<Change> =
        removals.map(|server| Change::Remove { id: server.id.clone() }).collect();
    let (id, address) = (id.clone(), address.clone());
    changes.push(match present {
        Some(server) if server.suffrage == Suffrage::Voter => Change::AddVoter { id, address },
        _ => Change::AddNonvoter { id, address },
    });
    Ok(changes)
}

/// Brings a server into the configuration, or its address up to date.
pub(crate) async fn add_server(
    server: &Server,
    joining: &ServerMember,
) -> Result<(), MembershipError> {
    let stats = server.raft().stats().await?;
    let address: Arc<str> = joining.address.to_string().into();
    for change in additions(&stats.configuration, &joining.id, &address)? {
        tracing::info!(target: "agent.server.autopilot", ?change, server = joining.name, "changing the servers of the quorum");
        server.raft().change_membership(change, None).await?;
    }
    Ok(())
}

/// Takes a server out of the configuration, if it is there.
pub(crate) async fn remove_server(server: &Server, id: &ServerId) -> Result<(), MembershipError> {
    let stats = server.raft().stats().await?;
    if stats.configuration.server(id).is_none() {
        return Ok(());
    }
    tracing::info!(target: "agent.server.autopilot", id = %id.0, "removing server by ID");
    let change = Change::Remove { id: id.clone() };
    server.raft().change_membership(change, None).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers as text: `a@1+ b@2-`, those with a plus vote.
    fn configuration(text: &str) -> Configuration {
        let server = |text: &str| {
            let (server, suffrage) = match text.strip_suffix('+') {
                Some(server) => (server, Suffrage::Voter),
                None => (text.trim_end_matches('-'), Suffrage::Nonvoter),
            };
            let (id, address) = server.split_once('@').expect("id@address");
            raft::Server { id: ServerId(id.into()), address: address.into(), suffrage }
        };
        Configuration { servers: text.split_whitespace().map(server).collect() }
    }

    fn text(configuration: &Configuration) -> String {
        let servers = configuration.servers.iter().map(|server| {
            let vote = if server.suffrage == Suffrage::Voter { '+' } else { '-' };
            format!("{}@{}{vote}", server.id.0, server.address)
        });
        servers.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_server_is_added_as_autopilot_does_it() {
        let cases = [
            ("it is there already", "a@1+ b@2+", "b@2", Ok("a@1+ b@2+")),
            ("a new one only listens", "a@1+", "b@2", Ok("a@1+ b@2-")),
            ("a voter moves and votes on", "a@1+ b@2+", "b@3", Ok("a@1+ b@3+")),
            ("a listener moves", "a@1+ b@2-", "b@3", Ok("a@1+ b@3-")),
            ("a machine with a new id", "a@1+ b@2+ c@3+", "d@3", Ok("a@1+ b@2+ d@3-")),
            ("listeners go as well", "a@1+ b@2-", "c@2", Ok("a@1+ c@2-")),
            ("a voter takes another's address", "a@1+ b@2+ c@3+", "b@3", Ok("a@1+ b@3+")),
            ("the quorum would be lost", "a@1+ b@2+", "c@2", Err("Preventing server addition")),
            ("there would be none", "a@1+", "b@1", Err("Preventing server addition")),
        ];
        for (what, before, joining, expected) in cases {
            let mut after = configuration(before);
            let (id, address) = joining.split_once('@').expect("id@address");
            let outcome = additions(&after, &ServerId(id.into()), &address.into());
            let outcome = outcome.map(|changes| {
                for change in changes {
                    after = after.changed(&change).expect("each step is a configuration");
                }
                text(&after)
            });
            match expected {
                Ok(expected) => assert_eq!(outcome.expect(what), expected, "{what}"),
                Err(expected) => {
                    let error = outcome.expect_err(what).to_string();
                    assert!(error.starts_with(expected), "{what}: {error}");
                }
            }
        }
    }
}
