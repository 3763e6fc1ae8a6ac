//! Binding the HTTP sockets, and the TLS that some of them speak.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use checks::AgentIdentity;
use config::RuntimeConfig;
use config::runtime::{ListenAddr, TlsListenerConfig, TlsVersion, UnixSockets};
use http_server::Listener;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tls::files::{self, FileError};
use tls::suites;

/// Why a listener cannot be had. The text is Go's where Consul shows Go's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// The address cannot be bound.
    #[error("listen {network} {address}: bind: {reason}")]
    Bind {
        /// `tcp` or `unix`.
        network: &'static str,
        /// What was to be bound.
        address: String,
        /// What the system said, in Go's words.
        reason: String,
    },
    /// Certificates cannot be used.
    #[error("{0}")]
    Tls(String),
}

/// A bound socket with what is logged about it.
pub(crate) struct BoundHttp {
    pub(crate) listener: Listener,
    pub(crate) address: String,
    pub(crate) network: &'static str,
    pub(crate) protocol: &'static str,
}

/// The TLS configuration of the HTTPS listeners, to be replaced on reload.
pub(crate) type SharedTls = Arc<ArcSwap<rustls::ServerConfig>>;

/// Binds all HTTP and HTTPS listeners of the configuration.
pub(crate) fn bind(
    config: &RuntimeConfig,
) -> Result<(Vec<BoundHttp>, Option<SharedTls>), ListenError> {
    let mut bound = Vec::new();
    for address in &config.listeners.http {
        bound.push(bind_plain(address, &config.listeners.unix_sockets)?);
    }
    if config.listeners.https.is_empty() {
        return Ok((bound, None));
    }
    let tls: SharedTls = Arc::new(ArcSwap::new(server_tls(&config.tls.https)?));
    for address in &config.listeners.https {
        let ListenAddr::Tcp(socket) = address else {
            return Err(ListenError::Tls("HTTPS cannot be served on a unix socket".to_owned()));
        };
        let listener =
            Listener::bind(*socket).map_err(|error| bind_error("tcp", address, &error))?;
        bound.push(BoundHttp {
            listener: Listener::Tls(listener, Arc::clone(&tls)),
            address: address.to_string(),
            network: "tcp",
            protocol: "https",
        });
    }
    Ok((bound, Some(tls)))
}

fn bind_plain(address: &ListenAddr, unix: &UnixSockets) -> Result<BoundHttp, ListenError> {
    let (listener, network) = match address {
        ListenAddr::Tcp(socket) => {
            let listener = Listener::bind(*socket).map_err(|e| bind_error("tcp", address, &e))?;
            (Listener::Tcp(listener), "tcp")
        }
        ListenAddr::Unix(path) => {
            let listener = bind_unix(path, unix).map_err(|e| bind_error("unix", address, &e))?;
            (listener, "unix")
        }
    };
    let address = match address {
        ListenAddr::Tcp(socket) => socket.to_string(),
        ListenAddr::Unix(path) => path.display().to_string(),
    };
    Ok(BoundHttp { listener, address, network, protocol: "http" })
}

/// A socket file that nobody serves any more is replaced.
fn bind_unix(path: &Path, unix: &UnixSockets) -> io::Result<Listener> {
    if path.exists() && std::os::unix::net::UnixStream::connect(path).is_err() {
        tracing::warn!(target: "agent", socket = %path.display(), "Replacing socket");
        fs::remove_file(path)?;
    }
    let listener = tokio::net::UnixListener::bind(path)?;
    if !unix.mode.is_empty() {
        let mode = u32::from_str_radix(&unix.mode, 8).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "unix_sockets.mode is not octal")
        })?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    if !unix.user.is_empty() || !unix.group.is_empty() {
        let (user, group) = (numeric(&unix.user, "user")?, numeric(&unix.group, "group")?);
        std::os::unix::fs::chown(path, user, group)?;
    }
    Ok(Listener::Unix(listener, path.to_owned()))
}

/// A user or group as a number; names are looked up in the system's files.
fn numeric(name: &str, what: &str) -> io::Result<Option<u32>> {
    if name.is_empty() {
        return Ok(None);
    }
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    let file = if what == "user" { "/etc/passwd" } else { "/etc/group" };
    let table = fs::read_to_string(file)?;
    let found = table.lines().find_map(|line| {
        let mut columns = line.split(':');
        (columns.next()? == name).then(|| columns.nth(1)?.parse().ok()).flatten()
    });
    let missing =
        || io::Error::new(io::ErrorKind::NotFound, format!("there is no {what} {name:?}"));
    found.map(Some).ok_or_else(missing)
}

fn bind_error(network: &'static str, address: &ListenAddr, error: &io::Error) -> ListenError {
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => "address already in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    let address = match address {
        ListenAddr::Tcp(socket) => socket.to_string(),
        ListenAddr::Unix(path) => path.display().to_string(),
    };
    ListenError::Bind { network, address, reason }
}

/// The TLS of a listener that clients connect to.
pub(crate) fn server_tls(
    tls: &TlsListenerConfig,
) -> Result<Arc<rustls::ServerConfig>, ListenError> {
    let wrong = |error: &dyn std::fmt::Display| ListenError::Tls(error.to_string());
    let provider = suites::provider(&tls.cipher_suites);
    let versions = suites::versions(tls.min_version == TlsVersion::V1_3);
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| wrong(&error))?;
    let builder = if tls.verify_incoming {
        let roots = Arc::new(files::roots(read_authorities(tls)?).map_err(unusable)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
        builder.with_client_cert_verifier(verifier.map_err(|error| wrong(&error))?)
    } else {
        builder.with_no_client_auth()
    };
    let mut server = match (&tls.cert_file, &tls.key_file) {
        (Some(certificate), Some(key)) => builder
            .with_single_cert(
                files::certificates(certificate).map_err(unusable)?,
                files::key(key).map_err(unusable)?,
            )
            .map_err(|error| wrong(&error))?,
        _ => {
            // As in Consul the port is open and every handshake fails.
            tracing::warn!(
                target: "agent",
                "ports.https is set, but there is no certificate: no client can connect until \
                 tls.https.cert_file and tls.https.key_file (or tls.defaults.*) are set"
            );
            builder.with_cert_resolver(Arc::new(NoCertificate))
        }
    };
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

/// Has no certificate for anybody.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// What checks show and trust with `enable_agent_tls_for_checks`: the certificate of
/// the agent and its authorities. `name` is verified where a check names nobody.
pub(crate) fn check_identity(
    tls: &TlsListenerConfig,
    name: &str,
) -> Result<AgentIdentity, ListenError> {
    let certificate = match (&tls.cert_file, &tls.key_file) {
        (Some(certificate), Some(key)) => Some((
            files::certificates(certificate).map_err(unusable)?,
            files::key(key).map_err(unusable)?,
        )),
        _ => None,
    };
    let authorities = read_authorities(tls)?;
    Ok(AgentIdentity { certificate, authorities, server_name: name.to_owned() })
}

fn read_authorities(tls: &TlsListenerConfig) -> Result<Vec<CertificateDer<'static>>, ListenError> {
    files::authorities(tls.ca_file.as_deref(), tls.ca_path.as_deref()).map_err(unusable)
}

fn unusable(error: FileError) -> ListenError {
    ListenError::Tls(error.to_string())
}
