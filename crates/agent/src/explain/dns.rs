//! How a DNS name is read, and what is answered to it. The question goes through the
//! very machine that serves the sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ::dns::{Locality, Lookup, Name, Plan, RecordType, Transport};
use domain::base::Message;
use domain::base::iana::Rtype;
use domain::rdata::AllRecordData;
use types::explain::{Explanation, Finding};

use super::words::count;
use crate::dns_server::{Answerer, Client};

/// Most records of an answer that are told.
const RECORDS_TOLD_MAX: usize = 20;
/// What a resolver of today says it takes over UDP (RFC 9715).
const UDP_SIZE: u16 = 1232;

/// What may be asked for by its mnemonic.
const TYPES: &[RecordType] = &[
    RecordType::A,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::TXT,
    RecordType::CNAME,
    RecordType::NS,
    RecordType::SOA,
    RecordType::PTR,
    RecordType::MX,
    RecordType::NAPTR,
    RecordType::DS,
    RecordType::ANY,
];

/// The record type of that mnemonic, in any case.
pub(super) fn record_type(text: &str) -> Option<RecordType> {
    TYPES.iter().copied().find(|known| known.to_string().eq_ignore_ascii_case(text))
}

/// The mnemonics, for people.
pub(super) fn known_types() -> String {
    let names: Vec<String> = TYPES.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// A question and its answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The name that was asked for.
    pub(super) name: String,
    /// The type.
    pub(super) record_type: RecordType,
    /// `NOERROR`, `NXDOMAIN`, …
    pub(super) rcode: String,
    /// Whether the answer says that it was cut.
    pub(super) truncated: bool,
    /// The records of the answer section, one line each.
    pub(super) records: Vec<String>,
}

impl Asked {
    /// The answer in a sentence.
    pub(super) fn sentence(&self) -> String {
        let Self { name, record_type, rcode, .. } = self;
        let cut = if self.truncated { ", cut to what UDP carries" } else { "" };
        format!(
            "{name} {record_type} is answered with {rcode} and {}{cut}.",
            count(self.records.len(), "record")
        )
    }

    /// The records, as many as a person reads.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.records.iter().take(RECORDS_TOLD_MAX).cloned().collect();
        if self.records.len() > lines.len() {
            lines.push(format!("and {} more", self.records.len() - lines.len()));
        }
        lines
    }
}

/// Asks over UDP as a resolver of today does; `None` for what is no domain name.
pub(super) async fn ask(
    answerer: &Arc<Answerer>,
    name: &str,
    record_type: RecordType,
) -> Option<Asked> {
    let message = question(&Name::from_text(name)?, record_type);
    let address = SocketAddr::from((IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
    let client = Client { address, transport: Transport::Udp };
    let reply = answerer.answer(&message, client).await?;
    read(name, record_type, &reply)
}

/// A question with an EDNS record (RFC 1035 section 4.1, RFC 6891 section 6.1).
pub(super) fn question(name: &Name, record_type: RecordType) -> Vec<u8> {
    let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    message.extend_from_slice(name.as_wire());
    message.extend_from_slice(&record_type.0.to_be_bytes());
    message.extend_from_slice(&::dns::CLASS_IN.to_be_bytes());
    message.push(0);
    message.extend_from_slice(&RecordType::OPT.0.to_be_bytes());
    message.extend_from_slice(&UDP_SIZE.to_be_bytes());
    message.extend_from_slice(&[0; 6]);
    message
}

fn read(name: &str, record_type: RecordType, reply: &[u8]) -> Option<Asked> {
    let message = Message::from_octets(reply).ok()?;
    let answer = message.answer().ok()?;
    let records = answer
        .limit_to::<AllRecordData<_, _>>()
        .filter_map(Result::ok)
        .filter(|record| record.rtype() != Rtype::OPT)
        .map(|record| {
            let ttl = record.ttl().as_secs();
            format!("{} {ttl} {} {}", record.owner(), record.rtype(), record.data())
        })
        .collect();
    Some(Asked {
        name: name.to_owned(),
        record_type,
        rcode: message.header().rcode().to_string(),
        truncated: message.header().tc(),
        records,
    })
}

/// Tells how a name is read. True if it names a service that has a story of its own.
pub(super) fn reading(plan: &Plan<'_>, about: &Zone<'_>, told: &mut Explanation) {
    let (finding, text) = match plan {
        Plan::Refused => {
            told.advise(format!(
                "Ask for a name below {}, or configure recursors for other names.",
                about.domain
            ));
            (
                Finding::Stop,
                format!(
                    "It is not below {}, and no recursors are configured: such questions are refused.",
                    about.domain
                ),
            )
        }
        Plan::Recurse => (
            Finding::Note,
            format!(
                "It is not below {}: the recursors are asked ({}).",
                about.domain, about.recursors
            ),
        ),
        Plan::NotImplemented(_) => (Finding::Stop, "Zone transfers are not served.".to_owned()),
        Plan::Invalid(_) => {
            told.advise(forms(about));
            (
                Finding::Stop,
                "It follows none of the forms that are known: such names do not exist.".to_owned(),
            )
        }
        Plan::Address(_, ip) => (Finding::Ok, format!("It spells the address {ip}.")),
        Plan::Lookup(_, lookup) => (Finding::Ok, describe(lookup, about)),
    };
    told.step("name", finding, text, Vec::new());
}

/// The zone, for people.
pub(super) struct Zone<'a> {
    /// `consul.`
    pub(super) domain: &'a str,
    /// The datacenter of this agent.
    pub(super) datacenter: &'a str,
    /// The recursors, or `none`.
    pub(super) recursors: String,
}

fn forms(about: &Zone<'_>) -> String {
    let domain = about.domain.trim_end_matches('.');
    format!(
        "Known forms: [TAG.]NAME.service[.DC].{domain}, _NAME._TAG.service.{domain}, NAME.connect.{domain}, NAME.virtual.{domain}, NAME.node[.DC].{domain}, NAME.query[.DC].{domain}, HEX.addr.{domain}."
    )
}

fn describe(lookup: &Lookup<'_>, about: &Zone<'_>) -> String {
    let place = |locality: &Locality<'_>| match locality {
        Locality::Local => format!("in this datacenter ({})", about.datacenter),
        Locality::Datacenter(name) => format!("in datacenter {name:?}"),
        Locality::Peer(name) => format!("imported from the cluster peer {name:?}"),
    };
    match lookup {
        Lookup::Node { node, locality } => {
            format!("It asks for the node {node:?} {}.", place(locality))
        }
        Lookup::Service { service, tag: None, locality } => {
            format!("It asks for instances of service {service:?} {}.", place(locality))
        }
        Lookup::Service { service, tag: Some(tag), locality } => format!(
            "It asks for instances of service {service:?} with the tag {tag:?} {}.",
            place(locality)
        ),
        Lookup::Connect { service, locality } => format!(
            "It asks for what is reached as service {service:?} through the mesh {}.",
            place(locality)
        ),
        Lookup::Ingress { service, locality } => {
            format!("It asks for ingress gateways to service {service:?} {}.", place(locality))
        }
        Lookup::Virtual { service, locality } => {
            format!("It asks for the virtual address of service {service:?} {}.", place(locality))
        }
        Lookup::Query { name, .. } => format!("It executes the prepared query {name:?}."),
        Lookup::Servers => "It asks for the servers of this datacenter.".to_owned(),
        Lookup::Reverse(ip) => format!("It asks who has the address {ip}."),
    }
}

/// What can be wrong with a name below the domain that has no known form.
pub(super) fn diagnose_invalid(text: &str, about: &Zone<'_>, told: &mut Explanation) {
    let domain = about.domain.trim_end_matches('.');
    let Some(left) = text.trim_end_matches('.').strip_suffix(domain) else { return };
    let left = left.trim_end_matches('.');
    if !left.is_empty() && !left.contains('.') {
        told.advise(format!(
            "A kind is missing before {domain}: {left}.service.{domain} for a service, {left}.node.{domain} for a node."
        ));
    } else if left.ends_with(&format!(".{}", about.datacenter)) {
        told.advise(format!(
            "The kind stands left of the datacenter: NAME.service.{}.{domain}.",
            about.datacenter
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_their_mnemonics_in_any_case() {
        assert_eq!(record_type("srv"), Some(RecordType::SRV));
        assert_eq!(record_type("AAAA"), Some(RecordType::AAAA));
        assert_eq!(record_type("HINFO"), None);
    }

    #[test]
    fn a_question_is_read_as_it_was_written() {
        let name = Name::from_text("web.service.consul").expect("a name");
        let message = question(&name, RecordType::SRV);
        let request = ::dns::Request::parse(&message).expect("a question");
        let asked = request.question.expect("one");
        assert_eq!(
            (asked.text.as_str(), asked.record_type),
            ("web.service.consul", RecordType::SRV)
        );
        assert_eq!(request.edns.expect("there").udp_size, UDP_SIZE);
    }

    #[test]
    fn a_name_without_a_kind_is_told_what_is_missing() {
        let about = Zone { domain: "consul.", datacenter: "dc1", recursors: "none".to_owned() };
        let advice = |text: &str| {
            let mut told = Explanation::of("x");
            diagnose_invalid(text, &about, &mut told);
            told.advice.join(" ")
        };
        assert!(advice("web.consul").contains("web.service.consul"));
        assert!(advice("web.service2.dc1.consul").contains("left of the datacenter"));
        assert_eq!(advice("web.example.org"), "");
    }
}
