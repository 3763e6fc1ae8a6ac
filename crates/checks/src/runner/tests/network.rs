//! TCP, TLS and UDP checks.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use tokio::net::UdpSocket;

use super::*;
use crate::runner::tls::{AgentIdentity, Tls};

#[tokio::test]
async fn a_tcp_check_passes_when_the_port_is_open() {
    let address = listen(|_stream| async {}).await;
    let outcome = observe(&format!(r#"{{"TCP":"{address}","Interval":"1s"}}"#)).await;
    assert_eq!(outcome, Outcome::passing(format!("TCP connect {address}: Success")));
    let name = format!("localhost:{}", address.port());
    let outcome = observe(&format!(r#"{{"TCP":"{name}","Interval":"1s"}}"#)).await;
    assert_eq!(outcome, Outcome::passing(format!("TCP connect {name}: Success")));
}

#[tokio::test]
async fn a_tcp_check_tells_why_there_is_no_connection() {
    let address = closed_port().await;
    let outcome = observe(&format!(r#"{{"TCP":"{address}","Interval":"1s"}}"#)).await;
    let expect = format!("dial tcp {address}: connect: connection refused");
    assert_eq!(outcome, Outcome::critical(expect));
    let outcome = observe(r#"{"TCP":"nowhere","Interval":"1s"}"#).await;
    assert_eq!(outcome.output, "dial tcp: address nowhere: missing port in address");
}

/// A server for `web.local` that answers a GET.
async fn tls_server() -> (SocketAddr, CertificateDer<'static>) {
    let (acceptor, certificate) = tls_acceptor(b"http/1.1");
    let address = listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            if read_request(&mut stream).await.starts_with("GET") {
                let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";
                stream.write_all(reply).await.unwrap();
            }
        }
    })
    .await;
    (address, certificate)
}

#[tokio::test]
async fn a_certificate_is_verified_unless_the_check_says_otherwise() {
    let (address, _) = tls_server().await;
    let tcp =
        |more: &str| format!(r#"{{"TCP":"{address}","TCPUseTLS":true,"Interval":"1s"{more}}}"#);
    assert_eq!(
        observe(&tcp("")).await,
        Outcome::critical(
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        )
    );
    assert_eq!(
        observe(&tcp(r#","TLSSkipVerify":true"#)).await,
        Outcome::passing(format!("TCP+TLS connect {address}: Success"))
    );
    let url = format!(r#"{{"HTTP":"https://{address}/","TLSSkipVerify":true,"Interval":"1s"}}"#);
    assert_eq!(
        observe(&url).await,
        Outcome::passing(format!("HTTP GET https://{address}/: 200 OK Output: secret"))
    );
}

#[tokio::test]
async fn the_authorities_and_the_name_of_the_agent_are_used_when_given() {
    let (address, certificate) = tls_server().await;
    let identity = |server_name: &str| AgentIdentity {
        certificate: None,
        authorities: vec![certificate.clone()],
        server_name: server_name.to_owned(),
    };
    let settings = |server_name: &str| Settings {
        tls: ArcSwap::from_pointee(Tls::with_identity(identity(server_name)).unwrap()),
        ..Settings::default()
    };
    let tcp =
        |more: &str| format!(r#"{{"TCP":"{address}","TCPUseTLS":true,"Interval":"1s"{more}}}"#);
    let outcome = observe_with(&settings("web.local"), &tcp("")).await.outcome;
    assert_eq!(outcome.status, Status::Passing, "{outcome:?}");
    let named = tcp(r#","TLSServerName":"web.local""#);
    let outcome = observe_with(&settings("other"), &named).await.outcome;
    assert_eq!(outcome.status, Status::Passing, "{outcome:?}");
    let settings = settings("other");
    let outcome = observe_with(&settings, &tcp("")).await.outcome;
    assert_eq!(
        outcome.output,
        "tls: failed to verify certificate: x509: certificate is valid for web.local, not other"
    );
    // As after a reload.
    settings.tls.store(Arc::new(Tls::with_identity(identity("web.local")).unwrap()));
    let outcome = observe_with(&settings, &tcp("")).await.outcome;
    assert_eq!(outcome.status, Status::Passing, "{outcome:?}");
}

#[tokio::test]
async fn a_server_without_tls_is_recognised() {
    let address = listen(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        // Closing with unread bytes would reset the connection.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let text = format!(r#"{{"TCP":"{address}","TCPUseTLS":true,"Interval":"1s","Timeout":"2s"}}"#);
    assert_eq!(observe(&text).await.output, "tls: first record does not look like a TLS handshake");
}

#[tokio::test]
async fn a_udp_check_passes_on_any_answer_and_fails_on_a_refusal() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (count, peer) = socket.recv_from(&mut [0; 8]).await.unwrap();
        assert_eq!(count, 0);
        socket.send_to(b"pong", peer).await.unwrap();
    });
    let text = format!(r#"{{"UDP":"{address}","Interval":"1s"}}"#);
    let outcome = observe(&text).await;
    assert_eq!(outcome, Outcome::passing(format!("UDP connect {address}: Success")));
    server.await.unwrap();
    let outcome = observe(&text).await;
    assert_eq!(outcome.status, Status::Critical);
    assert!(outcome.output.starts_with("read udp 127.0.0.1:"), "{outcome:?}");
    let end = format!("->{address}: read: connection refused");
    assert!(outcome.output.ends_with(&end), "{outcome:?}");
}
