//! DNS: from the octets of a message to those of its answer, read back by a
//! library that had no part in writing them.

use domain::base::Message;
use domain::rdata::AllRecordData;

use dns::{
    Chased, DnsOptions, Exchange, Lookup, MessageBuffer, Name, Outcome, Plan, QueryRows, Request,
    ReverseTarget, Rows, Transport, Via, Zones, answer_malformed, judge_reply, plan,
};
use types::GoDuration;

use super::catalog_rows::instances;

/// Labels in wire form.
pub(super) const WORDS: &[&str] = &[
    "\u{3}web",
    "\u{7}service",
    "\u{4}node",
    "\u{6}consul",
    "\u{0}",
    "\u{3}dc1",
    "\u{5}query",
    "\u{4}addr",
    "\u{8}0a000001",
    "\u{4}_web",
    "\u{4}_tcp",
    "\u{4}arpa",
    "\u{7}in-addr",
    "\u{3}ip6",
    "\u{7}virtual",
    "\u{7}connect",
    "\u{7}ingress",
    "\u{4}peer",
    "\u{2}n1",
    "\u{0}\u{0}\u{1}\u{0}\u{1}",
    "\u{0}\u{0}!\u{0}\u{1}",
    "\u{0}\u{0}\u{10}\u{0}\u{1}",
];

/// Checks one message.
pub(super) fn check(input: &[u8]) {
    for zones in zones() {
        respond(zones, input);
    }
    if let Some((first, second)) = input.split_at_checked(input.len() / 2) {
        let _ = judge_reply(first, second);
        let _ = judge_reply(input, input);
    }
}

fn zones() -> &'static [Zones; 2] {
    static ZONES: std::sync::OnceLock<[Zones; 2]> = std::sync::OnceLock::new();
    ZONES.get_or_init(|| {
        let usual = DnsOptions::default();
        let unusual = DnsOptions {
            alt_domain: "other.example".to_owned(),
            has_recursors: true,
            enable_truncate: true,
            disable_compression: true,
            a_record_limit: 2,
            udp_answer_limit: 0,
            node_ttl: GoDuration::from_secs(-1),
            ..DnsOptions::default()
        };
        [usual, unusual].map(|options| Zones::new(options).expect("the options are sound"))
    })
}

fn respond(zones: &Zones, message: &[u8]) {
    let request = match Request::parse(message) {
        Ok(request) => request,
        Err(fault) => {
            let mut out = Vec::new();
            let answered = answer_malformed(message, fault, &mut out);
            assert_eq!(answered, out.len() == 12, "a header, or nothing");
            return;
        }
    };
    for transport in [Transport::Udp, Transport::Tcp] {
        let first = answer(zones, &request, transport, message);
        let second = answer(zones, &request, transport, message);
        assert_eq!(first, second, "the same question and seed have one answer");
    }
}

fn answer(zones: &Zones, request: &Request, transport: Transport, noise: &[u8]) -> Vec<u8> {
    let plan = plan(request, zones);
    let exchange = Exchange {
        zones,
        request,
        plan: &plan,
        transport,
        now_unix_seconds: 1_800_000_000,
        seed: 7,
    };
    let mut out = MessageBuffer::new();
    let mut chased = Chased::new();
    for _ in 0..2 {
        match exchange.answer(rows(&plan), &chased, &mut out) {
            Outcome::Complete(_) => {
                read_back(request, out.as_bytes(), transport);
                return out.as_bytes().to_vec();
            }
            Outcome::Recurse => {
                exchange.recursion_failed(&mut out);
                read_back(request, out.as_bytes(), transport);
                return out.as_bytes().to_vec();
            }
            Outcome::NeedsCname(targets) => {
                assert!(targets.len() <= dns::TARGETS_MAX, "{} names", targets.len());
                for (number, target) in targets.iter().enumerate() {
                    let reply = match target.via {
                        Via::Internal if request.nesting < dns::NESTING_MAX => {
                            let inner = target.internal_request(request);
                            answer(zones, &inner, Transport::Tcp, noise)
                        }
                        _ if number % 2 == 0 => noise.to_vec(),
                        _ => target.recursor_query(9),
                    };
                    // A reply that cannot be read counts as none.
                    let _ = chased.insert_reply(target, &reply);
                }
            }
        }
    }
    panic!("host names are asked for twice");
}

fn rows<'a>(plan: &Plan<'a>) -> Rows<'a> {
    let Plan::Lookup(_, lookup) = plan else { return Rows::None };
    let rows = instances();
    match *lookup {
        Lookup::Node { node, .. } => {
            let found = rows.iter().find(|row| row.node.node.as_str().eq_ignore_ascii_case(node));
            Rows::Node(found.map(|row| &*row.node))
        }
        Lookup::Service { service: "down", .. } => Rows::Failed,
        Lookup::Service { service: "far", .. } => Rows::UnknownDatacenter,
        Lookup::Virtual { service, .. } => {
            Rows::Virtual((service == "web").then(|| [240, 0, 0, 1].into()))
        }
        Lookup::Reverse(ip) if ip.is_ipv4() => {
            Rows::Reverse(Some(ReverseTarget::Node("n\u{fc}.x")))
        }
        Lookup::Reverse(_) => Rows::Reverse(Some(ReverseTarget::Service("web"))),
        Lookup::Query { name, .. } => Rows::Query(QueryRows {
            instances: rows,
            service: "web",
            ttl: (name == "q").then_some(5),
        }),
        Lookup::Servers => Rows::Instances(&rows[..2]),
        _ => Rows::Instances(rows),
    }
}

fn read_back(request: &Request, reply: &[u8], transport: Transport) {
    let udp_size = request.edns.as_ref().map_or(512, |edns| usize::from(edns.udp_size).max(512));
    let most = if transport == Transport::Udp { udp_size } else { 65_535 };
    let message = Message::from_octets(reply).expect("a whole header");
    // One answer is sent whatever its size (`reference/dns.md` section 8).
    let is_cut = message.header_counts().ancount() > 1;
    let most = if is_cut { most } else { 65_535 };
    assert!(reply.len() <= most, "{} octets for a client that takes {most}", reply.len());
    assert_eq!(message.header().id(), request.id);
    assert!(message.header().qr());
    let (_, answers, authority, additional) = message.sections().expect("readable sections");
    for section in [answers, authority, additional] {
        for record in section.limit_to::<AllRecordData<_, _>>() {
            record.expect("a readable record");
        }
    }
}

/// Questions of every kind.
pub(super) fn made() -> Vec<Vec<u8>> {
    let names = [
        ("web.service.consul", 1),
        ("web.service.consul", 33),
        ("_web._tcp.service.consul", 33),
        ("v1.web.service.dc1.consul", 255),
        ("n1.node.consul", 28),
        ("N6.Host.node.dc1.dc.consul", 16),
        ("0a000001.addr.consul", 1),
        ("q.query.consul", 1),
        ("web.virtual.consul", 1),
        ("web.connect.consul", 33),
        ("web.ingress.consul", 1),
        ("consul", 6),
        ("consul", 2),
        ("1.0.0.10.in-addr.arpa", 12),
        ("web.service.other.example", 33),
        ("example.org", 1),
        ("consul", 252),
        ("host.node.consul", 1),
        ("inner.node.consul", 1),
        ("down.service.consul", 1),
    ];
    let questions = names.iter().enumerate().map(|(number, (name, record_type))| {
        let additional = u16::from(number % 2 == 0);
        let mut message = Vec::new();
        for word in [number as u16, 0x0100, 1, 0, 0, additional] {
            message.extend_from_slice(&word.to_be_bytes());
        }
        let name = Name::from_text(name).expect("a name");
        message.extend_from_slice(name.as_wire());
        message.extend_from_slice(&u16::to_be_bytes(*record_type));
        message.extend_from_slice(&[0, 1]);
        if additional == 1 {
            // OPT with 1,232 octets and a client subnet of 24 bits.
            message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 11]);
            message.extend_from_slice(&[0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2]);
        }
        message
    });
    questions.collect()
}
