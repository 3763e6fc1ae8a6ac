//! Certificates and keys in PEM.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Certificates or keys that cannot be used. No text has anything of a key in it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A file or folder cannot be read.
    #[error("Failed to load {what} {}: {source}", path.display())]
    Unreadable {
        /// What it was to hold.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no certificate in it.
    #[error("{0} holds no PEM certificate")]
    NoCertificate(String),
    /// There is no key in it.
    #[error("{0} holds no PEM private key")]
    NoKey(String),
    /// An authority is not one that can be trusted.
    #[error("a configured authority cannot be used: {0}")]
    Authority(rustls::Error),
}

/// The certificates in a file, at least one.
///
/// # Errors
/// See [`FileError`].
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    certificates_in(&read("certificate", path)?, &path.display().to_string())
}

/// The certificates in a text, at least one. `name` is what an error calls the text.
///
/// # Errors
/// [`FileError::NoCertificate`].
pub fn certificates_in(pem: &[u8], name: &str) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.unwrap_or_default();
    if certificates.is_empty() {
        return Err(FileError::NoCertificate(name.to_owned()));
    }
    Ok(certificates)
}

/// The key in a file.
///
/// # Errors
/// See [`FileError`].
pub fn key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    key_in(&read("key", path)?, &path.display().to_string())
}

/// The key in a text. `name` is what an error calls the text.
///
/// # Errors
/// [`FileError::NoKey`].
pub fn key_in(pem: &[u8], name: &str) -> Result<PrivateKeyDer<'static>, FileError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| FileError::NoKey(name.to_owned()))
}

/// The authorities in a file and in all files of a folder, in the order of their names.
///
/// # Errors
/// See [`FileError`].
pub fn authorities(
    file: Option<&Path>,
    folder: Option<&Path>,
) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let mut paths: Vec<PathBuf> = file.map(Path::to_owned).into_iter().collect();
    if let Some(folder) = folder {
        let unreadable =
            |source| FileError::Unreadable { what: "CA path", path: folder.to_owned(), source };
        let entries = fs::read_dir(folder).map_err(unreadable)?;
        let mut inside: Vec<PathBuf> = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<_>>()
            .map_err(unreadable)?;
        inside.retain(|path| path.is_file());
        inside.sort();
        paths.append(&mut inside);
    }
    let read: Result<Vec<_>, _> = paths.iter().map(|path| certificates(path)).collect();
    Ok(read?.concat())
}

/// Those who are trusted.
///
/// # Errors
/// [`FileError::Authority`].
pub fn roots(
    authorities: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(FileError::Authority)?;
    }
    Ok(roots)
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|source| FileError::Unreadable { what, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn files_and_folders_are_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let all = folder.path().join("all");
        fs::create_dir_all(all.join("deeper")).unwrap();
        let mut made = Vec::new();
        for name in ["b", "a"] {
            let (pem, key_pem) = certificate();
            fs::write(all.join(name), format!("{key_pem}{pem}")).unwrap();
            assert!(key(&all.join(name)).is_ok());
            made.insert(0, certificates(&all.join(name)).unwrap().remove(0));
        }
        assert_eq!(authorities(None, Some(&all)).unwrap(), made);
        let both = authorities(Some(&all.join("b")), Some(&all)).unwrap();
        assert_eq!(both, [&made[1..], &made].concat());
        assert_eq!(authorities(None, None).unwrap(), []);
    }

    #[test]
    fn errors_say_where_the_fault_is_and_show_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pem");
        let shown = path.display().to_string();
        let missing = certificates(&path).unwrap_err().to_string();
        assert!(missing.starts_with(&format!("Failed to load certificate {shown}: ")), "{missing}");
        let (pem, key_pem) = certificate();
        fs::write(&path, &key_pem).unwrap();
        let error = certificates(&path).unwrap_err().to_string();
        assert_eq!(error, format!("{shown} holds no PEM certificate"));
        fs::write(&path, pem).unwrap();
        assert_eq!(
            key(&path).unwrap_err().to_string(),
            format!("{shown} holds no PEM private key")
        );
        let broken = key_pem.replace("\n", "\n!");
        assert_eq!(
            key_in(broken.as_bytes(), "x").unwrap_err().to_string(),
            "x holds no PEM private key"
        );
    }
}
