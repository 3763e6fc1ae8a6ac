//! Events from the endpoint through the pool and back to those who wait.

use acl::Authorizer;
use contract::{Body, ErrorKind};
use http_server::Reply;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::broadcast::POOL_PREFIX;
use super::*;
use crate::endpoint::event::routes;
use crate::local::tests::{Endpoints, local};

/// A pool of one: what is sent comes back.
struct Alone {
    clock: Mutex<u64>,
    deliveries: mpsc::Sender<Delivery>,
}

impl Broadcast for Alone {
    fn broadcast(
        &self,
        _datacenter: Datacenter,
        event: UserEvent,
        _token: SecretId,
    ) -> http_server::BoxFuture<Result<(), CallError>> {
        let mut clock = self.clock.lock().unwrap();
        *clock += 1;
        let delivery = Delivery {
            lamport_time: types::user_event::LamportTime(*clock),
            name: format!("{POOL_PREFIX}{}", event.name),
            payload: event.to_wire(),
        };
        self.deliveries.try_send(delivery).unwrap();
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The events of an agent that is alone.
struct Fixture {
    events: UserEvents,
    http: Endpoints,
    executions: mpsc::Receiver<UserEvent>,
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

fn fixture(may: Authorizer) -> Fixture {
    let (sender, deliveries) = mpsc::channel(16);
    let pool = Alone { clock: Mutex::default(), deliveries: sender };
    let authorizer: AuthorizerHook = Arc::new(move |_| may.clone());
    let events = UserEvents::new("a1".into(), local(), authorizer, Arc::new(pool));
    let (orders, executions) = mpsc::channel(1);
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(events.clone().run(deliveries, orders, stopped));
    let http = Endpoints::of(routes(&events));
    Fixture { events, http, executions, _stop: stop, _tasks: tasks }
}

fn body(reply: &Reply) -> Value {
    let Body::Json(bytes) = &reply.response.body else { panic!("it is JSON") };
    serde_json::from_slice(bytes).unwrap()
}

fn index(reply: &Reply) -> String {
    let header = reply.response.headers.iter().find(|(name, _)| *name == "X-Consul-Index");
    header.unwrap().1.clone()
}

impl Fixture {
    async fn call(&self, what: &str, body: &str) -> Reply {
        self.http.call(what, body.as_bytes().to_vec()).await.unwrap()
    }

    async fn refused(&self, what: &str, body: &[u8]) -> (ErrorKind, String) {
        let Err(error) = self.http.call(what, body.to_vec()).await else { panic!("{what}") };
        (error.kind(), error.text().to_owned())
    }
}

#[tokio::test]
async fn an_event_comes_back_to_the_agent_that_sent_it_and_wakes_who_waits() {
    let agent = fixture(Authorizer::allow_all());
    let empty = agent.call("GET /v1/event/list", "").await;
    assert_eq!((body(&empty), index(&empty).as_str()), (json!([]), "1"));

    let waiting = agent.call("GET /v1/event/list?index=1&name=deploy", "");
    let (listed, fired) = tokio::join!(waiting, async {
        agent.call("PUT /v1/event/fire/other", "").await;
        agent.call("PUT /v1/event/fire/deploy?node=a", "payload").await
    });
    let mut event = body(&fired);
    let id = event["ID"].as_str().unwrap().to_owned();
    let expected = json!({"ID": id, "Name": "deploy", "Payload": "cGF5bG9hZA==",
        "NodeFilter": "a", "ServiceFilter": "", "TagFilter": "", "Version": 1, "LTime": 0});
    assert_eq!(event, expected);
    event["LTime"] = json!(2);
    assert_eq!(body(&listed), json!([event]));
    let sent = UserEvent { id: id.as_str().into(), ..UserEvent::default() };
    assert_eq!(index(&listed), sent.index().to_string());
    assert_eq!(agent.events.list("", &SecretId::default()).events.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_what_there_is_and_an_index_that_is_not_known_does_not_wait() {
    let agent = fixture(Authorizer::allow_all());
    let listed = agent.call("GET /v1/event/list?index=1&wait=5s", "").await;
    assert_eq!(index(&listed), "1");
    let before = tokio::time::Instant::now();
    agent.call("GET /v1/event/list?index=77", "").await;
    assert_eq!(before.elapsed(), Duration::ZERO);
    agent.call("GET /v1/event/list?index=1&wait=24h", "").await;
    assert_eq!(before.elapsed(), Duration::from_secs(600));
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_in_the_words_of_consul() {
    let agent = fixture(Authorizer::allow_all());
    let failed = ErrorKind::Failed;
    for (what, body, kind, text) in [
        ("/", &b""[..], ErrorKind::BadRequest, "Missing name"),
        (
            "/x?node=(",
            b"",
            failed,
            "Invalid node filter: error parsing regexp: missing closing ): `(`",
        ),
        (
            "/x?service=(",
            b"",
            failed,
            "Invalid service filter: error parsing regexp: missing closing ): `(`",
        ),
        ("/x?tag=y", b"", failed, "Cannot provide tag filter without service filter"),
    ] {
        let refused = agent.refused(&format!("PUT /v1/event/fire{what}"), body).await;
        assert_eq!(refused, (kind, text.to_owned()), "{what}");
    }
    let listed = agent.call("GET /v1/event/list", "").await;
    assert_eq!(body(&listed), json!([]));
}

#[tokio::test]
async fn a_token_without_permission_sends_nothing_and_is_not_told_which_it_lacks() {
    let agent = fixture(Authorizer::deny_all());
    let refused = agent.refused("PUT /v1/event/fire/deploy", b"").await;
    assert_eq!(refused, (ErrorKind::Denied, "Permission denied".to_owned()));
}

#[tokio::test]
async fn an_order_to_execute_goes_on_and_is_not_listed() {
    let mut agent = fixture(Authorizer::allow_all());
    agent.call("PUT /v1/event/fire/_rexec", "{}").await;
    let order = agent.executions.recv().await.unwrap();
    assert_eq!((order.name.as_str(), &order.payload[..]), (types::remote_exec::EVENT, &b"{}"[..]));
    assert!(agent.events.list("", &SecretId::default()).events.is_empty());
}
