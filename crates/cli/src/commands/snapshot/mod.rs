//! `consul snapshot` (`reference/cli.md` section 18).

pub(super) mod decode;
pub(super) mod inspect;
mod progress;
pub(super) mod restore;
pub(super) mod save;

use std::fs::File;
use std::io::{BufReader, Read as _, Write};
use std::path::Path;

use snapshot::archive::{self, ArchiveError};
use snapshot::{Meta, Record, RecordError, Splitter};

use crate::ApiFlags;
use crate::command::{Call, Command, Run, no_flags};
use crate::failure::{Failure, at_most};

pub(super) const GROUP: Command = Command {
    words: "snapshot",
    synopsis: "Save and restore the state of the servers",
    usage: "snapshot <subcommand> [options] [args]",
    help: "Saves, looks into and restores the state of the servers: keys, sessions, the\n\
           catalog, tokens and all else that they replicate.\n\n\
           \x20   $ consul snapshot save backup.snap\n\
           \x20   $ consul snapshot inspect backup.snap\n\
           \x20   $ consul snapshot restore backup.snap\n\n\
           An agent saves by itself and on time with the option snapshot_schedule.",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Group,
};

/// Most bytes of a `meta.json` beside a `state.bin`.
const META_BYTES_MAX: u64 = 1 << 20;

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// The one argument.
fn file_argument(call: &Call) -> Result<String, Failure> {
    at_most(&call.arguments.words, 1)?;
    let file = call.arguments.words.first().filter(|file| !file.is_empty());
    file.cloned().ok_or_else(|| Failure::new("Missing FILE argument"))
}

/// Opens a file, or says why not in the words of Go.
fn open(path: &str) -> Result<File, Failure> {
    File::open(path).map_err(|error| {
        let reason = client::system_text(&error);
        Failure::new(format!("Error opening snapshot file: open {path}: {reason}"))
    })
}

/// Reads all records of a snapshot: of an archive, or of a `state.bin` in the folder of a
/// server's snapshot. All of an archive is checked; what was visited counts only when
/// this returns.
fn read(path: &str, visit: &mut dyn FnMut(Record<'_>)) -> Result<Meta, Failure> {
    let file = open(path)?;
    let mut splitter = Splitter::new(|record: Record<'_>| -> Result<(), RecordError> {
        visit(record);
        Ok(())
    });
    let meta = match Path::new(path).file_name().is_some_and(|name| name == "state.bin") {
        true => copy_state(path, file, &mut splitter),
        false => archive::read(file, &mut splitter),
    };
    match (meta, splitter.finish()) {
        (Err(ArchiveError::State(_)), Err(error)) | (Ok(_), Err(error)) => Err(error.to_string()),
        (Err(error), _) => Err(error.to_string()),
        (Ok(meta), Ok(())) => Ok(meta),
    }
    .map_err(|error| Failure::new(format!("Error reading snapshot: {error}")))
}

fn copy_state(path: &str, file: File, state: &mut dyn Write) -> Result<Meta, ArchiveError> {
    let described = Path::new(path).with_file_name("meta.json");
    let mut bytes = Vec::new();
    File::open(described)
        .and_then(|file| file.take(META_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(ArchiveError::Input)?;
    let meta = Meta::decode(&bytes).map_err(|error| ArchiveError::Meta(error.to_string()))?;
    let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
    let found = std::io::copy(&mut file, state).map_err(ArchiveError::State)?;
    if found != meta.size {
        return Err(ArchiveError::Size { found, told: meta.size });
    }
    Ok(meta)
}
