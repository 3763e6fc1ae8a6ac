//! Large commands that came in parts: `reference/raft-and-snapshots.md` section 8.
//!
//! Consul's leaders cut KV commands of more than 512 KiB into entries whose extensions say
//! which part of which command they are. Ours do not: a follower of either kind takes a
//! command as a whole, whatever its size. What is here puts together what Consul's leaders cut.
//!
//! - A command takes effect with the entry that completes it, at that entry's index.
//! - All its parts are of one term. A part of a later term drops those of earlier ones: their
//!   leader is gone, and nobody was told that they took effect.
//! - Parts that wait for others are part of the state, and of snapshots.

mod part;
mod table;

pub use part::{Part, PartError};
pub use table::{CHUNKS, Chunk};

use contract::Domain;
use store::Tx;

/// Parts of commands.
pub const DOMAIN: Domain = Domain {
    name: "chunking",
    tables: &[&CHUNKS],
    commands: &[],
    records: table::RECORDS,
    routes: &[],
    methods: &[],
};

/// Whether an entry with these extensions is a part of a command. Other extensions are those
/// of the check sums that leaders now and then put into the log: they mean nothing here, and
/// are replicated as they came.
pub fn is_part(extensions: &[u8]) -> bool {
    !extensions.is_empty() && !extensions.starts_with(part::CHECKPOINT_MAGIC)
}

/// Takes a part; the whole command when this was the last of it.
///
/// # Errors
/// When the extensions are none that a leader writes. Nothing has changed then, on any server.
pub fn take(
    tx: &mut Tx<'_>,
    term: u64,
    extensions: &[u8],
    data: &[u8],
) -> Result<Option<Vec<u8>>, PartError> {
    let part = Part::decode(extensions)?;
    table::drop_other_terms(tx, term);
    table::put(tx, part, term, data);
    Ok(table::take_whole(tx, part))
}

#[cfg(test)]
mod tests;
