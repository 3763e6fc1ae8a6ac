//! Lines on their way to a sink.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most bytes that wait. A task empties the queue ten times a second; this is room for
/// some 20,000 values in that time.
const BYTES_MAX: usize = 1 << 20;

/// Lines that wait for their sink.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    lost: u64,
}

impl Queue {
    /// Has `write` add whole lines of at most `room` bytes, if there is so much room.
    pub(super) fn push(&self, room: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let mut waiting = self.lock();
        if waiting.lines.len() + room > BYTES_MAX {
            waiting.lost += 1;
            return;
        }
        write(&mut waiting.lines);
    }

    /// Takes all lines, in the place of what is in `lines`; and tells how many were lost.
    pub(super) fn take(&self, lines: &mut Vec<u8>) -> u64 {
        lines.clear();
        let mut waiting = self.lock();
        std::mem::swap(&mut waiting.lines, lines);
        std::mem::take(&mut waiting.lost)
    }

    /// Forgets all lines.
    pub(super) fn clear(&self) {
        *self.lock() = Waiting::default();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
