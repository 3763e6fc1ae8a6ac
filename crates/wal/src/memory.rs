//! A disk in memory: for `-dev`, and, with faults, for tests and the simulator.
//!
//! Without faults ([`MemDisk::new`]) it is a plain store of bytes. With them
//! ([`MemDisk::with_faults`]) it remembers what was synced and what was not, and
//! [`MemDisk::crash`] loses of the latter what the seed says: whole writes, their
//! tails, or single sectors; names that were not synced in their directory, from
//! some point on. A failed sync loses likewise and the next one "succeeds", as on
//! Linux, to catch whoever tries again. The same seed and calls give the same disk.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskError, DiskErrorKind, DiskFile};

/// What a disk writes in one piece.
const SECTOR_BYTES: usize = 512;

/// Files in memory. A clone is the same disk.
#[derive(Clone)]
pub struct MemDisk {
    inner: Arc<Mutex<Inner>>,
}

impl MemDisk {
    /// A disk that never fails and forgets nothing, not even at a crash.
    pub fn new() -> Self {
        Self::make(None)
    }

    /// A disk whose crashes follow `seed`.
    pub fn with_faults(seed: u64) -> Self {
        Self::make(Some(Chance(seed)))
    }

    fn make(chance: Option<Chance>) -> Self {
        Self { inner: Arc::new(Mutex::new(Inner { chance, ..Inner::default() })) }
    }

    /// Power off and on: unsynced writes and names are lost in whole or in part, and
    /// every open file is dead.
    pub fn crash(&self) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        inner.generation += 1;
        let Some(chance) = inner.chance.as_mut() else { return };
        let kept = chance.below(inner.pending.len() as u64 + 1) as usize;
        for change in inner.pending.drain(..).take(kept) {
            change.apply(&mut inner.durable_names);
        }
        inner.names = inner.durable_names.clone();
        for node in inner.names.values() {
            if let Node::File(inode) = node {
                lock(inode).crash(chance);
            }
        }
        inner.sync_failures = 0;
        inner.short_write = None;
    }

    /// Makes the next `count` syncs of files fail.
    pub fn fail_syncs(&self, count: u64) {
        self.lock().sync_failures = count;
    }

    /// Lets the next write put down `bytes` of its bytes and then find the disk full.
    pub fn cut_next_write(&self, bytes: usize) {
        self.lock().short_write = Some(bytes);
    }

    /// Room on the disk in bytes; `None` is without end.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Bytes in all files, counting what was only preallocated.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Flips the bits of `mask` in one byte of a file, on the platter itself.
    ///
    /// # Panics
    /// Without such a file or byte.
    pub fn corrupt(&self, path: &str, offset: u64, mask: u8) {
        let inner = self.lock();
        let Some(Node::File(inode)) = inner.names.get(path) else { panic!("no file {path}") };
        let mut guard = lock(inode);
        let inode = &mut *guard;
        let at = offset as usize;
        assert!(offset < inode.current.len, "{path} has no byte {offset}");
        for image in [&mut inode.current, &mut inode.durable] {
            if image.bytes.len() <= at {
                image.bytes.resize(at + 1, 0);
            }
            image.bytes[at] ^= mask;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl Default for MemDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().names.keys()).finish()
    }
}

impl Disk for MemDisk {
    fn create(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        let mut inner = self.lock();
        let inode = Arc::new(Mutex::new(Inode::default()));
        inner.change(NameChange::Set(path.to_owned(), Node::File(inode.clone())));
        Ok(self.file(&inner, path, inode))
    }

    fn open(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        let inner = self.lock();
        match inner.names.get(path) {
            Some(Node::File(inode)) => Ok(self.file(&inner, path, inode.clone())),
            _ => Err(not_found("open", path)),
        }
    }

    fn create_dir(&self, path: &str) -> Result<(), DiskError> {
        let mut inner = self.lock();
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let change = NameChange::Set(path[..end].to_owned(), Node::Directory);
            if !inner.names.contains_key(&path[..end]) {
                change.clone().apply(&mut inner.durable_names);
                change.apply(&mut inner.names);
            }
        }
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<String>, DiskError> {
        let inner = self.lock();
        if !matches!(inner.names.get(path), Some(Node::Directory)) {
            return Err(not_found("list", path));
        }
        let names = inner.names.keys().filter(|name| parent(name) == path);
        Ok(names.map(|name| name[path.len() + 1..].to_owned()).collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let mut inner = self.lock();
        if !inner.names.contains_key(from) {
            return Err(not_found("rename", from));
        }
        inner.change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), DiskError> {
        let mut inner = self.lock();
        if !inner.names.contains_key(path) {
            return Err(not_found("remove", path));
        }
        inner.change(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> Result<(), DiskError> {
        self.remove(path)
    }

    fn sync_dir(&self, path: &str) -> Result<(), DiskError> {
        let mut inner = self.lock();
        let (synced, pending) = std::mem::take(&mut inner.pending)
            .into_iter()
            .partition(|change| parent(change.path()) == path);
        inner.pending = pending;
        let synced: Vec<NameChange> = synced;
        for change in synced {
            change.apply(&mut inner.durable_names);
        }
        Ok(())
    }
}

impl MemDisk {
    fn file(&self, inner: &Inner, path: &str, inode: Arc<Mutex<Inode>>) -> Box<dyn DiskFile> {
        let generation = inner.generation;
        Box::new(MemFile { disk: self.clone(), path: path.to_owned(), inode, generation })
    }
}

#[derive(Default)]
struct Inner {
    /// `None`: nothing is ever lost, and nothing is kept twice.
    chance: Option<Chance>,
    /// How many crashes; files opened before the last are dead.
    generation: u64,
    capacity: Option<u64>,
    sync_failures: u64,
    short_write: Option<usize>,
    names: BTreeMap<String, Node>,
    durable_names: BTreeMap<String, Node>,
    /// Changes of names that are not in `durable_names`, oldest first.
    pending: Vec<NameChange>,
}

impl Inner {
    fn change(&mut self, change: NameChange) {
        if self.chance.is_some() {
            self.pending.push(change.clone());
        }
        change.apply(&mut self.names);
    }

    fn used(&self) -> u64 {
        let bytes = |node: &Node| match node {
            Node::File(inode) => lock(inode).current.len,
            Node::Directory => 0,
        };
        self.names.values().map(bytes).sum()
    }

    /// How many of `wanted` more bytes there is room for.
    fn room(&self, wanted: u64) -> u64 {
        self.capacity.map_or(wanted, |capacity| wanted.min(capacity.saturating_sub(self.used())))
    }
}

#[derive(Clone)]
enum Node {
    Directory,
    File(Arc<Mutex<Inode>>),
}

#[derive(Clone)]
enum NameChange {
    Set(String, Node),
    Rename(String, String),
    /// With all below it.
    Remove(String),
}

impl NameChange {
    fn path(&self) -> &str {
        match self {
            Self::Set(path, _) | Self::Rename(_, path) | Self::Remove(path) => path,
        }
    }

    fn apply(self, names: &mut BTreeMap<String, Node>) {
        let below = |name: &str, path: &str| {
            name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match self {
            Self::Set(path, node) => {
                names.insert(path, node);
            }
            Self::Rename(from, to) => {
                let moved: Vec<String> =
                    names.keys().filter(|name| below(name, &from)).cloned().collect();
                for name in moved {
                    if let Some(node) = names.remove(&name) {
                        names.insert(format!("{to}{}", &name[from.len()..]), node);
                    }
                }
            }
            Self::Remove(path) => names.retain(|name, _| !below(name, &path)),
        }
    }
}

/// Bytes with a tail of zeroes that takes no memory.
#[derive(Clone, Default)]
struct Image {
    bytes: Vec<u8>,
    len: u64,
}

impl Image {
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset as usize + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset as usize..end].copy_from_slice(bytes);
        self.len = self.len.max(end as u64);
    }
}

#[derive(Default)]
struct Inode {
    /// What a reader sees.
    current: Image,
    /// What is on the platter; only kept on a disk with faults.
    durable: Image,
    /// Writes that are not in `durable`, oldest first.
    unsynced: Vec<(u64, Vec<u8>)>,
}

impl Inode {
    fn sync(&mut self) {
        for (offset, bytes) in self.unsynced.drain(..) {
            self.durable.write(offset, &bytes);
        }
        self.durable.len = self.current.len;
    }

    /// Lets each unsynced write reach the platter wholly, partly or not.
    fn settle(&mut self, chance: &mut Chance) {
        if chance.below(2) == 0 {
            self.durable.len = self.durable.len.max(self.current.len);
        }
        for (offset, bytes) in self.unsynced.drain(..) {
            match chance.below(4) {
                0 => {}
                1 => self.durable.write(offset, &bytes),
                2 => {
                    let kept = chance.below(bytes.len() as u64 + 1) as usize;
                    self.durable.write(offset, &bytes[..kept]);
                }
                _ => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let sector = SECTOR_BYTES - (offset as usize + at) % SECTOR_BYTES;
                        let end = (at + sector).min(bytes.len());
                        if chance.below(2) == 0 {
                            self.durable.write(offset + at as u64, &bytes[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
    }

    fn crash(&mut self, chance: &mut Chance) {
        self.settle(chance);
        self.current = self.durable.clone();
    }
}

struct MemFile {
    disk: MemDisk,
    path: String,
    inode: Arc<Mutex<Inode>>,
    generation: u64,
}

impl MemFile {
    fn alive(&self, operation: &'static str) -> Result<MutexGuard<'_, Inner>, DiskError> {
        let inner = self.disk.lock();
        if inner.generation != self.generation {
            let kind = DiskErrorKind::Other;
            return Err(failure(kind, operation, &self.path, "the disk lost power"));
        }
        Ok(inner)
    }
}

impl fmt::Debug for MemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemFile({})", self.path)
    }
}

impl DiskFile for MemFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        drop(self.alive("read")?);
        let image = &lock(&self.inode).current;
        let count = image.len.saturating_sub(offset).min(into.len() as u64) as usize;
        let kept = image.bytes.get(offset as usize..).unwrap_or_default();
        let copied = kept.len().min(count);
        into[..copied].copy_from_slice(&kept[..copied]);
        into[copied..count].fill(0);
        Ok(count)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut inner = self.alive("write")?;
        let size = lock(&self.inode).current.len;
        let growth = (offset + bytes.len() as u64).saturating_sub(size);
        let lack = growth - inner.room(growth);
        let mut count = bytes.len() - (lack as usize).min(bytes.len());
        if let Some(cut) = inner.short_write.take() {
            count = count.min(cut);
        }
        let mut inode = lock(&self.inode);
        inode.current.write(offset, &bytes[..count]);
        if inner.chance.is_some() {
            inode.unsynced.push((offset, bytes[..count].to_vec()));
        }
        if count < bytes.len() {
            return Err(full("write", &self.path));
        }
        Ok(())
    }

    fn sync_data(&mut self) -> Result<(), DiskError> {
        let mut guard = self.alive("sync")?;
        let inner = &mut *guard;
        let mut inode = lock(&self.inode);
        if inner.sync_failures == 0 {
            if inner.chance.is_some() {
                inode.sync();
            }
            return Ok(());
        }
        inner.sync_failures -= 1;
        if let Some(chance) = inner.chance.as_mut() {
            inode.settle(chance);
        }
        Err(failure(DiskErrorKind::SyncFailed, "sync", &self.path, "input/output error"))
    }

    fn preallocate(&mut self, len: u64) -> Result<(), DiskError> {
        let inner = self.alive("preallocate")?;
        let size = lock(&self.inode).current.len;
        let growth = len.saturating_sub(size);
        let room = inner.room(growth);
        lock(&self.inode).current.len += room;
        if room < growth {
            return Err(full("preallocate", &self.path));
        }
        Ok(())
    }

    fn size(&self) -> Result<u64, DiskError> {
        drop(self.alive("stat")?);
        Ok(lock(&self.inode).current.len)
    }
}

/// Numbers that follow from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// No operation here leaves its data half changed when it panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

fn not_found(operation: &'static str, path: &str) -> DiskError {
    failure(DiskErrorKind::NotFound, operation, path, "no such file or directory")
}

fn full(operation: &'static str, path: &str) -> DiskError {
    failure(DiskErrorKind::Full, operation, path, "no space left on device")
}

fn failure(
    kind: DiskErrorKind,
    operation: &'static str,
    path: &str,
    detail: &'static str,
) -> DiskError {
    DiskError { kind, operation, path: path.to_owned(), detail: detail.to_owned() }
}
