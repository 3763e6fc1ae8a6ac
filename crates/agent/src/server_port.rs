//! The server of this agent among others: its port, its Raft, and its way to them.
//!
//! The port is bound before anything else is started, so that an agent whose port is taken
//! has not been heard of by anybody. Where other servers are is known once the gossip pools
//! are there: [`ServerPort::serve`] brings them together.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use config::RuntimeConfig;
use contract::remote::{Nothing, decode_reply, encode};
use rpc::{ConnectionLimit, ServeOptions, ServerAddr, Tls};
use server::Server;
use server::bootstrap::{self, AskPeers, Bootstrap, ServerMember};
use server::endpoint::Endpoint;
use server::peers::{Peers, RaftDial};
use server::raft_host::{Inlet, ServerId, Transport};
use server::raft_transport::{
    self, AddressBook, Incoming, Members, RaftSender, TIMEOUT, TransportOptions,
};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use types::{Datacenter, NodeId};

use crate::pools::ServerGossip;
use crate::process::AgentHandle;

/// How long a server may take to say whether it is in a cluster.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);

/// The port of a server that does not serve yet.
pub(crate) struct ServerPort {
    listener: TcpListener,
    tls: Tls,
    sender: RaftSender,
    dial: Arc<RaftDial>,
    book: Arc<LateMembers>,
    incoming: Option<Incoming>,
}

impl ServerPort {
    /// Binds the port.
    ///
    /// # Errors
    /// It cannot be had.
    pub(crate) fn bind(
        config: &RuntimeConfig,
        node_id: &NodeId,
        pool: &rpc::Pool,
        tls: Tls,
    ) -> Result<Self, String> {
        let address = config.network.rpc_bind;
        let listener = listen(address).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::AddrInUse => "address already in use".to_owned(),
                io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
                io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
                _ => error.to_string(),
            };
            format!(
                "Failed to start Consul server: Failed to start RPC layer: listen tcp {address}: \
                 bind: {reason}"
            )
        })?;
        let datacenter = config.identity.datacenter.clone();
        Ok(Self {
            listener,
            tls,
            sender: RaftSender {
                id: ServerId(node_id.as_str().into()),
                address: config.network.rpc_advertise.to_string().into(),
            },
            dial: Arc::new(RaftDial::new(pool.clone(), datacenter)),
            book: Arc::default(),
            incoming: None,
        })
    }

    /// The way of the Raft host to others.
    pub(crate) fn transport(&mut self, inlet: Inlet) -> Box<dyn Transport> {
        let options = TransportOptions {
            sender: self.sender.clone(),
            book: self.book.clone(),
            dial: self.dial.clone(),
            runtime: Handle::current(),
            timeout: TIMEOUT,
        };
        let (transport, incoming) = raft_transport::start(options, inlet);
        self.incoming = Some(incoming);
        Box::new(transport)
    }

    /// Brings the server together with its port and with the others: from now on it is one
    /// of many. What runs on its behalf goes to `tasks` and ends with `stop`.
    ///
    /// # Panics
    /// If the Raft host was not given its [`Self::transport`].
    pub(crate) fn serve(
        self,
        server: &Server,
        handle: &AgentHandle,
        tasks: &mut JoinSet<()>,
        stop: &watch::Receiver<bool>,
    ) {
        let (config, pools) = (handle.config(), handle.pools());
        let (pool, router) = (handle.rpc_pool().clone(), pools.router().clone());
        let members = pools.lan().members();
        self.book.set(Members(members.clone()));
        let gossip = Arc::new(ServerGossip::new(pools.clone()));
        server.connect(Peers::new(pool.clone(), router.clone()), gossip.clone());
        let stops = stop.clone();
        tasks.spawn(async move { gossip.measure(stops).await });

        let incoming = self.incoming.expect("the Raft host has its transport");
        let options = ServeOptions {
            handshake_timeout: config.limits.rpc_handshake_timeout.to_std(),
            connections: Arc::new(ConnectionLimit::new(config.limits.rpc_max_conns_per_client)),
            tls: Some(self.tls),
            ..ServeOptions::default()
        };
        let endpoint = Arc::new(Endpoint::new(server.clone(), incoming));
        tasks.spawn(rpc::serve(self.listener, options, endpoint, stop.clone()));

        let (counted, stops) = (members.clone(), stop.clone());
        let asked = pool.clone();
        tasks.spawn(async move {
            router.run(&asked, || counted.borrow().len(), stops).await;
        });
        let expect = usize::try_from(config.bootstrap.expect).unwrap_or(usize::MAX);
        if expect > 1 {
            let datacenter = config.identity.datacenter.clone();
            let (raft, mut stops) = (server.raft().clone(), stop.clone());
            let bootstrap = Bootstrap::new(expect, datacenter.clone());
            let ask = AskByPort { pool, datacenter };
            tasks.spawn(async move {
                tokio::select! {
                    () = bootstrap::run(bootstrap, &raft, members, &ask) => {}
                    _ = stops.wait_for(|stop| *stop) => {}
                }
            });
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Where servers are, once there is gossip. Until then the configuration counts.
#[derive(Default)]
struct LateMembers(OnceLock<Members>);

impl LateMembers {
    fn set(&self, members: Members) {
        // Only the start sets it.
        let _ = self.0.set(members);
    }
}

impl AddressBook for LateMembers {
    fn address(&self, id: &ServerId) -> Option<SocketAddr> {
        self.0.get()?.address(id)
    }

    fn id_at(&self, address: SocketAddr) -> Option<ServerId> {
        self.0.get()?.id_at(address)
    }
}

/// Asks servers over their ports whether they are in a cluster.
struct AskByPort {
    pool: rpc::Pool,
    datacenter: Datacenter,
}

impl AskPeers for AskByPort {
    fn peers<'a>(
        &'a self,
        server: &'a ServerMember,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<String>, String>> + Send + 'a>> {
        let method = "Status.Peers";
        let address = ServerAddr {
            datacenter: self.datacenter.clone(),
            id: server.id.0.to_string(),
            name: server.name.clone(),
            address: server.address,
        };
        Box::pin(async move {
            let args = encode(&Nothing {});
            let reply = self.pool.call(&address, method, args, STATUS_TIMEOUT).await;
            let reply = reply.map_err(|error| error.to_string())?;
            // A server without peers sends nil.
            let peers: Option<Vec<String>> =
                decode_reply(method, &reply).map_err(|error| error.to_string())?;
            Ok(peers.unwrap_or_default())
        })
    }
}
