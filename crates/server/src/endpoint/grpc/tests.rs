//! What servers tell over gRPC, behind real ports.

use std::fmt::Write as _;
use std::time::Duration;

use contract::{Consistency, ReadOptions};
use domains::catalog::{Deregister, Register};
use grpc::messages::event::Payload;
use grpc::messages::subscribe_request::Subject;
use grpc::messages::{Event, NamedSubject, Topic};
use grpc::{Code, Connections, EventStream, Failure, KeepAlive};
use rpc::{Pool, PoolOptions, ServerAddr};
use types::catalog::{DeregisterRequest, NodeService, RegisterRequest};
use types::check::{HealthCheck, Status as CheckStatus};

use super::*;
use crate::testing::cluster::{Cluster, PATIENCE, Running, until};

fn client() -> Connections {
    Connections::new(Pool::new(PoolOptions::default()), KeepAlive::default())
}

fn health(service: &str, index: u64) -> SubscribeRequest {
    let named = NamedSubject { key: service.to_owned(), ..NamedSubject::default() };
    SubscribeRequest {
        topic: Topic::ServiceHealth.into(),
        index,
        subject: Some(Subject::NamedSubject(named)),
        ..SubscribeRequest::default()
    }
}

async fn subscribe_at(
    server: &ServerAddr,
    request: &SubscribeRequest,
) -> Result<EventStream<Event>, Failure> {
    client().stream(server, paths::SUBSCRIBE, request).await
}

/// The next thing that is told, with the index where it has one that matters.
async fn heard(stream: &mut EventStream<Event>) -> Result<(u64, String), Status> {
    let next = tokio::time::timeout(PATIENCE, stream.next()).await.expect("it is told in time");
    let event = next?.expect("a subscription does not end in peace");
    Ok((event.index, shown(event)))
}

fn shown(event: Event) -> String {
    match event.payload {
        Some(Payload::EndOfSnapshot(true)) => "end".to_owned(),
        Some(Payload::NewSnapshotToFollow(true)) => "new".to_owned(),
        Some(Payload::EventBatch(batch)) => {
            batch.events.into_iter().fold(String::new(), |mut all, event| {
                let _ = write!(all, "{}{}", if all.is_empty() { "" } else { " " }, shown(event));
                all
            })
        }
        Some(Payload::ServiceHealth(update)) => {
            let row = grpc::convert::of_message(update.check_service_node.expect("it has one"));
            let statuses = row.checks.iter().map(|check| check.status.as_str());
            let statuses: Vec<&str> = statuses.collect();
            let (node, id) = (row.node.node.as_str(), row.service.id.as_str());
            let op = if update.op == 0 { '+' } else { '-' };
            format!("{op}{node}/{id}[{}]", statuses.join(","))
        }
        Some(Payload::Service(update)) => {
            format!("{}{}", if update.op == 0 { '+' } else { '-' }, update.name)
        }
        other => panic!("{other:?}"),
    }
}

async fn register(at: &Running, node: &str, id: &str, status: &str) {
    let service = NodeService { id: id.into(), service: "web".into(), ..NodeService::default() };
    let check = HealthCheck {
        node: node.into(),
        check_id: "c".into(),
        status: CheckStatus::from(status),
        service_id: id.into(),
        ..HealthCheck::default()
    };
    let request = RegisterRequest {
        node: node.into(),
        address: "10.0.0.1".into(),
        service: Some(service),
        check: Some(check),
        ..RegisterRequest::default()
    };
    at.server.write_typed(Register(request), &SecretId::default()).await.expect("it is led");
}

async fn deregister(at: &Running, node: &str) {
    let request = DeregisterRequest { node: node.into(), ..DeregisterRequest::default() };
    at.server.write_typed(Deregister(request), &SecretId::default()).await.expect("it is led");
}

/// Waits until a server has heard of a node, or of its end.
async fn until_known(at: &Running, node: &str, is_there: bool) {
    until(|| async {
        let stale = ReadOptions { consistency: Consistency::Stale, ..ReadOptions::default() };
        let query = domains::catalog::CatalogNode { node: node.into(), ..Default::default() };
        let known = at.server.read_typed(query, &stale).await.expect("it has a leader");
        (known.0.is_some() == is_there).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_server_tells_what_there_is_and_then_what_changes() {
    let cluster = Cluster::start("dc1", 3).await;
    let (leader, follower) = (cluster.leader(), cluster.follower());
    register(leader, "n1", "web", "passing").await;
    until_known(follower, "n1", true).await;
    for running in [leader, follower] {
        let mut stream =
            subscribe_at(&running.addr, &health("Web", 0)).await.expect("it is served");
        let (index, told) = heard(&mut stream).await.expect("it is told");
        assert_eq!(told, "+n1/web[passing]");
        assert_eq!(heard(&mut stream).await.expect("it is told"), (index, "end".to_owned()));

        register(leader, "n2", "web", "warning").await;
        let (second, told) = heard(&mut stream).await.expect("it is told");
        assert!(second > index && told == "+n2/web[warning]", "{told}");
        register(leader, "n1", "web", "critical").await;
        assert_eq!(heard(&mut stream).await.expect("it is told").1, "+n1/web[critical]");
        register(leader, "n1", "web", "passing").await;
        assert_eq!(heard(&mut stream).await.expect("it is told").1, "+n1/web[passing]");
        deregister(leader, "n2").await;
        let (last, told) = heard(&mut stream).await.expect("it is told");
        assert_eq!(told, "-n2/web[]");

        // Whoever comes back with what it saw last misses nothing and hears nothing twice.
        drop(stream);
        let mut back =
            subscribe_at(&running.addr, &health("web", last)).await.expect("it is served");
        register(leader, "n2", "web", "passing").await;
        assert_eq!(heard(&mut back).await.expect("it is told").1, "+n2/web[passing]");
        let mut odd = subscribe_at(&running.addr, &health("web", 1)).await.expect("it is served");
        assert_eq!(heard(&mut odd).await.expect("it is told"), (0, "new".to_owned()));
        let (_, all) = heard(&mut odd).await.expect("it is told");
        assert_eq!(all, "+n1/web[passing] +n2/web[passing]");
        assert_eq!(heard(&mut odd).await.expect("it is told").1, "end");
        deregister(leader, "n2").await;
        assert_eq!(heard(&mut back).await.expect("it is told").1, "-n2/web[]");
        assert_eq!(heard(&mut odd).await.expect("it is told").1, "-n2/web[]");
        until_known(follower, "n2", false).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_names_of_services_are_told_when_they_come_and_go() {
    let cluster = Cluster::start("dc1", 1).await;
    let leader = cluster.leader();
    let request = SubscribeRequest {
        topic: Topic::ServiceList.into(),
        subject: Some(Subject::WildcardSubject(true)),
        ..SubscribeRequest::default()
    };
    let mut stream = subscribe_at(&leader.addr, &request).await.expect("it is served");
    until_told(&mut stream, "end").await;
    register(leader, "n1", "web", "passing").await;
    until_told(&mut stream, "+web").await;
    register(leader, "n2", "web", "passing").await;
    deregister(leader, "n1").await;
    deregister(leader, "n2").await;
    assert_eq!(heard(&mut stream).await.expect("it is told").1, "-web");
    cluster.stop().await;
}

/// Reads on until something is told; the leader registers itself meanwhile.
async fn until_told(stream: &mut EventStream<Event>, what: &str) {
    while heard(stream).await.expect("it is told").1 != what {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_ends_subscriptions_so_that_they_begin_anew() {
    let cluster = Cluster::start("dc1", 1).await;
    let leader = cluster.leader();
    let mut stream = subscribe_at(&leader.addr, &health("web", 0)).await.expect("it is served");
    assert_eq!(heard(&mut stream).await.expect("it is told").1, "end");
    let state = store::State::new(&domains::tables());
    leader.server.store().replace(state);
    let status = heard(&mut stream).await.expect_err("it is another state");
    assert_eq!(status.code(), Code::Aborted);
    let mut again = subscribe_at(&leader.addr, &health("web", 0)).await.expect("it is served");
    assert_eq!(heard(&mut again).await.expect("it is told").1, "end");
    register(leader, "n1", "web", "passing").await;
    assert_eq!(heard(&mut again).await.expect("it is told").1, "+n1/web[passing]");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_datacenter_tells_is_passed_on() {
    let (north, south) = (Cluster::start("north", 1).await, Cluster::start("south", 1).await);
    let request = SubscribeRequest { datacenter: "south".into(), ..health("web", 0) };
    let at = north.leader();
    let refused = subscribe_at(&at.addr, &request).await.err().map(|error| error.to_string());
    let text = "rpc error making call: rpc error: code = Unavailable desc = No path to datacenter";
    assert_eq!(refused.as_deref(), Some(text));

    south.meet(&north);
    register(south.leader(), "n1", "web", "passing").await;
    let mut stream = subscribe_at(&at.addr, &request).await.expect("it is served");
    assert_eq!(heard(&mut stream).await.expect("it is told").1, "+n1/web[passing]");
    assert_eq!(heard(&mut stream).await.expect("it is told").1, "end");
    deregister(south.leader(), "n1").await;
    assert_eq!(heard(&mut stream).await.expect("it is told").1, "-n1/web[]");
    // What the other side refuses is refused in its words.
    let odd = SubscribeRequest { topic: Topic::MeshConfig.into(), ..request };
    let refused = match subscribe_at(&at.addr, &odd).await {
        Ok(mut stream) => stream.next().await.map(drop),
        Err(Failure::Status(status)) => Err(status),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(refused.map_err(|status| status.code()), Err(Code::Unimplemented));
    north.stop().await;
    south.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_leader_nothing_is_told() {
    let cluster = Cluster::without_leader("dc1", 2, Duration::from_millis(50)).await;
    let refused = subscribe_at(&cluster.servers[0].addr, &health("web", 0)).await;
    match refused {
        Err(Failure::Status(status)) => {
            let told = (status.code(), status.message());
            assert_eq!(told, (Code::Unavailable, "No cluster leader"));
        }
        _ => panic!("nobody leads"),
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_method_is_told_so() {
    let cluster = Cluster::start("dc1", 1).await;
    let at = &cluster.leader().addr;
    for (path, text) in [
        (
            "/subscribe.StateChangeSubscription/Unsubscribe",
            "unknown method Unsubscribe for service subscribe.StateChangeSubscription",
        ),
        (
            "/hashicorp.consul.internal.peering.PeeringService/PeeringList",
            "unknown service hashicorp.consul.internal.peering.PeeringService",
        ),
    ] {
        let (connections, message) = (client(), TransferLeaderRequest::default());
        let asked = connections.call::<TransferLeaderResponse>(at, path, &message, &[], PATIENCE);
        match asked.await {
            Err(Failure::Status(status)) => {
                assert_eq!((status.code(), status.message()), (Code::Unimplemented, text));
            }
            other => panic!("{other:?}"),
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_passes_the_order_to_hand_over_on_but_not_twice() {
    let mut cluster = Cluster::start("dc1", 3).await;
    let follower = cluster.follower().addr.clone();
    let message = TransferLeaderRequest { id: follower.id.clone() };
    let path = paths::TRANSFER_LEADER;
    let beside = [(FORWARDED_METADATA, "1")];
    let connections = client();
    let twice =
        connections.call::<TransferLeaderResponse>(&follower, path, &message, &beside, PATIENCE);
    let refused = twice.await.expect_err("it was meant for the leader").to_string();
    assert!(refused.ends_with("No cluster leader"), "{refused}");
    let unknown = TransferLeaderRequest { id: "x".to_owned() };
    let asked =
        connections.call::<TransferLeaderResponse>(&follower, path, &unknown, &[], PATIENCE);
    let refused = asked.await.expect_err("no such server").to_string();
    assert!(refused.ends_with("Could not find address for server id x"), "{refused}");
    let reply =
        connections.call::<TransferLeaderResponse>(&follower, path, &message, &[], PATIENCE).await;
    assert!(reply.expect("it is up to date").success);
    cluster.until_led().await;
    assert_eq!(cluster.leader().addr.id, follower.id);
    cluster.stop().await;
}
