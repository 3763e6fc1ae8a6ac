//! TLS of checks: system roots, the agent's own identity if it may be used, and
//! connections that verify nothing when a check asks for that.
//!
//! The roots of the system are read once, when the first check needs them, and
//! the four client configurations (verify or not, HTTP/2 or not) are shared by
//! all checks.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage, RootCertStore,
    SignatureScheme,
};
use thiserror::Error;
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
            .map_err(|_| HandshakeError::ServerName(name.to_owned()))?;
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
            let verifier = Arc::new(NoVerification(provider));
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
        let read = || async { Arc::new(read_system_roots().await) };
        self.system_roots.get_or_init(read).await.clone()
    }
}

/// Files are read on the pool for blocking work. Roots that cannot be read are
/// left out: servers that need them fail verification, which the check tells.
async fn read_system_roots() -> RootCertStore {
    let read = tokio::task::spawn_blocking(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    });
    read.await.unwrap_or_else(|_| RootCertStore::empty())
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
    #[error("tls: invalid server name {0:?}")]
    ServerName(String),
    #[error("tls: failed to verify certificate: x509: {0}")]
    Certificate(String),
    #[error("tls: first record does not look like a TLS handshake")]
    NotTls,
    #[error("remote error: tls: {0}")]
    Alert(String),
    #[error("context deadline exceeded")]
    Timeout,
    #[error("EOF")]
    Closed,
    #[error("{0}")]
    Other(String),
}

impl HandshakeError {
    fn from_io(error: &std::io::Error, name: &str) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(reason)) => {
                Self::Certificate(certificate_text(reason, name))
            }
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Self::NotTls,
            Some(rustls::Error::AlertReceived(alert)) => Self::Alert(alert_text(*alert)),
            Some(other) => Self::Other(format!("tls: {other}")),
            None if error.kind() == std::io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Other(dial::errno_text(error)),
        }
    }
}

fn certificate_text(reason: &CertificateError, name: &str) -> String {
    match reason {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        CertificateError::NotValidForName => format!("certificate is not valid for {name}"),
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            format!("certificate is not valid for any names, but wanted to match {name}")
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            // Presented names come as `DnsName("web")` or `IpAddress(127.0.0.1)`.
            let bare = |text: &String| {
                let inner = text.split_once('(').map_or(text.as_str(), |(_, inner)| inner);
                inner.trim_end_matches(')').trim_matches('"').to_owned()
            };
            let names: Vec<_> = presented.iter().map(bare).collect();
            format!("certificate is valid for {}, not {name}", names.join(", "))
        }
        other => other.to_string(),
    }
}

/// `HandshakeFailure` → `handshake failure`.
fn alert_text(alert: rustls::AlertDescription) -> String {
    let mut text = String::new();
    for letter in format!("{alert:?}").chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// Accepts any certificate, for `tls_skip_verify`. That the server holds the
/// key of the certificate it shows is verified all the same.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
