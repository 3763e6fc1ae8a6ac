//! How soon a server works, and how large its program is.

use std::process::Command;

use super::{Bench, megabytes};
use crate::line::{Cell, Line, Promise, Turn, Unit};
use crate::server::{KINDS, Kind, Setup};

/// From the start of the process until `/v1/status/leader` names the leader (etcd: until it says that it is healthy);
/// the median of some starts. With its default settings, raft_multiplier among them.
pub(super) fn start(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let starts = if bench.arguments.quick { 3 } else { 7 };
    let mut lines = Vec::new();
    for (work, setup, most) in [
        ("start to leader known, -dev", Setup::Dev, 50.0),
        ("start to leader known, -bootstrap-expect=1", Setup::Durable, 300.0),
    ] {
        let mut cells = vec![Cell::Measured(Vec::new()); KINDS.len()];
        for _ in 0..starts {
            for (kind, cell) in KINDS.into_iter().zip(&mut cells) {
                let Cell::Measured(turns) = cell else { continue };
                if kind == Kind::Etcd && setup == Setup::Dev {
                    *cell = Cell::Absent("–".to_owned());
                    continue;
                }
                match bench.start(kind, setup, None) {
                    Ok(server) => turns.push(Turn::of(server.ready_after.as_secs_f64() * 1000.0)),
                    Err(reason) => *cell = Cell::Absent(reason),
                }
            }
        }
        let promise = Promise { at_most: Some(most), ..Promise::default() };
        lines.push(bench.line(work, Unit::Milliseconds, promise, cells));
    }
    Ok(lines)
}

/// The program file, without its symbols.
pub(super) fn size(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let mut cells = Vec::new();
    for kind in KINDS {
        cells.push(match bench.program(kind) {
            Err(reason) => Cell::Absent(reason),
            Ok(program) => {
                let stripped = tempfile::NamedTempFile::new()?;
                let done =
                    Command::new("strip").arg("-o").arg(stripped.path()).arg(&program).status();
                let is_stripped = done.is_ok_and(|status| status.success());
                let measured = if is_stripped { stripped.path() } else { &program };
                let mut turn = Turn::of(megabytes(std::fs::metadata(measured)?.len()));
                if !is_stripped {
                    turn.remark = "as it is: there is no strip here".to_owned();
                }
                Cell::Measured(vec![turn])
            }
        });
    }
    let promise = Promise { at_most: Some(25.0), ..Promise::default() };
    let mut line = bench.line("stripped release binary", Unit::Megabytes, promise, cells);
    if let Some(ours) = &bench.arguments.ours {
        let profile = ours.parent().and_then(std::path::Path::file_name).unwrap_or_default();
        line.note = format!("ours is of the build profile {}", profile.to_string_lossy());
    }
    Ok(vec![line])
}
