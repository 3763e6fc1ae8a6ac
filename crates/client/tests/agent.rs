//! The client against an agent of a few lines that answers what it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use client::{Client, Config, KvPut, MonitorQuery, QueryOptions, Request, TlsConfig};
use rustls::pki_types::PrivateKeyDer;
use types::Index;

/// A request as the agent saw it: connection, head, body.
type Seen = (usize, String, String);

/// Reads requests from one connection and answers each with the next of
/// `answers`; the connection is closed when they are used up.
fn converse(
    number: usize,
    stream: &mut (impl Read + Write),
    answers: &mut dyn Iterator<Item = String>,
    seen: &SyncSender<Seen>,
) {
    let mut reader = BufReader::new(stream);
    for answer in answers {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let lower = head.to_lowercase();
        let length = lower.split("content-length: ").nth(1);
        let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        seen.send((number, head, String::from_utf8(body).unwrap())).unwrap();
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// An agent whose connections answer in turn what the lists say.
fn agent(connections: Vec<Vec<String>>) -> (String, Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, receiver) = sync_channel(16);
    thread::spawn(move || {
        for (number, answers) in connections.into_iter().enumerate() {
            let (mut stream, _) = listener.accept().unwrap();
            converse(number, &mut stream, &mut answers.into_iter(), &sender);
        }
    });
    (address, receiver)
}

fn client_of(address: &str) -> Client {
    Client::new(Config { address: address.to_owned(), ..Config::default() }).unwrap()
}

#[tokio::test]
async fn a_read_carries_its_options_and_gives_the_index() {
    let rows = r#"[{"Key":"a","Value":"MQ==","ModifyIndex":9}]"#;
    let headers = "X-Consul-Index: 9\r\nX-Consul-KnownLeader: true\r\nX-Consul-LastContact: 3\r\n";
    let (address, seen) = agent(vec![vec![answer("200 OK", headers, rows)]]);
    let config = Config {
        address: format!("http://{address}/prefix"),
        token: "secret".into(),
        basic_auth: Some("me:pass".into()),
        datacenter: "dc2".into(),
        ..Config::default()
    };
    let options =
        QueryOptions { wait_index: Index(8), allow_stale: true, ..QueryOptions::default() };
    let found = Client::new(config).unwrap().kv_get("a", &options).await.unwrap();
    assert_eq!(found.rows.unwrap().value.to_vec(), b"1");
    assert_eq!((found.meta.last_index, found.meta.last_contact_ms), (Index(9), 3));
    assert!(found.meta.known_leader);
    let (_, head, _) = seen.recv().unwrap();
    assert!(head.starts_with("GET /prefix/v1/kv/a?dc=dc2&index=8&stale= HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("X-Consul-Token: secret\r\n"), "{head}");
    assert!(head.contains("Authorization: Basic bWU6cGFzcw==\r\n"), "{head}");
    assert!(head.contains(&format!("Host: {address}\r\n")), "{head}");
}

#[tokio::test]
async fn an_error_answer_reads_as_it_does_in_consul() {
    let refusal = answer("403 Forbidden", "", "Permission denied\n");
    let (address, _seen) = agent(vec![vec![refusal]]);
    let error = client_of(&address).kv_put(&KvPut::new("k", "v")).await.unwrap_err();
    assert_eq!(error.to_string(), "Unexpected response code: 403 (Permission denied)");
    assert_eq!(error.status(), Some(403));
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let (address, seen) = agent(vec![vec![
        answer("200 OK", "", "true"),
        answer("404 Not Found", "", ""),
        answer("200 OK", "", "[\"dc1\"]"),
    ]]);
    let client = client_of(&address);
    assert!(client.kv_put(&KvPut::new("k", "v")).await.unwrap());
    let nothing = client.kv_get("k", &QueryOptions::default()).await.unwrap();
    assert_eq!(nothing.rows, None);
    assert_eq!(client.clone().catalog_datacenters().await.unwrap(), ["dc1"]);
    let seen: Vec<usize> = seen.iter().take(3).map(|(connection, _, _)| connection).collect();
    assert_eq!(seen, [0, 0, 0]);
}

#[tokio::test]
async fn a_connection_that_the_agent_closed_is_replaced() {
    let closing = answer("200 OK", "Connection: close\r\n", "\"a\"");
    let (address, seen) = agent(vec![vec![closing], vec![answer("200 OK", "", "\"b\"")]]);
    let client = client_of(&address);
    assert_eq!(client.status_leader().await.unwrap(), "a");
    assert_eq!(client.status_leader().await.unwrap(), "b");
    let seen: Vec<usize> = seen.iter().take(2).map(|(connection, _, _)| connection).collect();
    assert_eq!(seen, [0, 1]);
}

#[tokio::test]
async fn an_agent_that_hangs_up_is_an_end_of_file() {
    let (address, _seen) = agent(vec![vec![String::new()]]);
    let error = client_of(&address).status_leader().await.unwrap_err();
    assert_eq!(error.to_string(), format!("Get \"http://{address}/v1/status/leader\": EOF"));
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let (address, _seen) = agent(vec![vec![answer("200 OK", "", &"x".repeat(100))]]);
    let config = Config { address: address.clone(), body_bytes_max: 99, ..Config::default() };
    let error = Client::new(config).unwrap().status_leader().await.unwrap_err();
    assert!(error.to_string().ends_with("http: response body too large"), "{error}");
}

#[tokio::test]
async fn a_log_is_streamed_to_its_end() {
    let lines = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n";
    let (address, _seen) = agent(vec![vec![lines.to_owned()]]);
    let mut log = client_of(&address).agent_monitor(&MonitorQuery::default()).await.unwrap();
    let mut whole = Vec::new();
    while let Some(piece) = log.chunk().await.unwrap() {
        whole.extend_from_slice(&piece);
    }
    assert_eq!(whole, b"one\ntwo\n");
}

#[tokio::test]
async fn a_unix_socket_is_spoken_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (sender, seen) = sync_channel(16);
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut answers = std::iter::once(answer("200 OK", "", "\"leader\""));
        converse(0, &mut stream, &mut answers, &sender);
    });
    let client = client_of(&format!("unix://{}", path.display()));
    assert_eq!(client.status_leader().await.unwrap(), "leader");
    assert!(seen.recv().unwrap().1.contains("Host: localhost\r\n"));
}

#[tokio::test]
async fn a_token_file_wins_over_the_token_unless_it_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    for (content, expected) in [(" filed\n", "filed"), ("\n", "given")] {
        std::fs::write(&file, content).unwrap();
        let (address, seen) = agent(vec![vec![answer("200 OK", "", "\"\"")]]);
        let config = Config {
            address,
            token: "given".into(),
            token_file: file.display().to_string(),
            ..Config::default()
        };
        Client::new(config).unwrap().status_leader().await.unwrap();
        let (_, head, _) = seen.recv().unwrap();
        assert!(head.contains(&format!("X-Consul-Token: {expected}\r\n")), "{head}");
    }
}

#[tokio::test]
async fn a_line_break_in_a_token_is_refused() {
    let config = Config { token: "a\nb".into(), ..Config::default() };
    let error = Client::new(config).unwrap().send(Request::get("/")).await.err().unwrap();
    assert!(error.to_string().starts_with("invalid request: "), "{error}");
}

struct TlsAgent {
    address: String,
    ca_file: String,
    _folder: tempfile::TempDir,
}

/// An agent that speaks TLS as `localhost` with a certificate of its own authority.
fn tls_agent() -> TlsAgent {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let server = Arc::new(server);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let session = rustls::ServerConnection::new(Arc::clone(&server)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream.unwrap());
            let (sender, _seen) = sync_channel(16);
            let mut answers = std::iter::once(answer("200 OK", "", "\"leader\""));
            converse(0, &mut stream, &mut answers, &sender);
        }
    });
    TlsAgent {
        address: format!("127.0.0.1:{port}"),
        ca_file: ca_file.display().to_string(),
        _folder: folder,
    }
}

async fn leader_over_tls(address: &str, tls: TlsConfig) -> Result<String, String> {
    let config = Config { address: address.to_owned(), use_tls: true, tls, ..Config::default() };
    let client = Client::new(config).map_err(|error| error.to_string())?;
    client.status_leader().await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn certificates_are_checked_as_they_should_be() {
    let agent = tls_agent();
    let trusted = TlsConfig { ca_file: agent.ca_file.clone(), ..TlsConfig::default() };
    let named = TlsConfig { server_name: "localhost".into(), ..trusted.clone() };
    let careless = TlsConfig { skip_verify: true, ..TlsConfig::default() };
    let stranger = TlsConfig { server_name: "localhost".into(), ..TlsConfig::default() };
    let url = format!("Get \"https://{}/v1/status/leader\": ", agent.address);
    assert_eq!(leader_over_tls(&agent.address, named).await, Ok("leader".into()));
    assert_eq!(leader_over_tls(&agent.address, careless).await, Ok("leader".into()));
    let error = leader_over_tls(&agent.address, trusted).await.unwrap_err();
    let reason = "tls: failed to verify certificate: x509: certificate is valid for ";
    assert!(error.starts_with(&format!("{url}{reason}")), "{error}");
    let error = leader_over_tls(&agent.address, stranger).await.unwrap_err();
    let reason = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert_eq!(error, format!("{url}{reason}"));
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let absent = TlsConfig { ca_file: "absent.pem".into(), ..TlsConfig::default() };
    assert_eq!(
        leader_over_tls("127.0.0.1:1", absent).await,
        Err("Error loading CA File: open absent.pem: no such file or directory".into())
    );
}

#[tokio::test]
async fn a_plain_agent_asked_over_tls_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Hanging up waits for the client, whose reading must not be cut short.
        let _ = stream.read(&mut [0; 4096]);
    });
    let careless = TlsConfig { skip_verify: true, ..TlsConfig::default() };
    let error = leader_over_tls(&address, careless).await.unwrap_err();
    assert!(error.ends_with("http: server gave HTTP response to HTTPS client"), "{error}");
}
