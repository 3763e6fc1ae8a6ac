//! The lines that the DNS server logs (`reference/telemetry.md` section 4).

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use dns::{Question, Report};
use types::GoDuration;

use super::answerer::Client;
use super::listen::Network;
use super::source::LookupError;

pub(super) fn started(address: SocketAddr, network: Network) {
    tracing::info!(target: "agent", %address, %network, "Started DNS server");
}

pub(super) fn stopping(address: SocketAddr, network: Network) {
    tracing::info!(target: "agent.dns", protocol = "DNS", %address, %network, "Stopping server");
}

pub(super) fn recursors_switched(enabled: bool) {
    match enabled {
        true => tracing::debug!(target: "agent.dns", "recursor enabled"),
        false => tracing::debug!(target: "agent.dns", "recursor disabled"),
    }
}

/// Whether anybody is going to see [`served`].
pub(super) fn wants_served() -> bool {
    tracing::enabled!(target: "agent.dns", tracing::Level::DEBUG)
}

pub(super) fn served(question: &Question, client: Client, elapsed: Duration) {
    tracing::debug!(
        target: "agent.dns",
        name = %question.name,
        "type" = %question.record_type,
        class = %Class(question.class),
        latency = %GoDuration::from(elapsed),
        client = %client.address,
        client_network = %client.network(),
        "request served from client"
    );
}

/// What an answer had to say beside its octets.
pub(super) fn reported(report: &Report, question: Option<&Question>, network: Network) {
    let Some(question) = question else { return };
    for node in &report.skipped_name_servers {
        tracing::warn!(target: "agent.dns", node = %node, "Skipping invalid node for NS records");
    }
    if report.nesting_exceeded {
        tracing::error!(
            target: "agent.dns",
            name = %question.name,
            "Infinite recursion detected for name, won't perform any CNAME resolution."
        );
    }
    if let Some(cut) = report.truncated {
        tracing::debug!(
            target: "agent.dns",
            protocol = %network,
            question = %GoQuestion(question),
            records = %format_args!("{}/{}", cut.kept, cut.total),
            size = cut.size,
            "DNS response too large, truncated"
        );
    }
}

pub(super) fn invalid_name(question: &Question) {
    tracing::warn!(target: "agent.dns", qname = %question.name, "QName invalid");
}

pub(super) fn lookup_failed(error: &LookupError, question: Option<&Question>) {
    if let (LookupError::Failed(error), Some(question)) = (error, question) {
        tracing::error!(target: "agent.dns", name = %question.name, error = %error, "rpc error");
    }
}

pub(super) fn recursor_refused(question: &Question, recursor: SocketAddr, rcode: u8) {
    tracing::debug!(
        target: "agent.dns",
        question = %GoQuestion(question),
        %recursor,
        rcode = %RcodeName(rcode),
        "recurse failed for question"
    );
}

pub(super) fn recursor_failed(recursor: SocketAddr, error: &dyn fmt::Display) {
    tracing::error!(target: "agent.dns", %recursor, %error, "recurse failed");
}

pub(super) fn all_recursors_failed(question: &Question, client: Client) {
    tracing::error!(
        target: "agent.dns",
        question = %GoQuestion(question),
        client = %client.address,
        client_network = %client.network(),
        "all resolvers failed for question from client"
    );
}

pub(super) fn chase_failed(question: &Question) {
    tracing::error!(target: "agent.dns", name = %question.name, "all resolvers failed for FQDN");
}

pub(super) fn overloaded(client: Client) {
    tracing::debug!(
        target: "agent.dns",
        client = %client.address,
        client_network = %client.network(),
        "too many questions wait for an answer, refusing one more"
    );
}

/// A question as Go prints the struct: `{www.example.org. 1 1}`.
struct GoQuestion<'a>(&'a Question);

impl fmt::Display for GoQuestion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Question { name, record_type, class, .. } = self.0;
        write!(f, "{{{name} {} {class}}}", record_type.0)
    }
}

/// QCLASS by its mnemonic (RFC 1035 section 3.2.4, RFC 2136 section 2.4), or
/// `CLASS99` (RFC 3597 section 5).
struct Class(u16);

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "IN",
            2 => "CS",
            3 => "CH",
            4 => "HS",
            254 => "NONE",
            255 => "ANY",
            number => return write!(f, "CLASS{number}"),
        })
    }
}

/// RCODE by its mnemonic (RFC 1035 section 4.1.1, RFC 2136 section 2.2).
struct RcodeName(u8);

impl fmt::Display for RcodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "NOERROR",
            1 => "FORMERR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            4 => "NOTIMP",
            5 => "REFUSED",
            6 => "YXDOMAIN",
            7 => "YXRRSET",
            8 => "NXRRSET",
            9 => "NOTAUTH",
            10 => "NOTZONE",
            number => return write!(f, "RCODE{number}"),
        })
    }
}
