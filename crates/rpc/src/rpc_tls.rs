//! TLS of the server port and of the way to it: `tls.internal_rpc`
//! (`reference/rpc-wire.md` 1 and 2).
//!
//! One [`Tls`] serves the port and the pool. What is reloaded applies to connections to come.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tls::files::{self, FileError};
use tls::{AnyCertificate, AnyName, suites};
use types::Datacenter;

use crate::protocol::Protocol;

/// What is configured.
#[derive(Clone, Default)]
pub struct TlsSettings {
    /// Authorities, one file.
    pub ca_file: Option<PathBuf>,
    /// Authorities, a folder.
    pub ca_path: Option<PathBuf>,
    /// Authorities that servers told of (auto-encrypt, auto-config), in PEM.
    pub ca_pems: Vec<String>,
    /// Own certificate with its chain.
    pub cert_file: Option<PathBuf>,
    /// Own key.
    pub key_file: Option<PathBuf>,
    /// Certificate and key that servers gave, in PEM. Used where there are no files.
    pub issued: Option<IssuedCertificate>,
    /// Whether connections without a client's certificate are closed.
    pub verify_incoming: bool,
    /// Whether servers are reached over TLS, and must have a certificate of a known authority.
    pub verify_outgoing: bool,
    /// Whether they must be `server.<datacenter>.<domain>`. Implies `verify_outgoing`.
    pub verify_server_hostname: bool,
    /// Whether nothing below TLS 1.3 is spoken; else TLS 1.2 is.
    pub only_tls_1_3: bool,
    /// Suites below 1.3, by name; empty for all.
    pub cipher_suites: Vec<String>,
    /// The agent's datacenter.
    pub datacenter: Datacenter,
    /// `domain`, with or without a dot at its end.
    pub domain: String,
}

/// A certificate that servers gave.
#[derive(Clone)]
pub struct IssuedCertificate {
    /// The certificate with its chain, in PEM.
    pub certificate_pem: String,
    /// Its key, in PEM.
    pub key_pem: String,
}

impl fmt::Debug for IssuedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedCertificate").finish_non_exhaustive()
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nobody could be verified.
    #[error("VerifyIncoming set but no CA certificates were provided")]
    IncomingWithoutAuthority,
    /// Nobody could connect.
    #[error(
        "VerifyIncoming requires either a Cert and Key pair in the configuration file, or \
         auto_encrypt/auto_config be enabled"
    )]
    IncomingWithoutCertificate,
    /// Nobody could be verified.
    #[error("VerifyOutgoing set, and no CA certificate provided!")]
    OutgoingWithoutAuthority,
    /// A certificate without a key, or a key without a certificate.
    #[error("cert_file and key_file go together: {0} is missing")]
    HalfAPair(&'static str),
    /// Files that are none.
    #[error(transparent)]
    File(#[from] FileError),
    /// Certificate and key do not fit, or the like.
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
    /// Authorities that are none.
    #[error("{0}")]
    Authorities(#[from] rustls::client::VerifierBuilderError),
    /// `datacenter` and `domain` do not make a name.
    #[error("{0:?} is no name that a certificate can be for")]
    Name(String),
}

/// TLS of the server port and of the way to it. Cloning gives another handle.
#[derive(Clone)]
pub struct Tls {
    state: Arc<ArcSwap<TlsState>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("domain", &self.state.load().domain).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads all files that the settings name.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(settings: &TlsSettings) -> Result<Self, TlsError> {
        Ok(Self { state: Arc::new(ArcSwap::from_pointee(TlsState::new(settings)?)) })
    }

    /// Takes over other settings, or other contents of the same files, for connections to come.
    ///
    /// # Errors
    /// See [`TlsError`]; then what was stays.
    pub fn reload(&self, settings: &TlsSettings) -> Result<(), TlsError> {
        self.state.store(Arc::new(TlsState::new(settings)?));
        Ok(())
    }

    /// Whether servers are reached over TLS.
    pub fn is_outgoing(&self) -> bool {
        self.state.load().outgoing.is_some()
    }

    pub(crate) fn state(&self) -> Arc<TlsState> {
        self.state.load_full()
    }
}

/// What the settings mean.
pub(crate) struct TlsState {
    domain: String,
    /// Connections without TLS are closed.
    pub(crate) verify_incoming: bool,
    /// Behind byte 3; `None` without a certificate of our own.
    pub(crate) incoming: Option<Arc<ServerConfig>>,
    /// Behind byte 7: a client's certificate is not asked for.
    pub(crate) incoming_insecure: Option<Arc<ServerConfig>>,
    /// Where a connection begins with TLS: a client's certificate is required and the
    /// protocol is negotiated. `None` without a certificate or without authorities.
    pub(crate) incoming_native: Option<Arc<ServerConfig>>,
    /// Whose certificate must be shown for Raft, if anybody's.
    raft_name: Option<ServerName<'static>>,
    /// To servers; `None` for plain connections.
    pub(crate) outgoing: Option<Arc<ClientConfig>>,
    /// To servers behind byte 7.
    pub(crate) outgoing_insecure: Arc<ClientConfig>,
}

impl TlsState {
    fn new(settings: &TlsSettings) -> Result<Self, TlsError> {
        let provider = suites::provider(&settings.cipher_suites);
        let roots = Arc::new(read_roots(settings)?);
        let certificate = read_certificate(settings, &provider)?;
        let verify_outgoing = settings.verify_outgoing || settings.verify_server_hostname;
        if settings.verify_incoming && roots.is_empty() {
            return Err(TlsError::IncomingWithoutAuthority);
        }
        if settings.verify_incoming && certificate.is_none() {
            return Err(TlsError::IncomingWithoutCertificate);
        }
        if verify_outgoing && roots.is_empty() {
            return Err(TlsError::OutgoingWithoutAuthority);
        }
        let domain = settings.domain.trim_end_matches('.').to_owned();
        let raft_name = (settings.verify_incoming && settings.verify_server_hostname)
            .then(|| server_name(&settings.datacenter, &domain))
            .transpose()?;
        let builder = Builder { settings, provider, roots, certificate };
        Ok(Self {
            verify_incoming: settings.verify_incoming,
            incoming: builder.incoming(settings.verify_incoming, &[])?,
            incoming_insecure: builder.incoming(false, &[])?,
            incoming_native: match builder.roots.is_empty() {
                true => None,
                false => builder.incoming(true, &NATIVE)?,
            },
            raft_name,
            outgoing: if verify_outgoing { Some(builder.outgoing(true)?) } else { None },
            outgoing_insecure: builder.outgoing(false)?,
            domain,
        })
    }

    /// The name of the servers of a datacenter.
    pub(crate) fn server_name(
        &self,
        datacenter: &Datacenter,
    ) -> Result<ServerName<'static>, TlsError> {
        server_name(datacenter, &self.domain)
    }

    /// Whether somebody with these certificates may speak Raft.
    pub(crate) fn may_speak_raft(&self, certificates: Option<&[CertificateDer<'_>]>) -> bool {
        let Some(name) = &self.raft_name else { return true };
        let Some(certificate) = certificates.and_then(<[_]>::first) else { return false };
        ParsedCertificate::try_from(certificate)
            .and_then(|certificate| rustls::client::verify_server_name(&certificate, name))
            .is_ok()
    }
}

/// What may be spoken where a connection begins with TLS.
const NATIVE: [Protocol; 5] =
    [Protocol::Consul, Protocol::Raft, Protocol::MultiplexV2, Protocol::Snapshot, Protocol::Grpc];

fn server_name(datacenter: &Datacenter, domain: &str) -> Result<ServerName<'static>, TlsError> {
    let name = format!("server.{}.{domain}", datacenter.as_str());
    ServerName::try_from(name.clone()).map_err(|_| TlsError::Name(name))
}

fn read_roots(settings: &TlsSettings) -> Result<RootCertStore, TlsError> {
    let mut authorities =
        files::authorities(settings.ca_file.as_deref(), settings.ca_path.as_deref())?;
    for pem in &settings.ca_pems {
        authorities.extend(files::certificates_in(pem.as_bytes(), "an authority of the servers")?);
    }
    Ok(files::roots(authorities)?)
}

fn read_certificate(
    settings: &TlsSettings,
    provider: &CryptoProvider,
) -> Result<Option<Arc<CertifiedKey>>, TlsError> {
    let (chain, key) = match (&settings.cert_file, &settings.key_file, &settings.issued) {
        (Some(certificate), Some(key), _) => (files::certificates(certificate)?, files::key(key)?),
        (Some(_), None, _) => return Err(TlsError::HalfAPair("key_file")),
        (None, Some(_), _) => return Err(TlsError::HalfAPair("cert_file")),
        (None, None, None) => return Ok(None),
        (None, None, Some(issued)) => {
            let name = "the certificate that the servers gave";
            let chain = files::certificates_in(issued.certificate_pem.as_bytes(), name)?;
            (chain, files::key_in(issued.key_pem.as_bytes(), name)?)
        }
    };
    Ok(Some(Arc::new(CertifiedKey::from_der(chain, key, provider)?)))
}

struct Builder<'a> {
    settings: &'a TlsSettings,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    certificate: Option<Arc<CertifiedKey>>,
}

impl Builder<'_> {
    fn incoming(
        &self,
        verify: bool,
        protocols: &[Protocol],
    ) -> Result<Option<Arc<ServerConfig>>, TlsError> {
        let Some(certificate) = &self.certificate else { return Ok(None) };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(suites::versions(self.settings.only_tls_1_3))?;
        let builder = if verify {
            let (roots, provider) = (Arc::clone(&self.roots), Arc::clone(&self.provider));
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build()?)
        } else {
            builder.with_no_client_auth()
        };
        let resolver = SingleCertAndKey::from(Arc::clone(certificate));
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        let names = protocols.iter().filter_map(|protocol| protocol.alpn());
        config.alpn_protocols = names.map(|name| name.as_bytes().to_vec()).collect();
        Ok(Some(Arc::new(config)))
    }

    /// `secure` is what `verify_outgoing` asks for. Behind byte 7 authorities are verified
    /// too where they are asked for, and our certificate is not shown.
    fn outgoing(&self, secure: bool) -> Result<Arc<ClientConfig>, TlsError> {
        let settings = self.settings;
        let provider = Arc::clone(&self.provider);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(suites::versions(settings.only_tls_1_3))?;
        let builder = if settings.verify_server_hostname {
            let roots = Arc::clone(&self.roots);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build()?;
            builder.with_webpki_verifier(verifier)
        } else if settings.verify_outgoing {
            let roots = RootCertStore::clone(&self.roots);
            let verifier = Arc::new(AnyName::new(provider, roots));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        } else {
            let verifier = Arc::new(AnyCertificate::new(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        };
        let mut config = match self.certificate.as_ref().filter(|_| secure) {
            Some(certificate) => builder.with_client_cert_resolver(Arc::new(
                SingleCertAndKey::from(Arc::clone(certificate)),
            )),
            None => builder.with_no_client_auth(),
        };
        // A name that nobody verifies is not sent, as by Go.
        config.enable_sni = settings.verify_server_hostname;
        Ok(Arc::new(config))
    }
}
