//! A small disk: a file system in memory, which only root can mount.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mounted disk, gone when dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts a disk of this size at a folder that is there; or why it cannot be had here.
    pub(crate) fn mount(folder: &Path, bytes: usize) -> Result<Self, String> {
        let size = format!("size={bytes}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "proconsul"])
            .arg(folder)
            .stdin(Stdio::null())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self { folder: folder.to_owned() }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("mount: {error}")),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, so that a server that is about to end does not hold it.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// Lengthens a file until nothing more fits on its disk.
pub(crate) fn fill(path: &Path) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
    loop {
        match file.write_all(&[1; 512]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
