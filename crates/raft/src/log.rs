//! The log as the core sees it: the end of it in memory, the rest through a reader.

use std::collections::VecDeque;

use types::Index;

use crate::action::WriteNumber;
use crate::entry::{Entry, LogPosition, Term};
use crate::error::LogError;

/// Reads the stored log. The core asks only for entries whose writes were confirmed with
/// [`crate::Core::handle_persisted`] and that no later action removed.
pub trait LogReader {
    /// The first entry; one past the last when there is none (1 for a fresh log).
    fn first_index(&self) -> Result<Index, LogError>;
    /// The last entry; `first_index - 1` when there is none.
    fn last_index(&self) -> Result<Index, LogError>;
    /// The term of an entry in those bounds.
    fn term(&self, index: Index) -> Result<Term, LogError>;
    /// Appends to `out` the entries `first..=last`, stopping before the one with which their
    /// data would exceed `max_bytes`, but always giving at least one.
    fn entries(
        &self,
        first: Index,
        last: Index,
        max_bytes: usize,
        out: &mut Vec<Entry>,
    ) -> Result<(), LogError>;
}

/// Appends entries of `from` (those with indexes in `first..=last`) to `out` within the limits.
fn take(entries: impl Iterator<Item = Entry>, max: usize, max_bytes: usize, out: &mut Vec<Entry>) {
    let mut bytes = 0;
    for entry in entries.take(max) {
        bytes += size(&entry);
        if bytes > max_bytes && !out.is_empty() {
            return;
        }
        out.push(entry);
    }
}

fn size(entry: &Entry) -> usize {
    entry.data.len() + entry.extensions.len()
}

/// A log in memory, for tests, simulations and documentation.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    /// The entry before the first.
    base: Index,
    entries: VecDeque<Entry>,
}

impl MemoryLog {
    /// Adds entries at the end. Panics if they do not follow: that is the caller's bug.
    pub fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            assert_eq!(entry.index.0, self.base.0 + self.entries.len() as u64 + 1, "a gap");
            self.entries.push_back(entry);
        }
    }

    /// Removes `from` and all after it.
    pub fn truncate(&mut self, from: Index) {
        self.entries.truncate((from.0.saturating_sub(self.base.0 + 1)) as usize);
    }

    /// Removes all up to and including `through`.
    pub fn compact(&mut self, through: Index) {
        while self.base < through && self.entries.pop_front().is_some() {
            self.base = self.base.next();
        }
    }

    /// Removes everything; the next entry is `last + 1`.
    pub fn reset(&mut self, last: Index) {
        self.entries.clear();
        self.base = last;
    }

    /// The entries, first to last.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    fn get(&self, index: Index) -> Result<&Entry, LogError> {
        let position = index.0.checked_sub(self.base.0 + 1);
        let entry = position.and_then(|position| self.entries.get(position as usize));
        entry.ok_or_else(|| LogError(format!("no entry {index}")))
    }
}

impl LogReader for MemoryLog {
    fn first_index(&self) -> Result<Index, LogError> {
        Ok(self.base.next())
    }

    fn last_index(&self) -> Result<Index, LogError> {
        Ok(Index(self.base.0 + self.entries.len() as u64))
    }

    fn term(&self, index: Index) -> Result<Term, LogError> {
        self.get(index).map(|entry| entry.term)
    }

    fn entries(
        &self,
        first: Index,
        last: Index,
        max_bytes: usize,
        out: &mut Vec<Entry>,
    ) -> Result<(), LogError> {
        self.get(first)?;
        self.get(last)?;
        let skip = (first.0 - self.base.0 - 1) as usize;
        let count = (last.0 + 1 - first.0) as usize;
        take(self.entries.iter().skip(skip).cloned(), count, max_bytes, out);
        Ok(())
    }
}

/// The core's view. `stable` is the last durable entry; what is behind it is in `tail`, as are
/// some entries before it.
pub(crate) struct Log<L> {
    pub(crate) reader: L,
    /// The first entry that can be read.
    first: Index,
    last: Index,
    stable: Index,
    /// The end of the latest snapshot.
    snapshot: LogPosition,
    /// A contiguous run of entries that ends at `last`.
    tail: VecDeque<Entry>,
    tail_bytes: usize,
    cache_bytes: usize,
    /// Appends on their way to disk: each with its last entry, clipped by truncation.
    pending: VecDeque<(WriteNumber, Index)>,
    failure: Option<LogError>,
}

impl<L: LogReader> Log<L> {
    pub(crate) fn new(
        reader: L,
        snapshot: LogPosition,
        cache_bytes: usize,
    ) -> Result<Self, LogError> {
        let (first, last) = (reader.first_index()?, reader.last_index()?);
        Ok(Log {
            reader,
            first,
            last,
            stable: last,
            snapshot,
            tail: VecDeque::new(),
            tail_bytes: 0,
            cache_bytes,
            pending: VecDeque::new(),
            failure: None,
        })
    }

    pub(crate) fn set_cache_bytes(&mut self, bytes: usize) {
        self.cache_bytes = bytes;
    }

    pub(crate) fn first(&self) -> Index {
        self.first
    }

    pub(crate) fn last(&self) -> Index {
        self.last
    }

    pub(crate) fn stable(&self) -> Index {
        self.stable
    }

    pub(crate) fn snapshot(&self) -> LogPosition {
        self.snapshot
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    pub(crate) fn take_failure(&mut self) -> Option<LogError> {
        self.failure.take()
    }

    fn tail_first(&self) -> Index {
        Index(self.last.0 + 1 - self.tail.len() as u64)
    }

    pub(crate) fn last_position(&mut self) -> LogPosition {
        let term = self.term(self.last).unwrap_or_default();
        LogPosition { term, index: self.last }
    }

    /// The term of an entry; `None` if it is compacted away or not there.
    pub(crate) fn term(&mut self, index: Index) -> Option<Term> {
        if index == Index::ZERO {
            return Some(Term(0));
        }
        if index == self.snapshot.index {
            return Some(self.snapshot.term);
        }
        if index < self.first || index > self.last {
            return None;
        }
        let tail_first = self.tail_first();
        if index >= tail_first {
            return Some(self.tail[(index.0 - tail_first.0) as usize].term);
        }
        match self.reader.term(index) {
            Ok(term) => Some(term),
            Err(error) => self.fail(error),
        }
    }

    fn fail<T>(&mut self, error: LogError) -> Option<T> {
        self.failure.get_or_insert(error);
        None
    }

    /// Entries from `first` to at most `last`; empty only on failure or an empty range.
    pub(crate) fn entries(
        &mut self,
        first: Index,
        last: Index,
        max: usize,
        max_bytes: usize,
    ) -> Vec<Entry> {
        assert!(first >= self.first && last <= self.last, "read outside the log");
        let mut out = Vec::new();
        if first > last {
            return out;
        }
        let last = last.min(Index(first.0.saturating_add(max as u64 - 1)));
        let tail_first = self.tail_first();
        if first >= tail_first {
            let skip = (first.0 - tail_first.0) as usize;
            let count = (last.0 + 1 - first.0) as usize;
            out.reserve(count);
            take(self.tail.iter().skip(skip).cloned(), count, max_bytes, &mut out);
            return out;
        }
        let last = last.min(Index(tail_first.0 - 1));
        assert!(last <= self.stable, "the reader is asked for what is not durable");
        if let Err(error) = self.reader.entries(first, last, max_bytes, &mut out) {
            self.fail::<()>(error);
            out.clear();
        } else if out.first().is_none_or(|entry| entry.index != first) {
            self.fail::<()>(LogError(format!("entry {first} is missing")));
            out.clear();
        }
        out
    }

    pub(crate) fn append(&mut self, write: WriteNumber, entries: &[Entry]) {
        for entry in entries {
            assert_eq!(entry.index, self.last.next(), "the log has a gap");
            self.last = entry.index;
            self.tail_bytes += size(entry);
            self.tail.push_back(entry.clone());
        }
        match self.pending.back_mut() {
            Some(pending) if pending.0 == write => pending.1 = self.last,
            _ => self.pending.push_back((write, self.last)),
        }
    }

    pub(crate) fn truncate(&mut self, from: Index) {
        assert!(from > self.snapshot.index && from >= self.first && from <= self.last);
        while self.last >= from {
            if let Some(entry) = self.tail.pop_back() {
                self.tail_bytes -= size(&entry);
            }
            self.last = Index(self.last.0 - 1);
        }
        self.stable = self.stable.min(self.last);
        for pending in &mut self.pending {
            pending.1 = pending.1.min(self.last);
        }
    }

    pub(crate) fn persisted(&mut self, write: WriteNumber) {
        while let Some(&(number, last)) = self.pending.front() {
            if number > write {
                break;
            }
            self.pending.pop_front();
            self.stable = self.stable.max(last);
        }
        assert!(self.stable <= self.last);
        self.trim();
    }

    fn trim(&mut self) {
        while self.tail_bytes > self.cache_bytes && self.tail_first() <= self.stable {
            let Some(entry) = self.tail.pop_front() else { return };
            self.tail_bytes -= size(&entry);
        }
    }

    /// A snapshot ends at `position`, whose entry is in the log. Returns the last entry to
    /// remove so that `trailing` entries stay, if there is any to remove.
    pub(crate) fn compact(&mut self, position: LogPosition, trailing: u64) -> Option<Index> {
        self.snapshot = position;
        // Only durable entries: their writes come first.
        let limit = position.index.min(self.stable);
        let through = Index(limit.0.min(self.last.0.saturating_sub(trailing)));
        if through < self.first {
            return None;
        }
        while !self.tail.is_empty() && self.tail_first() <= through {
            if let Some(entry) = self.tail.pop_front() {
                self.tail_bytes -= size(&entry);
            }
        }
        self.first = through.next();
        Some(through)
    }

    /// The snapshot that ends at `position` stands for the whole log.
    pub(crate) fn reset(&mut self, position: LogPosition) {
        self.snapshot = position;
        self.first = position.index.next();
        self.last = position.index;
        self.stable = position.index;
        self.tail.clear();
        self.tail_bytes = 0;
        self.pending.clear();
    }
}
