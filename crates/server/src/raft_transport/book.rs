//! Where servers are: known by id, found by what gossip says.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use raft::ServerId;
use tokio::sync::watch;
use types::member::{Member, MemberStatus};

/// Where servers are at this moment. Where it knows nothing, the address in the
/// configuration counts.
pub trait AddressBook: Send + Sync + 'static {
    /// Where that server is.
    fn address(&self, id: &ServerId) -> Option<SocketAddr>;

    /// Which server is there; only asked for servers that do not say who they are.
    fn id_at(&self, address: SocketAddr) -> Option<ServerId>;
}

/// The servers of the own datacenter, as gossip knows them.
pub struct Members(pub watch::Receiver<Vec<Member>>);

impl Members {
    fn find<T>(&self, find: impl Fn(&str, SocketAddr) -> Option<T>) -> Option<T> {
        let members = self.0.borrow();
        let alive = members.iter().filter(|member| member.status == MemberStatus::ALIVE);
        alive
            .filter(|member| member.tags.get("role").is_some_and(|role| role == "consul"))
            .find_map(|member| {
                let ip: IpAddr = member.addr.parse().ok()?;
                let port = member.tags.get("port")?.parse().ok()?;
                find(member.tags.get("id")?, SocketAddr::new(ip, port))
            })
    }
}

impl AddressBook for Members {
    fn address(&self, id: &ServerId) -> Option<SocketAddr> {
        self.find(|found, address| (*found == *id.0).then_some(address))
    }

    fn id_at(&self, address: SocketAddr) -> Option<ServerId> {
        self.find(|id, found| (found == address).then(|| ServerId(id.into())))
    }
}

/// Addresses that somebody set.
#[derive(Debug, Default)]
pub struct FixedAddresses(Mutex<BTreeMap<ServerId, SocketAddr>>);

impl FixedAddresses {
    /// A server is there from now on.
    pub fn set(&self, id: ServerId, address: SocketAddr) {
        self.lock().insert(id, address);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServerId, SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AddressBook for FixedAddresses {
    fn address(&self, id: &ServerId) -> Option<SocketAddr> {
        self.lock().get(id).copied()
    }

    fn id_at(&self, address: SocketAddr) -> Option<ServerId> {
        self.lock().iter().find(|(_, found)| **found == address).map(|(id, _)| id.clone())
    }
}
