//! Pools among ourselves.

use std::net::SocketAddr;
use std::time::Duration;

use agent::gossip::{Pool, PoolError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::pool::{join, member, options, own_ip, start, until, until_status};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_finds_the_pool_by_its_snapshot_unless_it_had_left() {
    let folder = tempfile::tempdir().unwrap();
    let stays = start(options("stays")).await;
    let mut goes = options("goes");
    goes.folder = Some(folder.path().join("serf"));
    let pool = start(goes.clone()).await;
    join(&pool, stays.address()).await;
    until_status(&stays, "goes", "alive").await;
    let file = || std::fs::read_to_string(folder.path().join("serf/local.snapshot")).unwrap();
    let line = format!("alive: stays {}\n", stays.address());
    until("the snapshot is written", async || file().contains(&line)).await;
    pool.shutdown().await;
    until_status(&stays, "goes", "failed").await;

    let pool = start(goes.clone()).await;
    until_status(&stays, "goes", "alive").await;
    until_status(&pool, "stays", "alive").await;
    pool.leave().await.unwrap();
    pool.shutdown().await;
    assert!(file().ends_with("leave\n"), "{}", file());
    until_status(&stays, "goes", "left").await;

    let pool = start(goes.clone()).await;
    assert_eq!(pool.members().borrow().len(), 1);
    pool.shutdown().await;
    goes.rejoin_after_leave = true;
    let line = format!("alive: stays {}\nclock: 9\nleave\n", stays.address());
    std::fs::write(folder.path().join("serf/local.snapshot"), line).unwrap();
    let pool = start(goes).await;
    until_status(&pool, "stays", "alive").await;
    for pool in [pool, stays] {
        pool.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_with_one_name_the_one_that_nobody_knows_stops() {
    let mut named = Vec::new();
    for name in ["one", "two", "three", "one"] {
        let mut options = options(name);
        options.resolve_name_conflicts = true;
        named.push(start(options).await);
    }
    let [one, two, three, late] = &named[..] else { unreachable!() };
    for pool in [two, three] {
        join(pool, one.address()).await;
    }
    until_status(two, "three", "alive").await;
    // What it is told of the seed is that somebody else has its name.
    late.join(vec![two.address().to_string()]).await;
    let stopped = tokio::time::timeout(Duration::from_secs(30), late.stopped()).await;
    assert!(stopped.is_ok(), "it goes on");
    assert_eq!(late.leave().await, Err(PoolError::Stopped));
    assert_eq!(member(two, "one").map(|one| one.addr), Some(one.address().ip().to_string()));
    for pool in named {
        pool.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_from_a_network_that_is_not_allowed_gets_in() {
    let friend = start(options("friend")).await;
    let mut closed = options("closed");
    closed.allowed_networks = vec![
        friend.address().ip().into(),
        closed.bind.ip().into(),
        // Where the connections of loopback come from.
        "127.0.0.1/32".parse().unwrap(),
    ];
    let closed = start(closed).await;
    join(&friend, closed.address()).await;
    until_status(&closed, "friend", "alive").await;
    let stranger = start(options("stranger")).await;
    join(&stranger, friend.address()).await;
    until_status(&friend, "stranger", "alive").await;
    // It hears of the stranger, as of the friend, and takes it for nobody.
    friend.set_tags([("after".to_owned(), "1".to_owned())].into()).await.unwrap();
    let after =
        || member(&closed, "friend").is_some_and(|friend| friend.tags.contains_key("after"));
    until("it hears of the friend", async || after()).await;
    assert_eq!(member(&closed, "stranger"), None);
    for pool in [friend, closed, stranger] {
        pool.shutdown().await;
    }
}

/// Bytes to the stream of a pool; what it says to that.
async fn poke(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may have closed the stream before it has all.
    let _ = stream.write_all(bytes).await;
    let mut said = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut said)).await;
    assert!(read.is_ok(), "the stream is held for ever");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_strangers_send_the_pool_goes_on() {
    let pool = start(options("pool")).await;
    let address = pool.address();
    let error = poke(address, b"\x0a\x00\x00\x00\x01x").await;
    let error = String::from_utf8_lossy(&error).into_owned();
    assert!(
        error.contains("Remote state is encrypted and encryption is not configured"),
        "{error}"
    );
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x06", b"\xf4\x03abc", &[0xff; 4096]] {
        poke(address, bytes).await;
    }
    // As many streams as there may be, which say nothing, and more.
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let socket = UdpSocket::bind((own_ip(), 0)).await.unwrap();
    for length in [0, 1, 100, 1400, 60_000] {
        socket.send_to(&vec![8; length], address).await.unwrap();
        socket.send_to(&vec![0xff; length], address).await.unwrap();
    }
    // When their time is over there is room for others.
    let other = start(options("other")).await;
    let joined = async || other.join(vec![address.to_string()]).await.contacted == 1;
    until("another one can join", joined).await;
    until_status(&pool, "other", "alive").await;
    for pool in [pool, other] {
        pool.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_and_a_pool_that_stopped_says_so() {
    let pool: Pool = start(options("pool")).await;
    let event = |length| pool.user_event("e".to_owned(), vec![b'x'; length].into(), false);
    assert_eq!(event(100).await, Ok(()));
    let error = event(1000).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "user event exceeds configured limit of 512 bytes before encoding"
    );
    let tags = [("long".to_owned(), "x".repeat(600))];
    let error = pool.set_tags(tags.into()).await.unwrap_err();
    assert_eq!(error.to_string(), "Encoded length of tags exceeds limit of 512 bytes");
    let stats = pool.stats().await;
    assert_eq!((stats["members"].as_str(), stats["encrypted"].as_str()), ("1", "false"));
    assert_eq!(stats["event_time"], "2");
    pool.shutdown().await;
    pool.shutdown().await;
    assert_eq!(event(1).await, Err(PoolError::Stopped));
    let joined = pool.join(vec!["127.0.0.1".to_owned()]).await;
    assert_eq!(joined.errors, ["the gossip pool has stopped"]);
    assert!(pool.stats().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_may_have_a_name_and_one_where_nobody_listens_is_told() {
    let pool = start(options("pool")).await;
    let other = start(options("other")).await;
    let closed = SocketAddr::new(pool.address().ip(), 1);
    let joined = other.join(vec![closed.to_string(), format!("pool/{}", pool.address())]).await;
    assert_eq!(joined.contacted, 1);
    let refused =
        format!("Failed to join {closed}: dial tcp {closed}: connect: connection refused");
    assert_eq!(joined.errors, [refused]);
    for pool in [pool, other] {
        pool.shutdown().await;
    }
}
