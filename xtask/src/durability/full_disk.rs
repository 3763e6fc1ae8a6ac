//! A full disk: writes fail and say why, reads go on, and all is well once there is room.
//!
//! The disk is a small file system in memory, which only root can mount.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::item::Stamp;
use super::writer::Entry;
use crate::live::disk::{Disk, fill};
use crate::live::http::Connection;
use crate::live::server::{Running, Site, pause};

/// Room for a few segments and snapshots.
const DISK_BYTES: usize = 48 << 20;

/// Bytes that something else takes, until they are given back.
const BALLAST_BYTES: usize = 20 << 20;

/// Bytes of each value.
const VALUE_BYTES: usize = 64 << 10;

/// More writes than the disk can hold.
const WRITES_MAX: u64 = (DISK_BYTES / VALUE_BYTES) as u64 + 1;

/// How soon writes go again once there is room.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// What the run showed, or why there was none.
#[derive(Debug)]
pub(super) enum Outcome {
    /// This many writes were acknowledged before the disk was full and after.
    Passed { before: u64, after: u64, error: String },
    /// There is no such disk to be had here.
    Skipped(String),
}

/// Fills a disk under a server.
///
/// # Errors
/// What went wrong.
pub(super) fn run(
    consul: &Path,
    folder: &Path,
    random: &mut fastrand::Rng,
) -> anyhow::Result<Outcome> {
    let disk = folder.join("small-disk");
    fs::create_dir(&disk)?;
    let _mounted = match Disk::mount(&disk, DISK_BYTES) {
        Ok(mounted) => mounted,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; BALLAST_BYTES])?;
    let site = Site::new(consul, &disk, folder, random)?;
    let mut server = site.start_and_lead()?;
    let mut keys = Keys::default();
    let error = keys.write_until_full(&server)?;
    ensure!(error.contains("disk") && error.contains("full"), "a full disk makes {error:?}");
    ensure!(server.is_running(), "the server ended when its disk was full");
    let before = keys.acknowledged.len() as u64;
    // What room was too small for the server, or comes free, goes to others.
    let rest = disk.join("rest");
    fill(&rest)?;
    keys.verify(&server).context("reads while the disk is full")?;
    server.kill()?;
    fill(&rest)?;
    let server = site.start_and_lead().context("a start while the disk is full")?;
    keys.verify(&server).context("reads after a start while the disk is full")?;

    fs::remove_file(&rest)?;
    fs::remove_file(&ballast)?;
    keys.write_when_there_is_room(&server)?;
    keys.verify(&server).context("after there was room again")?;
    let after = keys.acknowledged.len() as u64 - before;
    server.kill()?;
    let server = site.start_and_lead()?;
    keys.verify(&server).context("after a full disk and a kill")?;
    server.kill()?;
    Ok(Outcome::Passed { before, after, error })
}

/// The keys that were written, each once.
#[derive(Debug, Default)]
struct Keys {
    count: u64,
    acknowledged: Vec<Stamp>,
}

impl Keys {
    /// Returns the error of the first write that failed.
    fn write_until_full(&mut self, server: &Running) -> anyhow::Result<String> {
        let mut connection = Connection::open(server.address)?;
        for _ in 0..WRITES_MAX {
            if let Err(error) = self.write(&mut connection)? {
                return Ok(error);
            }
        }
        bail!("{WRITES_MAX} writes of {VALUE_BYTES} bytes did not fill {DISK_BYTES} bytes");
    }

    fn write_when_there_is_room(&mut self, server: &Running) -> anyhow::Result<()> {
        let mut connection = Connection::open(server.address)?;
        let until = Instant::now() + RECOVERY_TIMEOUT;
        let mut written = 0;
        while written < 20 {
            match self.write(&mut connection)? {
                Ok(()) => written += 1,
                Err(error) if Instant::now() > until => bail!("there is room, but still: {error}"),
                Err(_) => pause(Duration::from_millis(50)),
            }
        }
        Ok(())
    }

    /// The inner error is what the server said.
    fn write(&mut self, connection: &mut Connection) -> anyhow::Result<Result<(), String>> {
        self.count += 1;
        let stamp = Stamp { writer: 0, number: self.count };
        let target = format!("/v1/kv/full/{stamp}");
        let answer = connection.ask("PUT", &target, value(stamp).as_bytes())?;
        if answer.status == 200 {
            self.acknowledged.push(stamp);
            return Ok(Ok(()));
        }
        ensure!(answer.status == 500, "{target} was answered with {}", answer.status);
        Ok(Err(answer.text()))
    }

    /// Writes that failed may take effect later, so only those that did not are looked for.
    fn verify(&self, server: &Running) -> anyhow::Result<()> {
        let mut connection = Connection::open(server.address)?;
        for stamp in &self.acknowledged {
            let target = format!("/v1/kv/full/{stamp}");
            let answer = connection.ask("GET", &target, b"")?;
            ensure!(answer.status == 200, "{target}: {} {}", answer.status, answer.text());
            let entries: Vec<Entry> = serde_json::from_slice(&answer.body)?;
            let found = entries.first().and_then(Entry::text);
            ensure!(found.as_deref() == Some(&value(*stamp)), "{target} is not as it was written");
        }
        Ok(())
    }
}

fn value(stamp: Stamp) -> String {
    let text = stamp.to_string();
    text.repeat(VALUE_BYTES / text.len())
}
