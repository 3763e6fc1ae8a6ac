//! A client agent against servers that say what a test wants.

use std::collections::VecDeque;

use contract::remote::encode;
use domains::kv::KvGet;
use rpc::{BoxFuture, Peer, ServeOptions, Service};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use types::Datacenter;

use super::*;

/// A server that answers with these, one after the other; the last one stays.
struct Script {
    answers: Mutex<VecDeque<Result<Bytes, String>>>,
    called: Mutex<Vec<String>>,
}

impl Service for Script {
    fn call<'a>(
        &'a self,
        _from: &'a Peer,
        method: &'a str,
        _args: Bytes,
    ) -> BoxFuture<'a, Result<Bytes, String>> {
        self.called.lock().unwrap().push(method.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().unwrap(),
        };
        Box::pin(std::future::ready(answer))
    }

    fn raft(&self, _from: Peer, _stream: BoxedStream) -> BoxFuture<'_, ()> {
        unreachable!("nobody speaks Raft here")
    }

    fn snapshot(&self, _from: Peer, _stream: BoxedStream) -> BoxFuture<'_, ()> {
        unreachable!("nobody asks for a snapshot here")
    }

    fn grpc(&self, _from: Peer, _stream: BoxedStream) -> BoxFuture<'_, ()> {
        unreachable!("nobody speaks gRPC here")
    }
}

struct Fixture {
    client: Client,
    router: Router,
    _stop: watch::Sender<bool>,
    servers: JoinSet<()>,
}

impl Fixture {
    fn new(options: ClientOptions) -> Self {
        let router = Router::new("dc1".into());
        let client = Client::new(
            Pool::new(rpc::PoolOptions::default()),
            router.clone(),
            options,
            grpc::KeepAlive::default(),
        );
        let (_stop, _) = watch::channel(false);
        Self { client, router, _stop, servers: JoinSet::new() }
    }

    /// A server that joins, behind those that did before.
    async fn server(&mut self, name: &str, answers: &[Result<&str, &str>]) -> Arc<Script> {
        let answers = answers.iter().map(|answer| match answer {
            Ok(leader) => Ok(encode(*leader)),
            Err(text) => Err((*text).to_owned()),
        });
        let answers = Mutex::new(answers.collect());
        let script = Arc::new(Script { answers, called: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.join(name, listener.local_addr().unwrap());
        let (service, stop) = (Arc::clone(&script), self._stop.subscribe());
        self.servers.spawn(rpc::serve(listener, ServeOptions::default(), service, stop));
        script
    }

    fn join(&self, name: &str, address: std::net::SocketAddr) {
        let (datacenter, name) = (Datacenter::from("dc1"), name.to_owned());
        self.router.add_server(ServerAddr { datacenter, id: String::new(), name, address });
    }

    async fn leader(&self) -> Result<String, CallError> {
        self.client.leader_address(&"dc1".into()).await
    }

    fn first(&self) -> String {
        self.router.find_local().unwrap().name
    }
}

fn options() -> ClientOptions {
    ClientOptions {
        hold_timeout: Duration::from_millis(500),
        default_query_time: Duration::from_secs(300),
        max_query_time: Duration::from_secs(600),
        timeout: Duration::from_secs(60),
        rate: f64::INFINITY,
        burst: 1000,
    }
}

#[tokio::test]
async fn without_servers_it_says_so_at_once() {
    let agent = Fixture::new(options());
    let error = agent.leader().await.unwrap_err();
    assert_eq!((error.kind(), error.text()), (ErrorKind::Failed, "No known Consul servers"));
}

#[tokio::test]
async fn one_server_answers_everything_and_says_what_is_wrong_in_its_own_words() {
    let mut agent = Fixture::new(options());
    let server = agent.server("s1", &[Ok("10.0.0.1:8300"), Err("Permission denied: no")]).await;
    assert_eq!(agent.leader().await.as_deref(), Ok("10.0.0.1:8300"));
    let query: Arc<dyn AnyQuery> = Arc::new(KvGet { key: "k".into() });
    let error = agent.client.read(query, &ReadOptions::default()).await.err().unwrap();
    assert_eq!(error.text(), "rpc error making call: Permission denied: no");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(*server.called.lock().unwrap(), ["Status.Leader", "KVS.Get"]);
}

#[tokio::test]
async fn a_call_is_held_until_there_is_a_leader() {
    let mut agent = Fixture::new(options());
    let none = Err("No cluster leader");
    let server = agent.server("s1", &[none, none, Ok("10.0.0.1:8300")]).await;
    assert_eq!(agent.leader().await.as_deref(), Ok("10.0.0.1:8300"));
    assert_eq!(server.called.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_call_is_not_held_for_ever() {
    let mut agent = Fixture::new(options());
    agent.server("s1", &[Err("No cluster leader")]).await;
    let error = agent.leader().await.unwrap_err();
    assert_eq!(error.text(), "rpc error making call: No cluster leader");
}

#[tokio::test]
async fn after_a_failure_it_is_another_servers_turn() {
    let mut agent = Fixture::new(options());
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    agent.join("gone", gone);
    agent.server("s2", &[Ok("10.0.0.2:8300")]).await;
    if agent.first() == "gone" {
        let error = agent.leader().await.unwrap_err();
        assert!(error.text().starts_with("rpc error getting client: failed to get conn: dial tcp"));
    }
    assert_eq!(agent.first(), "s2");
    assert_eq!(agent.leader().await.as_deref(), Ok("10.0.0.2:8300"));
}

#[tokio::test]
async fn calls_above_the_agents_own_limit_are_refused() {
    let mut agent = Fixture::new(ClientOptions { rate: 0.001, burst: 2, ..options() });
    agent.server("s1", &[Ok("10.0.0.1:8300")]).await;
    for _ in 0..2 {
        assert!(agent.leader().await.is_ok());
    }
    let error = agent.leader().await.unwrap_err();
    assert_eq!((error.kind(), error.text()), (ErrorKind::TooMany, "RPC rate limit exceeded"));
    agent.client.set_options(options());
    assert!(agent.leader().await.is_ok());
}

#[tokio::test]
async fn a_method_that_a_server_does_not_know_is_asked_for_once_and_does_not_speak_against_it() {
    let mut agent = Fixture::new(options());
    let text = "rpc: can't find service Proconsul.KVAround";
    let server = agent.server("s1", &[Err(text)]).await;
    agent.server("s2", &[Ok("10.0.0.2:8300")]).await;
    let query: Arc<dyn AnyQuery> = Arc::new(domains::kv::KvAround { key: "k".into() });
    let error = agent.client.read(query, &ReadOptions::default()).await.err().unwrap();
    assert!(super::super::is_unknown_method(error.text()), "{error:?}");
    assert_eq!(*server.called.lock().unwrap(), ["Proconsul.KVAround"]);
    assert_eq!(agent.first(), "s1");
}
