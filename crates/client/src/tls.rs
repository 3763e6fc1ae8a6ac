//! TLS for connections to the agent: trust and the client's own certificate.

use std::fs;
use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tls::{AnyCertificate, Fault};
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
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider)))
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
    ServerName::try_from(name.to_owned()).map_err(|_| Fault::ServerName(name.to_owned()).into())
}

/// Why the handshake with whoever should be `name` failed.
pub(crate) fn handshake_error(error: &io::Error, name: &str) -> TransportError {
    match Fault::of(error, name) {
        Some(Fault::NotTls) => {
            TransportError::Broken("http: server gave HTTP response to HTTPS client".to_owned())
        }
        Some(fault) => TransportError::Tls(fault),
        None if error.kind() == io::ErrorKind::UnexpectedEof => TransportError::Closed,
        None => TransportError::Broken(system_text(error)),
    }
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
        return Ok(tls::system_roots());
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
