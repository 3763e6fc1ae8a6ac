//! Snapshots that a server saves by itself: `snapshot_schedule`, a block of ours.

use std::path::PathBuf;

use types::GoDuration;

use super::Build;
use crate::runtime::{SnapshotSchedule, SnapshotTarget};

pub(super) fn snapshot_schedule(build: &mut Build<'_>) -> Result<Option<SnapshotSchedule>, String> {
    let key = |name: &str| format!("snapshot_schedule.{name}");
    let names = ["interval", "directory", "retain", "command", "verify", "stale"];
    if !names.iter().any(|name| build.settings.is_set(&key(name))) {
        return Ok(None);
    }
    let interval = build.duration(&key("interval"));
    if interval < SnapshotSchedule::INTERVAL_MIN {
        let given = match interval {
            GoDuration::ZERO => "is missing".to_owned(),
            given => format!("cannot be {given}"),
        };
        return Err(format!(
            "snapshot_schedule.interval {given}: it says how often the state is saved, at least every second"
        ));
    }
    if !build.server {
        return Err(
            "snapshot_schedule is for servers: this agent is a client and has no state to save"
                .to_owned(),
        );
    }
    let directory = build.settings.text(&key("directory"));
    let command = build.settings.list(&key("command"));
    let target = match (directory.as_str(), command.first()) {
        ("", None) => {
            return Err(
                "snapshot_schedule needs a directory or a command for the snapshots".to_owned()
            );
        }
        ("", Some(program)) if program.is_empty() => {
            return Err("snapshot_schedule.command does not name a program".to_owned());
        }
        ("", Some(_)) => SnapshotTarget::Command(command),
        (_, Some(_)) => {
            return Err("snapshot_schedule can have a directory or a command, not both".to_owned());
        }
        (path, None) => {
            let path = PathBuf::from(path);
            if !path.is_absolute() {
                let shown = path.display();
                return Err(format!(
                    "snapshot_schedule.directory must be a whole path, {shown} is not"
                ));
            }
            let retain = build.settings.int(&key("retain"));
            let retain = usize::try_from(retain).ok().filter(|retain| *retain > 0);
            let retain = retain.ok_or("snapshot_schedule.retain must be at least 1")?;
            SnapshotTarget::Directory { path, retain }
        }
    };
    Ok(Some(SnapshotSchedule {
        interval,
        target,
        verify: build.settings.bool(&key("verify")),
        stale: build.settings.bool(&key("stale")),
    }))
}
