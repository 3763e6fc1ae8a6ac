//! A catalog in a few lines of text, and the caller's side of the machine:
//! fetching rows, following host names, asking a pretended recursor.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use dns::{
    Chased, CnameTarget, DnsOptions, Exchange, Locality, Lookup, MessageBuffer, Name, Outcome,
    Plan, QueryRows, RecordType, Report, Request, ReverseTarget, Rows, Transport, Via, Zones, plan,
};
use types::GoDuration;
use types::catalog::{CheckServiceNode, Node, NodeService, ServiceAddress, Weights};
use types::check::{HealthCheck, Status};

/// Everything a dialogue sets up.
#[derive(Default)]
pub(crate) struct Catalog {
    pub(crate) options: DnsOptions,
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) instances: Vec<CheckServiceNode>,
    /// Name, service, TTL.
    queries: Vec<(String, String, Option<u32>)>,
    virtual_ips: BTreeMap<String, Ipv4Addr>,
    /// Name, type, data.
    upstream: Vec<(String, String, String)>,
    fails: bool,
    pub(crate) asked_upstream: std::cell::RefCell<Vec<String>>,
}

/// `key=value` words of a line; `%20` is a space.
fn settings<'a>(words: &[&'a str]) -> Vec<(&'a str, String)> {
    let split = |word: &&'a str| {
        let (key, value) = word.split_once('=').unwrap_or_else(|| panic!("no `=` in {word}"));
        (key, value.replace("%20", " "))
    };
    words.iter().map(split).collect()
}

impl Catalog {
    /// Carries out one line of a dialogue.
    pub(crate) fn apply(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["option", rest @ ..] => settings(rest).iter().for_each(|(k, v)| self.option(k, v)),
            ["node", name, address, rest @ ..] => self.node(name, address, rest),
            ["service", node, service, rest @ ..] => self.service(node, service, rest),
            ["query", name, service] => self.query(name, service, None),
            ["query", name, service, ttl] => self.query(name, service, ttl.parse().ok()),
            ["virtual", service, ip] => {
                self.virtual_ips
                    .insert((*service).to_owned(), ip.parse().expect("an IPv4 address"));
            }
            ["upstream", name, kind, data] => {
                self.upstream.push(((*name).into(), (*kind).into(), (*data).into()));
            }
            ["fail", what] => self.fails = *what == "on",
            ["reset"] => *self = Self::default(),
            _ => panic!("what is {line:?}?"),
        }
    }

    fn query(&mut self, name: &str, service: &str, ttl: Option<u32>) {
        self.queries.push((name.to_owned(), service.to_owned(), ttl));
    }

    fn option(&mut self, key: &str, value: &str) {
        let options = &mut self.options;
        let duration = || GoDuration::parse(value).expect("a duration");
        let truth = || value.parse().expect("true or false");
        let number = || value.parse().expect("a number");
        match key {
            "domain" => options.domain = value.to_owned(),
            "alt_domain" => options.alt_domain = value.to_owned(),
            "datacenter" => options.datacenter = value.to_owned(),
            "node_ttl" => options.node_ttl = duration(),
            "only_passing" => options.only_passing = truth(),
            "enable_truncate" => options.enable_truncate = truth(),
            "udp_answer_limit" => options.udp_answer_limit = number(),
            "a_record_limit" => options.a_record_limit = number(),
            "disable_compression" => options.disable_compression = truth(),
            "enable_additional_node_meta_txt" => options.enable_additional_node_meta_txt = truth(),
            "recursors" => options.has_recursors = truth(),
            "translate_wan_addrs" => options.translate_wan_addrs = truth(),
            "soa.refresh" => options.soa.refresh = number(),
            "soa.retry" => options.soa.retry = number(),
            "soa.expire" => options.soa.expire = number(),
            "soa.min_ttl" => options.soa.min_ttl = number(),
            _ => {
                let service = key.strip_prefix("service_ttl.").expect("an option");
                options.service_ttl.insert(service.to_owned(), duration());
            }
        }
    }

    fn node(&mut self, name: &str, address: &str, rest: &[&str]) {
        let mut node = Node { node: name.into(), address: address.into(), ..Node::default() };
        node.datacenter = self.options.datacenter.as_str().into();
        for (key, value) in settings(rest) {
            match key.split_once('.') {
                Some(("meta", key)) => {
                    node.meta.get_or_insert_default().insert(key.replace("%20", " "), value);
                }
                Some(("tagged", key)) => {
                    node.tagged_addresses.get_or_insert_default().insert(key.to_owned(), value);
                }
                _ if key == "dc" => node.datacenter = value.into(),
                _ if key == "peer" => node.peer_name = value,
                _ => panic!("a node has no {key}"),
            }
        }
        self.nodes.push(Arc::new(node));
    }

    fn service(&mut self, node: &str, service: &str, rest: &[&str]) {
        let node = self.nodes.iter().find(|row| row.node == *node).expect("a node").clone();
        let mut instance = NodeService { service: service.into(), ..NodeService::default() };
        let mut checks = Vec::new();
        for (key, value) in settings(rest) {
            match key.split_once('.') {
                Some(("tagged", key)) => {
                    let (address, port) = value.split_once('/').expect("address/port");
                    let port = port.parse().expect("a port");
                    let tagged = instance.tagged_addresses.get_or_insert_default();
                    let address = ServiceAddress { address: address.to_owned(), port };
                    tagged.insert(key.to_owned(), address);
                }
                None if key == "port" => instance.port = value.parse().expect("a port"),
                None if key == "kind" => instance.kind = value,
                None if key == "address" => instance.address = value,
                None if key == "tags" => {
                    instance.tags = value.split(',').map(str::to_owned).collect();
                }
                None if key == "weights" => {
                    let (passing, warning) = value.split_once('/').expect("passing/warning");
                    let number = |text: &str| text.parse().expect("a weight");
                    let (passing, warning) = (number(passing), number(warning));
                    instance.weights = Some(Weights { passing, warning });
                }
                None if key == "check" => {
                    let status = Status::from(value.as_str());
                    checks.push(Arc::new(HealthCheck { status, ..HealthCheck::default() }));
                }
                _ => panic!("a service has no {key}"),
            }
        }
        self.instances.push(CheckServiceNode { node, service: Arc::new(instance), checks });
    }

    fn is_at(&self, node: &Node, locality: Locality<'_>) -> bool {
        match locality {
            Locality::Local => {
                node.datacenter == *self.options.datacenter && node.peer_name.is_empty()
            }
            Locality::Datacenter(dc) => node.datacenter == *dc && node.peer_name.is_empty(),
            Locality::Peer(peer) => node.peer_name == peer,
        }
    }

    fn is_known(&self, lookup: &Lookup<'_>) -> bool {
        let (Lookup::Node { locality, .. } | Lookup::Service { locality, .. }) = lookup else {
            return true;
        };
        let local = *locality == Locality::Datacenter(&self.options.datacenter);
        local
            || *locality == Locality::Local
            || self.nodes.iter().any(|node| self.is_at(node, *locality))
    }

    fn instances_of(
        &self,
        service: &str,
        kind: &str,
        locality: Locality<'_>,
    ) -> Vec<CheckServiceNode> {
        let named = self.instances.iter().filter(|row| {
            row.service.service.as_str().eq_ignore_ascii_case(service) && row.service.kind == kind
        });
        named.filter(|row| self.is_at(&row.node, locality)).cloned().collect()
    }

    fn instances_for(&self, lookup: &Lookup<'_>) -> Vec<CheckServiceNode> {
        match *lookup {
            Lookup::Service { service, tag, locality } => {
                let mut rows = self.instances_of(service, "", locality);
                let has = |row: &CheckServiceNode, tag: &str| {
                    row.service.tags.iter().any(|own| own.eq_ignore_ascii_case(tag))
                };
                rows.retain(|row| tag.is_none_or(|tag| has(row, tag)));
                rows
            }
            Lookup::Connect { service, locality } => {
                self.instances_of(service, "connect-proxy", locality)
            }
            Lookup::Ingress { service, locality } => {
                self.instances_of(service, "ingress-gateway", locality)
            }
            Lookup::Servers => self.instances_of("consul", "", Locality::Local),
            Lookup::Query { name, .. } => {
                let found = self.queries.iter().find(|query| query.0 == name);
                found.map_or(vec![], |found| self.instances_of(&found.1, "", Locality::Local))
            }
            _ => Vec::new(),
        }
    }

    fn reverse(&self, ip: IpAddr) -> Option<ReverseTarget<'_>> {
        let matches = |text: &str| text.parse() == Ok(ip);
        let node = self.nodes.iter().find(|node| matches(&node.address));
        let node = node.map(|node| ReverseTarget::Node(node.node.as_str()));
        node.or_else(|| {
            let found = self.instances.iter().find(|row| matches(&row.service.address))?;
            Some(ReverseTarget::Service(found.service.service.as_str()))
        })
    }

    /// Answers one request as an agent would.
    pub(crate) fn answer(
        &self,
        request: &Request,
        transport: Transport,
        seed: u64,
    ) -> (Vec<u8>, Option<Report>) {
        let zones = Zones::new(self.options.clone()).expect("valid options");
        let plan = plan(request, &zones);
        let now_unix_seconds = 1_800_000_000;
        let exchange =
            Exchange { zones: &zones, request, plan: &plan, transport, now_unix_seconds, seed };
        let instances = match &plan {
            Plan::Lookup(_, lookup) => self.instances_for(lookup),
            _ => Vec::new(),
        };
        let mut out = MessageBuffer::new();
        let mut chased = Chased::new();
        for _ in 0..2 {
            let mut pending = Vec::new();
            let rows = self.rows(&plan, &instances);
            match exchange.answer(rows, &chased, &mut out) {
                Outcome::Complete(report) => return (out.as_bytes().to_vec(), Some(report)),
                Outcome::Recurse => return (b"recurse".to_vec(), None),
                Outcome::NeedsCname(targets) => pending.extend(targets),
            }
            for target in pending {
                match self.resolve(&target, request) {
                    Some(reply) => chased.insert_reply(&target, &reply).expect("a good reply"),
                    None => chased.insert_failure(&target),
                }
            }
        }
        panic!("asked twice for host names");
    }

    fn rows<'a>(&'a self, plan: &Plan<'_>, instances: &'a [CheckServiceNode]) -> Rows<'a> {
        let Plan::Lookup(_, lookup) = plan else { return Rows::None };
        if self.fails {
            return Rows::Failed;
        }
        if !self.is_known(lookup) {
            return Rows::UnknownDatacenter;
        }
        match *lookup {
            Lookup::Node { node, locality } => Rows::Node(
                self.nodes
                    .iter()
                    .find(|row| {
                        row.node.as_str().eq_ignore_ascii_case(node) && self.is_at(row, locality)
                    })
                    .map(|row| &**row),
            ),
            Lookup::Virtual { service, .. } => {
                Rows::Virtual(self.virtual_ips.get(service).copied())
            }
            Lookup::Reverse(ip) => Rows::Reverse(self.reverse(ip)),
            Lookup::Query { name, .. } => {
                let found = self.queries.iter().find(|query| query.0 == name);
                let (service, ttl) = found.map_or(("", None), |found| (found.1.as_str(), found.2));
                Rows::Query(QueryRows { instances, service, ttl })
            }
            _ => Rows::Instances(instances),
        }
    }

    fn resolve(&self, target: &CnameTarget, request: &Request) -> Option<Vec<u8>> {
        if target.via == Via::Internal {
            let inner = target.internal_request(request);
            return Some(self.answer(&inner, Transport::Tcp, 1).0);
        }
        let query = target.recursor_query(99);
        let asked = Request::parse(&query).expect("a good query").question.expect("a question");
        assert_eq!(asked.record_type, RecordType::A);
        self.asked_upstream.borrow_mut().push(asked.text.clone());
        let mut found = Vec::new();
        let mut name = asked.text;
        for _ in 0..8 {
            let mut own = self.upstream.iter().filter(|(owner, ..)| *owner == name).peekable();
            let next = own.peek().filter(|row| row.1 == "CNAME").map(|row| row.2.clone());
            found.extend(own);
            match next {
                Some(target) => name = target,
                None => break,
            }
        }
        (!found.is_empty()).then(|| reply(&query, &found))
    }
}

/// A recursor's reply, names in full.
fn reply(query: &[u8], records: &[&(String, String, String)]) -> Vec<u8> {
    let mut message = query.to_vec();
    message[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, records.len() as u8]);
    for (owner, kind, data) in records {
        message.extend_from_slice(Name::from_text(owner).expect("a name").as_wire());
        let (number, data) = match kind.as_str() {
            "A" => (1, data.parse::<Ipv4Addr>().expect("an address").octets().to_vec()),
            "CNAME" => (5, Name::from_text(data).expect("a name").as_wire().to_vec()),
            _ => panic!("no {kind} upstream"),
        };
        message.extend_from_slice(&[0, number, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
        message.extend_from_slice(&data);
    }
    message
}

/// A client's message.
pub(crate) fn question(
    name: &str,
    record_type: u16,
    class: u16,
    rd: bool,
    opt: Option<&[u8]>,
) -> Vec<u8> {
    let mut message = Vec::new();
    for word in [7, u16::from(rd) << 8, 1, 0, 0, u16::from(opt.is_some())] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message.extend_from_slice(Name::from_text(name).expect("a name").as_wire());
    message.extend_from_slice(&record_type.to_be_bytes());
    message.extend_from_slice(&class.to_be_bytes());
    message.extend_from_slice(opt.unwrap_or_default());
    message
}

/// An OPT record, with an IPv4 client subnet if wanted.
pub(crate) fn opt(udp_size: u16, subnet: Option<([u8; 4], u8)>) -> Vec<u8> {
    let mut record = vec![0, 0, 41];
    record.extend_from_slice(&udp_size.to_be_bytes());
    // The DO flag is set, to see that it is not echoed.
    record.extend_from_slice(&[0, 0, 0x80, 0]);
    match subnet {
        None => record.extend_from_slice(&[0, 0]),
        Some((ip, prefix)) => {
            // RFC 7871: only as many octets of the address as the prefix needs.
            let octets = &ip[..usize::from(prefix.div_ceil(8))];
            let length = octets.len() as u8;
            record.extend_from_slice(&[0, 8 + length, 0, 8, 0, 4 + length, 0, 1, prefix, 0]);
            record.extend_from_slice(octets);
        }
    }
    record
}
