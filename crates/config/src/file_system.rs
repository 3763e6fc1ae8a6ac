//! Reading configuration files and folders: the trait that [`crate::load()`]
//! asks, and its real implementation.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

/// Largest configuration file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 32 << 20;

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A file.
    File,
    /// A folder.
    Directory,
    /// A pipe, a device, …: read like a file when it is named directly.
    Other,
}

/// The files that configuration comes from. Symbolic links are followed.
pub trait FileSystem {
    /// What stands at `path`.
    fn kind(&self, path: &str) -> io::Result<FileKind>;
    /// The names in the folder `path`, in any order.
    fn names(&self, path: &str) -> io::Result<Vec<String>>;
    /// The content of the file `path`, of which only [`FILE_BYTES_MAX`] bytes and
    /// one more are wanted.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
}

/// The real file system: the one place of this crate that reads files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl FileSystem for Disk {
    fn kind(&self, path: &str) -> io::Result<FileKind> {
        let metadata = fs::metadata(Path::new(path))?;
        Ok(match metadata.file_type() {
            kind if kind.is_dir() => FileKind::Directory,
            kind if kind.is_file() => FileKind::File,
            _ => FileKind::Other,
        })
    }

    fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
