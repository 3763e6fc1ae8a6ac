//! `consul keygen` (`reference/cli.md` section 9).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ApiFlags;
use crate::command::{Call, Command, Run, no_flags};
use crate::failure::{Failure, Outcome};

/// Bytes of a gossip key: AES-256.
const KEY_BYTES: usize = 32;

pub(super) const COMMAND: Command = Command {
    words: "keygen",
    synopsis: "Make a key for gossip encryption",
    usage: "keygen",
    help: "Prints a new random key for the option encrypt.",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Here(run),
};

fn run(call: &mut Call) -> Outcome {
    let mut key = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key)
        .map_err(|_| Failure::new("Error reading random data: the system gave none"))?;
    call.ui.output(STANDARD.encode(key));
    Ok(0)
}
