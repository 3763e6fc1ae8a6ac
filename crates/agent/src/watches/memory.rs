//! What the handlers of watches have seen, beyond the life of the process.
//!
//! One file for each watch in `watches/` of the data directory, named by the hash of the
//! definition. It holds the id of the machine's boot and the hash of the last state whose
//! handler ended well: no state and no token. Files of watches that are no longer defined
//! are removed, so there are never more files than watches.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use client::watch::Fingerprint;

use super::definition::Definition;
use crate::data_dir;

/// The folder of the files.
pub(super) struct Memory {
    folder: PathBuf,
    boot: String,
}

impl Memory {
    pub(super) fn in_data_dir(data_dir: &Path) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { folder: data_dir.join("watches"), boot: boot.trim().to_owned() }
    }

    fn file(&self, definition: &Definition) -> PathBuf {
        self.folder.join(definition.fingerprint.to_string())
    }

    /// The last state of a watch that its handler took in this boot.
    fn recall(&self, file: &Path) -> Option<Fingerprint> {
        let text = fs::read_to_string(file).ok()?;
        let (boot, state) = text.split_once('\n')?;
        if boot == self.boot { Fingerprint::parse(state.trim_end()) } else { None }
    }

    fn note(&self, file: &Path, state: Fingerprint) -> Result<(), String> {
        fs::create_dir_all(&self.folder)
            .map_err(|error| format!("{}: {error}", self.folder.display()))?;
        let text = format!("{}\n{state}\n", self.boot);
        data_dir::write_atomically(file, text.as_bytes()).map_err(|error| error.to_string())
    }

    /// Removes the files of all other watches.
    pub(super) fn keep_only<'a>(&self, definitions: impl Iterator<Item = &'a Definition>) {
        let kept: BTreeSet<PathBuf> = definitions.map(|definition| self.file(definition)).collect();
        // The folder is made with the first file.
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            if kept.contains(&path) || path.extension().is_some() {
                continue;
            }
            if let Err(error) = fs::remove_file(&path) {
                let path = path.display();
                tracing::warn!(target: "agent.watch", file = %path, error = %error, "Cannot remove the memory of a watch");
            }
        }
    }
}

/// The last state that the handler of one watch took.
pub(super) struct Delivered {
    last: Mutex<Option<Fingerprint>>,
    file: Option<(Arc<Memory>, PathBuf)>,
}

impl Delivered {
    pub(super) fn recall(memory: Option<Arc<Memory>>, definition: &Definition) -> Self {
        let file = memory.map(|memory| {
            let path = memory.file(definition);
            (memory, path)
        });
        let last = file.as_ref().and_then(|(memory, path)| memory.recall(path));
        Self { last: Mutex::new(last), file }
    }

    pub(super) fn last(&self) -> Option<Fingerprint> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes it, in the file too. Without room on the disk the watch goes on; its handler then
    /// runs once more after a restart.
    pub(super) async fn set(&self, state: Fingerprint) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
        let Some((memory, path)) = self.file.clone() else { return };
        let noted = tokio::task::spawn_blocking(move || memory.note(&path, state)).await;
        if let Ok(Err(error)) = noted {
            tracing::warn!(target: "agent.watch", error, "Cannot note what a watch delivered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(key: &str) -> Definition {
        Definition::read(&json!({"type": "key", "key": key, "args": ["true"]})).unwrap()
    }

    #[tokio::test]
    async fn what_was_noted_is_known_to_the_next_process_of_the_same_boot() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Arc::new(Memory::in_data_dir(folder.path()));
        let state = Fingerprint::of(b"state");
        let delivered = Delivered::recall(Some(open()), &definition("a"));
        assert_eq!(delivered.last(), None);
        delivered.set(state).await;

        assert_eq!(Delivered::recall(Some(open()), &definition("a")).last(), Some(state));
        assert_eq!(Delivered::recall(Some(open()), &definition("b")).last(), None);
        assert_eq!(Delivered::recall(None, &definition("a")).last(), None);

        let next_boot = Memory { folder: folder.path().join("watches"), boot: "other".into() };
        assert_eq!(Delivered::recall(Some(Arc::new(next_boot)), &definition("a")).last(), None);
    }

    #[tokio::test]
    async fn files_of_watches_that_are_gone_are_removed_and_damaged_ones_say_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Arc::new(Memory::in_data_dir(folder.path()));
        for key in ["a", "b"] {
            let delivered = Delivered::recall(Some(Arc::clone(&memory)), &definition(key));
            delivered.set(Fingerprint::of(b"state")).await;
        }
        memory.keep_only([definition("a")].iter());
        assert!(memory.file(&definition("a")).exists());
        assert!(!memory.file(&definition("b")).exists());

        for damage in ["", "\n", &format!("{}\nxyz\n", memory.boot)] {
            fs::write(memory.file(&definition("a")), damage).unwrap();
            let recalled = Delivered::recall(Some(Arc::clone(&memory)), &definition("a"));
            assert_eq!(recalled.last(), None, "{damage:?}");
        }
    }
}
