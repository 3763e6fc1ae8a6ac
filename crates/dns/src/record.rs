//! Records of an answer before they are written. They borrow every text from
//! the catalog rows and from the question; names are put together when written.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::name::Name;
use crate::options::{SoaOptions, ZoneId, Zones};
use crate::record_type::RecordType;

/// One record of a section.
#[derive(Clone, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) owner: NameRef<'a>,
    pub(crate) ttl: u32,
    pub(crate) data: Data<'a>,
}

/// What a record says.
#[derive(Clone, Debug)]
pub(crate) enum Data<'a> {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(NameRef<'a>),
    Ns(NameRef<'a>),
    Ptr(NameRef<'a>),
    Srv(Srv<'a>),
    /// Key and value of node metadata.
    Txt(&'a str, &'a str),
    Soa {
        zone: ZoneId,
        serial: u32,
        numbers: SoaOptions,
    },
}

/// The data of an SRV record; its priority is always 1.
#[derive(Clone, Debug)]
pub(crate) struct Srv<'a> {
    pub(crate) weight: u16,
    pub(crate) port: u16,
    pub(crate) target: NameRef<'a>,
    /// The records that were added to Additional for this target.
    pub(crate) glue: (u32, u32),
}

impl Data<'_> {
    pub(crate) fn address(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Data::A(ip),
            IpAddr::V6(ip) => Data::Aaaa(ip),
        }
    }

    pub(crate) fn record_type(&self) -> RecordType {
        match self {
            Data::A(_) => RecordType::A,
            Data::Aaaa(_) => RecordType::AAAA,
            Data::Cname(_) => RecordType::CNAME,
            Data::Ns(_) => RecordType::NS,
            Data::Ptr(_) => RecordType::PTR,
            Data::Srv(_) => RecordType::SRV,
            Data::Txt(..) => RecordType::TXT,
            Data::Soa { .. } => RecordType::SOA,
        }
    }

    /// Whether a trimmed answer keeps the record in Additional.
    pub(crate) fn is_glue(&self) -> bool {
        matches!(self, Data::A(_) | Data::Aaaa(_) | Data::Cname(_))
    }
}

/// A name that an answer contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NameRef<'a> {
    /// The question's name in its own spelling.
    Question,
    /// The question's name in lower case.
    QuestionLower,
    /// A domain itself.
    Zone(ZoneId),
    /// A label in front of a domain: `ns.consul`.
    InZone(&'static str, ZoneId),
    /// `<node>.node.<place>.<domain>`.
    Node(&'a str, Place<'a>, ZoneId),
    /// The same, in lower case.
    NodeLower(&'a str, Place<'a>, ZoneId),
    /// `<service>.service.<place>.<domain>`.
    Service(&'a str, Place<'a>, ZoneId),
    /// `<hex>.addr.<dc>.<domain>`; no datacenter for peers.
    Address(IpAddr, Place<'a>, ZoneId),
    /// A host name from the catalog.
    Host(&'a str),
    /// A name from another message, uncompressed.
    Wire(&'a Name),
}

/// The locality of generated names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place<'a> {
    Datacenter(&'a str),
    Peer(&'a str),
}

impl NameRef<'_> {
    /// Puts the name together. `None` when the catalog's text makes no valid
    /// name; such a record is left out.
    pub(crate) fn compose(&self, question: &Name, zones: &Zones) -> Option<Name> {
        let mut name = Name::root();
        let zone = match *self {
            NameRef::Question => return Some(question.clone()),
            NameRef::QuestionLower => return Some(question.to_lowercase()),
            NameRef::Host(text) => return Name::from_text(text),
            NameRef::Wire(wire) => return Some(wire.clone()),
            NameRef::Zone(zone) => return Some(zones.zone(zone).name.clone()),
            NameRef::InZone(label, zone) => {
                name.push_label(label.as_bytes())?;
                zone
            }
            NameRef::Node(node, place, zone) => {
                name.push_text(node)?;
                name.push_label(b"node")?;
                place.push_to(&mut name)?;
                zone
            }
            NameRef::NodeLower(node, place, zone) => {
                let lower = NameRef::Node(node, place, zone).compose(question, zones)?;
                return Some(lower.to_lowercase());
            }
            NameRef::Service(service, place, zone) => {
                name.push_text(service)?;
                name.push_label(b"service")?;
                place.push_to(&mut name)?;
                zone
            }
            NameRef::Address(ip, place, zone) => {
                let mut label = HexLabel::default();
                // Always fits: 32 digits at most.
                let _ = match ip {
                    IpAddr::V4(ip) => write!(label, "{:08x}", ip.to_bits()),
                    IpAddr::V6(ip) => write!(label, "{:032x}", ip.to_bits()),
                };
                name.push_label(&label.octets[..label.length])?;
                name.push_label(b"addr")?;
                if let Place::Datacenter(_) = place {
                    place.push_to(&mut name)?;
                }
                zone
            }
        };
        name.push_name(&zones.zone(zone).name)?;
        Some(name)
    }
}

impl Place<'_> {
    fn push_to(self, name: &mut Name) -> Option<()> {
        match self {
            Place::Datacenter(datacenter) => name.push_label(datacenter.as_bytes()),
            Place::Peer(peer) => {
                name.push_label(peer.as_bytes())?;
                name.push_label(b"peer")
            }
        }
    }
}

/// Room for the hex digits of an address.
#[derive(Default)]
struct HexLabel {
    octets: [u8; 32],
    length: usize,
}

impl std::fmt::Write for HexLabel {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let room = self.octets.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
