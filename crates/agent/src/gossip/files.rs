//! What a pool keeps on disk: who was there and how far the clocks were, and its keys
//! (`reference/gossip-wire.md` section 13). The machine knows what is in these files; they are
//! read and written here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use gossip::serf::{
    KEYRING_FILE_BYTES_MAX, KeyringFile, Level, Snapshot, SnapshotWrite, read_keyring_file,
    write_keyring_file,
};
use gossip::wire::{Key, Keyring};

use super::error::StartError;
use super::options::PoolOptions;
use super::telemetry::Telemetry;

/// The largest snapshot that is read: that of a pool much larger than any.
const SNAPSHOT_BYTES_MAX: u64 = 64 << 20;

/// Only the owner may read keys.
const SECRET_MODE: u32 = 0o600;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) snapshot: Option<Snapshot>,
    pub(super) keyring: Option<Keyring>,
    /// Whether changes of the keys are written.
    pub(super) persists_keyring: bool,
}

/// The files of one pool.
#[derive(Debug)]
pub(super) struct Files {
    snapshot: PathBuf,
    keyring: PathBuf,
    /// Open for appending.
    appended: File,
}

impl Files {
    /// Opens the files and reads them; none if nothing is kept.
    pub(super) fn open(
        options: &PoolOptions,
        telemetry: &Telemetry,
    ) -> Result<(Option<Self>, Kept), StartError> {
        let configured = match &options.encrypt {
            Some(encrypt) => Some(Key::from_base64(encrypt.as_str())?),
            None => None,
        };
        let Some(folder) = &options.folder else {
            let keyring = configured.map(Keyring::new);
            return Ok((None, Kept { keyring, ..Kept::default() }));
        };
        fs::create_dir_all(folder).map_err(failed("cannot create", folder))?;
        let stem = options.kind.file_stem();
        let snapshot_path = folder.join(format!("{stem}.snapshot"));
        let keyring_path = folder.join(format!("{stem}.keyring"));

        let file = read_bounded(&snapshot_path, SNAPSHOT_BYTES_MAX)?.unwrap_or_default();
        let (snapshot, unread) = Snapshot::read(&file, options.rejoin_after_leave);
        for line in &unread.lines {
            telemetry.log(Level::Warn, &format!("Unrecognized snapshot line: {line}"));
        }
        if unread.count > unread.lines.len() {
            let more = unread.count - unread.lines.len();
            telemetry.log(Level::Warn, &format!("{more} more unrecognized snapshot lines"));
        }
        let keyring = match options.keyring_file {
            false => configured.map(Keyring::new),
            true => keys(&keyring_path, configured, telemetry)?,
        };
        let files = Self {
            appended: open_appended(&snapshot_path)
                .map_err(failed("cannot open", &snapshot_path))?,
            snapshot: snapshot_path,
            keyring: keyring_path,
        };
        let kept =
            Kept { snapshot: Some(snapshot), keyring, persists_keyring: options.keyring_file };
        Ok((Some(files), kept))
    }

    /// Writes to the snapshot.
    pub(super) fn write_snapshot(&mut self, write: &SnapshotWrite) -> io::Result<()> {
        match write {
            SnapshotWrite::Append(lines) => self.appended.write_all(lines.as_bytes()),
            SnapshotWrite::AppendAndSync(lines) => {
                self.appended.write_all(lines.as_bytes())?;
                self.appended.sync_data()
            }
            SnapshotWrite::Replace(file) => {
                let beside = self.snapshot.with_extension("snapshot.compact");
                replace(&self.snapshot, &beside, file, 0o644)?;
                self.appended = open_appended(&self.snapshot)?;
                Ok(())
            }
        }
    }

    /// Writes the keys.
    pub(super) fn write_keyring(&self, file: &KeyringFile) -> io::Result<()> {
        write_keys(&self.keyring, &file.0)
    }
}

/// The keys of a pool: those in the file, else the configured one, which is then put there.
fn keys(
    path: &Path,
    configured: Option<Key>,
    telemetry: &Telemetry,
) -> Result<Option<Keyring>, StartError> {
    let limit = KEYRING_FILE_BYTES_MAX as u64;
    if let Some(file) = read_bounded(path, limit)? {
        let unreadable = |source| StartError::Keyring { path: path.to_owned(), source };
        let keyring = read_keyring_file(&file).map_err(unreadable)?;
        if configured.is_some_and(|key| key != *keyring.primary()) {
            let text = format!(
                "The key of encrypt is not the primary one of {}, which wins",
                path.display()
            );
            telemetry.log(Level::Warn, &text);
        }
        return Ok(Some(keyring));
    }
    let Some(key) = configured else { return Ok(None) };
    let keyring = Keyring::new(key);
    write_keys(path, &write_keyring_file(&keyring)).map_err(failed("cannot write", path))?;
    Ok(Some(keyring))
}

fn write_keys(path: &Path, text: &str) -> io::Result<()> {
    replace(path, &path.with_extension("keyring.new"), text, SECRET_MODE)
}

/// Puts a file in the place of another one in one step, so that one of the two is there whole
/// whatever happens.
fn replace(path: &Path, beside: &Path, text: &str, mode: u32) -> io::Result<()> {
    // One of an earlier try may be readable by others.
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(beside, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn open_appended(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o644).open(path)
}

/// A file, or nothing if it is not there.
fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StartError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("cannot open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed("cannot read", path))?;
    let size = bytes.len() as u64;
    if size > limit {
        return Err(StartError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(Some(bytes))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StartError {
    let path = path.to_owned();
    move |source| StartError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use types::SecretId;

    use super::super::options::PoolKind;
    use super::*;

    const KEY: &str = "pUqJrVyVRj5jsiYEkM/tFQ==";
    const OTHER_KEY: &str = "HvY8ubRZMgafUOWvrOadwA==";

    fn options(folder: &Path, key: &str) -> PoolOptions {
        let bind = "127.0.0.1:0".parse().unwrap();
        let mut options = PoolOptions::new(PoolKind::Wan, "a", bind, 1);
        options.folder = Some(folder.join("serf"));
        options.encrypt = Some(key).filter(|key| !key.is_empty()).map(SecretId::from);
        options
    }

    fn open(options: &PoolOptions) -> Result<(Option<Files>, Kept), StartError> {
        Files::open(options, &Telemetry::new(options.kind, false))
    }

    #[test]
    fn lines_are_appended_and_a_replaced_file_is_appended_to_again() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), "");
        let (files, _) = open(&options).unwrap();
        let mut files = files.expect("there is a folder");
        let path = folder.path().join("serf/remote.snapshot");
        let mut write = |write: SnapshotWrite| {
            files.write_snapshot(&write).unwrap();
            fs::read_to_string(&path).unwrap()
        };
        assert_eq!(write(SnapshotWrite::Append("clock: 1\n".into())), "clock: 1\n");
        let replaced = write(SnapshotWrite::Replace("alive: a 10.0.0.1:1\n".into()));
        assert_eq!(replaced, "alive: a 10.0.0.1:1\n");
        let appended = write(SnapshotWrite::AppendAndSync("clock: 3\n".into()));
        assert_eq!(appended, "alive: a 10.0.0.1:1\nclock: 3\n");
        let (_, kept) = open(&options).unwrap();
        let snapshot = kept.snapshot.expect("there is a file");
        assert_eq!(snapshot.alive().count(), 1);
        assert_eq!(snapshot.clocks()[0].0, 3);
    }

    #[test]
    fn the_keyring_is_for_its_owner_alone_and_wins_over_the_option() {
        let folder = tempfile::tempdir().unwrap();
        let (files, kept) = open(&options(folder.path(), KEY)).unwrap();
        assert!(kept.persists_keyring);
        let path = folder.path().join("serf/remote.keyring");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let text = format!("[\n  \"{OTHER_KEY}\",\n  \"{KEY}\"\n]");
        files.expect("there is a folder").write_keyring(&KeyringFile(text)).unwrap();
        assert_eq!(mode(), 0o600);
        for encrypt in [KEY, ""] {
            let (_, kept) = open(&options(folder.path(), encrypt)).unwrap();
            let keyring = kept.keyring.expect("there are keys");
            assert_eq!(keyring.primary().expose_base64(), OTHER_KEY, "{encrypt:?}");
            assert_eq!(keyring.keys().len(), 2);
        }
        // Kept in memory only, the file does not count.
        let mut in_memory = options(folder.path(), KEY);
        in_memory.keyring_file = false;
        let (_, kept) = open(&in_memory).unwrap();
        assert_eq!(kept.keyring.map(|keyring| keyring.keys().len()), Some(1));
        assert!(!kept.persists_keyring);
    }

    #[test]
    fn what_cannot_be_read_stops_the_start_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serf/remote.keyring");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "[\"not a key\"]").unwrap();
        let error = open(&options(folder.path(), KEY)).unwrap_err();
        let expected = format!(
            "the gossip keyring {} cannot be read: key 1 of it: the key is not standard base64 text",
            path.display()
        );
        assert_eq!(error.to_string(), expected);
        assert_eq!(fs::read_to_string(&path).unwrap(), "[\"not a key\"]");
        let error = open(&options(folder.path(), "short")).unwrap_err();
        assert_eq!(error.to_string(), "encrypt: the key is not standard base64 text");
    }
}
