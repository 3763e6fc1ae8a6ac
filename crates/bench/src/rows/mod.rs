//! The rows of the table, each a function from the programs to its lines.

mod cluster;
mod kv;
mod locks;
mod memory;
mod pool;
mod services;
mod snapshot;
mod start;
mod watches;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::arguments::Arguments;
use crate::cluster::Cluster;
use crate::delay;
use crate::line::{Cell, Line, Promise, Turn, Unit};
use crate::pool::{Gossip, Pool};
use crate::server::{KINDS, Kind, Server, Setup};

/// How a row is measured.
pub(crate) type Measure = fn(&mut Bench) -> anyhow::Result<Vec<Line>>;

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Measures it.
    pub(crate) measure: Measure,
    /// Whether it leaves the shared servers as good as it found them.
    keeps_fleet: bool,
}

/// All rows, in the order of the table.
pub(crate) const ROWS: &[Row] = &[
    Row { name: "kv-put", measure: kv::put, keeps_fleet: true },
    Row { name: "kv-get", measure: kv::get, keeps_fleet: true },
    Row { name: "txn", measure: locks::transactions, keeps_fleet: true },
    Row { name: "locks", measure: locks::locks, keeps_fleet: true },
    Row { name: "sessions", measure: locks::sessions, keeps_fleet: true },
    Row { name: "dns", measure: services::dns, keeps_fleet: true },
    Row { name: "health", measure: services::health, keeps_fleet: true },
    Row { name: "churn", measure: services::churn, keeps_fleet: false },
    Row { name: "kv-put-slow-disk", measure: kv::put_slow_disk, keeps_fleet: false },
    Row { name: "unrelated", measure: watches::unrelated, keeps_fleet: true },
    Row { name: "fan-out", measure: watches::fan_out, keeps_fleet: false },
    Row { name: "idle-watchers", measure: watches::idle, keeps_fleet: false },
    Row { name: "start", measure: start::start, keeps_fleet: false },
    Row { name: "idle-memory", measure: memory::idle, keeps_fleet: false },
    Row { name: "many-keys", measure: memory::many_keys, keeps_fleet: false },
    Row { name: "snapshot", measure: snapshot::save_and_restore, keeps_fleet: false },
    Row { name: "cluster-put", measure: cluster::put, keeps_fleet: false },
    Row { name: "cluster-get", measure: cluster::get, keeps_fleet: false },
    Row { name: "leader-killed", measure: cluster::leader_killed, keeps_fleet: false },
    Row { name: "rolling-restart", measure: cluster::rolling_restart, keeps_fleet: false },
    Row { name: "pool-at-rest", measure: pool::at_rest, keeps_fleet: false },
    Row { name: "pool-join", measure: pool::join, keeps_fleet: false },
    Row { name: "pool-failure", measure: pool::failure, keeps_fleet: false },
    Row { name: "pool-starved", measure: pool::starved, keeps_fleet: false },
    Row { name: "size", measure: start::size, keeps_fleet: false },
];

/// The rows asked for: one, or all.
///
/// # Errors
/// No row has that name; the message lists those there are.
pub(crate) fn chosen(name: Option<&str>) -> anyhow::Result<Vec<&'static Row>> {
    let rows: Vec<&Row> =
        ROWS.iter().filter(|row| name.is_none_or(|name| name == row.name)).collect();
    if rows.is_empty() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        bail!("no such row; there are: {}", names.join(", "));
    }
    Ok(rows)
}

/// The programs, and the servers that rows share.
#[derive(Debug)]
pub(crate) struct Bench {
    /// What was asked for.
    pub(crate) arguments: Arguments,
    /// Open files that a process may have.
    pub(crate) descriptors: usize,
    fleet: Option<Fleet>,
}

/// One server of each kind, as far as there is one.
#[derive(Debug)]
pub(crate) struct Fleet {
    members: Vec<Result<Server, String>>,
}

impl Bench {
    /// Nothing is started yet.
    pub(crate) fn new(arguments: Arguments, descriptors: usize) -> Self {
        Self { arguments, descriptors, fleet: None }
    }

    /// Ends the shared servers if the row has worn them out.
    pub(crate) fn finish_row(&mut self, row: &Row) {
        if !row.keeps_fleet {
            self.fleet = None;
        }
    }

    /// The program of a kind.
    ///
    /// # Errors
    /// There is none: the reason, for the table.
    pub(crate) fn program(&self, kind: Kind) -> Result<PathBuf, String> {
        let path = match kind {
            Kind::Ours => &self.arguments.ours,
            Kind::Consul => &self.arguments.consul,
            Kind::Etcd => &self.arguments.etcd,
        };
        path.clone().ok_or_else(|| "absent".to_owned())
    }

    /// Starts one server.
    ///
    /// # Errors
    /// There is no such program, or it does not start: the reason, for the table.
    pub(crate) fn start(
        &self,
        kind: Kind,
        setup: Setup,
        delay: Option<&Path>,
    ) -> Result<Server, String> {
        let program = self.program(kind)?;
        Server::start(kind, &program, setup, delay).map_err(|error| format!("{error:#}"))
    }

    /// Starts three servers that replicate.
    ///
    /// # Errors
    /// There is no such program, or they do not start: the reason, for the table.
    pub(crate) fn start_three(&self, kind: Kind) -> Result<Cluster, String> {
        let program = self.program(kind)?;
        Cluster::start(kind, &program, 3).map_err(|error| format!("{error:#}"))
    }

    /// Starts agents that gossip.
    ///
    /// # Errors
    /// There is no such program, or they do not find each other: the reason, for the table.
    pub(crate) fn start_pool(&self, kind: Gossip, count: usize) -> Result<Pool, String> {
        let program = match kind {
            Gossip::Ours => self.program(Kind::Ours)?,
            Gossip::Consul => self.program(Kind::Consul)?,
            Gossip::Serf => self.arguments.serf.clone().ok_or_else(|| "absent".to_owned())?,
        };
        Pool::start(kind, &program, count).map_err(|error| format!("{error:#}"))
    }

    /// The durable servers that rows share, started when first asked for.
    pub(crate) fn fleet(&mut self) -> &Fleet {
        if self.fleet.is_none() {
            let members = KINDS.map(|kind| self.start(kind, Setup::Durable, None));
            self.fleet = Some(Fleet { members: members.into() });
        }
        self.fleet.as_ref().expect("it was made above")
    }

    /// Durable servers on a slower disk.
    ///
    /// # Errors
    /// This machine cannot slow a disk down.
    pub(crate) fn slow_fleet(&self) -> anyhow::Result<Fleet> {
        let directory = tempfile::tempdir()?;
        let launcher = delay::build(directory.path())?;
        let members = KINDS.map(|kind| self.start(kind, Setup::Durable, Some(&launcher)));
        Ok(Fleet { members: members.into() })
    }

    /// A line of this run.
    pub(crate) fn line(
        &self,
        work: impl Into<String>,
        unit: Unit,
        promise: Promise,
        cells: Vec<Cell>,
    ) -> Line {
        Line {
            work: work.into(),
            unit,
            promise,
            cells,
            serf: None,
            quick: self.arguments.quick,
            note: String::new(),
        }
    }
}

impl Fleet {
    /// Prepares each server once, then lets each have its turn, again and again. A server that fails says why in its
    /// cell and takes no further turns; a function that answers `None` says that this program has no such thing.
    pub(crate) fn take_turns(
        &self,
        turns: usize,
        prepare: impl Fn(&Server) -> anyhow::Result<()>,
        mut turn: impl FnMut(&Server) -> anyhow::Result<Option<Turn>>,
    ) -> Vec<Cell> {
        let mut cells: Vec<Cell> = Vec::new();
        for member in &self.members {
            cells.push(match member {
                Err(reason) => Cell::Absent(reason.clone()),
                Ok(server) => match prepare(server).context("preparing") {
                    Ok(()) => Cell::Measured(Vec::new()),
                    Err(error) => Cell::Absent(format!("failed: {error:#}")),
                },
            });
        }
        for _ in 0..turns {
            for (member, cell) in self.members.iter().zip(&mut cells) {
                let (Ok(server), Cell::Measured(done)) = (member, &mut *cell) else { continue };
                match turn(server) {
                    Ok(Some(turn)) => done.push(turn),
                    Ok(None) => *cell = Cell::Absent("–".to_owned()),
                    Err(error) => *cell = Cell::Absent(format!("failed: {error:#}")),
                }
            }
        }
        cells
    }
}

/// Bytes as megabytes (10^6).
#[expect(clippy::cast_precision_loss, reason = "memory sizes are far below 2^52")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Bytes that look like no other bytes, from a small generator (xorshift) with this seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_different_names_and_are_found_by_them() {
        let names: std::collections::BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        assert_eq!(chosen(Some("kv-get")).unwrap().len(), 1);
        assert_eq!(chosen(None).unwrap().len(), ROWS.len());
        assert!(chosen(Some("kv")).unwrap_err().to_string().contains("kv-put-slow-disk"));
    }

    #[test]
    fn noise_differs_by_its_seed() {
        assert_eq!(noise(1, 13).len(), 13);
        assert_eq!(noise(1, 13), noise(1, 13));
        assert_ne!(noise(1, 64), noise(2, 64));
    }
}
