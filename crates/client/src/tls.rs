//! TLS for connections to the agent: trust, the client's own certificate, and
//! the words of Go for what goes wrong.

use std::fs;
use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage, RootCertStore,
    SignatureScheme,
};
use tokio_rustls::TlsConnector;

use crate::config::TlsConfig;
use crate::error::{Error, TransportError, system_text};

/// Reads the files that `config` names.
pub(crate) fn connector(config: &TlsConfig) -> Result<TlsConnector, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Tls(error.to_string()))?;
    let builder = if config.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(TakeAnyCertificate(provider)))
    } else {
        builder.with_root_certificates(roots(config)?)
    };
    let client = match (config.certificate_file.as_str(), config.key_file.as_str()) {
        ("", "") => builder.with_no_client_auth(),
        ("", _) => {
            return Err(Error::Tls(
                "Error loading x509 key pair: a key is given without its certificate".to_owned(),
            ));
        }
        (_, "") => {
            return Err(Error::Tls(
                "Error loading x509 key pair: a certificate is given without its key".to_owned(),
            ));
        }
        (certificate_file, key_file) => {
            let chain = certificates(certificate_file)?;
            let key = PrivateKeyDer::from_pem_slice(&read(key_file)?)
                .map_err(|error| Error::Tls(format!("{key_file}: {error}")))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| Error::Tls(format!("{certificate_file}: {error}")))?
        }
    };
    Ok(TlsConnector::from(Arc::new(client)))
}

/// The name that the certificate must have.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, TransportError> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| TransportError::Tls(format!("invalid server name {name:?}")))
}

/// Why a handshake failed, as Go's `crypto/tls` and `crypto/x509` say it.
pub(crate) fn handshake_error(error: &io::Error) -> TransportError {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return if error.kind() == io::ErrorKind::UnexpectedEof {
            TransportError::Closed
        } else {
            TransportError::Broken(system_text(error))
        };
    };
    let reason = match tls {
        rustls::Error::InvalidCertificate(reason) => match reason {
            CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "certificate has expired or is not yet valid".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "certificate has expired or is not yet valid".to_owned()
            }
            CertificateError::NotValidForNameContext { expected, presented } => format!(
                "certificate is valid for {}, not {}",
                presented.join(", "),
                expected.to_str()
            ),
            other => other.to_string(),
        },
        rustls::Error::AlertReceived(alert) => {
            return TransportError::Broken(format!("remote error: tls: {alert:?}"));
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            let text = "http: server gave HTTP response to HTTPS client".to_owned();
            return TransportError::Broken(text);
        }
        rustls::Error::InvalidMessage(_) => {
            let text = "first record does not look like a TLS handshake".to_owned();
            return TransportError::Tls(text);
        }
        other => return TransportError::Tls(other.to_string()),
    };
    TransportError::Tls(format!("failed to verify certificate: x509: {reason}"))
}

fn roots(config: &TlsConfig) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    let mut files = Vec::new();
    if !config.ca_file.is_empty() {
        files.push(config.ca_file.clone());
    } else if !config.ca_path.is_empty() {
        let folder_error = |error: io::Error| {
            Error::Tls(format!(
                "Error loading CA path: {}: {}",
                config.ca_path,
                system_text(&error)
            ))
        };
        for entry in fs::read_dir(&config.ca_path).map_err(folder_error)? {
            let path = entry.map_err(folder_error)?.path();
            if path.is_file() {
                files.push(path.to_string_lossy().into_owned());
            }
        }
        files.sort();
    } else {
        // A system certificate that cannot be read is no reason to trust less of the others.
        let system = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(system.certs);
        return Ok(store);
    }
    let complaint = match config.ca_file.as_str() {
        "" => "Error loading file from CAPath",
        _ => "Error loading CA File",
    };
    for file in files {
        let found = certificates(&file);
        for certificate in found.map_err(|error| Error::Tls(format!("{complaint}: {error}")))? {
            store
                .add(certificate)
                .map_err(|error| Error::Tls(format!("{complaint}: {file}: {error}")))?;
        }
    }
    Ok(store)
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file)?).collect();
    let found = found.map_err(|error| Error::Tls(format!("{file}: {error}")))?;
    if found.is_empty() {
        return Err(Error::Tls(format!("Couldn't parse PEM in: {file}")));
    }
    Ok(found)
}

fn read(file: &str) -> Result<Vec<u8>, Error> {
    fs::read(file).map_err(|error| Error::Tls(format!("open {file}: {}", system_text(&error))))
}

/// For `CONSUL_HTTP_SSL_VERIFY=false`: whoever asks for it wants no check of
/// the certificate. Signatures are checked all the same.
#[derive(Debug)]
struct TakeAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for TakeAnyCertificate {
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
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
