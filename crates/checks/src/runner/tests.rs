//! The runner against servers on loopback and programs of the system.

mod aliases;
mod http;
mod http2;
mod lifecycle;
mod network;
mod programs;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use types::CheckId;
use types::check::{CheckDefinition, Status};

use super::probe::{Observation, Probe};
use super::{Reporter, Settings};
use crate::status::Outcome;

/// No test waits longer than this; it says that something hangs.
const LIMIT: Duration = Duration::from_secs(20);

async fn within<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(LIMIT, work).await.expect("the test hangs")
}

fn definition(text: &str) -> CheckDefinition {
    serde_json::from_str(text).unwrap()
}

/// One run of the check that `text` defines.
async fn observe_with(settings: &Settings, text: &str) -> Observation {
    let probe = Probe::new(&definition(text), settings).unwrap().unwrap();
    within(probe.run(&"c".into(), settings)).await
}

async fn observe(text: &str) -> Outcome {
    observe_with(&Settings::default(), text).await.outcome
}

/// A listener whose connections are each served by `serve`.
async fn listen<S, F>(serve: S) -> SocketAddr
where
    S: Fn(tokio::net::TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// A TLS server's side with a fresh certificate for `web.local`.
fn tls_acceptor(alpn: &[u8]) -> (TlsAcceptor, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["web.local".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut configuration = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    configuration.alpn_protocols = vec![alpn.to_vec()];
    (TlsAcceptor::from(Arc::new(configuration)), certificate)
}

/// An address on which nothing listens.
async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Reads a request with its body; empty when the client has gone.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        let mut chunk = [0; 1024];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return text,
            Ok(count) => request.extend_from_slice(&chunk[..count]),
        }
    }
}

/// A server that answers each request with what `answer` makes of it.
async fn http_server(answer: impl Fn(&str) -> Vec<u8> + Clone + Send + 'static) -> SocketAddr {
    listen(move |mut stream| {
        let answer = answer.clone();
        async move {
            let request = read_request(&mut stream).await;
            let reply = answer(&request);
            stream.write_all(&reply).await.unwrap();
            stream.shutdown().await.ok();
        }
    })
    .await
}

/// A reporter that a test listens to.
struct Reports(mpsc::Sender<(CheckId, Status, String)>);

impl Reporter for Reports {
    fn update(&self, check: &CheckId, status: Status, output: String) {
        // The test may have seen enough.
        let _ = self.0.try_send((check.clone(), status, output));
    }
}

fn reports() -> (Arc<Reports>, mpsc::Receiver<(CheckId, Status, String)>) {
    let (sender, receiver) = mpsc::channel(1000);
    (Arc::new(Reports(sender)), receiver)
}
