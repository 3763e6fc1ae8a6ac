//! An authority for tests, and the files of those whom it vouches for.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rpc::TlsSettings;

pub(crate) struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Authority for tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Writes a certificate for a name and its key.
    pub(crate) fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(vec![name.to_owned(), "localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = ["pem", "key"].map(|end| self.folder.path().join(format!("{name}.{end}")));
        std::fs::write(&paths[0], certificate.pem()).unwrap();
        std::fs::write(&paths[1], key.serialize_pem()).unwrap();
        paths.into()
    }

    /// Settings that trust this authority and verify nothing.
    pub(crate) fn settings(&self) -> TlsSettings {
        TlsSettings {
            ca_file: Some(self.ca_file()),
            datacenter: "dc1".into(),
            domain: "consul.".to_owned(),
            ..TlsSettings::default()
        }
    }

    /// The same with a certificate.
    pub(crate) fn settings_of(&self, name: &str) -> TlsSettings {
        let (certificate, key) = self.issue(name);
        TlsSettings { cert_file: Some(certificate), key_file: Some(key), ..self.settings() }
    }

    /// Settings of an agent that verifies everything.
    pub(crate) fn strict(&self, name: &str) -> TlsSettings {
        TlsSettings {
            verify_incoming: true,
            verify_outgoing: true,
            verify_server_hostname: true,
            ..self.settings_of(name)
        }
    }
}
