//! Sockets: accepting, limiting, TLS, and an orderly end.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::HttpService;

/// How long an excess connection may take to be told so.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(100);

/// How long a client may take to send its request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Most bytes of a request head where `http_config.max_header_bytes` is not set.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// No limit is below this: the buffer of a connection is at least as large.
const HEADER_BYTES_MIN: usize = 16 << 10;

/// What Go's server says to plain HTTP where it speaks TLS; programs show this text.
const PLAIN_HTTP_ANSWER: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// How much of a request is read that was answered already, in bytes, so that its sender
/// gets the answer.
const UNREAD_BYTES_MAX: u64 = 64 << 10;

/// A bound socket.
pub enum Listener {
    /// Plain HTTP.
    Tcp(TcpListener),
    /// HTTPS; the configuration may be replaced while it is served.
    Tls(TcpListener, Arc<ArcSwap<rustls::ServerConfig>>),
    /// HTTP over a unix socket; the file is removed at the end.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds a TCP socket.
    pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        TcpListener::from_std(socket.into())
    }
}

/// Limits of a listener.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// `limits.http_max_conns_per_client`; zero for no limit. Shared by all listeners.
    pub connections: Arc<ConnectionLimit>,
    /// `limits.https_handshake_timeout`.
    pub handshake_timeout: Duration,
    /// `http_config.max_header_bytes`; zero for the default of 1 MiB.
    pub header_bytes_max: usize,
}

impl ServeOptions {
    /// What a request head may have; some room is needed for any request at all.
    fn header_bytes_max(&self) -> usize {
        match self.header_bytes_max {
            0 => HEADER_BYTES_MAX,
            bytes => bytes.max(HEADER_BYTES_MIN),
        }
    }
}

/// Counts the connections of each client address.
#[derive(Debug, Default)]
pub struct ConnectionLimit {
    limit: std::sync::atomic::AtomicUsize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl ConnectionLimit {
    /// At most this many connections for each address; zero for no limit.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.into(), open: Mutex::default() }
    }

    /// Changes the limit for connections to come.
    pub fn set(&self, limit: usize) {
        self.limit.store(limit, std::sync::atomic::Ordering::Relaxed);
    }

    /// A place for one more connection, if there is one.
    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let limit = self.limit.load(std::sync::atomic::Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if limit > 0 && *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place { limit: Arc::clone(self), address })
    }
}

/// A counted connection.
struct Place {
    limit: Arc<ConnectionLimit>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.limit.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// Serves a listener until `stop` says so or its sender is gone; then lets running
/// requests finish for at most `grace`.
pub async fn serve(
    listener: Listener,
    service: Arc<HttpService>,
    options: ServeOptions,
    mut stop: watch::Receiver<bool>,
    grace: Duration,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = accept(&listener) => match accepted {
                Ok(accepted) => {
                    let (service, options) = (Arc::clone(&service), options.clone());
                    connections.spawn(converse(accepted, service, options, stop.clone()));
                }
                Err(error) => {
                    // Out of descriptors, most likely: others must end before it gets better.
                    tracing::warn!(target: "agent.http", error = %error, "Cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = stopped(&mut stop) => break,
        }
    }
    if let Listener::Unix(_, path) = &listener {
        // It may have been removed already, which is what is wanted.
        let _ = std::fs::remove_file(path);
    }
    drop(listener);
    let _ = tokio::time::timeout(grace, async { while connections.join_next().await.is_some() {} })
        .await;
    connections.shutdown().await;
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Tls(TcpStream, SocketAddr, TlsAcceptor),
    Unix(tokio::net::UnixStream),
}

async fn accept(listener: &Listener) -> io::Result<Accepted> {
    match listener {
        Listener::Tcp(socket) => {
            socket.accept().await.map(|(stream, remote)| Accepted::Tcp(stream, remote))
        }
        Listener::Tls(socket, config) => {
            let (stream, remote) = socket.accept().await?;
            Ok(Accepted::Tls(stream, remote, TlsAcceptor::from(config.load_full())))
        }
        Listener::Unix(socket, _) => {
            socket.accept().await.map(|(stream, _)| Accepted::Unix(stream))
        }
    }
}

async fn converse(
    accepted: Accepted,
    service: Arc<HttpService>,
    options: ServeOptions,
    stop: watch::Receiver<bool>,
) {
    match accepted {
        Accepted::Unix(stream) => speak_http1(stream, None, service, &options, stop).await,
        Accepted::Tcp(stream, remote) => {
            let Some(_place) = options.connections.enter(remote.ip()) else {
                return refuse(stream).await;
            };
            let _ = stream.set_nodelay(true);
            speak_http1(stream, Some(remote), service, &options, stop).await;
        }
        Accepted::Tls(stream, remote, acceptor) => {
            let Some(_place) = options.connections.enter(remote.ip()) else {
                return refuse(stream).await;
            };
            let _ = stream.set_nodelay(true);
            let handshake =
                tokio::time::timeout(options.handshake_timeout, shake_hands(stream, acceptor));
            match handshake.await {
                Ok(Ok(Some(stream))) => speak_any(stream, remote, service, &options, stop).await,
                Ok(Ok(None)) => {
                    tracing::debug!(target: "agent.http", client = %remote, "Plain HTTP where TLS is spoken");
                }
                Ok(Err(error)) => {
                    tracing::debug!(target: "agent.http", client = %remote, error = %error, "TLS handshake failed");
                }
                Err(_) => {
                    tracing::debug!(target: "agent.http", client = %remote, "TLS handshake timed out");
                }
            }
        }
    }
}

/// The TLS session, or none when the client speaks plain HTTP and was told so.
async fn shake_hands(
    mut stream: TcpStream,
    acceptor: TlsAcceptor,
) -> io::Result<Option<TlsStream<TcpStream>>> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    // The method of a request begins with a letter; no TLS record does.
    if !first[0].is_ascii_uppercase() {
        return acceptor.accept(stream).await.map(Some);
    }
    stream.write_all(PLAIN_HTTP_ANSWER).await?;
    end_after_input(stream).await?;
    Ok(None)
}

/// Closes a connection whose client was answered before its request was read: closing a
/// socket with unread input would take the answer back.
async fn end_after_input(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(UNREAD_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}

/// Completes when the server is to stop, or nobody is left to say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Tells one client too many that it is one too many.
async fn refuse(mut stream: TcpStream) {
    let text = b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let tell = async {
        stream.write_all(text).await?;
        end_after_input(stream).await
    };
    // A client that takes longer has to do without.
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, tell).await;
}

async fn speak_http1<S>(
    stream: S,
    remote: Option<SocketAddr>,
    service: Arc<HttpService>,
    options: &ServeOptions,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).half_close(false);
    builder.max_buf_size(options.header_bytes_max());
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, std::convert::Infallible>(service.handle(request, remote).await) }
    });
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), answer));
    tokio::select! {
        ended = connection.as_mut() => note_end(ended.err().map(|e| e.to_string())),
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            note_end(connection.await.err().map(|e| e.to_string()));
        }
    }
}

async fn speak_any<S>(
    stream: S,
    remote: SocketAddr,
    service: Arc<HttpService>,
    options: &ServeOptions,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let header_bytes_max = options.header_bytes_max();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(header_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(250)
        .max_header_list_size(u32::try_from(header_bytes_max).unwrap_or(u32::MAX));
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, std::convert::Infallible>(service.handle(request, Some(remote)).await) }
    });
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), answer));
    tokio::select! {
        ended = connection.as_mut() => note_end(ended.err().map(|e| e.to_string())),
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            note_end(connection.await.err().map(|e| e.to_string()));
        }
    }
}

/// Clients go away all the time; only somebody who looks for it wants to know.
fn note_end(error: Option<String>) {
    if let Some(error) = error {
        tracing::trace!(target: "agent.http", error, "Connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client reads that sends `text` and then waits for the end.
    async fn answer(text: &'static [u8]) -> (Vec<u8>, io::Result<bool>) {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let names = rustls::server::ResolvesServerCertUsingSni::new();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(names));
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(text).await.unwrap();
            let mut read = Vec::new();
            stream.read_to_end(&mut read).await.unwrap();
            read
        };
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            let shaken = shake_hands(stream, TlsAcceptor::from(Arc::new(config))).await;
            shaken.map(|session| session.is_some())
        };
        tokio::join!(client, server)
    }

    #[tokio::test]
    async fn plain_http_where_tls_is_spoken_is_answered_in_plain_http() {
        for request in [
            b"GET /v1/kv/x HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice(),
            b"PUT /v1/kv/x HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
            b"DELETE /",
        ] {
            let (read, session) = answer(request).await;
            assert_eq!(read, PLAIN_HTTP_ANSWER);
            assert!(matches!(session, Ok(false)));
        }
    }

    #[tokio::test]
    async fn other_noise_is_left_to_tls() {
        let (read, session) = answer(b"\x00\x01\x02\x03\x04\x05\x06\x07").await;
        assert!(!read.starts_with(b"HTTP"));
        assert!(session.is_err());
    }
}
