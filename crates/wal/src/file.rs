//! The real disk: files below one directory.
//!
//! This is the one module of the crate that uses the operating system. It stands
//! here, and not in the shell, because the promises of [`crate::disk`] and their
//! keeping belong together: files have mode 0600 and directories 0700, a rename
//! lasts once its directory is synced, and errors are told apart where their
//! numbers are known.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskError, DiskErrorKind, DiskFile};

/// Files below a directory of the file system.
#[derive(Clone, Debug)]
pub struct FileDisk {
    root: PathBuf,
}

impl FileDisk {
    /// The disk whose root is `root`; it is made when the first directory is.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory that the disk stands for.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn full_path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn open_with(
        &self,
        operation: &'static str,
        path: &str,
        options: &mut OpenOptions,
    ) -> Result<Box<dyn DiskFile>, DiskError> {
        let full_path = self.full_path(path);
        let file = options
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&full_path)
            .map_err(|error| explain(operation, &full_path, &error))?;
        Ok(Box::new(OpenFile { file, path: full_path }))
    }
}

impl Disk for FileDisk {
    fn create(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        self.open_with("create", path, OpenOptions::new().create(true).truncate(true))
    }

    fn open(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        self.open_with("open", path, &mut OpenOptions::new())
    }

    fn create_dir(&self, path: &str) -> Result<(), DiskError> {
        let full_path = self.full_path(path);
        if full_path.is_dir() {
            return Ok(());
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&full_path)
            .map_err(|error| explain("create directory", &full_path, &error))?;
        // The name of a new directory lasts once the one above is synced; which of
        // those above were new is not known, so all up to the root's parent are.
        let outermost = self.root.parent().unwrap_or(&self.root);
        for above in full_path.ancestors().skip(1) {
            sync_directory(if above.as_os_str().is_empty() { Path::new(".") } else { above })?;
            if above == outermost {
                break;
            }
        }
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<String>, DiskError> {
        let full_path = self.full_path(path);
        let read = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for item in fs::read_dir(&full_path)? {
                // A name that is not text is none of ours.
                names.extend(item?.file_name().into_string());
            }
            names.sort_unstable();
            Ok(names)
        };
        read().map_err(|error| explain("list", &full_path, &error))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let full_path = self.full_path(from);
        fs::rename(&full_path, self.full_path(to))
            .map_err(|error| explain("rename", &full_path, &error))
    }

    fn remove(&self, path: &str) -> Result<(), DiskError> {
        let full_path = self.full_path(path);
        fs::remove_file(&full_path).map_err(|error| explain("remove", &full_path, &error))
    }

    fn remove_dir(&self, path: &str) -> Result<(), DiskError> {
        let full_path = self.full_path(path);
        fs::remove_dir_all(&full_path).map_err(|error| explain("remove", &full_path, &error))
    }

    fn sync_dir(&self, path: &str) -> Result<(), DiskError> {
        sync_directory(&self.full_path(path))
    }
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    path: PathBuf,
}

impl DiskFile for OpenFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        let mut read = 0;
        while read < into.len() {
            match self.file.read_at(&mut into[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(explain("read", &self.path, &error)),
            }
        }
        Ok(read)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_all_at(bytes, offset).map_err(|error| explain("write", &self.path, &error))
    }

    fn sync_data(&mut self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(|error| sync_failed(&self.path, &error))
    }

    fn preallocate(&mut self, len: u64) -> Result<(), DiskError> {
        static ZEROES: [u8; 128 * 1024] = [0; 128 * 1024];
        let mut at = self.size()?;
        while at < len {
            let count = (len - at).min(ZEROES.len() as u64);
            self.write_at(at, &ZEROES[..count as usize])?;
            at += count;
        }
        Ok(())
    }

    fn size(&self) -> Result<u64, DiskError> {
        let metadata = self.file.metadata().map_err(|error| explain("stat", &self.path, &error))?;
        Ok(metadata.len())
    }
}

fn sync_directory(path: &Path) -> Result<(), DiskError> {
    let directory = File::open(path).map_err(|error| explain("open", path, &error))?;
    directory.sync_all().map_err(|error| sync_failed(path, &error))
}

fn sync_failed(path: &Path, error: &io::Error) -> DiskError {
    DiskError { kind: DiskErrorKind::SyncFailed, ..explain("sync", path, error) }
}

fn explain(operation: &'static str, path: &Path, error: &io::Error) -> DiskError {
    use io::ErrorKind::{FileTooLarge, NotFound, QuotaExceeded, StorageFull};
    let kind = match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => DiskErrorKind::Full,
        NotFound => DiskErrorKind::NotFound,
        _ => DiskErrorKind::Other,
    };
    DiskError { kind, operation, path: path.display().to_string(), detail: error.to_string() }
}
