//! Which members a pool lets in.

use std::collections::BTreeMap;

use types::member::{Member, MemberStatus};

use super::{Build, Server, client_datacenter};

/// What a member must be like. A refusal of several ends the exchange with whoever offered
/// them; a refusal of one alone ignores it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MergeRules {
    /// Everybody may come.
    #[default]
    Everybody,
    /// The pool of one datacenter.
    Lan {
        /// The datacenter.
        datacenter: String,
        /// This agent's node name.
        name: String,
        /// This agent's node id.
        node_id: String,
    },
    /// The pool of all servers.
    Wan,
}

/// Why members are refused. Programs match on the first four texts, which are Consul's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another node with the node id of this agent.
    #[error("Member '{name}' has conflicting node ID '{id}' with this agent's ID")]
    OwnId {
        /// The member.
        name: String,
        /// The id.
        id: String,
    },
    /// Two nodes with one node id.
    #[error("Member '{name}' has conflicting node ID '{id}' with member '{other}'")]
    SameId {
        /// The second member.
        name: String,
        /// The id.
        id: String,
        /// The first member.
        other: String,
    },
    /// A member of another datacenter.
    #[error("Member '{name}' part of wrong datacenter '{datacenter}'")]
    WrongDatacenter {
        /// The member.
        name: String,
        /// Where it is.
        datacenter: String,
    },
    /// A member of the WAN pool that is no server.
    #[error("Member '{0}' is not a server")]
    NotAServer(String),
    /// A server that enforces access control, which this agent would not.
    #[error(
        "Member '{0}' enforces ACLs, which this version does not have: here it would leave open \
         what they guard. Use a Consul agent in this cluster, or set acl.enabled to false on all \
         of its servers first"
    )]
    EnforcesAcls(String),
    /// A member that wants what is not in Community Edition.
    #[error("Member '{name}' has the tag {tag}={value}, which only Consul Enterprise understands")]
    Enterprise {
        /// The member.
        name: String,
        /// The tag.
        tag: &'static str,
        /// Its value.
        value: String,
    },
}

/// Tags that must be empty: FIPS builds, partitions, network segments.
const ENTERPRISE_TAGS: [&str; 3] = ["fips", "ap", "segment"];

/// Before this version ids were not unique.
const UNIQUE_IDS_SINCE: Build = Build::new(0, 8, 5);

impl MergeRules {
    /// Whether these may come, none of whom was here before. Members that are here may turn
    /// access control on: that is for the cluster to decide.
    ///
    /// # Errors
    /// The first that may not, and why.
    pub fn check_new<'m>(
        &self,
        offered: impl IntoIterator<Item = &'m Member>,
    ) -> Result<(), Refusal> {
        let mut servers = offered.into_iter().filter(|member| enforces_acls(member));
        match (self, servers.next()) {
            (MergeRules::Lan { .. }, Some(server)) => {
                Err(Refusal::EnforcesAcls(server.name.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Whether these members may come, all of them.
    ///
    /// # Errors
    /// The first that may not, and why.
    pub fn check(&self, offered: &[Member]) -> Result<(), Refusal> {
        match self {
            MergeRules::Everybody => Ok(()),
            MergeRules::Lan { datacenter, name, node_id } => {
                let mut ids = BTreeMap::new();
                offered.iter().try_for_each(|member| {
                    check_id(member, name, node_id, &mut ids)?;
                    check_datacenter(member, datacenter)?;
                    check_edition(member)
                })
            }
            MergeRules::Wan => match offered.iter().find(|m| Server::from_member(m).is_none()) {
                Some(member) => Err(Refusal::NotAServer(member.name.clone())),
                None => Ok(()),
            },
        }
    }
}

/// Whether a member is a server that refuses what a token does not allow.
pub fn enforces_acls(member: &Member) -> bool {
    let says = |tag: &str, value: &str| member.tags.get(tag).is_some_and(|said| said == value);
    says("role", "consul") && says("acls", "1") && member.status != MemberStatus::LEFT
}

fn check_id<'m>(
    member: &'m Member,
    own_name: &str,
    own_id: &str,
    ids: &mut BTreeMap<&'m str, &'m str>,
) -> Result<(), Refusal> {
    let id = member.tags.get("id").map_or("", String::as_str);
    if id.is_empty() || member.status == MemberStatus::LEFT {
        return Ok(());
    }
    let name = || member.name.clone();
    if id == own_id && !member.name.eq_ignore_ascii_case(own_name) {
        return Err(Refusal::OwnId { name: name(), id: id.to_owned() });
    }
    if let Some(other) = ids.get(id) {
        let other = (*other).to_owned();
        return Err(Refusal::SameId { name: name(), id: id.to_owned(), other });
    }
    let build: Option<Build> = member.tags.get("build").and_then(|build| build.parse().ok());
    if build.is_some_and(|build| build >= UNIQUE_IDS_SINCE) {
        ids.insert(id, &member.name);
    }
    Ok(())
}

fn check_datacenter(member: &Member, own: &str) -> Result<(), Refusal> {
    let server = Server::from_member(member).map(|server| server.datacenter);
    let datacenter = server.or_else(|| client_datacenter(member).map(str::to_owned));
    match datacenter {
        Some(datacenter) if datacenter != own => {
            Err(Refusal::WrongDatacenter { name: member.name.clone(), datacenter })
        }
        _ => Ok(()),
    }
}

fn check_edition(member: &Member) -> Result<(), Refusal> {
    for tag in ENTERPRISE_TAGS {
        let value = member.tags.get(tag).cloned().unwrap_or_default();
        if !value.is_empty() {
            return Err(Refusal::Enterprise { name: member.name.clone(), tag, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ClientTags;
    use super::*;

    fn lan() -> MergeRules {
        let own = |text: &str| text.to_owned();
        MergeRules::Lan { datacenter: own("dc1"), name: own("me"), node_id: own("1") }
    }

    fn client(name: &str, id: &str, change: &[(&str, &str)]) -> Member {
        let tags =
            ClientTags { datacenter: "dc1".into(), node_id: id.into(), ..Default::default() };
        let mut tags = tags.to_tags();
        tags.extend(change.iter().map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned())));
        Member { name: name.into(), addr: "10.0.0.1".into(), tags, ..Member::default() }
    }

    fn check(rules: &MergeRules, offered: &[Member], expected: &str) {
        let text = rules.check(offered).err().map(|refusal| refusal.to_string());
        assert_eq!(text.unwrap_or_default(), expected, "{offered:?}");
    }

    #[test]
    fn a_lan_pool_refuses_foreign_datacenters_and_ids_that_are_taken() {
        let lan = lan();
        check(&lan, &[client("a", "2", &[]), client("b", "3", &[])], "");
        check(&lan, &[client("ME", "1", &[])], "");
        check(
            &lan,
            &[client("a", "1", &[])],
            "Member 'a' has conflicting node ID '1' with this agent's ID",
        );
        check(
            &lan,
            &[client("a", "2", &[]), client("b", "2", &[])],
            "Member 'b' has conflicting node ID '2' with member 'a'",
        );
        // Ids of very old agents say nothing.
        let old = [("build", "0.8.4:x")];
        check(&lan, &[client("a", "2", &old), client("b", "2", &old)], "");
        check(
            &lan,
            &[client("a", "2", &[("dc", "dc2")])],
            "Member 'a' part of wrong datacenter 'dc2'",
        );
        let mut server = client("s", "4", &[("role", "consul"), ("port", "1"), ("dc", "dc2")]);
        check(&lan, &[server.clone()], "Member 's' part of wrong datacenter 'dc2'");
        // What is neither server nor client may be from anywhere.
        server.tags.remove("port");
        check(&lan, &[server, client("x", "", &[("role", "web"), ("dc", "dc9")])], "");
    }

    #[test]
    fn a_server_that_enforces_acls_is_refused_by_those_who_would_not() {
        let tags = [("role", "consul"), ("acls", "1")];
        let server = client("s", "4", &tags);
        let refused = |rules: MergeRules, member: &Member| {
            rules.check_new([member]).err().map(|refusal| refusal.to_string()).unwrap_or_default()
        };
        assert!(refused(lan(), &server).starts_with("Member 's' enforces ACLs, which this"));
        // Each datacenter guards itself.
        assert_eq!(refused(MergeRules::Wan, &server), "");
        let left = Member { status: MemberStatus::LEFT, ..server };
        let (off, old_client) = ([("role", "consul"), ("acls", "0")], [("acls", "1")]);
        for member in [left, client("s", "4", &off), client("c", "5", &old_client)] {
            assert_eq!(refused(lan(), &member), "");
        }
    }

    #[test]
    fn the_id_of_a_member_that_left_is_free() {
        let mut gone = client("a", "1", &[]);
        gone.status = MemberStatus::LEFT;
        check(&lan(), &[gone], "");
    }

    #[test]
    fn members_with_features_of_enterprise_are_refused() {
        for tag in ENTERPRISE_TAGS {
            let text =
                format!("Member 'a' has the tag {tag}=x, which only Consul Enterprise understands");
            check(&lan(), &[client("a", "2", &[(tag, "x")])], &text);
        }
    }

    #[test]
    fn a_wan_pool_is_for_servers() {
        let server = client("s.dc2", "4", &[("role", "consul"), ("port", "1"), ("dc", "dc2")]);
        check(&MergeRules::Wan, std::slice::from_ref(&server), "");
        let all = [server, client("a", "2", &[])];
        check(&MergeRules::Wan, &all, "Member 'a' is not a server");
        check(&MergeRules::Everybody, &all, "");
    }
}
