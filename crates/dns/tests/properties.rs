//! What holds for every input: nothing panics, every answer can be read back,
//! sizes are respected, and the same input gives the same octets.

mod catalog;

use std::net::Ipv4Addr;

use catalog::{Catalog, opt, question};
use dns::{
    CnameTarget, Malformed, Name, Request, Transport, Verdict, Via, answer_malformed, judge_reply,
};
use domain::base::iana::Rtype;
use domain::base::{Message, RecordSection};
use domain::rdata::AllRecordData;
use proptest::prelude::*;

/// A catalog with a little of everything.
fn small_catalog() -> Catalog {
    let mut catalog = Catalog::default();
    let lines = [
        "node n1 10.0.0.1 meta.k=v",
        "node n6 2001:db8::6",
        "node host www.example.net",
        "service n1 web port=80",
        "service n6 web port=81",
        "service host web port=82",
        "service n1 consul port=8300",
        "query q web",
        "virtual web 240.0.0.1",
    ];
    lines.iter().for_each(|line| catalog.apply(line));
    catalog
}

/// The records of a section as text, with their types.
fn read(section: RecordSection<'_, [u8]>) -> Vec<(Rtype, String)> {
    let records = section.limit_to::<AllRecordData<_, _>>();
    let text = records.map(|record| {
        let record = record.expect("a readable record");
        (record.rtype(), format!("{} {}", record.owner(), record.data()))
    });
    text.collect()
}

struct Read {
    answers: Vec<(Rtype, String)>,
    additional: Vec<(Rtype, String)>,
    tc: bool,
}

fn read_back(reply: &[u8]) -> Read {
    let message = Message::from_slice(reply).expect("a whole header");
    let (_, answers, authority, additional) = message.sections().expect("readable sections");
    read(authority);
    let tc = message.header().tc();
    Read { answers: read(answers), additional: read(additional), tc }
}

fn respond(catalog: &Catalog, message: &[u8]) {
    let mut out = Vec::new();
    match Request::parse(message) {
        Ok(request) => {
            for transport in [Transport::Udp, Transport::Tcp] {
                let (reply, report) = catalog.answer(&request, transport, 1);
                if report.is_some() {
                    read_back(&reply);
                }
            }
        }
        Err(fault) => {
            let answered = answer_malformed(message, fault, &mut out);
            assert_eq!(answered, out.len() == 12);
        }
    }
}

/// One of the forms of section 2.1, or anything.
fn any_name() -> impl Strategy<Value = String> {
    let label = prop_oneof![
        proptest::sample::select(vec![
            "web", "n1", "_web", "_tcp", "service", "node", "query", "addr", "virtual", "connect",
            "dc1", "dc", "peer", "q", "0a000001", "consul", "in-addr", "arpa", "1", "10", "WEB",
        ])
        .prop_map(str::to_owned),
        "[a-z0-9_-]{1,12}",
    ];
    let zone = proptest::sample::select(vec!["consul", "in-addr.arpa", "ip6.arpa", "example.org"]);
    (proptest::collection::vec(label, 0..6), zone).prop_map(|(labels, zone)| {
        labels.into_iter().chain([zone.to_owned()]).collect::<Vec<_>>().join(".")
    })
}

/// A service as lines of a dialogue.
fn any_instances() -> impl Strategy<Value = Vec<String>> {
    let instance = (0u32..90, 0u32..4, 0u32..40, 0usize..3, 0usize..60);
    proptest::collection::vec(instance, 1..130).prop_map(|instances| {
        let mut lines = Vec::new();
        for (at, (host, form, port, metas, size)) in instances.into_iter().enumerate() {
            let meta: String =
                (0..metas).map(|key| format!(" meta.k{key}={}", "v".repeat(size))).collect();
            lines.push(format!("node node-{at} {}{meta}", Ipv4Addr::from_bits(0x0A00_0000 + host)));
            let address = match form {
                0 => format!(" address=10.9.0.{host}"),
                1 => format!(" address=2001:db8::{host}"),
                2 if host % 5 == 0 => format!(" address=host-{host}.example.net"),
                _ => String::new(),
            };
            lines.push(format!("service node-{at} web port={port}{address}"));
        }
        lines
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets_are_answered_or_refused_without_panic(
        octets in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        respond(&small_catalog(), &octets);
        // The same behind a header that promises one question and one OPT record.
        let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        message.extend_from_slice(&octets);
        respond(&small_catalog(), &message);
    }

    #[test]
    fn any_name_is_answered_and_can_be_read_back(
        name in any_name(),
        record_type in proptest::sample::select(vec![1u16, 2, 5, 6, 12, 15, 16, 28, 33, 43, 99, 252, 255]),
        recursors in any::<bool>(),
        at in any::<proptest::sample::Index>(),
        flipped in any::<u8>(),
    ) {
        let mut catalog = small_catalog();
        catalog.options.has_recursors = recursors;
        let record = opt(1232, Some(([192, 0, 2, 0], 24)));
        let mut message = question(&name, record_type, 1, true, Some(&record));
        respond(&catalog, &message);
        // One octet changed: still no panic.
        let at = at.index(message.len());
        message[at] = flipped;
        respond(&catalog, &message);
        respond(&catalog, &message[..at]);
    }

    #[test]
    fn answers_fit_unless_a_single_one_is_too_large(
        lines in any_instances(),
        record_type in proptest::sample::select(vec![1u16, 28, 33, 255]),
        size in proptest::option::of(0u16..4096),
        tcp in any::<bool>(),
        limits in (0u32..12, 0u32..5),
        switches in any::<[bool; 3]>(),
        seed in any::<u64>(),
    ) {
        let mut catalog = Catalog::default();
        lines.iter().for_each(|line| catalog.apply(line));
        (catalog.options.udp_answer_limit, catalog.options.a_record_limit) = limits;
        [
            catalog.options.enable_truncate,
            catalog.options.disable_compression,
            catalog.options.enable_additional_node_meta_txt,
        ] = switches;
        let record = size.map(|size| opt(size, None));
        let message = question("web.service.consul", record_type, 1, true, record.as_deref());
        let request = Request::parse(&message).expect("a good request");
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let (reply, report) = catalog.answer(&request, transport, seed);
        let report = report.expect("an answer");
        let read = read_back(&reply);
        let limit = if tcp { 65_535 } else { usize::from(size.unwrap_or(0)).max(512) };
        prop_assert!(reply.len() <= limit || read.answers.len() == 1, "{} octets", reply.len());
        let cut = report.truncated.is_some();
        prop_assert_eq!(read.tc, cut && switches[0]);
        if let Some(truncated) = report.truncated {
            prop_assert_eq!(truncated.kept, read.answers.len());
            prop_assert_eq!(truncated.size, reply.len());
            prop_assert!(truncated.kept >= 1 && truncated.kept < truncated.total);
            prop_assert!(read.additional.iter().all(|(kind, _)| [Rtype::A, Rtype::AAAA].contains(kind)));
        } else {
            let has_opt = read.additional.iter().any(|(kind, _)| *kind == Rtype::OPT);
            prop_assert_eq!(has_opt, size.is_some());
        }
        let mut distinct: Vec<&String> = read.answers.iter().map(|(_, text)| text).collect();
        distinct.sort();
        distinct.dedup();
        if record_type != 33 {
            prop_assert_eq!(distinct.len(), read.answers.len());
            if limits.1 > 0 {
                prop_assert!(read.answers.len() <= limits.1 as usize);
            }
        }
        let again = catalog.answer(&request, transport, seed).0;
        prop_assert_eq!(reply, again);
    }

    #[test]
    fn any_reply_of_a_recursor_is_read_or_refused(
        octets in proptest::collection::vec(any::<u8>(), 0..120),
        counts in any::<[u8; 3]>(),
    ) {
        let target = CnameTarget { name: Name::from_text("a.b").expect("a name"), via: Via::Recursor };
        let query = target.recursor_query(5);
        let mut reply = vec![0, 5, 0x81, 0x80, 0, counts[0] % 3, 0, counts[1] % 9, 0, counts[2], 0, 0];
        reply.extend_from_slice(&octets);
        let _ = dns::Chased::new().insert_reply(&target, &reply);
        let _ = dns::Chased::new().insert_reply(&target, &octets);
        let verdict = judge_reply(&query, &reply);
        prop_assert!(verdict == Verdict::Ignore || verdict == Verdict::Relay);
        judge_reply(&query, &octets);
        judge_reply(&octets, &reply);
    }
}

#[test]
fn messages_that_are_no_questions_get_the_reply_they_deserve() {
    let good = question("web.service.consul", 1, 1, true, None);
    let changed = |at: usize, octet: u8| {
        let mut message = good.clone();
        message[at] = octet;
        message
    };
    // A server that answers answers would talk to itself; NOTIFY is not served.
    let cases = [
        ("empty", vec![], Malformed::Short, None),
        ("half a header", good[..11].to_vec(), Malformed::Short, None),
        ("a response", changed(2, 0x81), Malformed::Response, None),
        ("a notify", changed(2, 0x21), Malformed::Opcode(4), Some([0, 7, 0xA1, 4])),
        ("no type", good[..good.len() - 3].to_vec(), Malformed::Short, Some([0, 7, 0x81, 1])),
        ("a missing record", changed(7, 1), Malformed::Name, Some([0, 7, 0x81, 1])),
    ];
    for (what, message, fault, reply) in cases {
        assert_eq!(Request::parse(&message).err(), Some(fault), "{what}");
        let mut out = Vec::new();
        assert_eq!(answer_malformed(&message, fault, &mut out), reply.is_some(), "{what}");
        if let Some(reply) = reply {
            assert_eq!(out[..4], reply, "{what}");
        }
    }
}

#[test]
fn a_message_without_question_is_refused_and_only_the_first_question_counts() {
    let catalog = small_catalog();
    let request = Request::parse(&[0, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]).expect("a request");
    let (reply, _) = catalog.answer(&request, Transport::Udp, 1);
    assert_eq!(reply, [0, 7, 0x81, 0x05, 0, 0, 0, 0, 0, 0, 0, 0]);

    let mut two = question("n1.node.consul", 1, 1, true, None);
    two[5] = 2;
    two.extend_from_slice(&question("n6.node.consul", 28, 1, true, None)[12..]);
    let request = Request::parse(&two).expect("a request");
    let (reply, _) = catalog.answer(&request, Transport::Udp, 1);
    assert_eq!(reply[4..8], [0, 1, 0, 1]);
    assert_eq!(read_back(&reply).answers[0].0, Rtype::A);
}

#[test]
fn every_instance_comes_first_about_equally_often() {
    let mut catalog = Catalog::default();
    for host in 1..=4 {
        catalog.apply(&format!("node n{host} 10.0.0.{host}"));
        catalog.apply(&format!("service n{host} web port=80 weights={host}00/1"));
    }
    let message = question("web.service.consul", 1, 1, true, None);
    let request = Request::parse(&message).expect("a good request");
    let mut first = [0u32; 5];
    for seed in 0..2000 {
        let (reply, _) = catalog.answer(&request, Transport::Udp, seed);
        let host =
            read_back(&reply).answers[0].1.rsplit_once('.').expect("an address").1.to_owned();
        first[host.parse::<usize>().expect("a number")] += 1;
    }
    // 500 each is expected; 400 is five standard deviations away.
    assert!(first[1..].iter().all(|count| (400..600).contains(count)), "{first:?}");
}
