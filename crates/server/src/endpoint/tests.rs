//! Three servers behind real ports, and a second datacenter.

use std::time::Duration;

use contract::{Consistency, ReadOptions};
use domains::kv::KvGet;
use raft::Suffrage;
use rpc::{Pool, PoolOptions, RpcError, ServerAddr};
use types::operator::RaftPeer;
use types::{Datacenter, SecretId};

use crate::forward::mark;
use crate::gossip::Gossip as _;
use crate::rate_limit::{LimitMode, RequestLimits};
use crate::testing::cluster::{Cluster, PATIENCE, mode, until};

use super::*;

/// A call as a program without a server of its own makes it.
async fn call(server: &ServerAddr, method: &str, args: Bytes) -> Result<Bytes, String> {
    let pool = Pool::new(PoolOptions::default());
    pool.call(server, method, args, PATIENCE).await.map_err(|error| match error {
        RpcError::Remote(text) => text,
        other => format!("broken: {other}"),
    })
}

fn get_args(key: &str) -> Bytes {
    let query: std::sync::Arc<dyn contract::AnyQuery> =
        std::sync::Arc::new(KvGet { key: key.into() });
    query.to_request(&ReadOptions::default()).expect("it has a method").args.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_takes_writes_and_answers_reads_of_all_modes() {
    let cluster = Cluster::start("dc1", 3).await;
    for (number, running) in cluster.servers.iter().enumerate() {
        let (key, value) = (format!("k{number}"), format!("v{number}"));
        running.put(&key, &value).await.expect("the leader takes it");
        for other in &cluster.servers {
            for consistency in [Consistency::Default, Consistency::Consistent] {
                let got = other.get(&key, &mode(consistency)).await.expect("the leader tells");
                assert_eq!(got.value, value);
                assert!(got.facts.known_leader && got.facts.last_contact.is_zero());
            }
            // Whoever is behind has it before long.
            let stale = mode(Consistency::Stale);
            let facts = until(|| async {
                let got = other.get(&key, &stale).await.expect("it has heard of a leader");
                (got.value == value).then_some(got.facts)
            });
            assert!(facts.await.known_leader);
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_at_a_follower_is_woken_by_a_write_at_another_even_after_the_leader_died() {
    let mut cluster = Cluster::start("dc1", 3).await;
    cluster.leader().put("k", "old").await.expect("it leads");
    let before = cluster.follower().get("k", &ReadOptions::default()).await.expect("led");
    let waits = ReadOptions {
        min_index: before.facts.index,
        max_wait: Some(PATIENCE),
        ..ReadOptions::default()
    };
    let waiting: Vec<_> = cluster
        .servers
        .iter()
        .map(|running| {
            let (server, waits) = (running.server.clone(), waits.clone());
            let follows = !server.raft().is_leader();
            let query = KvGet { key: "k".into() };
            (follows, tokio::spawn(async move { server.read_typed(query, &waits).await }))
        })
        .collect();
    cluster.kill_leader().await;
    cluster.until_led().await;
    cluster.follower().put("k", "new").await.expect("another one leads");
    for (follows, waiting) in waiting {
        if !follows {
            // It died.
            waiting.abort();
            continue;
        }
        let woken = tokio::time::timeout(PATIENCE, waiting).await.expect("it is woken");
        let (entry, facts) = woken.expect("it ran").expect("another leader answered");
        let entry = entry.as_ref().as_ref().expect("it is there");
        assert_eq!((&*entry.value.0, facts.index > before.facts.index), (&b"new"[..], true));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_while_there_is_no_leader_waits_for_the_next_one() {
    let mut cluster = Cluster::start("dc1", 3).await;
    cluster.leader().put("k", "v").await.expect("it leads");
    cluster.kill_leader().await;
    let follower = &cluster.servers[0];
    follower.put("after", "it lives").await.expect("held until another one leads");
    let got = cluster.servers[1].get("after", &ReadOptions::default()).await.expect("led");
    assert_eq!(got.value, "it lives");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_leader_nothing_is_answered_but_how_it_stands() {
    let cluster = Cluster::without_leader("dc1", 2, Duration::from_millis(50)).await;
    let running = &cluster.servers[0];
    let text = |error: CallError| error.text().to_owned();
    assert_eq!(running.put("k", "v").await.map_err(text), Err("No cluster leader".to_owned()));
    for consistency in [Consistency::Default, Consistency::Consistent, Consistency::Stale] {
        let got = running.get("k", &mode(consistency)).await;
        assert_eq!(got.map_err(text).expect_err("nobody leads"), "No cluster leader");
    }
    let own = Datacenter::default();
    assert_eq!(running.server.leader_address(&own).await, Ok(String::new()));
    assert_eq!(running.server.peer_addresses(&own).await, Ok(Vec::new()));
    let refused = call(&running.addr, "KVS.Get", get_args("k")).await;
    assert_eq!(refused, Err("No cluster leader".to_owned()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_over_the_port_is_answered_or_sent_on_once() {
    let cluster = Cluster::start("dc1", 3).await;
    let (follower, leader) = (&cluster.follower().addr, &cluster.leader().addr);
    cluster.leader().put("k", "v").await.expect("it leads");
    let told = call(leader, "KVS.Get", get_args("k")).await.expect("it leads");
    assert_eq!(call(follower, "KVS.Get", get_args("k")).await, Ok(told.clone()));
    assert_eq!(call(leader, "KVS.Get", mark(&get_args("k"))).await, Ok(told));
    let marked = call(follower, "KVS.Get", mark(&get_args("k"))).await;
    assert_eq!(marked, Err("No cluster leader".to_owned()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_off_or_unknown_is_told_in_consuls_words() {
    let cluster = Cluster::start("dc1", 1).await;
    let addr = &cluster.leader().addr;
    let empty = || remote::encode(&remote::Nothing {});
    assert_eq!(call(addr, "Status.Ping", empty()).await, Ok(empty()));
    for (method, expected) in [
        ("ACL.TokenRead", "ACL support disabled"),
        ("AutoEncrypt.Sign", "AutoEncrypt.AllowTLS must be enabled in order to use this endpoint"),
        ("Status.Foo", "rpc: can't find method Status.Foo"),
        ("Foo.Bar", "rpc: can't find service Foo.Bar"),
    ] {
        assert_eq!(call(addr, method, empty()).await, Err(expected.to_owned()), "{method}");
    }
    let unreadable = call(addr, "KVS.Get", Bytes::from_static(b"\xa1x")).await;
    assert!(unreadable.is_err_and(|text| text.contains("cannot be read")));
    let stats = call(addr, "Status.RaftStats", empty()).await.expect("it leads");
    let stats: types::autopilot::ServerRaftStats =
        remote::decode_reply("Status.RaftStats", &stats).expect("it is one");
    assert_eq!((stats.last_contact.as_str(), stats.last_index > 0), ("0", true));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_above_the_limit_are_refused_by_their_class() {
    let cluster = Cluster::start("dc1", 3).await;
    let limits = RequestLimits {
        mode: LimitMode::Enforcing,
        read_rate: Some(0.0001),
        write_rate: Some(0.0001),
    };
    let (leader, follower) = (cluster.leader(), cluster.follower());
    leader.server.limit_requests(limits);
    follower.server.limit_requests(limits);
    let elsewhere = "rate limit exceeded, try again later or against a different server";
    let later = "rate limit exceeded for operation that can only be performed by the leader, try \
                 again later";
    for (running, method, expected) in [
        (leader, "KVS.Get", elsewhere),
        (leader, "KVS.Apply", later),
        (follower, "KVS.Get", elsewhere),
        (follower, "KVS.Apply", elsewhere),
    ] {
        // What it refuses it refuses before it has read what is asked.
        let mut refused = String::new();
        for _ in 0..3 {
            refused = call(&running.addr, method, get_args("k")).await.err().unwrap_or_default();
        }
        assert_eq!(refused, expected, "{method}");
        let ping = call(&running.addr, "Status.Ping", get_args("k")).await;
        assert!(ping.is_ok(), "servers look after each other all the same");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_datacenters_are_asked_by_whoever_is_asked() {
    let (east, west) = (Cluster::start("east", 2).await, Cluster::start("west", 3).await);
    east.meet(&west);
    west.meet(&east);
    let far = ReadOptions { datacenter: "west".into(), ..ReadOptions::default() };
    for running in &east.servers {
        assert_eq!(running.server.datacenters(), ["east", "west"]);
        running.put_in(&"west".into(), "k", &running.addr.name).await.expect("it is led");
        let got = running.get("k", &far).await.expect("it is led");
        assert_eq!(got.value, running.addr.name);
        assert_eq!(running.get("k", &ReadOptions::default()).await.expect("led").value, "");
        let address = running.server.leader_address(&"west".into()).await.expect("it is led");
        assert_eq!(address, west.leader().addr.address.to_string());
    }
    let text = |error: CallError| error.text().to_owned();
    let nowhere = ReadOptions { datacenter: "north".into(), ..ReadOptions::default() };
    let error = east.servers[0].get("k", &nowhere).await.map_err(text).expect_err("there is none");
    assert_eq!(error, "No path to datacenter");
    // One of its servers is gone: the others are asked.
    let mut west = west;
    west.kill_leader().await;
    for running in &east.servers {
        assert_eq!(running.get("k", &far).await.expect("another one leads").value, "s2");
    }
    east.stop().await;
    west.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_are_answered_by_any_server() {
    let mut cluster = Cluster::start("dc1", 3).await;
    let (own, token) = (Datacenter::default(), SecretId::default());
    let leader = cluster.leader().addr.clone();
    let members = cluster.leader().gossip.members();
    for running in &cluster.servers {
        let server = &running.server;
        let address = server.leader_address(&own).await.expect("it is known");
        assert_eq!(address, leader.address.to_string());
        assert_eq!(server.peer_addresses(&own).await.expect("it runs").len(), 3);
        let servers = server.raft_configuration(&ReadOptions::default(), &members).await;
        let servers = servers.expect("it is led").servers;
        let named: Vec<_> = servers.iter().map(|s| (s.node.as_str(), s.voter)).collect();
        assert_eq!(named, [("s1", true), ("s2", true), ("s3", true)]);
        let leads: Vec<_> = servers.iter().filter(|s| s.leader).map(|s| &s.id).collect();
        assert_eq!(leads, [&leader.id]);
        for (peer, expected) in [
            (RaftPeer::Id("x".into()), "id \"x\" was not found in the Raft configuration"),
            (
                RaftPeer::Address("x".into()),
                "address \"x\" was not found in the Raft configuration",
            ),
        ] {
            let error = server.remove_peer(&own, &peer, &token).await.expect_err("no such server");
            assert!(error.text().ends_with(expected), "{error}");
        }
        let error = server.transfer_leadership(&own, Some("x"), &token).await;
        let error = error.expect_err("no such server");
        assert!(error.text().ends_with("Could not find address for server id x"), "{error}");
        until(|| async {
            let state = server.autopilot_state(&ReadOptions::default(), &members).await;
            let state = state.expect("it is led");
            (state.healthy && state.failure_tolerance == 1).then_some(())
        })
        .await;
    }
    // A follower is asked to have another server lead.
    let next = cluster.follower().addr.id.clone();
    let follower = &cluster.follower().server;
    follower.transfer_leadership(&own, Some(&next), &token).await.expect("it is up to date");
    cluster.until_led().await;
    assert_eq!(cluster.leader().addr.id, next);
    let events = cluster.leader().gossip.events.clone();
    let name = cluster.leader().addr.name.clone();
    until(|| async {
        let sent = events.lock().unwrap().clone();
        sent.contains(&("consul:new-leader".to_owned(), name.clone().into())).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_leaves_is_followed_by_another_and_taken_out() {
    let mut cluster = Cluster::start("dc1", 3).await;
    cluster.follower().put("k", "v").await.expect("it is led");
    let leaving = cluster.leader().server.clone();
    let id = leaving.raft().id().clone();
    crate::leave(&leaving, Duration::ZERO).await;
    let query = KvGet { key: "k".into() };
    let options = ReadOptions::default();
    let refused = leaving.read_typed(query, &options);
    let refused = tokio::time::timeout(Duration::from_millis(100), refused).await;
    assert!(!matches!(refused, Ok(Ok(_))), "it takes on no more calls");
    cluster.servers.retain(|running| *running.server.raft().id() != id);
    cluster.until_led().await;
    let stats = cluster.leader().server.raft().stats().await.expect("it runs");
    assert_eq!(stats.configuration.server(&id), None);
    assert_eq!(cluster.follower().get("k", &ReadOptions::default()).await.expect("led").value, "v");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_joins_listens_and_then_votes_and_a_dead_one_goes() {
    let mut cluster = Cluster::start("dc1", 3).await;
    let added = cluster.add().await;
    let id = cluster.servers[added].server.raft().id().clone();
    let leader = cluster.leader().server.clone();
    let voters = |leader: Server| async move {
        let stats = leader.raft().stats().await.expect("it runs");
        let suffrage = |id| stats.configuration.server(id).map(|server| server.suffrage);
        (suffrage(&id), stats.configuration.voters().count())
    };
    until(|| async {
        (voters.clone()(leader.clone()).await == (Some(Suffrage::Voter), 4)).then_some(())
    })
    .await;
    let dead = cluster.kill_leader().await;
    cluster.until_led().await;
    let leader = cluster.leader().server.clone();
    until(|| async {
        let stats = leader.raft().stats().await.expect("it runs");
        let ids = stats.configuration.servers.iter();
        (!ids.into_iter().any(|server| *server.id.0 == *dead.id)).then_some(())
    })
    .await;
    assert_eq!(cluster.servers.len(), 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_is_saved_and_restored_through_any_server() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use types::operator::SnapshotRequest;

    /// Asks over a connection of its own, and gives the error and what follows it.
    async fn ask(at: &ServerAddr, request: &SnapshotRequest, archive: &[u8]) -> (String, Vec<u8>) {
        let pool = Pool::new(PoolOptions::default());
        let mut stream = pool.open(at, rpc::Protocol::Snapshot).await.expect("it listens");
        stream.write_all(&remote::encode(request)).await.expect("it listens");
        stream.write_all(archive).await.expect("it listens");
        stream.shutdown().await.expect("it listens");
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.expect("it answers to the end");
        let mut scan = types::msgpack::ValueScan::default();
        let head = scan.advance(&all).expect("it is a value").expect("it is whole");
        let archive = all.split_off(head);
        let reply: types::operator::SnapshotReply =
            remote::decode_reply("a snapshot", &all).expect("it is one");
        (reply.error, archive)
    }

    let cluster = Cluster::start("dc1", 3).await;
    let (leader, follower) = (cluster.leader(), cluster.follower());
    leader.put("k", "saved").await.expect("it leads");
    let save = SnapshotRequest::default();
    let (error, archive) = ask(&follower.addr, &save, b"").await;
    assert_eq!(error, "");
    crate::check_archive(&mut &archive[..]).expect("it is whole");

    follower.put("k", "changed").await.expect("it is led");
    let restore = SnapshotRequest { op: SnapshotRequest::RESTORE, ..save.clone() };
    let (error, rest) = ask(&follower.addr, &restore, &archive).await;
    assert_eq!((error.as_str(), rest.len()), ("", 0));
    let got = follower.get("k", &ReadOptions::default()).await.expect("it is led");
    assert_eq!(got.value, "saved");

    let stale = SnapshotRequest { allow_stale: true, ..restore.clone() };
    assert_eq!(ask(&follower.addr, &stale, b"").await.0, "stale not allowed for restore");
    let odd = SnapshotRequest { op: 7, ..save.clone() };
    assert_eq!(ask(&leader.addr, &odd, b"").await.0, "unrecognized snapshot op 7");
    let north = SnapshotRequest { datacenter: "north".into(), ..save.clone() };
    assert_eq!(ask(&leader.addr, &north, b"").await.0, "No path to datacenter");
    let (error, _) = ask(&follower.addr, &restore, b"no archive").await;
    assert!(!error.is_empty());
    cluster.stop().await;
}
