//! What a question is about: the zones and the name grammar of
//! `reference/dns.md` sections 1 and 2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::options::{ZoneId, Zones};
use crate::record_type::RecordType;
use crate::request::{Question, Request};
use crate::reverse::reverse_address;

/// What has to happen to answer a request. Borrows its names from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan<'a> {
    /// No served zone, or no question: REFUSED.
    Refused,
    /// Outside the own domains: hand the message to the recursors.
    Recurse,
    /// Zone transfer: NOTIMP.
    NotImplemented(ZoneId),
    /// The name follows no form: NXDOMAIN. Consul logs `QName invalid: qname=…`.
    Invalid(ZoneId),
    /// The name itself encodes the address (`.addr`).
    Address(ZoneId, IpAddr),
    /// Rows of the catalog are needed.
    Lookup(ZoneId, Lookup<'a>),
}

/// Rows to fetch. All names are lower-case; compare them without case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// A node by name.
    Node {
        /// The node.
        node: &'a str,
        /// Where.
        locality: Locality<'a>,
    },
    /// Instances of a service. The answer leaves out unhealthy ones itself.
    Service {
        /// The service.
        service: &'a str,
        /// Only instances with this tag.
        tag: Option<&'a str>,
        /// Where.
        locality: Locality<'a>,
    },
    /// Mesh-capable endpoints of a service: its proxies and native instances.
    Connect {
        /// The service.
        service: &'a str,
        /// Where.
        locality: Locality<'a>,
    },
    /// Ingress gateways that expose a service.
    Ingress {
        /// The service.
        service: &'a str,
        /// Where.
        locality: Locality<'a>,
    },
    /// The virtual IP of a service; a bare locality label is a peer here.
    Virtual {
        /// The service.
        service: &'a str,
        /// Where.
        locality: Locality<'a>,
    },
    /// Execution of a prepared query.
    Query {
        /// Name or id.
        name: &'a str,
        /// The datacenter to execute in; `None` for the local one.
        datacenter: Option<&'a str>,
    },
    /// Instances of service `consul` in the local datacenter, for SOA and NS.
    Servers,
    /// The node or service with an address, local datacenter only.
    Reverse(IpAddr),
}

/// The right part of a name: where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locality<'a> {
    /// Not given: the local datacenter.
    Local,
    /// A datacenter.
    Datacenter(&'a str),
    /// A cluster peer.
    Peer(&'a str),
}

/// Decides what a request needs. Pure: same request and options, same plan.
pub fn plan<'a>(request: &'a Request, zones: &Zones) -> Plan<'a> {
    let Some(question) = &request.question else { return Plan::Refused };
    // DS belongs to the parent of the zone it is about (RFC 4035 section 3.1.4.1);
    // with recursors every zone has the root for a parent.
    if question.record_type == RecordType::DS && zones.options.has_recursors {
        return Plan::Recurse;
    }
    if let Some(zone) = zones.own_zone(&question.name) {
        return plan_zone(question, zone, zones);
    }
    let recursors = zones.options.has_recursors;
    if question.name.is_within(&zones.arpa) {
        return match reverse_address(&question.text) {
            Some(ip) => Plan::Lookup(ZoneId::Domain, Lookup::Reverse(ip)),
            None if recursors => Plan::Recurse,
            None => Plan::Invalid(ZoneId::Domain),
        };
    }
    if recursors { Plan::Recurse } else { Plan::Refused }
}

/// The text of a question left of the zone it lies in.
fn below_zone<'a>(question: &'a Question, zone: ZoneId, zones: &Zones) -> &'a str {
    let end = question.text.len() - zones.zone(zone).text_octets;
    question.text[..end].strip_suffix('.').unwrap_or(&question.text[..end])
}

fn plan_zone<'a>(question: &'a Question, zone: ZoneId, zones: &Zones) -> Plan<'a> {
    match question.record_type {
        RecordType::SOA | RecordType::NS => return Plan::Lookup(zone, Lookup::Servers),
        RecordType::AXFR => return Plan::NotImplemented(zone),
        _ => {}
    }
    let text = below_zone(question, zone, zones);
    let srv = question.record_type == RecordType::SRV;
    let Some((kind, subject, place)) = split_at_kind(text, srv) else {
        return Plan::Invalid(zone);
    };
    if subject.is_empty() || subject.split('.').any(str::is_empty) {
        return Plan::Invalid(zone);
    }
    let planned = match kind {
        Kind::Address => return plan_address(zone, subject),
        Kind::Query => plan_query(subject, place),
        _ => plan_located(kind, subject, place),
    };
    planned.map_or(Plan::Invalid(zone), |lookup| Plan::Lookup(zone, lookup))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Service,
    Connect,
    Virtual,
    Ingress,
    Node,
    Query,
    Address,
}

impl Kind {
    fn of(label: &str) -> Option<Self> {
        match label {
            "service" => Some(Kind::Service),
            "connect" => Some(Kind::Connect),
            "virtual" => Some(Kind::Virtual),
            "ingress" => Some(Kind::Ingress),
            "node" => Some(Kind::Node),
            "query" => Some(Kind::Query),
            "addr" => Some(Kind::Address),
            _ => None,
        }
    }
}

/// Scans the labels right to left for the first kind. With `srv`, a label that
/// starts with `_` met earlier means `service` and belongs to the subject.
fn split_at_kind(text: &str, srv: bool) -> Option<(Kind, &str, &str)> {
    let mut end = text.len();
    loop {
        let start = text[..end].rfind('.').map_or(0, |dot| dot + 1);
        let label = &text[start..end];
        let place = text.get(end + 1..).unwrap_or("");
        if let Some(kind) = Kind::of(label) {
            return Some((kind, &text[..start.saturating_sub(1)], place));
        }
        if srv && label.starts_with('_') {
            return Some((Kind::Service, &text[..end], place));
        }
        if start == 0 {
            return None;
        }
        end = start - 1;
    }
}

fn plan_located<'a>(kind: Kind, subject: &'a str, place: &'a str) -> Option<Lookup<'a>> {
    let locality = parse_locality(place, kind == Kind::Virtual)?;
    let (left, service) = match subject.rsplit_once('.') {
        Some((left, service)) => (Some(left), service),
        None => (None, subject),
    };
    Some(match kind {
        Kind::Node => Lookup::Node { node: subject, locality },
        Kind::Connect => Lookup::Connect { service, locality },
        Kind::Ingress => Lookup::Ingress { service, locality },
        Kind::Virtual => Lookup::Virtual { service, locality },
        _ => {
            let (service, tag) = match rfc2782(left, service) {
                Some((service, "tcp")) => (service, None),
                Some((service, tag)) => (service, Some(tag)),
                None => (service, left),
            };
            Lookup::Service { service, tag, locality }
        }
    })
}

/// `_service._proto`: exactly two labels, both starting with `_` (RFC 2782).
fn rfc2782<'a>(left: Option<&'a str>, right: &'a str) -> Option<(&'a str, &'a str)> {
    let service = left?.strip_prefix('_').filter(|service| !service.contains('.'))?;
    Some((service, right.strip_prefix('_')?)).filter(|(service, _)| !service.is_empty())
}

fn parse_locality(place: &str, bare_is_peer: bool) -> Option<Locality<'_>> {
    let mut labels = place.split('.');
    match (labels.next().filter(|label| !label.is_empty()), labels.next(), labels.next()) {
        (None, None, _) => Some(Locality::Local),
        (Some(peer), None, _) if bare_is_peer => Some(Locality::Peer(peer)),
        (Some(datacenter), None, _) => Some(Locality::Datacenter(datacenter)),
        (Some(datacenter), Some("dc"), None) => Some(Locality::Datacenter(datacenter)),
        (Some(peer), Some("peer"), None) => Some(Locality::Peer(peer)),
        _ => None,
    }
}

/// `name.query` or `_name._tcp.query`, with at most a datacenter at its right.
fn plan_query<'a>(subject: &'a str, place: &'a str) -> Option<Lookup<'a>> {
    if place.contains('.') {
        return None;
    }
    let datacenter = Some(place).filter(|place| !place.is_empty());
    let name = match subject.rsplit_once('.') {
        Some((left, last)) if left.starts_with('_') && last.starts_with('_') => &left[1..],
        _ => subject,
    };
    (!name.is_empty()).then_some(Lookup::Query { name, datacenter })
}

/// 8 hex digits are an IPv4 address, 32 an IPv6 address.
fn plan_address(zone: ZoneId, label: &str) -> Plan<'_> {
    if !label.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return Plan::Invalid(zone);
    }
    let ip = match label.len() {
        8 => u32::from_str_radix(label, 16).ok().map(|bits| Ipv4Addr::from(bits).into()),
        32 => u128::from_str_radix(label, 16).ok().map(|bits| Ipv6Addr::from(bits).into()),
        _ => None,
    };
    ip.map_or(Plan::Invalid(zone), |ip| Plan::Address(zone, ip))
}
