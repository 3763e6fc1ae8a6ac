//! `auto_reload_config`: whether the files that the configuration came from have changed.
//!
//! The files are looked at every [`INTERVAL`] rather than watched by the kernel. A few
//! `stat` calls a second cost nothing that can be measured, and they see every way in which
//! files change: an editor that renames a new file over the old one, Kubernetes, which
//! swaps a symbolic link two folders above, network file systems that tell no events. A
//! change counts when two looks in a row agree on it, so that a burst of writes is one
//! change and a half-written file is none.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::runtime::TlsConfig;
use config::{RuntimeConfig, Sources};
use tokio::time::{Interval, MissedTickBehavior};

/// How long after a change it counts, at least.
const INTERVAL: Duration = Duration::from_secs(1);

/// What tells one content of a file from another without reading it. The time of the last
/// change of the inode cannot be set back by programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The files that there are, with what they are like.
type Stamps = BTreeMap<PathBuf, Stamp>;

/// Where files are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Places {
    /// Files, or folders all files of which count.
    exact: Vec<PathBuf>,
    /// Files, or folders of which those with these endings count; no endings for all.
    configuration: Vec<PathBuf>,
    endings: &'static [&'static str],
}

impl Places {
    fn new(sources: &Sources, tls: &TlsConfig) -> Self {
        let listeners = [&tls.internal_rpc, &tls.https, &tls.grpc];
        let files = listeners.iter().flat_map(|tls| {
            [&tls.ca_file, &tls.ca_path, &tls.cert_file, &tls.key_file].into_iter().flatten()
        });
        Self {
            exact: files.cloned().collect(),
            configuration: sources.config_files.iter().map(PathBuf::from).collect(),
            endings: if sources.config_format.is_empty() { &["hcl", "json"] } else { &[] },
        }
    }

    /// A file that cannot be looked at is one that is not there.
    fn stamps(&self) -> Stamps {
        let mut stamps = Stamps::new();
        for path in &self.exact {
            add(path, &[], &mut stamps);
        }
        for path in &self.configuration {
            add(path, self.endings, &mut stamps);
        }
        stamps
    }
}

fn add(path: &Path, endings: &[&str], stamps: &mut Stamps) {
    // Symbolic links are followed: what they lead to is what is read.
    let Ok(metadata) = fs::metadata(path) else { return };
    if !metadata.is_dir() {
        stamps.insert(path.to_owned(), Stamp::of(&metadata));
        return;
    }
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
        if !endings.is_empty() && !endings.contains(&ending) {
            continue;
        }
        if let Ok(metadata) = fs::metadata(&path).map(|metadata| (metadata.is_file(), metadata))
            && metadata.0
        {
            stamps.insert(path, Stamp::of(&metadata.1));
        }
    }
}

/// Tells changes that have settled from those that are going on.
#[derive(Debug, Default)]
struct Settling {
    /// As of the last change that was told, or of the start.
    known: Stamps,
    /// As of the last look, if that was different.
    seen: Option<Stamps>,
}

impl Settling {
    /// Takes what a look found and gives the files that changed, once they have settled.
    fn look(&mut self, found: Stamps) -> Vec<PathBuf> {
        if found == self.known {
            self.seen = None;
            return Vec::new();
        }
        if self.seen.as_ref() != Some(&found) {
            self.seen = Some(found);
            return Vec::new();
        }
        let differs = |path: &&PathBuf| self.known.get(*path) != found.get(*path);
        let mut changed: Vec<PathBuf> = self.known.keys().filter(differs).cloned().collect();
        changed.extend(found.keys().filter(|path| !self.known.contains_key(*path)).cloned());
        changed.sort();
        (self.known, self.seen) = (found, None);
        changed
    }

    /// Other places are looked at: what is there counts as known, what was known stays so.
    fn follow(&mut self, mut found: Stamps) {
        let kept: Vec<_> =
            found.keys().filter(|path| self.known.contains_key(*path)).cloned().collect();
        for path in kept {
            let stamp = self.known[&path];
            found.insert(path, stamp);
        }
        (self.known, self.seen) = (found, None);
    }
}

/// Looks at the files of a configuration.
pub(crate) struct FileWatch {
    places: Places,
    settling: Settling,
    interval: Interval,
}

impl FileWatch {
    /// Watches the files of a configuration that was just read, if it asks for that.
    pub(crate) fn start(sources: &Sources, config: &RuntimeConfig) -> Option<Self> {
        if !config.switches.auto_reload_config {
            return None;
        }
        let places = Places::new(sources, &config.tls);
        let settling = Settling { known: places.stamps(), seen: None };
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Self { places, settling, interval })
    }

    /// Completes with the files that changed. May be dropped and called again.
    pub(crate) async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            self.interval.tick().await;
            let places = self.places.clone();
            // A file system may take its time.
            let looked = tokio::task::spawn_blocking(move || places.stamps()).await;
            let Ok(found) = looked else { continue };
            let changed = self.settling.look(found);
            if !changed.is_empty() {
                return changed;
            }
        }
    }

    /// Watches the files of a configuration that took the place of the one before.
    pub(crate) fn follow(&mut self, sources: &Sources, config: &RuntimeConfig) {
        let places = Places::new(sources, &config.tls);
        if places != self.places {
            self.places = places;
            self.settling.follow(self.places.stamps());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stamps of files that are numbers: `a=1 b=2`.
    fn stamps(text: &str) -> Stamps {
        let file = |word: &str| {
            let (name, number) = word.split_once('=').unwrap();
            let number = number.parse().unwrap();
            (name.into(), Stamp { device: 0, inode: 0, size: number, changed: (0, 0) })
        };
        text.split_whitespace().map(file).collect()
    }

    #[test]
    fn a_change_counts_once_two_looks_agree() {
        let mut settling = Settling { known: stamps("a=1 b=1"), seen: None };
        for (found, changed) in [
            ("a=1 b=1", ""),
            // A burst: each look finds something else.
            ("a=2 b=1", ""),
            ("a=3 b=1", ""),
            ("a=3 b=2", ""),
            ("a=3 b=2", "a b"),
            ("a=3 b=2", ""),
            // A file that goes and comes back between two looks was never away.
            ("b=2", ""),
            ("a=3 b=2", ""),
            ("a=3 b=2", ""),
            ("b=2 c=1", ""),
            ("b=2 c=1", "a c"),
            ("b=2 c=1", ""),
        ] {
            let told = settling.look(stamps(found));
            let told: Vec<_> = told.iter().map(|path| path.to_str().unwrap()).collect();
            assert_eq!(told.join(" "), changed, "{found}");
        }
    }

    #[test]
    fn new_places_are_no_change_and_changes_of_old_ones_are_not_lost() {
        let mut settling = Settling { known: stamps("a=1 b=1"), seen: None };
        settling.follow(stamps("a=2 c=1"));
        assert!(settling.look(stamps("a=2 c=1")).is_empty());
        assert_eq!(settling.look(stamps("a=2 c=1")), [PathBuf::from("a")]);
    }

    #[test]
    fn every_way_of_changing_a_file_is_seen_and_no_other_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (real, next) = (path("..data-1"), path("..data-2"));
        for (data, text) in [(&real, "one"), (&next, "two")] {
            fs::create_dir(data).unwrap();
            fs::write(data.join("mounted.hcl"), text).unwrap();
        }
        std::os::unix::fs::symlink(&real, path("..data")).unwrap();
        std::os::unix::fs::symlink("..data/mounted.hcl", path("mounted.hcl")).unwrap();
        fs::write(path("agent.json"), "{}").unwrap();
        let places = Places {
            configuration: vec![folder.path().to_owned()],
            endings: &["hcl", "json"],
            ..Places::default()
        };
        let mut before = places.stamps();
        assert_eq!(before.len(), 2);
        let mut is_seen = |what: &str, seen: bool, change: &dyn Fn()| {
            change();
            let after = places.stamps();
            assert_eq!(after != before, seen, "{what}");
            before = after;
        };
        is_seen("written in place, to the same size", true, &|| {
            fs::write(path("agent.json"), "[]").unwrap();
        });
        is_seen("a new file renamed over the old one", true, &|| {
            fs::write(path(".agent.json.swp"), "{ }").unwrap();
            fs::rename(path(".agent.json.swp"), path("agent.json")).unwrap();
        });
        is_seen("a link swapped above the file", true, &|| {
            std::os::unix::fs::symlink(&next, path("..tmp")).unwrap();
            fs::rename(path("..tmp"), path("..data")).unwrap();
        });
        is_seen("a new file", true, &|| fs::write(path("more.hcl"), "").unwrap());
        is_seen("a file less", true, &|| fs::remove_file(path("more.hcl")).unwrap());
        is_seen("a file of another kind", false, &|| fs::write(path("notes.txt"), "x").unwrap());
        is_seen("a folder", false, &|| fs::create_dir(path("sub.hcl")).unwrap());
    }
}
