//! Which servers can be asked, as the pools tell it (`reference/rpc-wire.md` section 6,
//! `reference/gossip-wire.md` section 17).

use std::collections::BTreeMap;

use gossip::consul;
use rpc::{Router, ServerAddr};
use types::Datacenter;
use types::member::{Member, MemberStatus};

/// What a router was told of one pool.
#[derive(Debug, Default)]
pub(super) struct Told {
    servers: BTreeMap<(Datacenter, String), (ServerAddr, MemberStatus)>,
}

/// Which pool it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The LAN pool: servers of the own datacenter, which are asked while they live.
    Own,
    /// The WAN pool: servers of other datacenters, which are known even while they do not
    /// answer.
    Others,
}

impl Told {
    /// Tells the router what became of the members, and whether a server came that it did
    /// not know.
    pub(super) fn update(
        &mut self,
        members: &[Member],
        own: &Datacenter,
        reach: Reach,
        router: &Router,
    ) -> bool {
        let mut now = BTreeMap::new();
        for server in members.iter().filter_map(consul::Server::from_member) {
            let datacenter = Datacenter::from(server.datacenter.as_str());
            let counts = match reach {
                Reach::Own => datacenter == *own && server.status == MemberStatus::ALIVE,
                Reach::Others => {
                    datacenter != *own
                        && matches!(server.status, MemberStatus::ALIVE | MemberStatus::FAILED)
                }
            };
            if counts {
                let address = ServerAddr {
                    datacenter: datacenter.clone(),
                    id: server.id,
                    name: server.short_name.clone(),
                    address: server.address,
                };
                now.insert((datacenter, server.short_name), (address, server.status));
            }
        }
        for (place, (server, _)) in &self.servers {
            if !now.contains_key(place) {
                tracing::info!(target: "agent.router", server = %server, "removing server");
                router.remove_server(server);
            }
        }
        let mut is_new = false;
        for (place, (server, status)) in &now {
            let before = self.servers.get(place);
            if before.is_some_and(|(known, was)| known == server && was == status) {
                continue;
            }
            if *status == MemberStatus::ALIVE {
                tracing::info!(target: "agent.router", server = %server, "adding server");
                router.add_server(server.clone());
                is_new = true;
            } else {
                if before.is_none() {
                    router.add_server(server.clone());
                }
                router.fail_server(server);
            }
        }
        self.servers = now;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use gossip::consul::ServerTags;

    use super::*;

    fn server(name: &str, datacenter: &str, status: MemberStatus) -> Member {
        let tags = ServerTags {
            datacenter: datacenter.to_owned(),
            node_id: format!("id-of-{name}"),
            port: 8300,
            ..ServerTags::default()
        };
        Member {
            name: name.to_owned(),
            addr: "10.0.0.1".to_owned(),
            port: 8301,
            tags: tags.to_tags(),
            status,
            ..Member::default()
        }
    }

    fn known(router: &Router, datacenter: &str) -> Vec<String> {
        let routes = router.routes();
        let mut names: Vec<String> =
            routes.servers(&datacenter.into()).iter().map(|s| s.name.clone()).collect();
        names.sort();
        names
    }

    #[test]
    fn servers_of_the_own_datacenter_are_asked_while_they_live() {
        let (own, router) = (Datacenter::from("dc1"), Router::new("dc1".into()));
        let mut told = Told::default();
        let client = Member { tags: BTreeMap::new(), ..server("c1", "dc1", MemberStatus::ALIVE) };
        let alive = server("s1", "dc1", MemberStatus::ALIVE);
        let members = [client, alive.clone(), server("s2", "dc1", MemberStatus::FAILED)];
        assert!(told.update(&members, &own, Reach::Own, &router));
        assert_eq!(known(&router, "dc1"), ["s1"]);
        assert!(!told.update(&members, &own, Reach::Own, &router), "nothing is new");
        let members = [alive, server("s2", "dc1", MemberStatus::ALIVE)];
        assert!(told.update(&members, &own, Reach::Own, &router));
        assert_eq!(known(&router, "dc1"), ["s1", "s2"]);
        let members = [server("s1", "dc1", MemberStatus::FAILED)];
        assert!(!told.update(&members, &own, Reach::Own, &router));
        assert_eq!(known(&router, "dc1"), Vec::<String>::new());
    }

    #[test]
    fn servers_of_other_datacenters_are_known_while_they_do_not_answer_and_until_they_left() {
        let (own, router) = (Datacenter::from("dc1"), Router::new("dc1".into()));
        let mut told = Told::default();
        let of = |status| [server("s1.dc2", "dc2", status), server("s1.dc1", "dc1", status)];
        told.update(&of(MemberStatus::ALIVE), &own, Reach::Others, &router);
        assert_eq!((known(&router, "dc2"), known(&router, "dc1")), (vec!["s1".to_owned()], vec![]));
        assert!(router.find(&"dc2".into()).is_ok());
        told.update(&of(MemberStatus::FAILED), &own, Reach::Others, &router);
        // It is the only one there: it is asked, and says itself that it does not answer.
        assert!(router.find(&"dc2".into()).is_ok());
        told.update(&of(MemberStatus(3)), &own, Reach::Others, &router);
        assert_eq!(router.find(&"dc2".into()).unwrap_err().to_string(), "No path to datacenter");
    }
}
