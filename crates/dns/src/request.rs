//! Questions: reading a message that came from outside, within bounds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::name::Name;
use crate::record_type::{CLASS_IN, Rcode, RecordType};

/// Octets of the header of every message (RFC 1035 section 4.1.1).
pub(crate) const HEADER_OCTETS: usize = 12;
/// EDNS option number of the client subnet (RFC 7871 section 6).
pub(crate) const OPTION_CLIENT_SUBNET: u16 = 8;

/// Why a message is not a question.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// Fewer octets than a header has, or than the counts promise.
    #[error("message is too short")]
    Short,
    /// A name is too long, loops, or leaves the message.
    #[error("bad domain name in message")]
    Name,
    /// The message is an answer. It must not be answered: two servers could
    /// talk to each other for ever.
    #[error("message is a response")]
    Response,
    /// The operation is not QUERY.
    #[error("opcode {0} is not served")]
    Opcode(u8),
    /// The EDNS record or one of its options is not readable.
    #[error("bad EDNS record")]
    Edns,
}

/// A message that asks something. Only the first question is kept, as Consul does.
#[derive(Clone, Debug)]
pub struct Request {
    /// Echoed in the answer.
    pub id: u16,
    /// RD: echoed in the answer.
    pub recursion_desired: bool,
    /// The first question, `None` when the message has none.
    pub question: Option<Question>,
    /// What the client's OPT record says, if there is one.
    pub edns: Option<Edns>,
    /// How many CNAMEs led to this question; 0 for a client's own.
    pub nesting: u8,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The name in the client's spelling, which owners of answers echo.
    pub name: Name,
    /// The name as lower-case text without final dot: what look-ups use.
    pub text: String,
    /// QTYPE.
    pub record_type: RecordType,
    /// QCLASS: echoed, otherwise ignored (answers are always class IN).
    pub class: u16,
}

/// What an OPT record says (RFC 6891 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// Most octets of UDP answer the client takes; echoed as it is.
    pub udp_size: u16,
    /// The network the client's client is in.
    pub client_subnet: Option<ClientSubnet>,
}

/// The client subnet option (RFC 7871 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSubnet {
    /// 1 for IPv4, 2 for IPv6; other numbers are echoed.
    pub family: u16,
    /// Meaningful bits of the address.
    pub source_prefix: u8,
    address: [u8; 16],
    address_octets: u8,
}

impl ClientSubnet {
    /// The network address; `None` for a family other than IPv4 and IPv6.
    pub fn ip(&self) -> Option<IpAddr> {
        let octets = &self.address;
        match self.family {
            1 => Some(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into()),
            2 => Some(Ipv6Addr::from(*octets).into()),
            _ => None,
        }
    }

    /// The octets of the address as the client sent them.
    pub(crate) fn address(&self) -> &[u8] {
        &self.address[..usize::from(self.address_octets)]
    }

    fn parse(data: &[u8]) -> Result<Self, Malformed> {
        let [family_high, family_low, source_prefix, _scope, octets @ ..] = data else {
            return Err(Malformed::Edns);
        };
        let family = u16::from_be_bytes([*family_high, *family_low]);
        let most = if family == 1 { 4 } else { 16 };
        if octets.len() > most || usize::from(*source_prefix) > most * 8 {
            return Err(Malformed::Edns);
        }
        let mut address = [0; 16];
        address[..octets.len()].copy_from_slice(octets);
        let address_octets = octets.len() as u8;
        Ok(Self { family, source_prefix: *source_prefix, address, address_octets })
    }
}

impl Request {
    /// Reads a message from a client. Work is bounded by the length of the
    /// message: no record count is believed beyond the octets that are there.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let header = Header::parse(message)?;
        if header.is_response() {
            return Err(Malformed::Response);
        }
        if header.opcode() != 0 {
            return Err(Malformed::Opcode(header.opcode()));
        }
        let mut walk = Walk { message, at: HEADER_OCTETS };
        let mut question = None;
        for _ in 0..header.counts[0] {
            let next = walk.question()?;
            question.get_or_insert(next);
        }
        let question = question.map(|(name, record_type, class)| Question {
            text: name.lowercase_text(),
            name,
            record_type,
            class,
        });
        let mut edns = None;
        for section in 1..4 {
            for _ in 0..header.counts[section] {
                let record = walk.record()?;
                if section == 3 && record.record_type == RecordType::OPT && edns.is_none() {
                    edns = Some(parse_opt(&record)?);
                }
            }
        }
        let recursion_desired = header.flags & 0x0100 != 0;
        Ok(Self { id: header.id, recursion_desired, question, edns, nesting: 0 })
    }

    /// The question that resolves a CNAME target inside the own domains: ANY
    /// of its name, one level deeper (`reference/dns.md` section 6).
    pub(crate) fn for_target(&self, name: Name) -> Self {
        let text = name.lowercase_text();
        let record_type = RecordType::ANY;
        Self {
            id: self.id,
            recursion_desired: self.recursion_desired,
            question: Some(Question { name, text, record_type, class: CLASS_IN }),
            edns: self.edns,
            nesting: self.nesting.saturating_add(1),
        }
    }
}

/// Writes the answer to a message that could not be read: FORMERR, or NOTIMP
/// for another operation, with a header only. Returns whether there is
/// anything to send: responses and messages without a header get no answer.
pub fn answer_malformed(message: &[u8], fault: Malformed, out: &mut Vec<u8>) -> bool {
    out.clear();
    let Ok(header) = Header::parse(message) else { return false };
    let rcode = match fault {
        Malformed::Response => return false,
        Malformed::Opcode(_) => Rcode::NotImp,
        _ => Rcode::FormErr,
    };
    if header.is_response() {
        return false;
    }
    let flags = 0x8000 | (header.flags & 0x7900) | rcode as u16;
    out.extend_from_slice(&header.id.to_be_bytes());
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    true
}

/// The options of an OPT record. Unknown ones are skipped (RFC 6891 section 6.1.2).
fn parse_opt(record: &RawRecord<'_>) -> Result<Edns, Malformed> {
    let mut client_subnet = None;
    let mut rest = record.data;
    while !rest.is_empty() {
        let [code_high, code_low, length_high, length_low, tail @ ..] = rest else {
            return Err(Malformed::Edns);
        };
        let code = u16::from_be_bytes([*code_high, *code_low]);
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
        let (data, tail) = tail.split_at_checked(length).ok_or(Malformed::Edns)?;
        if code == OPTION_CLIENT_SUBNET {
            client_subnet = Some(ClientSubnet::parse(data)?);
        }
        rest = tail;
    }
    Ok(Edns { udp_size: record.class, client_subnet })
}

/// The header of a message.
pub(crate) struct Header {
    pub(crate) id: u16,
    pub(crate) flags: u16,
    /// QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT.
    pub(crate) counts: [u16; 4],
}

impl Header {
    pub(crate) fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let octets = message.first_chunk::<HEADER_OCTETS>().ok_or(Malformed::Short)?;
        let word = |i: usize| u16::from_be_bytes([octets[i * 2], octets[i * 2 + 1]]);
        Ok(Self { id: word(0), flags: word(1), counts: [word(2), word(3), word(4), word(5)] })
    }

    pub(crate) fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    fn opcode(&self) -> u8 {
        (self.flags >> 11) as u8 & 0x0F
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.flags & 0x0200 != 0
    }

    pub(crate) fn rcode(&self) -> u8 {
        self.flags as u8 & 0x0F
    }
}

/// A record whose data is not interpreted.
pub(crate) struct RawRecord<'a> {
    pub(crate) owner: Name,
    pub(crate) record_type: RecordType,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) data: &'a [u8],
    /// Where `data` starts in the message, for compressed names in it.
    pub(crate) data_offset: usize,
}

/// Reads questions and records one after the other.
pub(crate) struct Walk<'a> {
    pub(crate) message: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn question(&mut self) -> Result<(Name, RecordType, u16), Malformed> {
        let (name, at) = Name::parse(self.message, self.at)?;
        self.at = at;
        Ok((name, RecordType(self.word()?), self.word()?))
    }

    pub(crate) fn record(&mut self) -> Result<RawRecord<'a>, Malformed> {
        let (owner, at) = Name::parse(self.message, self.at)?;
        self.at = at;
        let record_type = RecordType(self.word()?);
        let class = self.word()?;
        let ttl = u32::from(self.word()?) << 16 | u32::from(self.word()?);
        let length = usize::from(self.word()?);
        let data_offset = self.at;
        let end = data_offset + length;
        let data = self.message.get(data_offset..end).ok_or(Malformed::Short)?;
        self.at = end;
        Ok(RawRecord { owner, record_type, class, ttl, data, data_offset })
    }

    fn word(&mut self) -> Result<u16, Malformed> {
        let octets = self.message.get(self.at..self.at + 2).ok_or(Malformed::Short)?;
        self.at += 2;
        Ok(u16::from_be_bytes([octets[0], octets[1]]))
    }
}
