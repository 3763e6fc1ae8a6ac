//! Sinks with real sockets on loopback.

use metrics::with_local_recorder;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, UdpSocket, UnixDatagram};

use super::connection::{DATAGRAM_BYTES_MAX, datagrams};
use super::*;
use crate::{Metrics, Settings, names};

fn settings(sinks: SinkSettings) -> Settings {
    Settings { host: "h 1".to_owned(), sinks, ..Settings::default() }
}

/// Emits one of each kind, with what no format likes in a label.
fn emit(metrics: &Metrics) {
    with_local_recorder(&*metrics.shared.recorder, || {
        names::RPC_QUERY.increment([], 2);
        names::RAFT_APPLIED_INDEX.set([], 7.0);
        names::KVS_APPLY.record([], Duration::from_micros(1500));
        names::HEALTH_SERVICE_QUERY_TAGS.increment(["we b".into(), "a:b,c|d".into()], 1);
        let blocking = names::RPC_QUERIES_BLOCKING.handle([]);
        blocking.increment(1.0);
        blocking.decrement(1.0);
        names::RAFT_LEADER_OLDEST_LOG_AGE.set([], f64::NAN);
    });
}

const STATSD: &str = "consul.rpc.query:2.000000|c\n\
                      consul.h_1.raft.applied_index:7.000000|g\n\
                      consul.kvs.apply:1.500000|ms\n\
                      consul.health.service.query-tags.we_b.a_b,c_d:1.000000|c\n\
                      consul.h_1.rpc.queries_blocking:1.000000|g\n\
                      consul.h_1.rpc.queries_blocking:0.000000|g\n";

const DOGSTATSD: &str = "consul.rpc.query:2|c|#env:test\n\
                         consul.raft.applied_index:7.000000|g|#env:test,host:h 1\n\
                         consul.kvs.apply:1.500000|ms|#env:test\n\
                         consul.health.service.query-tags:1|c|#env:test,service:we b,tag:a:b_c_d\n\
                         consul.rpc.queries_blocking:1.000000|g|#env:test,host:h 1\n\
                         consul.rpc.queries_blocking:0.000000|g|#env:test,host:h 1\n";

/// Runs the sinks of an agent with these settings until the other half is done.
async fn with_sinks<T>(sinks: SinkSettings, work: impl AsyncFnOnce(Metrics) -> T) -> T {
    let metrics = Metrics::new(&settings(sinks), 0);
    let (stop, stopped) = watch::channel(false);
    let running = metrics.clone();
    let running = tokio::spawn(async move { running.run_sinks(stopped).await });
    let done = tokio::time::timeout(Duration::from_secs(30), work(metrics)).await;
    stop.send(true).expect("it listens");
    running.await.expect("it ends");
    done.expect("it takes less than half a minute")
}

/// Emits until the first datagram comes: what was emitted before the socket was there is
/// not sent.
async fn first_datagram(metrics: &Metrics, mut receive: impl AsyncFnMut() -> Vec<u8>) -> String {
    loop {
        emit(metrics);
        if let Ok(datagram) = tokio::time::timeout(Duration::from_secs(1), receive()).await {
            return String::from_utf8(datagram).expect("it is text");
        }
    }
}

async fn receive_udp(socket: &UdpSocket) -> Vec<u8> {
    let mut datagram = vec![0; 65_536];
    let bytes = socket.recv(&mut datagram).await.expect("it is bound");
    datagram.truncate(bytes);
    datagram
}

#[tokio::test]
async fn statsd_gets_lines_in_datagrams() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("there is a free port");
    let statsd = socket.local_addr().expect("it is bound").to_string();
    let sinks = SinkSettings { statsd, ..SinkSettings::default() };
    let got = with_sinks(sinks, async |metrics| {
        first_datagram(&metrics, async || receive_udp(&socket).await).await
    });
    let got = got.await;
    assert!(got.contains(STATSD), "{got}");
}

#[tokio::test]
async fn dogstatsd_gets_labels_as_tags_and_the_host_too() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("there is a free port");
    let dogstatsd = socket.local_addr().expect("it is bound").to_string();
    let dogstatsd_tags = vec!["env:test".to_owned()];
    let sinks = SinkSettings { dogstatsd, dogstatsd_tags, ..SinkSettings::default() };
    let got = with_sinks(sinks, async |metrics| {
        first_datagram(&metrics, async || receive_udp(&socket).await).await
    });
    let got = got.await;
    assert!(got.contains(DOGSTATSD), "{got}");
}

#[tokio::test]
async fn dogstatsd_may_be_a_unix_socket() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("dog.sock");
    let socket = UnixDatagram::bind(&path).expect("the path is free");
    let dogstatsd = format!("unix://{}", path.display());
    let sinks = SinkSettings { dogstatsd, ..SinkSettings::default() };
    let receive = async || {
        let mut datagram = vec![0; 65_536];
        let bytes = socket.recv(&mut datagram).await.expect("it is bound");
        datagram.truncate(bytes);
        datagram
    };
    let got = with_sinks(sinks, async |metrics| first_datagram(&metrics, receive).await).await;
    assert!(got.starts_with("consul.rpc.query:2|c\n"), "{got}");
}

#[tokio::test]
async fn statsite_gets_lines_and_is_found_again_after_it_was_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let statsite = listener.local_addr().expect("it is bound").to_string();
    let sinks = SinkSettings { statsite, ..SinkSettings::default() };
    with_sinks(sinks, async |metrics| {
        for _ in 0..2 {
            let accepted = async {
                // A write to a collector that has gone may be needed to notice it.
                loop {
                    emit(&metrics);
                    let wait = Duration::from_millis(200);
                    if let Ok(accepted) = tokio::time::timeout(wait, listener.accept()).await {
                        break accepted.expect("it listens").0;
                    }
                }
            };
            let mut lines = BufReader::new(accepted.await).lines();
            let line = async {
                loop {
                    emit(&metrics);
                    let wait = Duration::from_millis(200);
                    if let Ok(line) = tokio::time::timeout(wait, lines.next_line()).await {
                        break line.expect("it is text").expect("there is one");
                    }
                }
            };
            assert_eq!(line.await, "consul.rpc.query:2.000000|c");
        }
    })
    .await;
}

#[tokio::test]
async fn several_sinks_get_the_same() {
    let (one, other) = (UdpSocket::bind("127.0.0.1:0").await, UdpSocket::bind("127.0.0.1:0").await);
    let (one, other) = (one.expect("there is a free port"), other.expect("and another"));
    let address = |socket: &UdpSocket| socket.local_addr().expect("it is bound").to_string();
    let (statsd, dogstatsd) = (address(&one), address(&other));
    let sinks = SinkSettings { statsd, dogstatsd, ..SinkSettings::default() };
    with_sinks(sinks, async |metrics| {
        let first = first_datagram(&metrics, async || receive_udp(&one).await).await;
        assert!(first.starts_with("consul.rpc.query:2.000000|c\n"));
        let second = first_datagram(&metrics, async || receive_udp(&other).await).await;
        assert!(second.starts_with("consul.rpc.query:2|c\n"));
    })
    .await;
}

#[tokio::test]
async fn an_address_that_does_not_exist_is_an_error_unless_it_is_retried() {
    let dogstatsd = "unix:///nowhere/at/all".to_owned();
    let sinks = SinkSettings { dogstatsd, ..SinkSettings::default() };
    let check = async |retry| {
        let sinks = SinkSettings { retry, ..sinks.clone() };
        Metrics::new(&settings(sinks), 0).check_sinks().await
    };
    assert!(check(true).await.is_ok());
    let error = check(false).await.expect_err("there is no such file");
    let text = "telemetry.dogstatsd_addr: cannot reach /nowhere/at/all: No such file or directory";
    assert!(error.to_string().starts_with(text), "{error}");
}

#[test]
fn waits_grow_up_to_five_minutes() {
    let waits: Vec<u64> =
        [1, 2, 3, 9, 10, u32::MAX].map(backoff).iter().map(Duration::as_secs).collect();
    assert_eq!(waits, [1, 2, 4, 256, 300, 300]);
}

#[test]
fn datagrams_hold_whole_lines_and_no_more_than_fit() {
    let line = |bytes: usize| format!("{}\n", "x".repeat(bytes - 1));
    let sizes = |lines: &str| datagrams(lines.as_bytes()).map(<[u8]>::len).collect::<Vec<_>>();
    assert!(sizes("").is_empty());
    assert_eq!(sizes(&line(10)), [10]);
    assert_eq!(sizes(&line(700).repeat(4)), [1400, 1400]);
    assert_eq!(sizes(&line(701).repeat(2)), [701, 701]);
    assert_eq!(sizes(&format!("{}{}{}", line(5), line(2000), line(5))), [5, 2000, 5]);
    let long = line(90).repeat(100);
    assert!(
        datagrams(long.as_bytes()).all(|d| d.len() <= DATAGRAM_BYTES_MAX && d.ends_with(b"\n"))
    );
    assert_eq!(datagrams(long.as_bytes()).flatten().copied().collect::<Vec<_>>(), long.as_bytes());
}

#[test]
fn a_sink_that_is_not_emptied_loses_values_and_says_how_many() {
    let queue = Queue::default();
    for _ in 0..(1 << 20) / 64 + 3 {
        queue.push(64, |lines| lines.extend_from_slice(&[b'x'; 64]));
    }
    let mut lines = Vec::new();
    assert_eq!(queue.take(&mut lines), 3);
    assert_eq!(lines.len(), 1 << 20);
    assert_eq!(queue.take(&mut lines), 0);
    assert!(lines.is_empty());
}
