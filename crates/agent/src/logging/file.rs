//! The log file and its rotation.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When a file is closed and a new one begun (`reference/telemetry.md` section 3).
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// After this many bytes; zero for never.
    pub bytes: u64,
    /// After this long.
    pub age: Duration,
    /// How many closed files are kept: zero for all, below zero for none.
    pub files_max: i64,
}

/// The active log file.
pub struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    written: u64,
    opened: SystemTime,
}

impl LogFile {
    /// Opens the file for appending. A path that ends in `/` gets the name `consul.log`.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let path = match path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            true => path.join("consul.log"),
            false => path.to_owned(),
        };
        let (file, opened) = open(&path)?;
        Ok(Self { path, rotation, file, written: 0, opened })
    }

    /// Appends one line.
    pub fn write_line(&mut self, line: &str) -> io::Result<()> {
        if self.is_full() {
            // Without a new file the lines go on in the one that there is.
            let rotated = self.rotate();
            (self.written, self.opened) = (0, SystemTime::now());
            if let Err(error) = rotated {
                let _ = writeln!(self.file, "Failed to rotate the log file: {error}");
            }
        }
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        self.file.write_all(&bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn is_full(&self) -> bool {
        let too_long = self.rotation.bytes > 0 && self.written >= self.rotation.bytes;
        too_long || self.opened.elapsed().is_ok_and(|age| age >= self.rotation.age)
    }

    fn rotate(&mut self) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let (base, extension) = self.name_parts();
        let closed = self.folder().join(format!("{base}-{now}{extension}"));
        match std::fs::rename(&self.path, closed) {
            // Somebody moved it away already.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        (self.file, _) = open(&self.path)?;
        self.prune()
    }

    /// Removes closed files beyond the number to keep, oldest first.
    pub fn prune(&self) -> io::Result<()> {
        if self.rotation.files_max == 0 {
            return Ok(());
        }
        let (base, extension) = self.name_parts();
        let prefix = format!("{base}-");
        let mut closed = Vec::new();
        for entry in std::fs::read_dir(self.folder())? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let middle = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(&extension));
            if middle.is_some_and(|m| !m.is_empty() && m.bytes().all(|b| b.is_ascii_digit())) {
                closed.push(name.to_owned());
            }
        }
        closed.sort_unstable();
        let keep = usize::try_from(self.rotation.files_max).unwrap_or(0);
        for name in &closed[..closed.len().saturating_sub(keep)] {
            std::fs::remove_file(self.folder().join(name))?;
        }
        Ok(())
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    fn name_parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let extension = match self.path.extension() {
            Some(extension) => format!(".{}", extension.to_string_lossy()),
            None => ".log".to_owned(),
        };
        (text(self.path.file_stem()), extension)
    }
}

fn open(path: &Path) -> io::Result<(File, SystemTime)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
    let changed = u64::try_from(file.metadata()?.ctime()).unwrap_or(0);
    Ok((file, UNIX_EPOCH + Duration::from_secs(changed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_closed_and_only_the_newest_are_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let rotation = Rotation { bytes: 4, age: Duration::from_secs(86_400), files_max: 2 };
        let path = folder.path().join("agent.log");
        let mut log = LogFile::open(&path, rotation).expect("the folder is writable");
        for line in ["one..", "two..", "three", "four.", "five."] {
            log.write_line(line).expect("the folder is writable");
        }
        let mut names: Vec<String> = std::fs::read_dir(folder.path())
            .expect("the folder exists")
            .map(|entry| entry.expect("it is readable").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(std::fs::read_to_string(&path).expect("it exists"), "five.\n");
        let newest = std::fs::read_to_string(folder.path().join(&names[1])).expect("it exists");
        assert_eq!(newest, "four.\n");
    }

    #[test]
    fn a_file_that_was_moved_or_cannot_be_moved_stops_no_line() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let rotation = Rotation { bytes: 4, age: Duration::from_secs(86_400), files_max: -1 };
        let path = folder.path().join("logs/agent.log");
        std::fs::create_dir(folder.path().join("logs")).expect("it is writable");
        let mut log = LogFile::open(&path, rotation).expect("the folder is writable");
        log.write_line("one..").expect("it is open");
        std::fs::rename(&path, folder.path().join("taken")).expect("it is there");
        log.write_line("two..").expect("a new file is made");
        assert_eq!(std::fs::read_to_string(&path).expect("it exists"), "two..\n");
        // Without the folder there is no new file, and the old one takes the line.
        std::fs::rename(folder.path().join("logs"), folder.path().join("gone")).expect("is there");
        log.write_line("three").expect("the old file is open");
        let lines = std::fs::read_to_string(folder.path().join("gone/agent.log"));
        let lines = lines.expect("it exists");
        assert!(lines.starts_with("two..\nFailed to rotate") && lines.ends_with("three\n"));
    }
}
