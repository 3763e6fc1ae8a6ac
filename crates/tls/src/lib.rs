//! What everything that speaks TLS shares.
//!
//! - [`Fault`]: what goes wrong in a handshake, in the words of Go's `crypto/tls` and
//!   `crypto/x509`, which programs and people know.
//! - [`AnyCertificate`]: a verifier that looks at no certificate, for those who ask for it.
//! - [`AnyName`]: one that asks for a trusted authority and for no name.
//! - [`files`], [`suites`]: certificates and keys in PEM, and what is spoken.
//! - [`Validity`]: how long a certificate is valid, and when its end is near.
//! - [`system_roots`]: the authorities that the system trusts.
//!
//! No socket and no runtime: who connects brings those.

mod any_certificate;
mod any_name;
mod fault;
pub mod files;
pub mod suites;
mod validity;

use rustls::RootCertStore;

pub use any_certificate::AnyCertificate;
pub use any_name::AnyName;
pub use fault::Fault;
pub use validity::Validity;

/// The authorities that the system trusts. Reads files. One that cannot be read is no reason
/// to trust less of the others: servers that need it fail verification, which is told there.
pub fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
