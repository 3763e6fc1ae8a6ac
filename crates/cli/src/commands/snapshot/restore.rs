//! `consul snapshot restore`.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use client::Upload;
use tokio::sync::mpsc;

use super::progress::{PERIOD, Progress};
use super::{BUFFER_BYTES, file_argument, open};
use crate::ApiFlags;
use crate::command::{Call, Command, Run, no_flags};
use crate::failure::{Outcome, Tried as _};

pub(in crate::commands) const COMMAND: Command = Command {
    words: "snapshot restore",
    synopsis: "Put a saved state in place of that of the servers",
    usage: "snapshot restore [options] FILE",
    help: "Replaces the whole state of the servers by the one in the archive: what came\n\
           after it is gone. The archive is checked before anything changes. Meant for a\n\
           fresh cluster, or for one whose state is lost.\n\n\
           \x20   $ consul snapshot restore backup.snap",
    api: ApiFlags::CS,
    flags: no_flags,
    run: Run::Online(|call| Box::pin(run(call))),
};

/// Pieces of the file that are read ahead.
const PIECES_MAX: usize = 4;

async fn run(call: &mut Call) -> Outcome {
    let path = file_argument(call)?;
    let client = call.client()?;
    let file = open(&path)?;
    let bytes = file.metadata().tried("Error opening snapshot file")?.len();
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    // It ends when the file does, or when nobody takes the pieces any more.
    tokio::task::spawn_blocking(move || send(file, &sender, &counted));

    let mut progress = Progress::new("Restoring", Some(bytes));
    let mut drawing = tokio::time::interval(PERIOD);
    let restore = client.snapshot().restore(Upload::new(pieces, bytes));
    let mut restore = std::pin::pin!(restore);
    let restored = loop {
        tokio::select! {
            restored = &mut restore => break restored,
            _ = drawing.tick() => progress.draw(&mut call.ui, sent.load(Ordering::Relaxed)),
        }
    };
    progress.clear(&mut call.ui);
    let carried = restored.tried("Error restoring snapshot")?;
    call.ui.output("Restored snapshot");
    if let Some(carried) = carried {
        call.ui.error(format!(
            "The servers keep these records, but have no such feature yet, so they are not in \
             force: {carried}"
        ));
    }
    Ok(0)
}

fn send(mut file: File, sender: &mpsc::Sender<io::Result<Bytes>>, sent: &AtomicU64) {
    loop {
        let mut buffer = vec![0; BUFFER_BYTES];
        let piece = match file.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                sent.fetch_add(count as u64, Ordering::Relaxed);
                buffer.truncate(count);
                Ok(Bytes::from(buffer))
            }
            Err(error) => Err(error),
        };
        let is_last = piece.is_err();
        if sender.blocking_send(piece).is_err() || is_last {
            return;
        }
    }
}
