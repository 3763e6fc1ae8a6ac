//! Names that are not ours: the part of asking recursors that needs no socket
//! (`reference/dns.md` section 10).
//!
//! The caller sends the client's message unchanged but for the id, over the
//! client's own protocol, to one recursor after the other, each for at most
//! `recursor_timeout`; [`judge_reply`] says whether a reply may be relayed.

use std::net::{IpAddr, SocketAddr};

use crate::name::Name;
use crate::record_type::Rcode;
use crate::request::{HEADER_OCTETS, Header};

/// The port of recursors that do not name one.
pub const RECURSOR_PORT: u16 = 53;

/// In what order recursors are asked (`recursor_strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecursorStrategy {
    /// As configured.
    #[default]
    Sequential,
    /// A random permutation for each question.
    Random,
}

impl RecursorStrategy {
    /// Reads the configured text; empty is the default.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "sequential" => Some(RecursorStrategy::Sequential),
            "random" => Some(RecursorStrategy::Random),
            _ => None,
        }
    }

    /// The positions of `count` recursors in the order to ask them.
    pub fn order(self, count: usize, seed: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        if self == RecursorStrategy::Random {
            fastrand::Rng::with_seed(seed).shuffle(&mut order);
        }
        order
    }
}

/// A configured recursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecursorAddress {
    /// Ready to use.
    Socket(SocketAddr),
    /// A host name to resolve when the configuration is loaded, and the port.
    Host(String, u16),
}

impl RecursorAddress {
    /// Reads `ip`, `ip:port`, `[v6]`, `[v6]:port`, `host` or `host:port`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(RecursorAddress::Socket(address));
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Some(RecursorAddress::Socket(SocketAddr::new(ip, RECURSOR_PORT)));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, RECURSOR_PORT),
        };
        Name::from_text(host).filter(|name| !name.is_root())?;
        Some(RecursorAddress::Host(host.to_owned(), port))
    }
}

/// What to do with what a recursor sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Give it to the client as it is.
    Relay,
    /// Ask the next recursor; the code is for the log line
    /// `recurse failed for question … rcode=…`.
    TryNext {
        /// The RCODE of the reply.
        rcode: u8,
    },
    /// Not a reply to this question (late, forged or broken): keep waiting.
    Ignore,
}

/// Judges a reply to the message `query` as it was sent: NOERROR and NXDOMAIN
/// are relayed, truncated replies whatever they say.
pub fn judge_reply(query: &[u8], reply: &[u8]) -> Verdict {
    let (Ok(asked), Ok(header)) = (Header::parse(query), Header::parse(reply)) else {
        return Verdict::Ignore;
    };
    if !header.is_response() || header.id != asked.id {
        return Verdict::Ignore;
    }
    // Some servers leave the question out of refusals; a different one is not ours.
    if header.counts[0] > 0 && !same_question(query, reply) {
        return Verdict::Ignore;
    }
    let rcode = header.rcode();
    let good = rcode == Rcode::NoError as u8 || rcode == Rcode::NxDomain as u8;
    if good || header.is_truncated() { Verdict::Relay } else { Verdict::TryNext { rcode } }
}

fn same_question(query: &[u8], reply: &[u8]) -> bool {
    let parsed = (Name::parse(query, HEADER_OCTETS), Name::parse(reply, HEADER_OCTETS));
    let (Ok((asked, asked_end)), Ok((replied, replied_end))) = parsed else { return false };
    let kind = |message: &[u8], at: usize| message.get(at..at + 4).map(<[u8]>::to_vec);
    asked == replied && kind(query, asked_end) == kind(reply, replied_end)
}

/// Puts another id into a message. Recursors get an id of their own, so that
/// nobody can guess it from the client's; the reply gets the client's back.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(head) = message.get_mut(..2) {
        head.copy_from_slice(&id.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(text: &str) -> Option<RecursorAddress> {
        Some(RecursorAddress::Socket(text.parse().expect("a socket address")))
    }

    fn message(id: u16, flags: u16, name: &str) -> Vec<u8> {
        let mut message = Vec::new();
        for word in [id, flags, 1, 0, 0, 0] {
            message.extend_from_slice(&word.to_be_bytes());
        }
        message.extend_from_slice(Name::from_text(name).expect("a name").as_wire());
        message.extend_from_slice(&[0, 1, 0, 1]);
        message
    }

    #[test]
    fn recursor_addresses_default_to_port_53() {
        let host = |name: &str, port| Some(RecursorAddress::Host(name.to_owned(), port));
        let cases = [
            ("192.0.2.1", socket("192.0.2.1:53")),
            ("192.0.2.1:5353", socket("192.0.2.1:5353")),
            ("2001:db8::1", socket("[2001:db8::1]:53")),
            ("[2001:db8::1]", socket("[2001:db8::1]:53")),
            ("[2001:db8::1]:5353", socket("[2001:db8::1]:5353")),
            ("dns.example.org", host("dns.example.org", 53)),
            ("dns.example.org:99", host("dns.example.org", 99)),
            ("dns.example.org:x", None),
            ("", None),
            ("a..b", None),
        ];
        for (text, expected) in cases {
            assert_eq!(RecursorAddress::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn random_order_asks_every_recursor_once() {
        assert_eq!(RecursorStrategy::Sequential.order(3, 7), [0, 1, 2]);
        let mut order = RecursorStrategy::Random.order(9, 7);
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn only_good_or_truncated_replies_to_the_same_question_are_relayed() {
        let query = message(7, 0x0100, "www.example.org");
        let cases = [
            (message(7, 0x8180, "WWW.example.org"), Verdict::Relay),
            (message(7, 0x8183, "www.example.org"), Verdict::Relay),
            (message(7, 0x8182, "www.example.org"), Verdict::TryNext { rcode: 2 }),
            (message(7, 0x8185, "www.example.org"), Verdict::TryNext { rcode: 5 }),
            (message(7, 0x8382, "www.example.org"), Verdict::Relay),
            (message(8, 0x8180, "www.example.org"), Verdict::Ignore),
            (message(7, 0x0100, "www.example.org"), Verdict::Ignore),
            (message(7, 0x8180, "evil.example.org"), Verdict::Ignore),
            (vec![0; 5], Verdict::Ignore),
        ];
        for (reply, verdict) in cases {
            assert_eq!(judge_reply(&query, &reply), verdict, "{reply:?}");
        }
    }
}
