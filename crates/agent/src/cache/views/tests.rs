//! Views of servers that tell what a test says.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use contract::remote::encode;
use domains::catalog::InstanceSelection;
use grpc::answer::{self, Asked};
use grpc::messages::event::Payload;
use grpc::messages::{CatalogOp, Event, ServiceHealthUpdate, SubscribeRequest};
use grpc::{Handler, KeepAlive, Request, Response, Status, convert, unfold};
use prost::Message as _;
use rpc::{BoxedStream, Peer, Pool, PoolOptions, Router, ServeOptions, Service};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use types::catalog::{CheckServiceNode, Node, NodeService};

use super::*;
use crate::delegate::ClientOptions;

const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody who subscribed, and the line on which it is told.
struct Subscriber {
    request: SubscribeRequest,
    tell: Sender<Result<Bytes, Status>>,
}

impl Subscriber {
    fn tell(&self, index: u64, payload: Payload) {
        let event = Event { index, payload: Some(payload) };
        self.tell.try_send(Ok(event.encode_to_vec().into())).expect("it listens");
    }

    fn register(&self, index: u64, row: &CheckServiceNode) {
        let check_service_node = Some(convert::to_message(row));
        let op = CatalogOp::Register.into();
        self.tell(index, Payload::ServiceHealth(ServiceHealthUpdate { op, check_service_node }));
    }

    fn end(&self, index: u64) {
        self.tell(index, Payload::EndOfSnapshot(true));
    }
}

/// A server of which only the health of services can be asked, and in that one instance.
struct Stage {
    subscribers: Sender<Subscriber>,
    speaks: bool,
    /// How many connections there were for gRPC, and how many questions beside.
    connections: AtomicUsize,
    asked: AtomicUsize,
}

struct Teller(Sender<Subscriber>);

impl Handler for Teller {
    fn handle(&self, _from: &Peer, request: Request) -> BoxFuture<Response> {
        let subscribers = self.0.clone();
        answer::stream(request, |asked: Asked<SubscribeRequest>| async move {
            let (tell, told) = channel(64);
            let _ = subscribers.try_send(Subscriber { request: asked.message, tell });
            Ok(unfold(told, |mut told: Receiver<Result<Bytes, Status>>| {
                Box::pin(async move {
                    let item = told.recv().await?;
                    Some((item, told))
                })
            }))
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Reply {
    index: u64,
    known_leader: bool,
    nodes: Vec<CheckServiceNode>,
}

impl Service for Stage {
    fn call<'a>(
        &'a self,
        _from: &'a Peer,
        method: &'a str,
        _args: Bytes,
    ) -> rpc::BoxFuture<'a, Result<Bytes, String>> {
        assert_eq!(method, "Health.ServiceNodes");
        self.asked.fetch_add(1, Ordering::Relaxed);
        let reply = Reply { index: 3, known_leader: true, nodes: vec![instance("asked", &[])] };
        Box::pin(std::future::ready(Ok(encode(&reply))))
    }

    fn raft(&self, _from: Peer, _stream: BoxedStream) -> rpc::BoxFuture<'_, ()> {
        unreachable!("nobody speaks Raft here")
    }

    fn snapshot(&self, _from: Peer, _stream: BoxedStream) -> rpc::BoxFuture<'_, ()> {
        unreachable!("nobody asks for a snapshot here")
    }

    fn grpc(&self, from: Peer, stream: BoxedStream) -> rpc::BoxFuture<'_, ()> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        if !self.speaks {
            return Box::pin(async move { drop(stream) });
        }
        Box::pin(grpc::serve(stream, from, Arc::new(Teller(self.subscribers.clone()))))
    }
}

struct Fixture {
    views: Views,
    stage: Arc<Stage>,
    subscribers: Receiver<Subscriber>,
    _stop: watch::Sender<bool>,
    _server: JoinSet<()>,
}

impl Fixture {
    async fn new(speaks: bool) -> Self {
        let (sender, subscribers) = channel(64);
        let stage = Arc::new(Stage {
            subscribers: sender,
            speaks,
            connections: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let router = Router::new("dc1".into());
        router.add_server(ServerAddr {
            datacenter: "dc1".into(),
            id: "s1".to_owned(),
            name: "s1".to_owned(),
            address: listener.local_addr().unwrap(),
        });
        let (stop, stops) = watch::channel(false);
        let mut server = JoinSet::new();
        server.spawn(rpc::serve(listener, ServeOptions::default(), stage.clone(), stops));
        let options = ClientOptions {
            hold_timeout: Duration::from_millis(500),
            default_query_time: Duration::from_secs(300),
            max_query_time: Duration::from_secs(600),
            timeout: PATIENCE,
            rate: f64::INFINITY,
            burst: 1000,
        };
        let pool = Pool::new(PoolOptions::default());
        let client = Client::new(pool, router, options, KeepAlive::default());
        Self { views: Views::new(client, true), stage, subscribers, _stop: stop, _server: server }
    }

    async fn subscriber(&mut self) -> Subscriber {
        let came = tokio::time::timeout(PATIENCE, self.subscribers.recv()).await;
        came.expect("it subscribes in time").expect("the server runs")
    }

    /// Asks in the background.
    fn ask(&self, tag: &str, seen: u64) -> tokio::task::JoinHandle<(u64, String, bool)> {
        let tags = Some(tag).filter(|tag| !tag.is_empty()).map(str::to_owned);
        let selection =
            InstanceSelection { tags: tags.into_iter().collect(), ..InstanceSelection::of("Web") };
        let query = Arc::new(HealthService { selection, ..HealthService::default() });
        let options = ReadOptions {
            datacenter: "dc1".into(),
            min_index: Index(seen),
            max_wait: Some(PATIENCE),
            ..ReadOptions::default()
        };
        let answer = self.views.read(query, options);
        tokio::spawn(async move {
            let value = answer.await.expect("it is answered");
            let rows = value.reply.downcast_ref::<Vec<CheckServiceNode>>().unwrap();
            let names: Vec<&str> = rows.iter().map(|row| row.node.node.as_str()).collect();
            (value.facts.index.0, names.join(" "), value.streamed)
        })
    }
}

fn instance(node: &str, tags: &[&str]) -> CheckServiceNode {
    CheckServiceNode {
        node: Arc::new(Node { node: node.into(), ..Node::default() }),
        service: Arc::new(NodeService {
            id: "web".into(),
            service: "web".into(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..NodeService::default()
        }),
        checks: Vec::new(),
    }
}

fn streamed(index: u64, nodes: &str) -> (u64, String, bool) {
    (index, nodes.to_owned(), true)
}

#[tokio::test]
async fn all_questions_about_a_service_are_answered_out_of_one_subscription() {
    let mut agent = Fixture::new(true).await;
    let first = agent.ask("", 0);
    let server = agent.subscriber().await;
    let request = &server.request;
    assert_eq!((request.topic, request.index, request.datacenter.as_str()), (1, 0, "dc1"));
    server.register(5, &instance("n1", &["v1"]));
    server.register(5, &instance("n2", &["v2"]));
    server.end(5);
    assert_eq!(first.await.unwrap(), streamed(5, "n1 n2"));
    assert_eq!(agent.ask("v2", 0).await.unwrap(), streamed(5, "n2"));

    let (all, some) = (agent.ask("", 5), agent.ask("v1", 5));
    server.register(7, &instance("n3", &[]));
    assert_eq!(all.await.unwrap(), streamed(7, "n1 n2 n3"));
    assert_eq!(some.await.unwrap(), streamed(7, "n1"));
    assert!(agent.subscribers.try_recv().is_err(), "one subscription serves all");
    assert_eq!(agent.stage.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_subscription_that_breaks_is_gone_on_with_and_a_reset_one_begun_anew() {
    let mut agent = Fixture::new(true).await;
    let first = agent.ask("", 0);
    let server = agent.subscriber().await;
    server.register(5, &instance("n1", &[]));
    server.end(5);
    first.await.unwrap();
    let waiting = agent.ask("", 5);
    drop(server);
    let server = agent.subscriber().await;
    assert_eq!(server.request.index, 5);
    // Meanwhile it was asked in the other way.
    assert_eq!(waiting.await.unwrap(), (3, "asked".to_owned(), false));
    let waiting = loop {
        // Until the agent knows that it goes on.
        let answer = agent.ask("", 0).await.unwrap();
        if answer.2 {
            assert_eq!(answer, streamed(5, "n1"));
            break agent.ask("", 5);
        }
        tokio::task::yield_now().await;
    };
    server.register(6, &instance("n2", &[]));
    assert_eq!(waiting.await.unwrap(), streamed(6, "n1 n2"));

    let waiting = agent.ask("", 6);
    server.tell.try_send(Err(Status::aborted("restored"))).unwrap();
    let server = agent.subscriber().await;
    assert_eq!(server.request.index, 0);
    server.register(2, &instance("n9", &[]));
    server.end(2);
    assert_eq!(waiting.await.unwrap(), streamed(2, "n9"));
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_asked_and_not_tried_again() {
    let agent = Fixture::new(false).await;
    for _ in 0..3 {
        assert_eq!(agent.ask("", 0).await.unwrap(), (3, "asked".to_owned(), false));
    }
    assert_eq!(agent.stage.connections.load(Ordering::Relaxed), 1);
    assert_eq!(agent.stage.asked.load(Ordering::Relaxed), 3);
}
