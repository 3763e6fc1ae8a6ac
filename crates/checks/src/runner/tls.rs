//! TLS of checks: system roots, the agent's own identity if it may be used, and
//! connections that verify nothing when a check asks for that.
//!
//! The roots of the system are read once, when the first check needs them, and
//! the four client configurations (verify or not, HTTP/2 or not) are shared by
//! all checks.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tls::{AnyCertificate, Fault};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use types::check::CheckDefinition;

use super::dial;

/// The agent's certificates, which checks use when
/// `enable_agent_tls_for_checks` is true.
pub struct AgentIdentity {
    /// The certificate chain and key that checks show to servers.
    pub certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// The authorities that servers are verified with; empty for the system's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The name to verify where a check gives no `tls_server_name`: the
    /// agent's node or server name; empty for the host of the check.
    pub server_name: String,
}

/// Certificates that cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The certificate and key do not fit or cannot be read.
    #[error("certificate for checks cannot be used: {0}")]
    Certificate(rustls::Error),
    /// An authority is not a certificate.
    #[error("authority for checks cannot be used: {0}")]
    Authority(rustls::Error),
}

/// The TLS settings that all checks share.
#[derive(Default)]
pub struct Tls {
    certificate: Option<Arc<CertifiedKey>>,
    authorities: Option<Arc<RootCertStore>>,
    server_name: String,
    system_roots: OnceCell<Arc<RootCertStore>>,
    configurations: [OnceCell<Arc<ClientConfig>>; 4],
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Tls {
    /// Checks that use the agent's certificates. [`Tls::default`] uses none.
    pub fn with_identity(identity: AgentIdentity) -> Result<Self, TlsError> {
        let certificate = match identity.certificate {
            None => None,
            Some((chain, key)) => {
                let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
                Some(Arc::new(certified.map_err(TlsError::Certificate)?))
            }
        };
        let mut authorities = RootCertStore::empty();
        for authority in identity.authorities {
            authorities.add(authority).map_err(TlsError::Authority)?;
        }
        Ok(Self {
            certificate,
            authorities: (!authorities.is_empty()).then(|| Arc::new(authorities)),
            server_name: identity.server_name,
            ..Self::default()
        })
    }

    /// Does the handshake on `stream`, which leads to `address` (`host:port`).
    pub(super) async fn connect<S>(
        &self,
        stream: S,
        address: &str,
        peer: &Peer,
        deadline: Instant,
    ) -> Result<TlsStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let host = dial::split_host_port(address).map_or(address, |(host, _)| host);
        let names = [&peer.server_name, &self.server_name, host];
        let name = names.into_iter().find(|name| !name.is_empty()).unwrap_or("localhost");
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|_| Fault::ServerName(name.to_owned()))?;
        let connector = TlsConnector::from(self.configuration(peer).await);
        match timeout_at(deadline, connector.connect(server_name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(HandshakeError::from_io(&error, name)),
            Err(_) => Err(HandshakeError::Timeout),
        }
    }

    async fn configuration(&self, peer: &Peer) -> Arc<ClientConfig> {
        let place = usize::from(peer.skip_verify) + 2 * usize::from(peer.http2);
        let make = || async { Arc::new(self.make_configuration(peer).await) };
        self.configurations[place].get_or_init(make).await.clone()
    }

    async fn make_configuration(&self, peer: &Peer) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider of this build knows TLS 1.2 and 1.3");
        let builder = if peer.skip_verify {
            let verifier = Arc::new(AnyCertificate::new(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        } else {
            builder.with_root_certificates(self.roots().await)
        };
        let mut configuration = match &self.certificate {
            Some(certificate) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate.clone()))),
            None => builder.with_no_client_auth(),
        };
        if peer.http2 {
            configuration.alpn_protocols = vec![b"h2".to_vec()];
        }
        configuration
    }

    async fn roots(&self) -> Arc<RootCertStore> {
        if let Some(authorities) = &self.authorities {
            return authorities.clone();
        }
        // Files are read on the pool for blocking work.
        let read = || async {
            let roots = tokio::task::spawn_blocking(tls::system_roots).await;
            Arc::new(roots.unwrap_or_else(|_| RootCertStore::empty()))
        };
        self.system_roots.get_or_init(read).await.clone()
    }
}

/// How a check wants its server to be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// The name to verify and to send; empty for the usual one.
    server_name: String,
    skip_verify: bool,
    http2: bool,
}

impl Peer {
    pub(super) fn new(definition: &CheckDefinition, http2: bool) -> Self {
        Self {
            server_name: definition.tls_server_name.clone(),
            skip_verify: definition.tls_skip_verify,
            http2,
        }
    }

    /// The server is an HTTP proxy, verified by its own name.
    pub(super) fn proxy() -> Self {
        Self { server_name: String::new(), skip_verify: false, http2: false }
    }
}

/// Why there was no handshake, in Go's words where they are known.
#[derive(Debug, Error)]
pub(super) enum HandshakeError {
    #[error(transparent)]
    Tls(#[from] Fault),
    #[error("context deadline exceeded")]
    Timeout,
    #[error("EOF")]
    Closed,
    #[error("{0}")]
    Other(String),
}

impl HandshakeError {
    fn from_io(error: &std::io::Error, name: &str) -> Self {
        match Fault::of(error, name) {
            Some(fault) => Self::Tls(fault),
            None if error.kind() == std::io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Other(dial::errno_text(error)),
        }
    }
}
