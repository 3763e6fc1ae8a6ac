//! The files of the data directory that hold what was registered through the API and
//! the states of TTL checks (`reference/config.md` section 10).
//!
//! A change is queued while the state is locked, which fixes the order, and written
//! afterwards by [`Disk::settle`], off the threads of the runtime. A file is written
//! beside its place and then renamed, so that a reader sees all of it or nothing.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use checks::SavedTtl;
use checks::status::definition::Origin;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use types::catalog::NodeService;
use types::check::{CheckDefinition, HealthCheck};
use types::{CheckId, SecretId, ServiceId};

use super::state::{LocalCheck, LocalService};

/// A file longer than this is not one of ours.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// `services/<id>`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceFile {
    token: SecretId,
    service: Option<NodeService>,
    source: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    locally_registered_as_sidecar: bool,
}

impl Default for ServiceFile {
    fn default() -> Self {
        Self {
            token: SecretId::default(),
            service: None,
            source: "remote".to_owned(),
            locally_registered_as_sidecar: false,
        }
    }
}

/// `checks/<id>`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CheckFile {
    check: Option<HealthCheck>,
    chk_type: Json,
    token: SecretId,
    source: String,
}

impl Default for CheckFile {
    fn default() -> Self {
        Self {
            check: None,
            chk_type: Json::Null,
            token: SecretId::default(),
            source: "remote".to_owned(),
        }
    }
}

/// What was found in the data directory.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    /// The services.
    pub(crate) services: Vec<LocalService>,
    /// The checks, with the status that they had when they were registered.
    pub(crate) checks: Vec<LocalCheck>,
    /// The states of TTL checks.
    pub(crate) ttl_states: Vec<SavedTtl>,
}

/// A file to write, or with `None` to remove.
#[derive(Debug)]
pub(crate) struct Change {
    path: PathBuf,
    content: Option<Vec<u8>>,
    what: String,
}

type Outcome = Arc<OnceLock<Result<(), String>>>;

/// A promise that some changes will be written.
#[must_use]
#[derive(Debug)]
pub(crate) struct Ticket(Outcome);

/// The data directory.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    queue: Mutex<VecDeque<(Vec<Change>, Outcome)>>,
    writing: Mutex<()>,
}

impl Disk {
    /// The files under this data directory.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, queue: Mutex::default(), writing: Mutex::default() }
    }

    /// The file of a service that was registered through the API.
    pub(crate) fn save_service(&self, local: &LocalService) -> Change {
        let file = ServiceFile {
            token: local.token.clone(),
            service: Some((*local.service).clone()),
            locally_registered_as_sidecar: local.is_sidecar,
            ..ServiceFile::default()
        };
        let id = local.service.id.as_str();
        self.write("services", id, types::json::encode(&file))
    }

    /// The file of a check that was registered through the API.
    pub(crate) fn save_check(&self, local: &LocalCheck) -> Change {
        let file = CheckFile {
            check: Some((*local.check).clone()),
            chk_type: local.definition.as_deref().map_or(Json::Null, definition_json),
            token: local.token.clone(),
            ..CheckFile::default()
        };
        let id = local.check.check_id.as_str();
        self.write("checks", id, types::json::encode(&file))
    }

    /// The file of a TTL check's state.
    pub(crate) fn save_ttl_state(&self, state: &SavedTtl) -> Change {
        self.write("checks/state", state.check_id.as_str(), types::json::encode(state))
    }

    /// No file of a service.
    pub(crate) fn remove_service(&self, id: &ServiceId) -> Change {
        self.remove("services", id.as_str())
    }

    /// No file of a check.
    pub(crate) fn remove_check(&self, id: &CheckId) -> Change {
        self.remove("checks", id.as_str())
    }

    /// No file of a TTL check's state.
    pub(crate) fn remove_ttl_state(&self, id: &CheckId) -> Change {
        self.remove("checks/state", id.as_str())
    }

    /// Queues changes behind all that were queued before.
    pub(crate) fn enqueue(&self, changes: Vec<Change>) -> Ticket {
        let outcome = Outcome::default();
        if changes.is_empty() {
            let _ = outcome.set(Ok(()));
        } else {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.push_back((changes, outcome.clone()));
        }
        Ticket(outcome)
    }

    /// Waits until the changes of a ticket are written.
    ///
    /// # Errors
    /// A text that names the file and says what went wrong.
    pub(crate) async fn settle(self: &Arc<Self>, ticket: Ticket) -> Result<(), String> {
        if ticket.0.get().is_none() {
            let disk = self.clone();
            // An error is the panic of the writer, which the missing outcome tells.
            let _ = tokio::task::spawn_blocking(move || disk.write_queued()).await;
        }
        ticket.0.get().cloned().unwrap_or_else(|| Err("the files were not written".to_owned()))
    }

    /// Writes everything that is queued, with one sync for all of it. Whoever comes
    /// second finds his changes written when he gets hold of the lock.
    pub(crate) fn write_queued(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let queued =
            std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        if queued.is_empty() {
            return;
        }
        // Of several changes of one file only the last one counts.
        let mut last: BTreeMap<&Path, &Change> = BTreeMap::new();
        for change in queued.iter().flat_map(|(changes, _)| changes) {
            last.insert(&change.path, change);
        }
        let outcome = carry_out(&last);
        for (_, waiting) in &queued {
            let _ = waiting.set(outcome.clone());
        }
    }

    /// Reads all files. What cannot be read is logged and left alone.
    pub(crate) fn load(&self) -> Saved {
        let mut saved = Saved::default();
        for file in self.read_all::<ServiceFile>("services") {
            if let Some(service) = file.service {
                saved.services.push(LocalService {
                    service: Arc::new(service),
                    token: file.token,
                    origin: Origin::Api,
                    is_sidecar: file.locally_registered_as_sidecar,
                });
            }
        }
        for file in self.read_all::<CheckFile>("checks") {
            let Some(check) = file.check else { continue };
            let definition = match file.chk_type {
                Json::Null => None,
                json => match types::json::decode_value(json, types::json::Unknown::Ignore) {
                    Ok(definition) => Some(complete(definition, &check, &file.token)),
                    Err(error) => {
                        let check = &check.check_id;
                        tracing::error!(target: "agent", %check, %error, "Failed decoding check file");
                        continue;
                    }
                },
            };
            saved.checks.push(LocalCheck {
                check: Arc::new(check),
                definition,
                token: file.token,
                origin: Origin::Api,
            });
        }
        saved.ttl_states = self.read_all("checks/state");
        saved
    }

    fn read_all<T: serde::de::DeserializeOwned>(&self, folder: &str) -> Vec<T> {
        let folder = self.root.join(folder);
        let mut paths: Vec<PathBuf> = match fs::read_dir(&folder) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                tracing::error!(target: "agent", folder = %folder.display(), %error, "Failed reading folder");
                return Vec::new();
            }
        };
        paths.sort();
        paths.iter().filter_map(|path| read(path)).collect()
    }

    fn path(&self, folder: &str, id: &str) -> PathBuf {
        self.root.join(folder).join(sha256_hex(id))
    }

    fn write(&self, folder: &str, id: &str, content: Vec<u8>) -> Change {
        let what = format!("{folder} {id:?}");
        Change { path: self.path(folder, id), content: Some(content), what }
    }

    fn remove(&self, folder: &str, id: &str) -> Change {
        let what = format!("{folder} {id:?}");
        Change { path: self.path(folder, id), content: None, what }
    }
}

/// One file; `None` for a folder, for a file that was never finished, and for one
/// that cannot be read.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    let shown = path.display();
    let metadata = fs::metadata(path).ok()?;
    if metadata.is_dir() {
        return None;
    }
    if path.to_string_lossy().ends_with("tmp") {
        tracing::warn!(target: "agent", file = %shown, "Ignoring temporary file");
        return None;
    }
    if metadata.len() > FILE_BYTES_MAX {
        tracing::error!(target: "agent", file = %shown, bytes = metadata.len(), "Ignoring a file that is too large");
        return None;
    }
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) => {
            tracing::error!(target: "agent", file = %shown, %error, "Failed reading file");
            return None;
        }
    };
    match types::json::decode_whole(&content, types::json::Unknown::Ignore) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(target: "agent", file = %shown, %error, "Failed decoding file");
            None
        }
    }
}

/// First all contents beside their files, then one sync, then all the names.
fn carry_out(changes: &BTreeMap<&Path, &Change>) -> Result<(), String> {
    let failed =
        |change: &Change, error: io::Error| format!("failed persisting {}: {error}", change.what);
    let mut written = Vec::new();
    for change in changes.values() {
        if let Some(content) = &change.content {
            let beside = write_beside(&change.path, content);
            written.push(beside.map_err(|error| failed(change, error))?);
        }
    }
    if let [one] = written.as_slice() {
        // Without a sync a crash could leave the new name with nothing behind it.
        one.sync_data().map_err(|error| format!("failed persisting: {error}"))?;
    } else if let Some(any) = written.first() {
        rustix::fs::syncfs(any).map_err(|error| format!("failed persisting: {error}"))?;
    }
    for change in changes.values() {
        let named = match &change.content {
            Some(_) => fs::rename(change.path.with_extension("tmp"), &change.path),
            None => match fs::remove_file(&change.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                result => result,
            },
        };
        named.map_err(|error| failed(change, error))?;
    }
    Ok(())
}

fn write_beside(path: &Path, content: &[u8]) -> io::Result<fs::File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("tmp");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(content)?;
    Ok(file)
}

/// A definition as Consul writes it: durations as numbers of nanoseconds.
fn definition_json(definition: &CheckDefinition) -> Json {
    let Ok(Json::Object(mut object)) = serde_json::to_value(definition) else { return Json::Null };
    let durations = [
        ("Interval", definition.interval),
        ("Timeout", definition.timeout),
        ("TTL", definition.ttl),
        ("DeregisterCriticalServiceAfter", definition.deregister_critical_service_after),
    ];
    for (name, duration) in durations {
        object.insert(name.to_owned(), duration.as_nanos().into());
    }
    // Kept once, beside the definition.
    object.remove("Token");
    Json::Object(object)
}

/// Gives a definition the ids that Consul keeps beside it.
fn complete(
    mut definition: CheckDefinition,
    check: &HealthCheck,
    token: &SecretId,
) -> Arc<CheckDefinition> {
    definition.check_id = check.check_id.clone();
    definition.service_id = check.service_id.clone();
    definition.token = token.clone();
    Arc::new(definition)
}

fn sha256_hex(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
