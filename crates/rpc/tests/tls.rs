//! TLS between a pool and a port.

#[path = "support/authority.rs"]
mod authority;
mod support;

use std::sync::Arc;
use std::time::Duration;

use authority::Authority;
use rpc::{
    Dial, IssuedCertificate, Pool, PoolOptions, Protocol, RpcError, ServeOptions, Tls, TlsSettings,
};
use rustls::pki_types::ServerName;
use support::{Port, text};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(10);
const SERVER: &str = "server.dc1.consul";
const CLIENT: &str = "client.dc1.consul";

async fn port(settings: &TlsSettings) -> Port {
    Port::start_with(ServeOptions {
        tls: Some(Tls::new(settings).unwrap()),
        ..ServeOptions::default()
    })
    .await
}

fn pool(settings: &TlsSettings) -> Pool {
    let dial = Dial { tls: Some(Tls::new(settings).unwrap()), ..Dial::default() };
    Pool::new(PoolOptions { dial, ..PoolOptions::default() })
}

/// What a call says, from a client with these settings to a server with those.
async fn call(client: &TlsSettings, server: &TlsSettings) -> String {
    let port = port(server).await;
    let outcome = pool(client).call(&port.server, "Test.Echo", text("hi"), DEADLINE).await;
    match outcome {
        Err(error) if error.is_eof_like() || error.to_string().ends_with("reset by peer") => {
            "closed".to_owned()
        }
        Err(error) => error.to_string(),
        Ok(reply) => {
            assert_eq!(reply, text("hi"));
            let tls = if port.service.tls_calls() == 1 { "TLS" } else { "plain" };
            tls.to_owned()
        }
    }
}

#[tokio::test]
async fn what_is_configured_decides_who_talks_to_whom() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let not_connected = "rpc error getting client: failed to get conn: ";
    let unknown_authority =
        "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    let other_name = "tls: failed to verify certificate: x509: certificate is valid for \
                      client.dc1.consul, localhost, not server.dc1.consul";
    let outgoing = |settings: TlsSettings| TlsSettings { verify_outgoing: true, ..settings };
    let hostname = |settings: TlsSettings| TlsSettings { verify_server_hostname: true, ..settings };
    let incoming = |settings: TlsSettings| TlsSettings { verify_incoming: true, ..settings };
    for (line, client, server, expected) in [
        // Nobody verifies anything: TLS is possible and not used.
        (line!(), ours.settings(), ours.settings_of(SERVER), "plain".to_owned()),
        (line!(), outgoing(ours.settings()), ours.settings_of(SERVER), "TLS".to_owned()),
        // Only who verifies the name wants the name.
        (line!(), outgoing(ours.settings()), ours.settings_of(CLIENT), "TLS".to_owned()),
        (line!(), hostname(ours.settings()), ours.settings_of(SERVER), "TLS".to_owned()),
        (
            line!(),
            hostname(ours.settings()),
            ours.settings_of(CLIENT),
            format!("{not_connected}{other_name}"),
        ),
        (
            line!(),
            outgoing(ours.settings()),
            theirs.settings_of(SERVER),
            format!("{not_connected}{unknown_authority}"),
        ),
        (
            line!(),
            hostname(ours.settings()),
            theirs.settings_of(SERVER),
            format!("{not_connected}{unknown_authority}"),
        ),
        // A server without a certificate does not answer the handshake.
        (line!(), outgoing(ours.settings()), ours.settings(), "closed".to_owned()),
        // A server that verifies takes nothing plain.
        (line!(), ours.settings(), incoming(ours.settings_of(SERVER)), "closed".to_owned()),
        (
            line!(),
            outgoing(ours.settings_of(CLIENT)),
            incoming(ours.settings_of(SERVER)),
            "TLS".to_owned(),
        ),
        (line!(), ours.strict(SERVER), ours.strict(SERVER), "TLS".to_owned()),
    ] {
        assert_eq!(call(&client, &server).await, expected, "line {line}");
    }
    // In TLS 1.3 a client learns only afterwards that its certificate was not taken.
    for client in [
        outgoing(ours.settings()),
        outgoing(TlsSettings { ca_file: Some(ours.ca_file()), ..theirs.settings_of(CLIENT) }),
    ] {
        let said = call(&client, &incoming(ours.settings_of(SERVER))).await;
        assert!(said == "closed" || said.starts_with("rpc error "), "{said}");
    }
}

#[tokio::test]
async fn those_without_a_certificate_may_ask_for_one_and_nothing_else() {
    let authority = Authority::new();
    let port = port(&authority.strict(SERVER)).await;
    let client = TlsSettings { verify_server_hostname: true, ..authority.settings() };
    let pool = pool(&client);
    let reply = pool.call_insecure(&port.server, "AutoEncrypt.Sign", text("csr"), DEADLINE).await;
    assert_eq!(reply, Ok(text("csr")));
    for (method, what) in [("Test.Echo", "service"), ("AutoEncrypt.Other", "method")] {
        let error =
            pool.call_insecure(&port.server, method, text("x"), DEADLINE).await.unwrap_err();
        let expected = format!("rpcinsecure: error making call: rpc: can't find {what} {method}");
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(port.service.calls(), 1);

    let stranger = Authority::new();
    let client = TlsSettings { verify_server_hostname: true, ..stranger.settings() };
    let outcome = self::pool(&client)
        .call_insecure(&port.server, "AutoEncrypt.Sign", text("csr"), DEADLINE)
        .await;
    let text = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert_eq!(outcome, Err(RpcError::InsecureConnect(text.to_owned())));
}

#[tokio::test]
async fn raft_is_for_servers() {
    let authority = Authority::new();
    let port = port(&authority.strict(SERVER)).await;
    for (name, protocol, expected) in [
        (SERVER, Protocol::Raft, "raft: ping"),
        (CLIENT, Protocol::Raft, ""),
        (CLIENT, Protocol::Snapshot, "snapshot: ping"),
    ] {
        let mut stream = pool(&authority.strict(name)).open(&port.server, protocol).await.unwrap();
        assert_eq!(say_ping(&mut stream).await, expected, "{name}");
    }
    // Where names are not verified, they are not asked for.
    let loose = TlsSettings { verify_server_hostname: false, ..authority.strict(SERVER) };
    let port = self::port(&loose).await;
    let mut stream =
        pool(&authority.strict(CLIENT)).open(&port.server, Protocol::Raft).await.unwrap();
    assert_eq!(say_ping(&mut stream).await, "raft: ping");
}

/// What is answered to a ping; nothing if the connection is closed.
async fn say_ping(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    let mut answer = String::new();
    let said = async {
        stream.write_all(b"ping").await?;
        stream.shutdown().await?;
        stream.read_to_string(&mut answer).await
    };
    // What was not read may be lost when the other side closes.
    let _ = said.await;
    answer
}

/// A connection that begins with TLS and names its protocol.
async fn connect_native(
    port: &Port,
    authority: &Authority,
    certificate: Option<&str>,
    protocols: &[&str],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = tls::files::certificates(&authority.ca_file()).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(tls::files::roots(roots).unwrap());
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let (certificate, key) = authority.issue(name);
            let chain = tls::files::certificates(&certificate).unwrap();
            builder.with_client_auth_cert(chain, tls::files::key(&key).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(port.server.address).await?;
    let name = ServerName::try_from(SERVER).unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn a_connection_that_begins_with_tls_names_its_protocol() {
    let authority = Authority::new();
    // Certificates are asked for even where `verify_incoming` is off.
    let port = port(&authority.settings_of(SERVER)).await;
    let mut stream =
        connect_native(&port, &authority, Some(CLIENT), &["consul/raft"]).await.unwrap();
    assert_eq!(say_ping(&mut stream).await, "raft: ping");
    let mut stream =
        connect_native(&port, &authority, Some(CLIENT), &["consul/rpc-single"]).await.unwrap();
    stream.write_all(b"\x82\xa3Seq\x01\xadServiceMethod\xabStatus.Ping\x80").await.unwrap();
    let mut answer = [0; 40];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"Status.Ping\x80"));

    assert!(connect_native(&port, &authority, Some(CLIENT), &["h2"]).await.is_err());
    for (certificate, protocols) in [(None, ["consul/raft"].as_slice()), (Some(CLIENT), &[])] {
        if let Ok(mut stream) = connect_native(&port, &authority, certificate, protocols).await {
            assert_eq!(say_ping(&mut stream).await, "", "{certificate:?}");
        }
    }
}

#[tokio::test]
async fn there_is_no_tls_inside_tls() {
    let authority = Authority::new();
    let port = port(&authority.settings_of(SERVER)).await;
    let client = TlsSettings { verify_outgoing: true, ..authority.settings() };
    for protocol in [Protocol::Tls, Protocol::TlsInsecure, Protocol::Multiplex, Protocol::Gossip] {
        let mut stream = pool(&client).open(&port.server, protocol).await.unwrap();
        assert_eq!(say_ping(&mut stream).await, "", "{protocol:?}");
    }
}

#[tokio::test]
async fn all_who_wait_for_one_server_hear_together_that_it_does_not_answer() {
    let authority = Authority::new();
    let settings = TlsSettings { verify_outgoing: true, ..authority.settings() };
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let patience = Duration::from_millis(300);
    let dial =
        Dial { timeout: patience, tls: Some(Tls::new(&settings).unwrap()), ..Dial::default() };
    let pool = Pool::new(PoolOptions { dial, ..PoolOptions::default() });
    let server = rpc::ServerAddr {
        datacenter: "dc1".into(),
        id: String::new(),
        name: "silent".to_owned(),
        address: silent.local_addr().unwrap(),
    };
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (pool, server) = (pool.clone(), server.clone());
            tokio::spawn(async move { pool.call(&server, "Test.Echo", text("hi"), DEADLINE).await })
        })
        .collect();
    // Who dials for all of them may lose interest.
    tokio::task::yield_now().await;
    calls[0].abort();
    let begun = std::time::Instant::now();
    for call in calls.into_iter().skip(1) {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error, RpcError::Connect("i/o timeout".to_owned()));
    }
    assert!(begun.elapsed() < 10 * patience, "{:?}", begun.elapsed());
    assert_eq!(pool.connections(), 0);
}

#[tokio::test]
async fn what_is_reloaded_applies_to_connections_to_come() {
    let (before, after) = (Authority::new(), Authority::new());
    let tls = Tls::new(&before.strict(SERVER)).unwrap();
    let options = ServeOptions { tls: Some(tls.clone()), ..ServeOptions::default() };
    let port = Port::start_with(options).await;
    let kept = pool(&before.strict(CLIENT));
    let call = async |pool: &Pool| pool.call(&port.server, "Test.Echo", text("hi"), DEADLINE).await;
    assert!(call(&kept).await.is_ok());

    let broken = TlsSettings { key_file: None, ..after.strict(SERVER) };
    assert!(tls.reload(&broken).is_err());
    assert!(call(&pool(&before.strict(CLIENT))).await.is_ok());
    tls.reload(&after.strict(SERVER)).unwrap();
    assert!(call(&kept).await.is_ok());
    assert!(call(&pool(&before.strict(CLIENT))).await.is_err());
    assert!(call(&pool(&after.strict(CLIENT))).await.is_ok());
}

#[tokio::test]
async fn a_certificate_that_servers_gave_serves_as_well() {
    let authority = Authority::new();
    let port = port(&authority.strict(SERVER)).await;
    let read = |path| std::fs::read_to_string(path).unwrap();
    let (certificate, key) = authority.issue(CLIENT);
    let issued = IssuedCertificate { certificate_pem: read(certificate), key_pem: read(key) };
    let client = TlsSettings {
        ca_pems: vec![read(authority.ca_file())],
        ca_file: None,
        issued: Some(issued),
        verify_server_hostname: true,
        ..authority.settings()
    };
    let outcome = pool(&client).call(&port.server, "Test.Echo", text("hi"), DEADLINE).await;
    assert_eq!(outcome, Ok(text("hi")));
    assert_eq!(format!("{:?}", client.issued), "Some(IssuedCertificate { .. })");
}

#[test]
fn settings_that_cannot_work_are_refused_in_the_words_of_consul() {
    let authority = Authority::new();
    let nobody = TlsSettings {
        datacenter: "dc1".into(),
        domain: "consul.".into(),
        ..TlsSettings::default()
    };
    let pair = authority.settings_of(SERVER);
    for (settings, expected) in [
        (
            TlsSettings { verify_incoming: true, ..nobody.clone() },
            "VerifyIncoming set but no CA certificates were provided",
        ),
        (
            TlsSettings { verify_outgoing: true, ..nobody.clone() },
            "VerifyOutgoing set, and no CA certificate provided!",
        ),
        (
            TlsSettings { verify_server_hostname: true, ..nobody },
            "VerifyOutgoing set, and no CA certificate provided!",
        ),
        (
            TlsSettings { verify_incoming: true, ..authority.settings() },
            "VerifyIncoming requires either a Cert and Key pair in the configuration file, or auto_encrypt/auto_config be enabled",
        ),
        (
            TlsSettings { cert_file: None, ..pair },
            "cert_file and key_file go together: cert_file is missing",
        ),
    ] {
        assert_eq!(Tls::new(&settings).unwrap_err().to_string(), expected);
    }
}
