//! What goes wrong in a handshake.

use std::io;

use rustls::{AlertDescription, CertificateError, InvalidMessage};
use thiserror::Error;

/// Why there was no handshake, in Go's words where they are known.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// Nobody can have a certificate for this name.
    #[error("tls: invalid server name {0:?}")]
    ServerName(String),
    /// The other side does not prove who it is.
    #[error("tls: failed to verify certificate: x509: {0}")]
    Certificate(String),
    /// What came is not TLS.
    #[error("tls: first record does not look like a TLS handshake")]
    NotTls,
    /// The other side refuses.
    #[error("remote error: tls: {0}")]
    Alert(String),
    /// Anything else.
    #[error("tls: {0}")]
    Other(String),
}

impl Fault {
    /// What TLS says in an error of a connection to `name`; `None` if the error is of
    /// another kind, such as that of a socket.
    pub fn of(error: &io::Error, name: &str) -> Option<Self> {
        let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(match inner {
            rustls::Error::InvalidCertificate(reason) => {
                Self::Certificate(certificate_text(reason, name))
            }
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            rustls::Error::AlertReceived(alert) => Self::Alert(alert_text(*alert)),
            other => Self::Other(other.to_string()),
        })
    }
}

fn certificate_text(reason: &CertificateError, name: &str) -> String {
    match reason {
        // The latter comes from another authority of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".to_owned()
        }
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
fn alert_text(alert: AlertDescription) -> String {
    let mut text = String::new();
    for letter in format!("{alert:?}").chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    fn text(error: rustls::Error) -> String {
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        Fault::of(&error, "other").expect("it is about TLS").to_string()
    }

    #[test]
    fn faults_read_as_go_writes_them() {
        let invalid = |reason| text(rustls::Error::InvalidCertificate(reason));
        assert_eq!(
            invalid(CertificateError::UnknownIssuer),
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        );
        let presented = vec!["DnsName(\"web\")".to_owned(), "IpAddress(127.0.0.1)".to_owned()];
        let expected = ServerName::try_from("other").expect("a name");
        assert_eq!(
            invalid(CertificateError::NotValidForNameContext { expected, presented }),
            "tls: failed to verify certificate: x509: certificate is valid for web, 127.0.0.1, not other"
        );
        assert_eq!(
            text(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)),
            "remote error: tls: certificate required"
        );
        assert_eq!(
            text(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)),
            "tls: first record does not look like a TLS handshake"
        );
    }

    #[test]
    fn what_is_not_about_tls_is_left_to_others() {
        assert_eq!(Fault::of(&io::ErrorKind::UnexpectedEof.into(), "x"), None);
        assert_eq!(Fault::of(&io::Error::other("it broke"), "x"), None);
    }
}
