//! The data directory: what an agent keeps of itself (`reference/config.md` 10).

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::RuntimeConfig;
use serde::{Deserialize, Serialize};
use types::NodeId;

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// A file or folder cannot be read or written.
    #[error("{action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The node id is not one.
    #[error("{0}")]
    NodeId(String),
    /// The server was away for too long.
    #[error(
        "refusing to rejoin cluster because server has been offline for more than the configured \
         server_rejoin_age_max ({0}) - consider wiping your data dir"
    )]
    TooOld(types::GoDuration),
    /// It is that of a server which keeps its log in another format.
    #[error(
        "{} is the log of a Consul server, which this agent cannot read; nothing was changed. To \
         move over: start that Consul again, run 'consul snapshot save backup.snap' there, start \
         this agent with an empty data_dir, and run 'consul snapshot restore backup.snap' here",
        .0.display()
    )]
    ForeignLog(PathBuf),
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { action, path, source }
}

/// Refuses the log of a server of Consul's: what is in it would be missing here, without
/// a word.
pub(crate) fn check_foreign_log(dir: &Path) -> Result<(), DataDirError> {
    let logs = ["raft/raft.db", "raft/wal"].map(|log| dir.join(log));
    match logs.into_iter().find(|log| log.exists()) {
        Some(log) => Err(DataDirError::ForeignLog(log)),
        None => Ok(()),
    }
}

/// Makes the directory if it is not there.
pub(crate) fn create(path: &Path) -> Result<(), DataDirError> {
    fs::create_dir_all(path).map_err(io_error("Failed to create data dir", path))
}

/// The node id: configured, else kept from before, else new and kept.
pub(crate) fn node_id(config: &RuntimeConfig) -> Result<NodeId, DataDirError> {
    let kept = config.data_dir.as_ref().filter(|_| !config.dev).map(|dir| dir.join("node-id"));
    if let Some(id) = &config.identity.node_id {
        let id = config::node_id::from_config(id).map_err(DataDirError::NodeId)?;
        if let Some(path) = &kept {
            write_atomically(path, id.as_str().as_bytes())?;
        }
        return Ok(id);
    }
    if let Some(path) = &kept {
        match fs::read_to_string(path) {
            Ok(text) => {
                return config::node_id::from_file(&path.display().to_string(), text.trim())
                    .map_err(DataDirError::NodeId);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("Failed to read node ID", path)(error)),
        }
    }
    let id = config::node_id::from_bytes(new_id_bytes(config.identity.disable_host_node_id));
    if let Some(path) = &kept {
        write_atomically(path, id.as_str().as_bytes())?;
    }
    Ok(id)
}

/// Random, or derived from the host's identity, which then survives the data directory.
fn new_id_bytes(random: bool) -> [u8; 16] {
    let host =
        (!random).then(|| fs::read_to_string("/sys/class/dmi/id/product_uuid").ok()).flatten();
    if let Some(host) = host {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, host.trim().as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.as_ref()[..16]);
        return bytes;
    }
    fastrand::u128(..).to_be_bytes()
}

#[derive(Serialize, Deserialize)]
struct ServerMetadata {
    last_seen_unix: u64,
}

/// Refuses a server that was away longer than its cluster remembers.
pub(crate) fn check_last_seen(dir: &Path, age_max: types::GoDuration) -> Result<(), DataDirError> {
    let path = dir.join("server_metadata.json");
    let Ok(bytes) = fs::read(&path) else { return Ok(()) };
    let Ok(metadata) = serde_json::from_slice::<ServerMetadata>(&bytes) else {
        tracing::warn!(target: "agent", path = %path.display(), "Ignoring a file that is not server metadata");
        return Ok(());
    };
    let away = unix_now().saturating_sub(metadata.last_seen_unix);
    if Duration::from_secs(away) > age_max.to_std() {
        return Err(DataDirError::TooOld(age_max));
    }
    Ok(())
}

/// Notes that the server is there.
pub(crate) fn note_seen(dir: &Path) -> Result<(), DataDirError> {
    let metadata = ServerMetadata { last_seen_unix: unix_now() };
    let bytes = serde_json::to_vec(&metadata).expect("a number can be written as JSON");
    write_atomically(&dir.join("server_metadata.json"), &bytes)
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Writes a file so that a crash leaves the old content or the new one; mode 0600.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), DataDirError> {
    let temporary = path.with_extension("tmp");
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(io_error("Failed to write", path))
}

/// The file that holds the process id, removed when this is dropped.
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes the process id.
    pub(crate) fn write(path: &Path) -> Result<Self, DataDirError> {
        fs::write(path, std::process::id().to_string())
            .map_err(io_error("Could not write pid file", path))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.0);
    }
}
