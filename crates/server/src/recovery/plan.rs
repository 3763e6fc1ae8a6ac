//! Whether the servers that are left may go on without the others, and which those are.
//!
//! No clock and no network: what is known of each server in, a judgement out.

use std::net::SocketAddr;
use std::sync::Arc;

use raft::{Configuration, ConfigurationError, LogPosition, Server, ServerId, Suffrage};
use types::member::MemberStatus;

/// What is known of a server of the quorum's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerFacts {
    /// Its id.
    pub(super) id: ServerId,
    /// Its address in the configuration.
    pub(super) address: Arc<str>,
    /// Whether it votes.
    pub(super) suffrage: Suffrage,
    /// What gossip knows of it; `None` if it knows nothing.
    pub(super) member: Option<MemberFacts>,
    /// Where its log ends, in its own words; `None` if it does not answer.
    pub(super) last: Option<LogPosition>,
}

/// What gossip knows of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberFacts {
    /// The node's name.
    pub(super) name: String,
    /// Where it is now.
    pub(super) address: SocketAddr,
    /// How it is doing.
    pub(super) status: MemberStatus,
}

impl ServerFacts {
    /// How operators know it.
    pub(super) fn name(&self) -> &str {
        self.member.as_ref().map_or(&*self.id.0, |member| &member.name)
    }
}

/// Why the servers that are left do not go on without the others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// There is nothing to recover.
    #[error("this server is in no Raft configuration yet: it has nothing to recover")]
    NotAMember,
    /// Nothing needs to be recovered.
    #[error("there is a leader, {0}: nothing has to be recovered")]
    LeaderKnown(String),
    /// They need no recovery, but time, or to reach each other.
    #[error(
        "{answering} of {voters} voting servers answer, which is a majority: they elect a leader \
         by themselves, and if they do not, their logs say why"
    )]
    Majority {
        /// How many voting servers answer, this one included.
        answering: usize,
        /// How many there are.
        voters: usize,
    },
    /// What it has is not known.
    #[error(
        "{0} is alive for gossip, but its server port does not answer: it may have what nobody \
         else has. Make it answer, or end it and wait until it is shown as failed"
    )]
    Silent(String),
    /// What that one has would be lost.
    #[error(
        "{name} has more of the log than this server (it ends at {theirs}, here at {own}): \
         recover there"
    )]
    LongerLog {
        /// Who.
        name: String,
        /// Where its log ends.
        theirs: Position,
        /// Where this server's ends.
        own: Position,
    },
    /// They cannot be a quorum as they are.
    #[error(transparent)]
    Invalid(#[from] ConfigurationError),
}

/// A position in the log, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position(pub(super) LogPosition);

impl std::fmt::Display for Position {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "index {} of term {}", self.0.index, self.0.term.0)
    }
}

/// The servers that are left, as the members of the quorum: this one, which will vote, and
/// those that answer it.
pub(super) fn judge(
    own: &ServerId,
    leader: Option<&str>,
    servers: &[ServerFacts],
) -> Result<Configuration, Refusal> {
    let this = servers.iter().find(|server| server.id == *own).ok_or(Refusal::NotAMember)?;
    if let Some(leader) = leader {
        return Err(Refusal::LeaderKnown(leader.to_owned()));
    }
    let voters = servers.iter().filter(|server| server.suffrage == Suffrage::Voter);
    let (answering, voters) = (voters.clone().filter(|v| v.last.is_some()).count(), voters.count());
    if answering > voters / 2 {
        return Err(Refusal::Majority { answering, voters });
    }
    let is_present = |server: &&ServerFacts| {
        let status = server.member.as_ref().map(|member| member.status);
        matches!(status, Some(MemberStatus::ALIVE | MemberStatus::LEAVING))
    };
    if let Some(silent) = servers.iter().filter(is_present).find(|server| server.last.is_none()) {
        return Err(Refusal::Silent(silent.name().to_owned()));
    }
    let last = this.last.unwrap_or_default();
    let ahead = |server: &&ServerFacts| {
        let theirs = server.last.unwrap_or_default();
        (theirs.term, theirs.index) > (last.term, last.index)
    };
    if let Some(ahead) = servers.iter().find(ahead) {
        let theirs = Position(ahead.last.unwrap_or_default());
        let name = ahead.name().to_owned();
        return Err(Refusal::LongerLog { name, theirs, own: Position(last) });
    }
    let left = servers.iter().filter(|server| server.last.is_some());
    let left = left.map(|server| Server {
        id: server.id.clone(),
        address: match &server.member {
            Some(member) => member.address.to_string().into(),
            None => server.address.clone(),
        },
        suffrage: if server.id == *own { Suffrage::Voter } else { server.suffrage },
    });
    let configuration = Configuration { servers: left.collect() };
    configuration.validate()?;
    Ok(configuration)
}

#[cfg(test)]
mod tests {
    use raft::Term;
    use types::Index;

    use super::*;

    /// A server as text: `a+ alive 7/2` votes, is alive for gossip, and says that its log ends
    /// at index 7 of term 2; `b- failed` has no vote and does not answer.
    fn server(text: &str) -> ServerFacts {
        let mut words = text.split_whitespace();
        let (name, vote) = words.next().expect("a name").split_at(1);
        let status = match words.next().expect("a status") {
            "alive" => Some(MemberStatus::ALIVE),
            "failed" => Some(MemberStatus::FAILED),
            "left" => Some(MemberStatus::LEFT),
            _ => None,
        };
        let number = name.as_bytes()[0] - b'a' + 1;
        let last = words.next().map(|position| {
            let (index, term) = position.split_once('/').expect("index/term");
            let (index, term) = (index.parse().expect("one"), term.parse().expect("one"));
            LogPosition { index: Index(index), term: Term(term) }
        });
        ServerFacts {
            id: ServerId(name.into()),
            address: format!("10.0.0.{number}:8300").into(),
            suffrage: if vote == "+" { Suffrage::Voter } else { Suffrage::Nonvoter },
            member: status.map(|status| MemberFacts {
                name: format!("s{number}"),
                address: SocketAddr::from(([10, 0, 0, number], 8300)),
                status,
            }),
            last,
        }
    }

    #[test]
    fn those_who_are_left_go_on_only_if_nobody_has_more_and_no_majority_is_there() {
        let alone = ["a+ alive 7/2", "b+ failed", "c+ failed"];
        let five = ["a+ alive 7/2", "b+ alive 6/2", "c+ failed", "d+ left", "e+ none"];
        let cases: &[(&str, &[&str], &str)] = &[
            ("one of three", &alone, "a+"),
            ("two of five", &five, "a+ b+"),
            ("with a listener", &["a+ alive 7/2", "b+ failed", "c- alive 7/2"], "a+ c-"),
            ("a lone listener votes", &["a- alive 7/2", "b+ failed"], "a+"),
            ("one of two", &["a+ alive 7/2", "b+ left"], "a+"),
            ("none of these", &["b+ alive 7/2"], "in no Raft configuration"),
            ("it leads alone", &["a+ alive 7/2"], "1 of 1 voting servers answer"),
            (
                "two of three",
                &["a+ alive 7/2", "b+ alive 7/2", "c+ failed"],
                "2 of 3 voting servers answer, which is a majority",
            ),
            (
                "a majority with shorter logs",
                &["a+ alive 9/2", "b+ alive 1/1", "c+ alive 1/1"],
                "3 of 3 voting servers answer",
            ),
            (
                "one that says nothing",
                &["a+ alive 7/2", "b+ alive", "c+ failed"],
                "s2 is alive for gossip, but its server port does not answer",
            ),
            (
                "a longer log",
                &["a+ alive 7/2", "b+ alive 8/2", "c+ failed", "d+ failed"],
                "s2 has more of the log than this server (it ends at index 8 of term 2, here at \
                 index 7 of term 2): recover there",
            ),
            (
                "a later term goes before more entries",
                &["a+ alive 9/2", "b+ alive 3/3", "c+ failed", "d+ failed"],
                "s2 has more of the log",
            ),
            (
                "a listener may have more",
                &["a+ alive 7/2", "b- alive 8/2", "c+ failed"],
                "s2 has more of the log",
            ),
            (
                "the same log is nobody's loss",
                &["a+ alive 7/2", "b+ alive 7/2", "c+ failed", "d+ failed"],
                "a+ b+",
            ),
        ];
        for (what, servers, expected) in cases {
            let servers: Vec<ServerFacts> = servers.iter().map(|text| server(text)).collect();
            let outcome = match judge(&ServerId("a".into()), None, &servers) {
                Ok(left) => {
                    let text = left.servers.iter().map(|server| {
                        let vote = if server.suffrage == Suffrage::Voter { '+' } else { '-' };
                        format!("{}{vote}", server.id.0)
                    });
                    text.collect::<Vec<_>>().join(" ")
                }
                Err(refusal) => refusal.to_string(),
            };
            let is_text = expected.len() > 8;
            let fits = if is_text { outcome.contains(expected) } else { outcome == *expected };
            assert!(fits, "{what}: {outcome}");
        }
    }

    #[test]
    fn a_leader_is_named_and_nothing_is_done() {
        let servers = [server("a+ alive 7/2"), server("b+ failed")];
        let refused = judge(&ServerId("a".into()), Some("s2"), &servers);
        assert_eq!(refused, Err(Refusal::LeaderKnown("s2".to_owned())));
    }

    #[test]
    fn servers_that_moved_are_found_at_their_new_addresses() {
        let mut moved = server("b+ alive 7/2");
        if let Some(member) = &mut moved.member {
            member.address = SocketAddr::from(([10, 9, 9, 9], 8300));
        }
        let servers = [server("a+ alive 7/2"), moved, server("c+ none"), server("d+ none")];
        let left = judge(&ServerId("a".into()), None, &servers).expect("two of four");
        let addresses: Vec<&str> = left.servers.iter().map(|server| &*server.address).collect();
        assert_eq!(addresses, ["10.0.0.1:8300", "10.9.9.9:8300"]);
    }
}
