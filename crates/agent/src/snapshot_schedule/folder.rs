//! A folder of scheduled archives: their names, and which of them stay.
//!
//! Names are `consul-<datacenter>-<time>-<index>.snap`, with the time as
//! `20261121T150405Z`, so that their order is that of time. What is named otherwise is
//! not ours and is never touched.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tempfile::NamedTempFile;

const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// Beginning of the names of files that are being written.
const UNFINISHED: &str = ".consul-unfinished-";

/// The archives of one datacenter in one folder.
pub(super) struct Folder {
    path: PathBuf,
    datacenter: String,
}

impl Folder {
    /// Takes the folder, or makes it, for its owner alone; removes what a crash left.
    pub(super) fn open(path: &Path, datacenter: &str) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { path: path.to_owned(), datacenter: datacenter.to_owned() })
    }

    /// A file to write an archive to, for its owner alone. Dropped before
    /// [`Folder::keep`] it is gone.
    pub(super) fn begin(&self) -> io::Result<NamedTempFile> {
        let owner_only = fs::Permissions::from_mode(0o600);
        let mut builder = tempfile::Builder::new();
        builder.prefix(UNFINISHED).suffix("").permissions(owner_only).tempfile_in(&self.path)
    }

    /// Makes an archive last under its name, and removes the oldest behind `retain`.
    pub(super) fn keep(
        &self,
        archive: NamedTempFile,
        now: Timestamp,
        index: u64,
        retain: usize,
    ) -> io::Result<PathBuf> {
        archive.as_file().sync_all()?;
        let path = self.path.join(self.name(now, index));
        archive.persist(&path).map_err(|error| error.error)?;
        File::open(&self.path)?.sync_all()?;
        let mut archives = self.archives()?;
        archives.sort_unstable();
        let surplus = archives.len().saturating_sub(retain);
        for (_, name) in &archives[..surplus] {
            fs::remove_file(self.path.join(name))?;
        }
        Ok(path)
    }

    /// When the newest archive was saved.
    pub(super) fn newest(&self) -> io::Result<Option<Timestamp>> {
        Ok(self.archives()?.into_iter().map(|(time, _)| time).max())
    }

    fn name(&self, now: Timestamp, index: u64) -> String {
        format!("consul-{}-{}-{index}.snap", self.datacenter, now.strftime(TIME_FORMAT))
    }

    fn archives(&self) -> io::Result<Vec<(Timestamp, String)>> {
        let mut archives = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            if let Some(name) = name.to_str()
                && let Some(time) = self.time_of(name)
            {
                archives.push((time, name.to_owned()));
            }
        }
        Ok(archives)
    }

    fn time_of(&self, name: &str) -> Option<Timestamp> {
        let rest = name.strip_prefix("consul-")?.strip_prefix(&self.datacenter)?;
        let (time, index) = rest.strip_prefix('-')?.strip_suffix(".snap")?.split_once('-')?;
        index.parse::<u64>().ok()?;
        let time = DateTime::strptime(TIME_FORMAT, time).ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("it is a time")
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).expect("it is there");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("it is readable").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_newest_archives_stay_and_nothing_else_is_touched() {
        let temporary = tempfile::tempdir().expect("there is room");
        let path = temporary.path().join("deep/folder");
        fs::create_dir_all(&path).expect("there is room");
        for name in [
            "mine.snap",
            "consul-dc2-20200101T000000Z-5.snap",
            "consul-dc1-yesterday-5.snap",
            ".consul-unfinished-x",
        ] {
            fs::write(path.join(name), "x").expect("there is room");
        }
        let folder = Folder::open(&path, "dc1").expect("it can be used");
        assert_eq!(folder.newest().expect("it is readable"), None);
        for second in [0, 10, 20] {
            let mut archive = folder.begin().expect("there is room");
            archive.write_all(b"archive").expect("there is room");
            folder.keep(archive, at(second), 7 + second as u64, 2).expect("there is room");
        }
        drop(folder.begin().expect("there is room"));
        assert_eq!(
            names(&path),
            [
                "consul-dc1-20270115T080010Z-17.snap",
                "consul-dc1-20270115T080020Z-27.snap",
                "consul-dc1-yesterday-5.snap",
                "consul-dc2-20200101T000000Z-5.snap",
                "mine.snap",
            ]
        );
        assert_eq!(folder.newest().expect("it is readable"), Some(at(20)));
        let kept = path.join("consul-dc1-20270115T080020Z-27.snap");
        let mode = fs::metadata(kept).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
