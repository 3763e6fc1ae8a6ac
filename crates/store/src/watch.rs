//! Exact watches.
//!
//! A [`WatchSet`] lists the spans (single keys and prefixes) of maps that a query
//! read. [`crate::Store::subscribe`] files a cell under each span; a commit looks
//! up each key that it changed, and each prefix of that key for which a watch
//! exists, and marks the cells it finds. Cost for a commit: one look-up for each
//! changed key and for each length of watched prefixes, however many watches there are.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

use crate::key::Key;
use crate::store::Shared;
use crate::tx::Change;

/// One map of one table: the rows by primary key, or one of the secondary indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    slot: u16,
    map: u16,
}

impl Place {
    pub(crate) fn primary(slot: usize) -> Self {
        Self { slot: slot as u16, map: 0 }
    }

    pub(crate) fn secondary(slot: usize, which: usize) -> Self {
        Self { slot: slot as u16, map: which as u16 + 1 }
    }
}

/// A part of a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Span {
    /// One key, whether there is a row or not.
    Exact(Key),
    /// All keys with this beginning, present and future.
    Prefix(Key),
}

/// What a query looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchSet {
    spans: Vec<(Place, Span)>,
}

impl WatchSet {
    pub(crate) fn add(&mut self, place: Place, span: Span) {
        let entry = (place, span);
        // Neighbouring duplicates are the common kind; others do no harm.
        if self.spans.last() != Some(&entry) {
            self.spans.push(entry);
        }
    }

    /// How many spans there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether nothing was looked at, so that nothing can wake a waiter.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

/// What a commit marks and a waiter waits for.
#[derive(Default)]
pub(crate) struct Cell {
    fired: AtomicBool,
    wakers: Mutex<Wakers>,
}

/// Who waits for one cell. Each waiter has a slot, so that ten thousand of them cost
/// each other nothing.
#[derive(Default)]
struct Wakers {
    slots: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Cell {
    fn wakers(&self) -> MutexGuard<'_, Wakers> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake(&self) {
        let wakers = std::mem::take(&mut *self.wakers());
        for waker in wakers.slots.into_iter().flatten() {
            waker.wake();
        }
    }
}

/// Cells by what they watch, one entry for each map of each table.
#[derive(Default)]
pub(crate) struct Registry {
    maps: BTreeMap<Place, Watches>,
}

type Cells = SmallVec<[Arc<Cell>; 1]>;

#[derive(Default)]
struct Watches {
    exact: HashMap<Key, Cells, foldhash::fast::FixedState>,
    prefix: HashMap<Key, Cells, foldhash::fast::FixedState>,
    /// How many watched prefixes there are of each length.
    lengths: BTreeMap<usize, usize>,
}

impl Registry {
    pub(crate) fn file(&mut self, set: &WatchSet, cell: &Arc<Cell>) {
        for (place, span) in &set.spans {
            let watches = self.maps.entry(*place).or_default();
            match span {
                Span::Exact(key) => {
                    watches.exact.entry(Arc::clone(key)).or_default().push(Arc::clone(cell));
                }
                Span::Prefix(key) => {
                    let cells = watches.prefix.entry(Arc::clone(key)).or_default();
                    if cells.is_empty() {
                        *watches.lengths.entry(key.len()).or_default() += 1;
                    }
                    cells.push(Arc::clone(cell));
                }
            }
        }
    }

    fn unfile(&mut self, set: &WatchSet, cell: &Arc<Cell>) {
        for (place, span) in &set.spans {
            let Some(watches) = self.maps.get_mut(place) else { continue };
            let (map, key, is_prefix) = match span {
                Span::Exact(key) => (&mut watches.exact, key, false),
                Span::Prefix(key) => (&mut watches.prefix, key, true),
            };
            let Some(cells) = map.get_mut(key) else { continue };
            cells.retain(|filed| !Arc::ptr_eq(filed, cell));
            if cells.is_empty() {
                map.remove(key);
                if is_prefix {
                    watches.forget_length(key.len());
                }
            }
        }
    }

    /// Marks every cell that watches one of the changed keys, and returns them to be woken.
    pub(crate) fn mark(&self, changes: &[Change]) -> Vec<Arc<Cell>> {
        let mut marked = Vec::new();
        for change in changes {
            let Some(watches) = self.maps.get(&change.place) else { continue };
            watches.visit(&change.key, &mut |cell| mark_one(cell, &mut marked));
        }
        marked
    }

    /// Marks every cell there is: the whole state was replaced.
    pub(crate) fn mark_all(&self) -> Vec<Arc<Cell>> {
        let mut marked = Vec::new();
        for watches in self.maps.values() {
            #[expect(
                clippy::disallowed_methods,
                reason = "all are marked; the order does not show"
            )]
            for cell in watches.exact.values().chain(watches.prefix.values()).flatten() {
                mark_one(cell, &mut marked);
            }
        }
        marked
    }

    /// How many spans are watched.
    pub(crate) fn len(&self) -> usize {
        self.maps.values().map(|watches| watches.exact.len() + watches.prefix.len()).sum()
    }
}

fn mark_one(cell: &Arc<Cell>, marked: &mut Vec<Arc<Cell>>) {
    if !cell.fired.swap(true, Ordering::AcqRel) {
        marked.push(Arc::clone(cell));
    }
}

impl Watches {
    fn visit(&self, key: &Key, found: &mut impl FnMut(&Arc<Cell>)) {
        if let Some(cells) = self.exact.get(key) {
            cells.iter().for_each(&mut *found);
        }
        for length in self.lengths.keys().take_while(|length| **length <= key.len()) {
            if let Some(cells) = self.prefix.get(&key[..*length]) {
                cells.iter().for_each(&mut *found);
            }
        }
    }

    fn forget_length(&mut self, length: usize) {
        if let Some(count) = self.lengths.get_mut(&length) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&length);
            }
        }
    }
}

/// A filed watch set. Dropping it takes the watches away.
///
/// Await [`Subscription::fired`] to wait for the first relevant commit. The
/// waiting uses only the standard library's wakers, so any executor will do.
pub struct Subscription {
    store: Arc<Shared>,
    set: WatchSet,
    cell: Arc<Cell>,
}

impl Subscription {
    pub(crate) fn new(store: Arc<Shared>, set: WatchSet, cell: Arc<Cell>) -> Self {
        Self { store, set, cell }
    }

    /// Whether something that was looked at has changed.
    pub fn has_fired(&self) -> bool {
        self.cell.fired.load(Ordering::Acquire)
    }

    /// What is watched.
    pub fn watch_set(&self) -> &WatchSet {
        &self.set
    }

    /// Completes once something that was looked at has changed.
    pub fn fired(&self) -> impl Future<Output = ()> + Send + '_ {
        Fired { cell: &self.cell, slot: None }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.store.lock().registry.unfile(&self.set, &self.cell);
    }
}

struct Fired<'c> {
    cell: &'c Cell,
    slot: Option<usize>,
}

impl Future for Fired<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.cell.fired.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let waker = Some(context.waker().clone());
        let mut wakers = self.cell.wakers();
        match self.slot.filter(|slot| *slot < wakers.slots.len()) {
            Some(slot) => wakers.slots[slot] = waker,
            None => {
                let slot = wakers.free.pop().unwrap_or(wakers.slots.len());
                if slot == wakers.slots.len() {
                    wakers.slots.push(waker);
                } else {
                    wakers.slots[slot] = waker;
                }
                drop(wakers);
                self.slot = Some(slot);
            }
        }
        // A commit may have marked the cell between the first look and the filing.
        if self.cell.fired.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Fired<'_> {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let mut wakers = self.cell.wakers();
        // After the cell has fired there are no slots, and nothing to give back.
        if let Some(held) = wakers.slots.get_mut(slot)
            && held.take().is_some()
        {
            wakers.free.push(slot);
        }
    }
}
