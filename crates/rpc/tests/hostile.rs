//! Peers that break the rules, over loopback sockets: they are closed in time, cost little,
//! and harm nobody else.

mod support;

use std::sync::Arc;
use std::time::Duration;

use rpc::net_rpc::Budget;
use rpc::yamux::frame::{Flags, HEADER_BYTES, Header, Kind};
use rpc::{ConnectionLimit, Pool, PoolOptions, ServeOptions, ServerLimits, yamux};
use support::{Port, text};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(100);

async fn connect(port: &Port, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(port.server.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// What comes until the other side closes the connection.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A connection that is closed with unread bytes ends with an error.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("it is not closed");
    bytes
}

/// Others are served as if nothing happened.
async fn check_service(port: &Port) {
    let pool = Pool::new(PoolOptions::default());
    let reply = pool.call(&port.server, "Test.Echo", text("still there"), DEADLINE).await;
    assert_eq!(reply, Ok(text("still there")));
}

fn frame(kind: Kind, flags: Flags, stream: u32, length: u32) -> [u8; HEADER_BYTES] {
    Header { kind, flags, stream, length }.encode()
}

fn open(stream: u32) -> [u8; HEADER_BYTES] {
    frame(Kind::WindowUpdate, Flags::SYN, stream, 0)
}

fn request(method: &str) -> Vec<u8> {
    let mut bytes = b"\x82\xa3Seq\x01\xadServiceMethod".to_vec();
    bytes.extend_from_slice(&text(method));
    bytes
}

#[tokio::test]
async fn first_bytes_that_nobody_knows_are_closed() {
    let port = Port::start().await;
    for byte in [2, 3, 6, 7, 9, 10, 22, 71, 255] {
        let mut stream = connect(&port, &[byte, 1, 2, 3]).await;
        assert_eq!(until_closed(&mut stream).await, b"", "{byte}");
    }
    check_service(&port).await;
}

#[tokio::test]
async fn who_says_nothing_is_closed_after_the_handshake_timeout() {
    let port =
        Port::start_with(ServeOptions { handshake_timeout: SHORT, ..ServeOptions::default() })
            .await;
    let mut stream = connect(&port, b"").await;
    assert_eq!(until_closed(&mut stream).await, b"");
}

#[tokio::test]
async fn one_client_has_no_more_connections_than_it_may() {
    let connections = Arc::new(ConnectionLimit::new(2));
    let options = ServeOptions { connections: Arc::clone(&connections), ..ServeOptions::default() };
    let port = Port::start_with(options).await;
    let kept = [connect(&port, b"\0").await, connect(&port, b"\0").await];
    let mut excess = connect(&port, b"").await;
    assert_eq!(until_closed(&mut excess).await, b"");
    drop(kept);
    connections.set(0);
    check_service(&port).await;
}

#[tokio::test]
async fn requests_that_promise_too_much_are_refused_before_it_comes() {
    let port = Port::start().await;
    for (argument, said) in [
        (&b"\xdb\xff\xff\xff\xff"[..], "a value of more than 67108864 bytes"),
        (b"\xdd\xff\xff\xff\xff", "a value of more than 67108864 bytes"),
        (b"\xdf\x01\x00\x00\x00", "a value of more than 1048576 members"),
        (&[0x91; 400], "msgpack: more than"),
        (b"\xc1", "msgpack: unknown marker 0xc1"),
    ] {
        let mut stream =
            connect(&port, &[b"\0", &request("Test.Echo")[..], argument].concat()).await;
        let answer = until_closed(&mut stream).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains(said), "{answer:?}");
    }
    // What is no header is not answered.
    for header in [&b"\x01"[..], b"\xc1", b"\xdb\xff\xff\xff\xff", b"\x81\xa3Seq\xa1x"] {
        let mut stream = connect(&port, &[b"\0", header].concat()).await;
        assert_eq!(until_closed(&mut stream).await, b"", "{header:02x?}");
    }
    assert_eq!(port.service.calls(), 0);
    check_service(&port).await;
}

#[tokio::test]
async fn who_stops_in_the_middle_of_a_request_is_closed() {
    let calls = ServerLimits { stall: SHORT, ..ServerLimits::default() };
    let port = Port::start_with(ServeOptions { calls, ..ServeOptions::default() }).await;
    let whole = [&request("Test.Echo")[..], &text("hello")].concat();
    let mut streams = Vec::new();
    for len in 1..whole.len() {
        streams.push(connect(&port, &[b"\0", &whole[..len]].concat()).await);
    }
    for stream in &mut streams {
        assert_eq!(until_closed(stream).await, b"");
    }
    assert_eq!(port.service.calls(), 0);
}

#[tokio::test]
async fn who_does_not_take_its_answer_is_closed() {
    let calls = ServerLimits { stall: SHORT, ..ServerLimits::default() };
    let port =
        Port::start_with(ServeOptions { calls: calls.clone(), ..ServeOptions::default() }).await;
    // On a stream whose window stays as it is.
    let call = [&request("Test.Large")[..], b"\x80"].concat();
    let data = frame(Kind::Data, Flags::NONE, 1, call.len() as u32);
    let mut stream = connect(&port, &[&b"\x04"[..], &open(1), &data, &call].concat()).await;
    let mut aborted = false;
    let mut input = Vec::new();
    while !aborted {
        let read = timeout(DEADLINE, stream.read_buf(&mut input)).await.unwrap().unwrap();
        assert!(read > 0, "the whole session ended");
        let abort = frame(Kind::WindowUpdate, Flags::RST, 1, 0);
        aborted = input.windows(HEADER_BYTES).any(|window| window == abort);
    }
    assert_eq!(calls.budget.held(), 0);
    check_service(&port).await;
}

#[tokio::test]
async fn all_requests_together_stay_within_what_there_is_for_them() {
    let budget = Budget::new(1 << 20);
    let calls = ServerLimits { budget: Arc::clone(&budget), ..ServerLimits::default() };
    let port = Port::start_with(ServeOptions { calls, ..ServeOptions::default() }).await;
    // One that runs, and one that does not come to its end.
    let pool = Pool::new(PoolOptions::default());
    let hanging = {
        let (pool, server) = (pool.clone(), port.server.clone());
        let argument = text(&"x".repeat(500_000));
        tokio::spawn(async move { pool.call(&server, "Test.Hang", argument, DEADLINE).await })
    };
    port.service.wait_until(|counts| counts.running == 1).await;
    assert!(budget.held() >= 500_000);
    let half =
        [&b"\0"[..], &request("Test.Echo"), b"\xdb\x00\x0f\x00\x00", &[b'x'; 400_000]].concat();
    let mut half = connect(&port, &half).await;
    while budget.held() < 900_000 {
        tokio::task::yield_now().await;
    }
    let refused = pool.call(&port.server, "Test.Echo", text(&"x".repeat(200_000)), DEADLINE).await;
    let text = "rpc error making call: the server has too many bytes of requests to answer";
    assert_eq!(refused.unwrap_err().to_string(), text);
    check_service(&port).await;

    half.shutdown().await.unwrap();
    until_closed(&mut half).await;
    hanging.abort();
    port.service.wait_until(|counts| counts.cancelled == 1).await;
    while budget.held() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn sessions_that_break_the_rules_end_with_a_word_of_it() {
    let port = Port::start().await;
    let goodbye = frame(Kind::GoAway, Flags::NONE, 0, 1);
    let window = frame(Kind::Data, Flags::NONE, 1, 256 << 10);
    for (what, bytes) in [
        ("another version", vec![9; HEADER_BYTES]),
        ("a stream of the server's", open(2).to_vec()),
        ("stream zero", open(0).to_vec()),
        ("a stream twice", [open(1), open(1)].concat()),
        (
            "a window that overflows",
            [open(1), frame(Kind::WindowUpdate, Flags::NONE, 1, u32::MAX)].concat(),
        ),
        (
            "more than the window",
            [open(1), frame(Kind::Data, Flags::NONE, 1, (256 << 10) + 1)].concat(),
        ),
        ("a second window", [&open(1)[..], &window, &vec![b'\xc0'; 256 << 10], &window].concat()),
    ] {
        let mut stream = connect(&port, b"\x04").await;
        // The server may have closed it before all is written.
        let _ = stream.write_all(&bytes).await;
        let said = until_closed(&mut stream).await;
        let complains = said.windows(HEADER_BYTES).any(|window| window == goodbye);
        assert!(complains || what == "a second window", "{what}: {said:02x?}");
    }
    check_service(&port).await;
}

#[tokio::test]
async fn opening_and_aborting_in_a_storm_leaves_nothing() {
    let port = Port::start().await;
    let mut stream = connect(&port, b"\x04").await;
    let mut storm = Vec::new();
    for index in 0..20_000 {
        let id = 2 * index + 1;
        storm.extend_from_slice(&open(id));
        storm.extend_from_slice(&frame(Kind::WindowUpdate, Flags::RST, id, 0));
    }
    storm.extend_from_slice(&frame(Kind::Ping, Flags::SYN, 0, 77));
    let (mut read, mut write) = stream.split();
    let answered = async {
        let (mut input, pong) = (Vec::new(), frame(Kind::Ping, Flags::ACK, 0, 77));
        while !input.ends_with(&pong) {
            assert!(read.read_buf(&mut input).await.unwrap() > 0);
        }
    };
    let (sent, answered) = tokio::join!(write.write_all(&storm), timeout(DEADLINE, answered));
    sent.unwrap();
    answered.expect("no answer to the ping behind the storm");
    check_service(&port).await;
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_one_by_one() {
    let options = yamux::Options { streams_max: 10, ..yamux::Options::default() };
    let port = Port::start_with(ServeOptions { yamux: options, ..ServeOptions::default() }).await;
    let mut bytes = vec![4];
    (0..20).for_each(|index| bytes.extend_from_slice(&open(2 * index + 1)));
    bytes.extend_from_slice(&frame(Kind::Ping, Flags::SYN, 0, 1));
    let mut stream = connect(&port, &bytes).await;
    let mut answer = [0; 21 * HEADER_BYTES];
    timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    let headers = answer
        .chunks_exact(HEADER_BYTES)
        .map(|bytes| Header::decode(bytes.try_into().unwrap()).unwrap());
    let flags: Vec<_> = headers
        .filter(|header| header.kind == Kind::WindowUpdate)
        .map(|header| header.flags)
        .collect();
    let count = |wanted| flags.iter().filter(|flags| **flags == wanted).count();
    assert_eq!((count(Flags::ACK), count(Flags::RST)), (10, 10));
}

#[tokio::test]
async fn who_only_asks_and_never_reads_is_closed() {
    let options = yamux::Options { write_timeout: SHORT, ..yamux::Options::default() };
    let port = Port::start_with(ServeOptions { yamux: options, ..ServeOptions::default() }).await;
    let mut stream = connect(&port, b"\x04").await;
    let pings = frame(Kind::Ping, Flags::SYN, 0, 1).repeat(10_000);
    let flood = async { while stream.write_all(&pings).await.is_ok() {} };
    timeout(DEADLINE, flood).await.expect("a peer that does not read is served for ever");
    check_service(&port).await;
}

#[tokio::test]
async fn who_does_not_answer_pings_is_closed() {
    let options =
        yamux::Options { keep_alive: SHORT, write_timeout: SHORT, ..yamux::Options::default() };
    let port = Port::start_with(ServeOptions { yamux: options, ..ServeOptions::default() }).await;
    let mut stream = connect(&port, b"\x04").await;
    let said = until_closed(&mut stream).await;
    assert_eq!(said, frame(Kind::Ping, Flags::SYN, 0, 1));
    // One that answers stays, however little it has to say.
    let pool = Pool::new(PoolOptions::default());
    let reply = async || pool.call(&port.server, "Test.Echo", text("a"), DEADLINE).await;
    assert!(reply().await.is_ok());
    tokio::time::sleep(5 * SHORT).await;
    assert!(reply().await.is_ok());
    assert_eq!(port.service.peers(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_call_with_it() {
    let port = Port::start().await;
    let call = [&request("Test.Hang")[..], b"\x80"].concat();
    // Over a connection of its own, and with one stream of many.
    let single = connect(&port, &[b"\0", &call[..]].concat()).await;
    port.service.wait_until(|counts| counts.running == 1).await;
    drop(single);
    port.service.wait_until(|counts| counts.cancelled == 1).await;
    for flags in [Flags::FIN, Flags::RST] {
        let data = frame(Kind::Data, Flags::NONE, 1, call.len() as u32);
        let mut stream = connect(&port, &[&b"\x04"[..], &open(1), &data, &call].concat()).await;
        port.service.wait_until(|counts| counts.running == 1).await;
        stream.write_all(&frame(Kind::WindowUpdate, flags, 1, 0)).await.unwrap();
        port.service.wait_until(|counts| counts.running == 0).await;
    }
    port.service.wait_until(|counts| counts.cancelled == 3).await;
}

#[tokio::test]
async fn what_is_sent_ahead_waits_for_its_turn() {
    let port = Port::start().await;
    let mut bytes = vec![0];
    for index in 0..100 {
        bytes.extend_from_slice(&request("Test.Echo"));
        bytes.extend_from_slice(&text(&format!("<{index:03}>")));
    }
    let mut stream = connect(&port, &bytes).await;
    stream.shutdown().await.unwrap();
    let answers = until_closed(&mut stream).await;
    let answers = String::from_utf8_lossy(&answers).into_owned();
    let order: Vec<_> =
        answers.split('<').skip(1).map(|rest| rest[..3].parse::<u32>().unwrap()).collect();
    assert_eq!(order, (0..100).collect::<Vec<_>>());
}
