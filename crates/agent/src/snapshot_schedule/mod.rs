//! Snapshots that a server saves by itself (`snapshot_schedule`), into a folder or to a
//! program of the operator's choice. Each is checked before it counts.
//!
//! The leader saves, or every server where the schedule is `stale`. A folder tells when
//! the last one was saved, so that neither a restart nor a new leader saves too early.

mod folder;

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::runtime::{SnapshotSchedule, SnapshotTarget};
use contract::Consistency;
use jiff::{SignedDuration, Timestamp};
use server::Server;
use telemetry::names;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::watch;
use types::{Datacenter, GoDuration};

use self::folder::Folder;

/// How long after a failure the next attempt is made, at most.
const RETRY: Duration = Duration::from_secs(60);

/// How long a program may take for one archive, at least.
const COMMAND_TIMEOUT_MIN: Duration = Duration::from_secs(600);

/// Bytes of a program's complaint that are logged.
const COMPLAINT_BYTES_MAX: u64 = 1024;

/// What became of the schedule so far; shown with the agent's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScheduleStatus {
    /// Archives that were saved since the start, and attempts that failed.
    pub(crate) saved: u64,
    pub(crate) failed: u64,
    /// The last archive: when, and its index.
    pub(crate) last: Option<(Timestamp, u64)>,
    /// Why the last attempt failed, if it did.
    pub(crate) error: Option<String>,
}

impl ScheduleStatus {
    /// As `consul info` shows them.
    pub(crate) fn figures(&self) -> BTreeMap<&'static str, String> {
        let (time, index) = match &self.last {
            Some((time, index)) => (time.to_string(), index.to_string()),
            None => ("never".to_owned(), "0".to_owned()),
        };
        BTreeMap::from([
            ("failed", self.failed.to_string()),
            ("last_error", self.error.clone().unwrap_or_default()),
            ("last_index", index),
            ("last_saved", time),
            ("saved", self.saved.to_string()),
        ])
    }
}

/// A handle to the status.
pub(crate) type SharedStatus = Arc<Mutex<ScheduleStatus>>;

/// Saves when it is time, until `stop`.
pub(crate) async fn run(
    server: Server,
    datacenter: Datacenter,
    mut schedules: watch::Receiver<Option<SnapshotSchedule>>,
    status: SharedStatus,
    mut stop: watch::Receiver<bool>,
) {
    let mut roles = server.raft().watch_leadership();
    loop {
        let schedule = schedules.borrow_and_update().clone();
        let saves = async {
            let Some(schedule) = schedule else { return std::future::pending().await };
            if !schedule.stale && roles.wait_for(|leads| *leads).await.is_err() {
                return std::future::pending().await;
            }
            let (server, datacenter) = (server.clone(), datacenter.clone());
            let job = Job { server, schedule, datacenter, status: Arc::clone(&status) };
            tokio::select! {
                () = job.run() => {}
                // Who does not lead leaves it to the leader.
                _ = roles.wait_for(|leads| !*leads), if !job.schedule.stale => {}
            }
        };
        tokio::select! {
            () = saves => {}
            // A reload may have changed it.
            Ok(()) = schedules.changed() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

struct Job {
    server: Server,
    schedule: SnapshotSchedule,
    datacenter: Datacenter,
    status: SharedStatus,
}

impl Job {
    /// Never ends by itself.
    async fn run(&self) {
        let interval = self.schedule.interval.to_std();
        let mut wait = self.first_wait();
        loop {
            tokio::time::sleep(wait).await;
            wait = match self.save().await {
                Ok((place, index)) => {
                    tracing::info!(target: "agent.snapshot", index, place, "Saved a scheduled snapshot");
                    self.note(|status| {
                        status.saved += 1;
                        status.last = Some((Timestamp::now(), index));
                        status.error = None;
                    });
                    names::SNAPSHOT_SCHEDULE_SAVED.increment([], 1);
                    interval
                }
                Err(error) => {
                    let retry = RETRY.min(interval);
                    let next = GoDuration::from(retry);
                    tracing::error!(target: "agent.snapshot", error, %next, "A scheduled snapshot was not saved");
                    self.note(|status| {
                        status.failed += 1;
                        status.error = Some(error);
                    });
                    names::SNAPSHOT_SCHEDULE_FAILED.increment([], 1);
                    retry
                }
            };
        }
    }

    fn note(&self, change: impl FnOnce(&mut ScheduleStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The interval goes on where the newest archive in the folder says it began.
    fn first_wait(&self) -> Duration {
        let interval = self.schedule.interval.to_std();
        let SnapshotTarget::Directory { path, .. } = &self.schedule.target else {
            return interval;
        };
        let newest = Folder::open(path, self.datacenter.as_str()).and_then(|f| f.newest());
        // What is wrong with the folder is told by the attempt to save.
        let Ok(Some(newest)) = newest else { return Duration::ZERO };
        let age = Timestamp::now().duration_since(newest).max(SignedDuration::ZERO);
        interval.saturating_sub(age.unsigned_abs())
    }

    /// Saves one archive; returns where it is and its index, or what to do about it.
    async fn save(&self) -> Result<(String, u64), String> {
        let consistency = match self.schedule.stale {
            true => Consistency::Stale,
            false => Consistency::Consistent,
        };
        let saved = self.server.save_own_snapshot(consistency).await;
        let saved = saved.map_err(|error| error.text().to_owned())?;
        let index = saved.facts.index.0;
        match &self.schedule.target {
            SnapshotTarget::Directory { path, retain } => {
                let (path, retain, verify) = (path.clone(), *retain, self.schedule.verify);
                let datacenter = self.datacenter.clone();
                let shown = path.display().to_string();
                let kept = blocking(move || {
                    let folder = Folder::open(&path, datacenter.as_str())?;
                    let mut archive = folder.begin()?;
                    saved.write(archive.as_file_mut())?;
                    check(archive.as_file_mut(), verify)?;
                    folder.keep(archive, Timestamp::now(), index, retain)
                });
                let kept = kept.await.map_err(|error| {
                    format!("{error}: see to it that {shown} can be written and has room")
                })?;
                Ok((kept.display().to_string(), index))
            }
            SnapshotTarget::Command(command) => {
                let verify = self.schedule.verify;
                let archive = blocking(move || {
                    let mut archive = tempfile::tempfile()?;
                    saved.write(&mut archive)?;
                    check(&mut archive, verify)?;
                    archive.rewind()?;
                    Ok(archive)
                });
                let archive = archive.await.map_err(|error| {
                    format!("{error}: see to it that the folder for temporary files has room")
                })?;
                self.hand_to(command, archive, index).await?;
                Ok((command[0].clone(), index))
            }
        }
    }

    /// Gives an archive to a program as its input.
    async fn hand_to(
        &self,
        words: &[String],
        archive: std::fs::File,
        index: u64,
    ) -> Result<(), String> {
        let (program, arguments) = words.split_first().expect("a program is named");
        let mut child = Command::new(program)
            .args(arguments)
            .env("CONSUL_SNAPSHOT_INDEX", index.to_string())
            .env("CONSUL_SNAPSHOT_DATACENTER", self.datacenter.as_str())
            .stdin(Stdio::from(archive))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{program} cannot be started: {error}"))?;
        let mut stderr = child.stderr.take().expect("it is piped");
        let mut complaint = Vec::new();
        let run = async {
            (&mut stderr).take(COMPLAINT_BYTES_MAX).read_to_end(&mut complaint).await?;
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
            child.wait().await
        };
        let limit = self.schedule.interval.to_std().max(COMMAND_TIMEOUT_MIN);
        let ended = tokio::time::timeout(limit, run).await;
        let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
        match ended {
            Ok(Ok(code)) if code.success() => Ok(()),
            Ok(Ok(code)) => Err(format!("{program} ended with {code}: {complaint:?}")),
            Ok(Err(error)) => Err(format!("{program}: {error}")),
            Err(_) => {
                let limit = GoDuration::from(limit);
                Err(format!("{program} was ended, it took longer than {limit}: {complaint:?}"))
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err("interrupted".to_owned()),
    }
}

/// Reads an archive that was just written.
fn check(archive: &mut std::fs::File, verify: bool) -> io::Result<()> {
    if !verify {
        return Ok(());
    }
    archive.rewind()?;
    let read = server::check_archive(&mut archive.by_ref());
    read.map_err(|error| io::Error::other(format!("what was written is no snapshot: {error}")))
}
