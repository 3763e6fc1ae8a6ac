//! How much of a check's output is kept (`reference/checks.md` sections 1, 3 and 5).
//!
//! Scripts and HTTP bodies keep their last bytes, TTL notes their first. Bytes
//! that are not UTF-8 show as U+FFFD, as they do in Consul's JSON.

use std::collections::VecDeque;
use std::io;

/// The agent's limit when its configuration gives none, in bytes.
pub const DEFAULT_OUTPUT_SIZE: usize = 4096;

/// The limit that holds for a check, in bytes: a check can only lower the
/// agent's limit (`agent_limit`); `check_limit` of zero or below says nothing.
pub fn limit(check_limit: i64, agent_limit: usize) -> usize {
    match usize::try_from(check_limit) {
        Ok(limit) if limit > 0 => limit.min(agent_limit),
        _ => agent_limit,
    }
}

/// Keeps the last bytes written to it and counts all of them.
#[derive(Clone, Debug)]
pub struct RingBuffer {
    kept: VecDeque<u8>,
    limit: usize,
    written: u64,
}

impl RingBuffer {
    /// A buffer that keeps at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { kept: VecDeque::new(), limit, written: 0 }
    }

    /// Appends `bytes`; the oldest ones give way.
    pub fn push(&mut self, bytes: &[u8]) {
        self.written = self.written.saturating_add(bytes.len() as u64);
        let bytes = &bytes[bytes.len().saturating_sub(self.limit)..];
        let surplus = (self.kept.len() + bytes.len()).saturating_sub(self.limit);
        self.kept.drain(..surplus);
        self.kept.extend(bytes);
    }

    /// All bytes ever written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The bytes that were kept, as text, without a marker.
    pub fn text(&self) -> String {
        let (front, back) = self.kept.as_slices();
        let bytes = [front, back].concat();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The text with the marker that scripts and Docker checks show when
    /// something was cut: `Captured <N> of <M> bytes\n...\n<tail>`.
    pub fn marked_text(&self) -> String {
        if self.written <= self.limit as u64 {
            return self.text();
        }
        format!("Captured {} of {} bytes\n...\n{}", self.kept.len(), self.written, self.text())
    }
}

impl io::Write for RingBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The first `limit` bytes of `text`, with `... (captured N of M bytes)` when
/// something was cut: what a TTL check keeps of a note.
pub fn head(text: String, limit: usize) -> String {
    let total = text.len();
    if total <= limit {
        return text;
    }
    let head = String::from_utf8_lossy(&text.as_bytes()[..limit]);
    format!("{head} ... (captured {limit} of {total} bytes)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_check_can_only_lower_the_limit_of_the_agent() {
        let cases = [(0, 4096, 4096), (-1, 4096, 4096), (10, 4096, 10), (9999, 4096, 4096)];
        for (check, agent, expect) in cases {
            assert_eq!(limit(check, agent), expect, "{check} {agent}");
        }
    }

    #[test]
    fn a_full_buffer_says_how_much_it_lost() {
        let mut buffer = RingBuffer::new(4);
        buffer.push(b"abcd");
        assert_eq!(buffer.marked_text(), "abcd");
        buffer.push(b"ef");
        assert_eq!(buffer.text(), "cdef");
        assert_eq!(buffer.marked_text(), "Captured 4 of 6 bytes\n...\ncdef");
    }

    #[test]
    fn a_note_over_the_limit_keeps_its_head() {
        assert_eq!(head("12345".into(), 5), "12345");
        assert_eq!(head("123456".into(), 5), "12345 ... (captured 5 of 6 bytes)");
        assert_eq!(head("aé".into(), 2), "a\u{fffd} ... (captured 2 of 3 bytes)");
    }

    proptest! {
        #[test]
        fn a_ring_buffer_keeps_the_tail_of_all_that_was_written(
            limit in 0usize..20,
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 0..8),
        ) {
            let mut buffer = RingBuffer::new(limit);
            let all = pieces.concat();
            for piece in &pieces {
                buffer.push(piece);
            }
            prop_assert_eq!(buffer.written(), all.len() as u64);
            let tail = &all[all.len().saturating_sub(limit)..];
            prop_assert_eq!(buffer.text(), String::from_utf8_lossy(tail));
        }
    }
}
