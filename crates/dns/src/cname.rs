//! Host names in the catalog: what has to be asked to follow them.
//!
//! The answer machine does not ask anybody. It says which names it needs
//! ([`crate::Outcome::NeedsCname`]); the caller asks, puts the replies into a
//! [`Chased`], and starts the same answer again with the same seed.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::name::Name;
use crate::options::Zones;
use crate::record_type::{CLASS_IN, Rcode, RecordType};
use crate::request::{HEADER_OCTETS, Header, Malformed, Request, Walk};

/// How deep CNAMEs inside the own domains are followed.
pub const NESTING_MAX: u8 = 3;
/// Records taken from one chase when the client does not speak EDNS.
pub const CHASED_RECORDS_MAX: usize = 5;
/// Host names that one answer may ask for; further ones stay bare.
pub const TARGETS_MAX: usize = 64;

/// A host name that must be resolved before the answer can be made.
#[derive(Clone, Debug)]
pub struct CnameTarget {
    /// The name, in the catalog's spelling.
    pub name: Name,
    /// Who knows it.
    pub via: Via,
}

/// Who resolves a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// This agent: run [`CnameTarget::internal_request`] through the machine as
    /// if it came over TCP and give the reply to [`Chased::insert_reply`].
    Internal,
    /// The recursors, over UDP, with [`CnameTarget::recursor_query`].
    Recursor,
}

impl CnameTarget {
    /// The question about a name inside the own domains: ANY, one level deeper.
    pub fn internal_request(&self, request: &Request) -> Request {
        request.for_target(self.name.clone())
    }

    /// The message to send to a recursor: type A, recursion desired.
    pub fn recursor_query(&self, id: u16) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER_OCTETS + self.name.as_wire().len() + 4);
        for word in [id, 0x0100, 1, 0, 0, 0] {
            message.extend_from_slice(&word.to_be_bytes());
        }
        message.extend_from_slice(self.name.as_wire());
        message.extend_from_slice(&RecordType::A.0.to_be_bytes());
        message.extend_from_slice(&CLASS_IN.to_be_bytes());
        message
    }
}

/// Who resolves `name`; `None` when nobody can, so that the CNAME stays bare.
pub(crate) fn route(name: &Name, zones: &Zones) -> Option<Via> {
    if zones.own_zone(name).is_some() {
        return Some(Via::Internal);
    }
    zones.options.has_recursors.then_some(Via::Recursor)
}

/// What host names were resolved to, for one answer.
#[derive(Debug, Default)]
pub struct Chased {
    names: Vec<(Name, Vec<ChasedRecord>)>,
}

/// An address or CNAME record of a chased reply.
#[derive(Clone, Debug)]
pub(crate) struct ChasedRecord {
    pub(crate) owner: Name,
    pub(crate) ttl: u32,
    pub(crate) data: ChasedData,
}

#[derive(Clone, Debug)]
pub(crate) enum ChasedData {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(Box<Name>),
}

impl Chased {
    /// Nothing is resolved yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the address and CNAME records of the Answer section of a reply.
    /// A reply that cannot be read counts as no records, and is an error.
    pub fn insert_reply(&mut self, target: &CnameTarget, reply: &[u8]) -> Result<(), Malformed> {
        let records = read_answers(reply);
        let (records, result) = match records {
            Ok(records) => (records, Ok(())),
            Err(fault) => (Vec::new(), Err(fault)),
        };
        self.names.push((target.name.clone(), records));
        result
    }

    /// Nobody could resolve the name: its CNAME stays bare.
    pub fn insert_failure(&mut self, target: &CnameTarget) {
        self.names.push((target.name.clone(), Vec::new()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn get(&self, name: &Name) -> Option<&[ChasedRecord]> {
        let mut names = self.names.iter();
        names.find(|(known, _)| known == name).map(|(_, records)| records.as_slice())
    }
}

fn read_answers(reply: &[u8]) -> Result<Vec<ChasedRecord>, Malformed> {
    let header = Header::parse(reply)?;
    if header.rcode() != Rcode::NoError as u8 {
        return Ok(Vec::new());
    }
    let mut walk = Walk { message: reply, at: HEADER_OCTETS };
    for _ in 0..header.counts[0] {
        walk.question()?;
    }
    let mut records = Vec::new();
    for _ in 0..header.counts[1] {
        let record = walk.record()?;
        let data = match record.record_type {
            RecordType::A => {
                let octets: [u8; 4] = record.data.try_into().map_err(|_| Malformed::Short)?;
                ChasedData::A(octets.into())
            }
            RecordType::AAAA => {
                let octets: [u8; 16] = record.data.try_into().map_err(|_| Malformed::Short)?;
                ChasedData::Aaaa(octets.into())
            }
            RecordType::CNAME => {
                ChasedData::Cname(Box::new(Name::parse(reply, record.data_offset)?.0))
            }
            _ => continue,
        };
        records.push(ChasedRecord { owner: record.owner, ttl: record.ttl, data });
    }
    Ok(records)
}
