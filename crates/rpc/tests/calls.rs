//! Calls from a pool to a port, over loopback sockets.

mod support;

use std::time::Duration;

use bytes::Bytes;
use rpc::{Dial, Pool, PoolOptions, Protocol, RpcError};
use support::{Port, text};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_call_gets_its_reply_and_an_error_its_text() {
    let port = Port::start().await;
    let pool = Pool::new(PoolOptions::default());
    let reply = pool.call(&port.server, "Test.Echo", text("hello"), DEADLINE).await;
    assert_eq!(reply, Ok(text("hello")));
    let error = pool.call(&port.server, "Test.Fail", text("no luck"), DEADLINE).await;
    assert_eq!(error, Err(RpcError::Remote("no luck".to_owned())));
    let error = pool.call(&port.server, "Test.Missing", text(""), DEADLINE).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "rpc error making call: rpc: can't find method Test.Missing"
    );
    let error = pool.call(&port.server, "Other.Echo", text(""), DEADLINE).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "rpc error making call: rpc: can't find service Other.Echo"
    );
    let error = pool.call(&port.server, "Echo", text(""), DEADLINE).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "rpc error making call: rpc: service/method request ill-formed: Echo"
    );
    // All of that went over one connection.
    assert_eq!((pool.connections(), port.service.peers()), (1, 1));
}

#[tokio::test]
async fn calls_run_side_by_side_over_one_connection() {
    let port = Port::start().await;
    let pool = Pool::new(PoolOptions::default());
    let calls: Vec<_> = (0..200)
        .map(|index| {
            let (pool, server) = (pool.clone(), port.server.clone());
            tokio::spawn(async move {
                let args = text(&format!("call {index}"));
                let reply = pool.call(&server, "Test.Meet200", args.clone(), DEADLINE).await;
                assert_eq!(reply, Ok(args));
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(pool.connections(), 1);
    assert_eq!(port.service.peers(), 1);
}

#[tokio::test]
async fn large_arguments_and_replies_cross_windows() {
    let port = Port::start().await;
    let pool = Pool::new(PoolOptions::default());
    let large = text(&"x".repeat(5 << 20));
    let reply = pool.call(&port.server, "Test.Echo", large.clone(), DEADLINE).await;
    assert_eq!(reply.unwrap().len(), large.len());
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_given_up_at_both_ends() {
    let port = Port::start().await;
    let pool = Pool::new(PoolOptions::default());
    let outcome = pool.call(&port.server, "Test.Hang", text(""), Duration::from_millis(50)).await;
    assert_eq!(outcome, Err(RpcError::Timeout));
    port.service.wait_until(|counts| counts.cancelled == 1).await;
    // The connection is as good as before.
    assert_eq!(pool.call(&port.server, "Test.Echo", text("a"), DEADLINE).await, Ok(text("a")));
    assert_eq!(port.service.peers(), 1);
}

#[tokio::test]
async fn nobody_answers_where_nobody_listens() {
    let port = Port::start().await;
    let server = port.server.clone();
    port.stop().await;
    let pool = Pool::new(PoolOptions::default());
    let error = pool.call(&server, "Test.Echo", text(""), DEADLINE).await.unwrap_err();
    let address = server.address;
    assert_eq!(
        error.to_string(),
        format!(
            "rpc error getting client: failed to get conn: dial tcp <nil>->{address}: connect: connection refused"
        )
    );
}

#[tokio::test]
async fn connections_come_from_where_they_are_to_come_from() {
    let port = Port::start().await;
    let source = Some("127.0.0.3:0".parse().unwrap());
    let dial = Dial { source, ..Dial::default() };
    let pool = Pool::new(PoolOptions { dial, ..PoolOptions::default() });
    assert!(pool.call(&port.server, "Test.Echo", text("a"), DEADLINE).await.is_ok());
    assert!(port.service.has_peer("127.0.0.3".parse().unwrap()));
    let server = port.server.clone();
    port.stop().await;
    let error = pool.call(&server, "Test.Echo", text("b"), DEADLINE).await.unwrap_err();
    let address = server.address;
    let dialled = format!("dial tcp 127.0.0.3:0->{address}: connect: connection refused");
    // The end of the old connection may not have been seen yet.
    assert!(error.to_string().ends_with(&dialled) || error.is_eof_like(), "{error}");
}

#[tokio::test]
async fn a_server_that_went_away_is_dialled_again() {
    let port = Port::start().await;
    let pool = Pool::new(PoolOptions::default());
    assert!(pool.call(&port.server, "Test.Echo", text("a"), DEADLINE).await.is_ok());
    let hanging = {
        let (pool, server) = (pool.clone(), port.server.clone());
        tokio::spawn(async move { pool.call(&server, "Test.Hang", text(""), DEADLINE).await })
    };
    port.service.wait_until(|counts| counts.running == 1).await;
    let server = port.server.clone();
    port.stop().await;
    let error = hanging.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "rpc error making call: EOF");
    assert!(error.is_eof_like());
    let port = Port::start_at(server.address).await;
    assert!(pool.call(&port.server, "Test.Echo", text("b"), DEADLINE).await.is_ok());
}

#[tokio::test]
async fn raw_streams_reach_their_protocol_behind_the_first_byte() {
    let port = Port::start().await;
    let pool = Pool::new(PoolOptions::default());
    for (protocol, name) in
        [(Protocol::Raft, "raft"), (Protocol::Snapshot, "snapshot"), (Protocol::Grpc, "grpc")]
    {
        let mut stream = pool.open(&port.server, protocol).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, format!("{name}: ping"));
    }
}

#[tokio::test]
async fn a_single_connection_answers_as_real_servers_do() {
    let port = Port::start().await;
    let mut stream = tokio::net::TcpStream::connect(port.server.address).await.unwrap();
    stream.write_all(b"\0\x82\xa3Seq\x01\xadServiceMethod\xabStatus.Ping\x80").await.unwrap();
    let expected = b"\x83\xa5Error\xa0\xa3Seq\x01\xadServiceMethod\xabStatus.Ping\x80";
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(Bytes::from(answer), Bytes::from_static(expected));
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed_and_one_in_use_is_not() {
    let port = Port::start().await;
    let idle_timeout = Duration::from_millis(50);
    let pool = Pool::new(PoolOptions { idle_timeout, ..PoolOptions::default() });
    let hanging = {
        let (pool, server) = (pool.clone(), port.server.clone());
        let call = async move { pool.call(&server, "Test.Hang", text(""), 5 * idle_timeout).await };
        tokio::spawn(call)
    };
    // It would end with its connection, and ends with its own time.
    assert_eq!(hanging.await.unwrap(), Err(RpcError::Timeout));
    let closed = async {
        while pool.connections() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, closed).await.expect("the connection stays");
    assert!(pool.call(&port.server, "Test.Echo", text("a"), DEADLINE).await.is_ok());
    assert_eq!(port.service.peers(), 2);
}

#[tokio::test]
async fn a_pool_that_is_closed_ends_its_calls_and_serves_again() {
    let port = Port::start().await;
    let pool = Pool::new(PoolOptions::default());
    let hanging = {
        let (pool, server) = (pool.clone(), port.server.clone());
        tokio::spawn(async move { pool.call(&server, "Test.Hang", text(""), DEADLINE).await })
    };
    port.service.wait_until(|counts| counts.running == 1).await;
    pool.close();
    assert!(hanging.await.unwrap().unwrap_err().is_eof_like());
    port.service.wait_until(|counts| counts.cancelled == 1).await;
    assert!(pool.call(&port.server, "Test.Echo", text("a"), DEADLINE).await.is_ok());
}
