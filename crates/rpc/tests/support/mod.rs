//! A port with a service that tells what happens to it.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rpc::{
    BoxFuture, BoxedStream, ConnectionLimit, Peer, ServeOptions, ServerAddr, Service, serve,
    unknown_method,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Barrier, watch};
use tokio::task::JoinHandle;
use types::msgpack;

/// A msgpack value.
pub(crate) fn text(text: &str) -> Bytes {
    msgpack::to_vec(text).into()
}

const METHODS: [&str; 8] = [
    "AutoEncrypt.Sign",
    "Status.Ping",
    "Test.Echo",
    "Test.Fail",
    "Test.Hang",
    "Test.Large",
    "Test.Meet200",
    "Test.Refused",
];

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) running: usize,
    pub(crate) cancelled: usize,
    pub(crate) calls: usize,
    pub(crate) peers: HashSet<SocketAddr>,
    /// How many calls came over TLS.
    pub(crate) tls: usize,
}

pub(crate) struct TestService {
    counts: watch::Sender<Counts>,
    meeting: Barrier,
}

impl TestService {
    /// Waits for a state.
    pub(crate) async fn wait_until(&self, condition: impl FnMut(&Counts) -> bool) {
        let mut counts = self.counts.subscribe();
        let waited = counts.wait_for(condition);
        tokio::time::timeout(std::time::Duration::from_secs(20), waited)
            .await
            .expect("the state is not reached")
            .expect("the service is there");
    }

    pub(crate) fn peers(&self) -> usize {
        self.counts.borrow().peers.len()
    }

    pub(crate) fn has_peer(&self, address: std::net::IpAddr) -> bool {
        self.counts.borrow().peers.iter().any(|peer| peer.ip() == address)
    }

    pub(crate) fn tls_calls(&self) -> usize {
        self.counts.borrow().tls
    }

    pub(crate) fn calls(&self) -> usize {
        self.counts.borrow().calls
    }

    async fn answer(&self, method: &str, args: Bytes) -> Result<Bytes, String> {
        match method {
            "Status.Ping" => Ok(Bytes::from_static(b"\x80")),
            "AutoEncrypt.Sign" | "Test.Echo" => Ok(args),
            "Test.Fail" => Err(msgpack::from_slice::<String>(&args).map_err(|e| e.to_string())?),
            "Test.Large" => Ok(text(&"x".repeat(1 << 20))),
            "Test.Hang" => std::future::pending().await,
            "Test.Meet200" => {
                self.meeting.wait().await;
                Ok(args)
            }
            _ => Err(unknown_method(method, METHODS)),
        }
    }

    async fn raw(&self, name: &str, mut stream: BoxedStream) {
        let mut said = String::new();
        if stream.read_to_string(&mut said).await.is_ok() {
            let _ = stream.write_all(format!("{name}: {said}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    }
}

/// Counts a call that was dropped before it ended.
struct Running<'a>(&'a TestService, bool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.counts.send_modify(|counts| {
            counts.running -= 1;
            counts.cancelled += usize::from(!self.1);
        });
    }
}

impl Service for TestService {
    fn admit(&self, _from: &Peer, method: &str) -> Result<(), String> {
        if method == "Test.Refused" { Err("rate limit exceeded".to_owned()) } else { Ok(()) }
    }

    fn call<'a>(
        &'a self,
        from: &'a Peer,
        method: &'a str,
        args: Bytes,
    ) -> BoxFuture<'a, Result<Bytes, String>> {
        self.counts.send_modify(|counts| {
            counts.running += 1;
            counts.calls += 1;
            counts.peers.insert(from.address);
            counts.tls += usize::from(from.tls);
        });
        Box::pin(async move {
            let mut running = Running(self, false);
            let answer = self.answer(method, args).await;
            running.1 = true;
            answer
        })
    }

    fn raft(&self, _from: Peer, stream: BoxedStream) -> BoxFuture<'_, ()> {
        Box::pin(self.raw("raft", stream))
    }

    fn snapshot(&self, _from: Peer, stream: BoxedStream) -> BoxFuture<'_, ()> {
        Box::pin(self.raw("snapshot", stream))
    }

    fn grpc(&self, _from: Peer, stream: BoxedStream) -> BoxFuture<'_, ()> {
        Box::pin(self.raw("grpc", stream))
    }
}

/// A port that is served until it is dropped.
pub(crate) struct Port {
    pub(crate) server: ServerAddr,
    pub(crate) service: Arc<TestService>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Port {
    pub(crate) async fn start() -> Self {
        let options = ServeOptions {
            connections: Arc::new(ConnectionLimit::new(0)),
            ..ServeOptions::default()
        };
        Self::start_with(options).await
    }

    pub(crate) async fn start_with(options: ServeOptions) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), options).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        Self::start_on(address, ServeOptions::default()).await
    }

    async fn start_on(address: SocketAddr, options: ServeOptions) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Arc::new(TestService {
            counts: watch::Sender::new(Counts::default()),
            meeting: Barrier::new(200),
        });
        let (stop, stopped) = watch::channel(false);
        let server = ServerAddr {
            datacenter: "dc1".into(),
            id: String::new(),
            name: "server".to_owned(),
            address,
        };
        let serving = tokio::spawn(serve(listener, options, service.clone(), stopped));
        Self { server, service, stop, serving }
    }

    /// Ends it, and waits until it ended.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        self.serving.await.unwrap();
    }
}
