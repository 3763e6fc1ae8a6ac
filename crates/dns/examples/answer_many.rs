//! Answers the same question again and again, for a profiler to look at:
//! `answer_many TYPE INSTANCES TIMES`, for example `answer_many SRV 60 1000000`.

use std::io::Write;
use std::sync::Arc;

use dns::{
    Chased, DnsOptions, Exchange, MessageBuffer, Name, RecordType, Request, Rows, Transport, Zones,
    plan,
};
use types::catalog::{CheckServiceNode, Node, NodeService};

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let number = |at: usize, default| words.get(at).and_then(|w| w.parse().ok()).unwrap_or(default);
    let srv = words.get(1).is_some_and(|word| word == "SRV");
    let record_type = if srv { RecordType::SRV } else { RecordType::A };
    let rows: Vec<CheckServiceNode> = (0..number(2, 3)).map(row).collect();
    let zones = Zones::new(DnsOptions::default()).map_err(std::io::Error::other)?;
    let message = question(record_type);
    let mut out = MessageBuffer::new();
    let mut octets = 0;
    for seed in 0..number(3, 1_000_000) {
        let request = Request::parse(&message).map_err(std::io::Error::other)?;
        let plan = plan(&request, &zones);
        let exchange = Exchange {
            zones: &zones,
            request: &request,
            plan: &plan,
            transport: Transport::Udp,
            now_unix_seconds: 1_800_000_000,
            seed: seed as u64,
        };
        exchange.answer(Rows::Instances(&rows), &Chased::new(), &mut out);
        octets += out.as_bytes().len();
    }
    writeln!(std::io::stdout(), "{octets} octets of answers")
}

fn row(at: usize) -> CheckServiceNode {
    let node = Node {
        node: format!("node-{at}").into(),
        address: format!("10.0.{}.{}", at / 256, at % 256),
        datacenter: "dc1".into(),
        ..Node::default()
    };
    let service = NodeService { service: "web".into(), port: 8080, ..NodeService::default() };
    CheckServiceNode { node: Arc::new(node), service: Arc::new(service), checks: Vec::new() }
}

/// `web.service.consul`, with an EDNS size of 1232 octets.
fn question(record_type: RecordType) -> Vec<u8> {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    if let Some(name) = Name::from_text("web.service.consul") {
        message.extend_from_slice(name.as_wire());
    }
    message.extend_from_slice(&record_type.0.to_be_bytes());
    message.extend_from_slice(&[0, 1, 0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 0]);
    message
}
