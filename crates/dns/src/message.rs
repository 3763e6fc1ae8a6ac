//! Writing a message into a buffer that is used again and again.
//!
//! Names are compressed as RFC 1035 section 4.1.4 allows: owners and the names
//! in NS, CNAME, PTR and SOA data. SRV targets are written in full (RFC 2782),
//! but later names may point into them. That is also how Consul's own answers
//! come out, so that the same number of records fits.

use crate::name::Name;
use crate::options::Zones;
use crate::record::{Data, NameRef, Record};
use crate::record_type::{CLASS_IN, RecordType};
use crate::request::{Edns, HEADER_OCTETS, OPTION_CLIENT_SUBNET, Question};
use crate::txt::meta_text;

/// Offsets from here on do not fit into a compression pointer.
const POINTER_OFFSETS: usize = 0x4000;
/// Most octets of one string of a TXT record.
const STRING_OCTETS_MAX: usize = 255;

/// A buffer for answers. Keep one per worker: after some answers it does not
/// allocate any more.
#[derive(Debug, Default)]
pub struct MessageBuffer {
    octets: Vec<u8>,
    names: NameTable,
    compress: bool,
}

impl MessageBuffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The message that was written last.
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets
    }

    pub(crate) fn len(&self) -> usize {
        self.octets.len()
    }

    /// Starts a message: header without counts, and the question.
    pub(crate) fn start(&mut self, head: Head, question: Option<&Question>, compress: bool) {
        self.octets.clear();
        self.names.clear();
        self.compress = compress;
        self.word(head.id);
        self.word(head.flags);
        self.word(u16::from(question.is_some()));
        self.octets.extend_from_slice(&[0; 6]);
        if let Some(question) = question {
            self.name(&question.name, false);
            self.word(question.record_type.0);
            self.word(question.class);
        }
    }

    pub(crate) fn set_count(&mut self, section: Section, count: u16) {
        let at = section as usize;
        self.octets[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }

    /// Sets bits of the flags word of the finished header.
    pub(crate) fn set_flags(&mut self, flags: u16) {
        self.octets[2..4].copy_from_slice(&flags.to_be_bytes());
    }

    /// Writes one record. When one of its names cannot be made, nothing is
    /// written and `false` returned.
    pub(crate) fn record(&mut self, record: &Record<'_>, question: &Name, zones: &Zones) -> bool {
        let start = self.octets.len();
        let written = self.try_record(record, question, zones).is_some();
        if !written {
            self.octets.truncate(start);
            self.names.forget_from(start);
        }
        written
    }

    fn try_record(&mut self, record: &Record<'_>, question: &Name, zones: &Zones) -> Option<()> {
        if record.owner == NameRef::Question && self.compress && !question.is_root() {
            // The question always stands right behind the header.
            self.word(0xC000 | HEADER_OCTETS as u16);
        } else {
            let owner = record.owner.compose(question, zones)?;
            self.name(&owner, true);
        }
        self.word(record.data.record_type().0);
        self.word(CLASS_IN);
        self.long(record.ttl);
        let length_at = self.octets.len();
        self.word(0);
        self.data(&record.data, question, zones)?;
        let length = u16::try_from(self.octets.len() - length_at - 2).ok()?;
        self.octets[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        Some(())
    }

    fn data(&mut self, data: &Data<'_>, question: &Name, zones: &Zones) -> Option<()> {
        match data {
            Data::A(ip) => self.octets.extend_from_slice(&ip.octets()),
            Data::Aaaa(ip) => self.octets.extend_from_slice(&ip.octets()),
            Data::Cname(name) | Data::Ns(name) | Data::Ptr(name) => {
                self.name(&name.compose(question, zones)?, true);
            }
            Data::Srv(srv) => {
                self.word(1);
                self.word(srv.weight);
                self.word(srv.port);
                self.name(&srv.target.compose(question, zones)?, false);
            }
            Data::Txt(key, value) => self.text(&meta_text(key, value)),
            Data::Soa { zone, serial, numbers } => {
                for label in ["ns", "hostmaster"] {
                    self.name(&NameRef::InZone(label, *zone).compose(question, zones)?, true);
                }
                self.long(*serial);
                self.long(numbers.refresh);
                self.long(numbers.retry);
                self.long(numbers.expire);
                self.long(numbers.min_ttl);
            }
        }
        Some(())
    }

    /// A TXT record's strings: one, or as many as a long text needs.
    fn text(&mut self, text: &str) {
        let mut chunks = text.as_bytes().chunks(STRING_OCTETS_MAX);
        let mut chunk = chunks.next().unwrap_or_default();
        loop {
            self.octets.push(chunk.len() as u8);
            self.octets.extend_from_slice(chunk);
            match chunks.next() {
                Some(next) => chunk = next,
                None => return,
            }
        }
    }

    /// The OPT record of an answer: the client's UDP size, version 0, no flags,
    /// and its subnet with `scope_prefix` (RFC 6891, RFC 7871).
    pub(crate) fn opt(&mut self, edns: &Edns, scope_prefix: u8) {
        self.octets.push(0);
        self.word(RecordType::OPT.0);
        self.word(edns.udp_size);
        self.long(0);
        let Some(subnet) = &edns.client_subnet else {
            self.word(0);
            return;
        };
        let option_octets = 4 + subnet.address().len() as u16;
        self.word(4 + option_octets);
        self.word(OPTION_CLIENT_SUBNET);
        self.word(option_octets);
        self.word(subnet.family);
        self.octets.push(subnet.source_prefix);
        self.octets.push(scope_prefix);
        self.octets.extend_from_slice(subnet.address());
    }

    /// Writes a name, `shorten`ed by a pointer to an earlier one if there is
    /// any; either way later names can point to it.
    fn name(&mut self, name: &Name, shorten: bool) {
        let wire = name.as_wire();
        if !self.compress {
            self.octets.extend_from_slice(wire);
            return;
        }
        let mut suffixes = [(0u8, 0u32); 128];
        let count = suffix_hashes(wire, &mut suffixes);
        let start = self.octets.len();
        for &(at, hash) in &suffixes[..count] {
            let at = usize::from(at);
            match self.names.find(hash, &wire[at..], &self.octets) {
                Some(offset) if shorten => {
                    self.octets.extend_from_slice(&wire[..at]);
                    self.word(0xC000 | offset);
                    return;
                }
                Some(_) => {}
                None if start + at < POINTER_OFFSETS => {
                    self.names.insert(hash, (start + at) as u16);
                }
                None => {}
            }
        }
        self.octets.extend_from_slice(wire);
    }

    fn word(&mut self, word: u16) {
        self.octets.extend_from_slice(&word.to_be_bytes());
    }

    fn long(&mut self, long: u32) {
        self.octets.extend_from_slice(&long.to_be_bytes());
    }
}

/// The first two words of a header.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    pub(crate) id: u16,
    pub(crate) flags: u16,
}

/// A section of records, by where its count stands in the header.
#[derive(Clone, Copy)]
pub(crate) enum Section {
    Answer = 6,
    Authority = 8,
    Additional = 10,
}

/// Fills in the start and hash of every suffix of a name, longest first,
/// without the root. Returns how many there are: at most 127.
fn suffix_hashes(wire: &[u8], suffixes: &mut [(u8, u32); 128]) -> usize {
    let mut count = 0;
    let mut at = 0;
    while wire[at] != 0 {
        suffixes[count].0 = at as u8;
        count += 1;
        at += 1 + usize::from(wire[at]);
    }
    let mut hash: u32 = 0x811C_9DC5;
    let mut end = at;
    for suffix in suffixes[..count].iter_mut().rev() {
        let start = usize::from(suffix.0);
        for octet in &wire[start..end] {
            hash = (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193);
        }
        suffix.1 = hash;
        end = start;
    }
    count
}

/// Where names stand in the message, by the hash of their suffixes: an open
/// table. A slot holds hash and offset; 0 is empty, as no name stands there.
#[derive(Debug, Default)]
struct NameTable {
    slots: Vec<u64>,
    used: usize,
}

/// Slots at the start; grows to twice as many when half full.
const SLOTS_MIN: usize = 64;

impl NameTable {
    fn clear(&mut self) {
        self.slots.truncate(SLOTS_MIN);
        self.slots.fill(0);
        self.slots.resize(SLOTS_MIN, 0);
        self.used = 0;
    }

    /// The offset of the suffix `wire`, spelled alike.
    fn find(&self, hash: u32, wire: &[u8], message: &[u8]) -> Option<u16> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let entry = self.slots[slot];
            if entry == 0 {
                return None;
            }
            let offset = entry as u16;
            if (entry >> 16) as u32 == hash && is_name_at(message, offset, wire) {
                return Some(offset);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn insert(&mut self, hash: u32, offset: u16) {
        if self.used * 2 >= self.slots.len() {
            self.grow();
        }
        self.place(u64::from(hash) << 16 | u64::from(offset));
        self.used += 1;
    }

    fn place(&mut self, entry: u64) {
        let mask = self.slots.len() - 1;
        let mut slot = (entry >> 16) as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = entry;
    }

    fn grow(&mut self) {
        let entries = std::mem::take(&mut self.slots);
        self.slots.resize((entries.len() * 2).max(SLOTS_MIN), 0);
        entries.into_iter().filter(|entry| *entry != 0).for_each(|entry| self.place(entry));
    }

    /// Forgets the names at `offset` and behind it, which are no longer there.
    fn forget_from(&mut self, offset: usize) {
        let entries = std::mem::take(&mut self.slots);
        self.slots.resize(entries.len(), 0);
        self.used = 0;
        for entry in entries {
            if entry != 0 && usize::from(entry as u16) < offset {
                self.place(entry);
                self.used += 1;
            }
        }
    }
}

/// Whether the name at `offset` of our own message is `wire`, to the letter.
fn is_name_at(message: &[u8], offset: u16, wire: &[u8]) -> bool {
    let mut at = usize::from(offset);
    let mut rest = wire;
    while let Some(&head) = message.get(at) {
        if head & 0xC0 == 0xC0 {
            let Some(&low) = message.get(at + 1) else { return false };
            let target = usize::from(head & 0x3F) << 8 | usize::from(low);
            // Our own pointers lead backwards; anything else would be a loop.
            if target >= at {
                return false;
            }
            at = target;
            continue;
        }
        let length = 1 + usize::from(head);
        let (Some(label), Some(wanted)) = (message.get(at..at + length), rest.get(..length)) else {
            return false;
        };
        if label != wanted {
            return false;
        }
        if head == 0 {
            return true;
        }
        at += length;
        rest = &rest[length..];
    }
    false
}
