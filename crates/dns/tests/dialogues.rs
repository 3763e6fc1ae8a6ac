//! Golden dialogues: `testdata/*.dialogue` hold a catalog, options, questions,
//! and below each question what was answered. `UPDATE_GOLDEN=1 cargo test -p dns`
//! writes the answers anew; review the difference.
//!
//! Lines: `option k=v…`, `node NAME ADDRESS …`, `service NODE NAME …`,
//! `query NAME SERVICE [TTL]`, `virtual NAME IP`, `upstream NAME TYPE DATA`,
//! `fail on|off`, `reset`; `? NAME TYPE` prints the plan; `> NAME TYPE [tcp]
//! [edns=N] [subnet=IP/BITS] [norec] [class=N] [count] [ordered]` asks. Answers
//! are indented. An independent library reads them back.

mod catalog;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use catalog::{Catalog, opt, question};
use dns::{Request, Transport, Zones, plan};
use domain::base::Message;
use domain::base::opt::ClientSubnet;
use domain::rdata::AllRecordData;

#[test]
fn every_dialogue_is_answered_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("testdata")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for path in paths {
        let written = std::fs::read_to_string(&path).expect("a dialogue");
        let replayed = replay(&written);
        if update {
            std::fs::write(&path, replayed).expect("to write the dialogue");
        } else {
            for (at, (expected, answered)) in written.lines().zip(replayed.lines()).enumerate() {
                assert_eq!(expected, answered, "{} line {}", path.display(), at + 1);
            }
            assert_eq!(written.len(), replayed.len(), "{}", path.display());
        }
    }
}

fn replay(written: &str) -> String {
    let mut catalog = Catalog::default();
    let mut out = String::new();
    for line in written.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(out, "{line}").expect("a string");
        if let Some(asked) = line.strip_prefix("> ") {
            out.push_str(&ask(&catalog, asked));
        } else if let Some(asked) = line.strip_prefix("? ") {
            let words: Vec<&str> = asked.split_whitespace().collect();
            let zones = Zones::new(catalog.options.clone()).expect("valid options");
            let message = question(words[0], type_number(words[1]), 1, true, None);
            let request = Request::parse(&message).expect("a request");
            writeln!(out, "  {:?}", plan(&request, &zones)).expect("a string");
        } else if !line.is_empty() && !line.starts_with('#') {
            catalog.apply(line);
        }
    }
    out
}

fn type_number(name: &str) -> u16 {
    let known = [
        ("A", 1),
        ("NS", 2),
        ("CNAME", 5),
        ("SOA", 6),
        ("PTR", 12),
        ("MX", 15),
        ("TXT", 16),
        ("AAAA", 28),
        ("SRV", 33),
        ("DS", 43),
        ("AXFR", 252),
        ("ANY", 255),
    ];
    let number = known.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    number.unwrap_or_else(|| name.trim_start_matches("TYPE").parse().expect("a type"))
}

fn ask(catalog: &Catalog, asked: &str) -> String {
    let words: Vec<&str> = asked.split_whitespace().collect();
    let flags = &words[2..];
    let value = |key: &str| flags.iter().find_map(|flag| flag.strip_prefix(key)?.strip_prefix('='));
    let subnet = value("subnet").map(|text| {
        let (ip, bits) = text.split_once('/').expect("ip/bits");
        let ip: std::net::Ipv4Addr = ip.parse().expect("an address");
        (ip.octets(), bits.parse().expect("bits"))
    });
    let record = value("edns").map(|size| opt(size.parse().expect("a size"), subnet));
    let class = value("class").map_or(1, |class| class.parse().expect("a class"));
    let rd = !flags.contains(&"norec");
    let message = question(words[0], type_number(words[1]), class, rd, record.as_deref());
    let request = Request::parse(&message).expect("a request");
    let transport = if flags.contains(&"tcp") { Transport::Tcp } else { Transport::Udp };
    let (reply, report) = catalog.answer(&request, transport, 42);
    let Some(report) = report else { return "  recurse\n".to_owned() };
    let mut out = show(&reply, flags.contains(&"count"), flags.contains(&"ordered"));
    if let Some(truncated) = report.truncated {
        writeln!(out, "  cut to {} of {}", truncated.kept, truncated.total).expect("a string");
    }
    if report.nesting_exceeded {
        out.push_str("  nesting exceeded\n");
    }
    for node in report.skipped_name_servers {
        writeln!(out, "  skipped {node}").expect("a string");
    }
    for name in catalog.asked_upstream.borrow_mut().drain(..) {
        writeln!(out, "  asked upstream {name}").expect("a string");
    }
    out
}

fn show(reply: &[u8], count: bool, ordered: bool) -> String {
    let message = Message::from_octets(reply).expect("a message");
    let header = message.header();
    let mut out = format!("  {}", header.rcode());
    for (set, name) in
        [(header.aa(), "aa"), (header.tc(), "tc"), (header.rd(), "rd"), (header.ra(), "ra")]
    {
        if set {
            write!(out, " {name}").expect("a string");
        }
    }
    out.push('\n');
    let (_, answer, authority, additional) = message.sections().expect("sections");
    for (name, section) in
        [("answer", answer), ("authority", authority), ("additional", additional)]
    {
        let mut lines = Vec::new();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for record in section.limit_to::<AllRecordData<_, _>>() {
            let record = record.expect("a record");
            if record.rtype() == domain::base::iana::Rtype::OPT {
                continue;
            }
            *counts.entry(record.rtype().to_string()).or_default() += 1;
            let (owner, ttl, data) = (record.owner(), record.ttl().as_secs(), record.data());
            lines.push(format!(
                "  {name} {owner} {ttl} {} {} {data}",
                record.class(),
                record.rtype()
            ));
        }
        if count {
            lines = counts.iter().map(|(kind, count)| format!("  {name} {kind}={count}")).collect();
        } else if !ordered {
            lines.sort();
        }
        lines.iter().for_each(|line| writeln!(out, "{line}").expect("a string"));
    }
    if let Some(edns) = message.opt() {
        write!(out, "  edns {} version {}", edns.udp_payload_size(), edns.version())
            .expect("a string");
        assert!(!edns.dnssec_ok());
        if let Some(subnet) = edns.opt().first::<ClientSubnet>() {
            let (ip, source, scope) =
                (subnet.addr(), subnet.source_prefix_len(), subnet.scope_prefix_len());
            write!(out, " subnet {ip}/{source} scope {scope}").expect("a string");
        }
        out.push('\n');
    }
    out
}
