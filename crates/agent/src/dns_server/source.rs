//! Where rows come from.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use dns::{Lookup, QueryRows, ReverseTarget, Rows};
use thiserror::Error;
use types::catalog::{CheckServiceNode, Node};
use types::{NodeName, ServiceName};

use super::settings::Freshness;

/// The catalog, as the DNS server sees it: rows, ACL-filtered by the token of the
/// DNS interface (`reference/dns.md` section 11).
pub trait DnsSource: Send + Sync + 'static {
    /// The rows, if they are at hand without waiting for anybody; `None` sends the
    /// question to [`Self::look_up`]. This is the path of nearly all questions: it
    /// is called on the task that reads the socket and must not block.
    fn look_up_now(&self, call: &LookupCall<'_>) -> Option<Result<Found, LookupError>> {
        let _ = call;
        None
    }

    /// The rows, from wherever they are. Waited for [`super::LOOKUP_TIMEOUT`].
    fn look_up<'a>(&'a self, call: LookupCall<'a>) -> LookupFuture<'a>;
}

/// Rows to come.
pub type LookupFuture<'a> = Pin<Box<dyn Future<Output = Result<Found, LookupError>> + Send + 'a>>;

/// What is looked up, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct LookupCall<'a> {
    /// Names are lower-case; compare them without case.
    pub lookup: Lookup<'a>,
    /// Where the client is: the address of its EDNS client subnet, else its own.
    /// Prepared queries sort by it (`near = _ip`).
    pub source_ip: IpAddr,
    /// How old rows may be.
    pub freshness: &'a Freshness,
}

/// Rows, shared with whoever keeps them.
#[derive(Clone)]
pub enum Found {
    /// For [`Lookup::Node`].
    Node(Option<Arc<Node>>),
    /// For [`Lookup::Service`], [`Lookup::Connect`], [`Lookup::Ingress`] and
    /// [`Lookup::Servers`]: the instances of any health, in any order. An
    /// `Arc<Vec<CheckServiceNode>>` fits.
    Instances(Arc<dyn AsRef<[CheckServiceNode]> + Send + Sync>),
    /// For [`Lookup::Query`]; `None` when the query is unknown.
    Query(Option<FoundQuery>),
    /// For [`Lookup::Virtual`]; `None` when no address is allocated.
    Virtual(Option<Ipv4Addr>),
    /// For [`Lookup::Reverse`]; nodes come before services.
    Reverse(Option<AddressOwner>),
}

/// The result of a prepared query, with its own health rule applied and in the
/// order in which it is to be given.
#[derive(Clone)]
pub struct FoundQuery {
    /// The instances.
    pub instances: Arc<dyn AsRef<[CheckServiceNode]> + Send + Sync>,
    /// The service of the query: decides the TTL if the query does not.
    pub service: ServiceName,
    /// `DNS.TTL` of the query in seconds; `None` when it has none.
    pub ttl: Option<u32>,
}

/// What has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressOwner {
    /// A node.
    Node(NodeName),
    /// A service.
    Service(ServiceName),
}

/// Why there are no rows.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LookupError {
    /// The datacenter or peer is not known: NXDOMAIN.
    #[error("No path to datacenter")]
    UnknownDatacenter,
    /// Anything else (no leader, unknown token, …): SERVFAIL.
    #[error("{0}")]
    Failed(String),
}

impl Found {
    /// The same rows as the answer machine takes them.
    pub(super) fn rows(&self) -> Rows<'_> {
        match self {
            Found::Node(node) => Rows::Node(node.as_deref()),
            Found::Instances(instances) => Rows::Instances((**instances).as_ref()),
            Found::Query(Some(found)) => Rows::Query(QueryRows {
                instances: (*found.instances).as_ref(),
                service: found.service.as_str(),
                ttl: found.ttl,
            }),
            Found::Query(None) => Rows::Query(QueryRows { instances: &[], service: "", ttl: None }),
            Found::Virtual(ip) => Rows::Virtual(*ip),
            Found::Reverse(owner) => Rows::Reverse(owner.as_ref().map(|owner| match owner {
                AddressOwner::Node(node) => ReverseTarget::Node(node.as_str()),
                AddressOwner::Service(service) => ReverseTarget::Service(service.as_str()),
            })),
        }
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows().fmt(f)
    }
}

/// The value of a future that does not have to wait; `None`, and the future given
/// up, when it does. For sources whose reads are asynchronous but have local
/// results at once: only use it where giving up has no effect on others.
pub fn ready_now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
