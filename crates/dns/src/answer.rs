//! From a plan and the rows for it to the octets of an answer
//! (`reference/dns.md` sections 3 and 4).

use std::net::{IpAddr, Ipv4Addr};

use types::catalog::{CheckServiceNode, Node};

use crate::address::{AddressChoice, Chosen, Effective};
use crate::cname::{
    CHASED_RECORDS_MAX, Chased, ChasedData, CnameTarget, NESTING_MAX, TARGETS_MAX, route,
};
use crate::instances::InstancesOf;
use crate::message::MessageBuffer;
use crate::name::Name;
use crate::options::{ZoneId, Zones};
use crate::plan::{Locality, Lookup, Plan};
use crate::record::{Data, NameRef, Place, Record};
use crate::record_type::{Rcode, RecordType};
use crate::request::{Question, Request};
use crate::truncate::{Truncated, write_answer};

/// NS records in one answer.
const NAME_SERVERS_MAX: usize = 3;

/// How the answer travels, which decides how large it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// 512 octets, or what the client's EDNS says.
    Udp,
    /// 65,535 octets. The length prefix is the caller's.
    Tcp,
}

/// The rows that a [`Lookup`] found, ACL-filtered.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// The plan needs none.
    None,
    /// The look-up failed (no leader, unknown token, …): SERVFAIL.
    Failed,
    /// The datacenter or peer is not known: NXDOMAIN.
    UnknownDatacenter,
    /// For [`Lookup::Node`].
    Node(Option<&'a Node>),
    /// For [`Lookup::Service`], [`Lookup::Connect`], [`Lookup::Ingress`] and
    /// [`Lookup::Servers`]: the instances of any health, in any order.
    Instances(&'a [CheckServiceNode]),
    /// For [`Lookup::Query`]; no rows when the query is unknown.
    Query(QueryRows<'a>),
    /// For [`Lookup::Virtual`]; `None` when no address is allocated.
    Virtual(Option<Ipv4Addr>),
    /// For [`Lookup::Reverse`]; nodes come before services.
    Reverse(Option<ReverseTarget<'a>>),
}

/// The result of a prepared query. Its own health rule was applied, and its
/// order is kept: it may be sorted by distance.
#[derive(Clone, Copy, Debug)]
pub struct QueryRows<'a> {
    /// The instances.
    pub instances: &'a [CheckServiceNode],
    /// The service of the query: decides the TTL if the query does not.
    pub service: &'a str,
    /// `DNS.TTL` of the query in seconds (0 for text that is no duration,
    /// which Consul logs); `None` when it has none.
    pub ttl: Option<u32>,
}

/// What has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReverseTarget<'a> {
    /// A node, by name.
    Node(&'a str),
    /// A service, by name.
    Service(&'a str),
}

/// One question on its way to its answer.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The zones.
    pub zones: &'a Zones,
    /// The request.
    pub request: &'a Request,
    /// Its plan.
    pub plan: &'a Plan<'a>,
    /// How the client is connected.
    pub transport: Transport,
    /// Unix time in seconds: the serial of SOA records.
    pub now_unix_seconds: u64,
    /// Decides every shuffle. Take a fresh random one per question, and the
    /// same one again when the answer is continued with chased names.
    pub seed: u64,
}

/// How far the answer got.
#[derive(Debug)]
pub enum Outcome {
    /// The message is in the buffer.
    Complete(Report),
    /// These names have to be resolved first; call again with them. Happens at
    /// most once per answer: what is missing then stays unresolved.
    NeedsCname(Vec<CnameTarget>),
    /// Nothing here answers: relay the client's message to the recursors, and
    /// give [`Exchange::recursion_failed`] if they all fail.
    Recurse,
}

/// What happened while making the answer, for logs and metrics.
#[derive(Debug)]
pub struct Report {
    /// The response code.
    pub rcode: Rcode,
    /// What was cut off, if anything.
    pub truncated: Option<Truncated>,
    /// CNAMEs are nested too deep. Consul logs `Infinite recursion detected
    /// for name, won't perform any CNAME resolution.`
    pub nesting_exceeded: bool,
    /// Servers that are no name servers because of their names. Consul logs
    /// `Skipping invalid node for NS records`.
    pub skipped_name_servers: Vec<String>,
}

/// The records of an answer.
#[derive(Default)]
pub(crate) struct Sections<'a> {
    pub(crate) answers: Vec<Record<'a>>,
    pub(crate) authority: Vec<Record<'a>>,
    pub(crate) additional: Vec<Record<'a>>,
    /// Answers there would have been if making them had not stopped early.
    pub(crate) answers_at_most: usize,
    pub(crate) scope_prefix: u8,
    pub(crate) targets: Vec<CnameTarget>,
    pub(crate) nesting_exceeded: bool,
    pub(crate) skipped_name_servers: Vec<String>,
}

/// The parts of a header that differ between answers.
#[derive(Clone, Copy)]
pub(crate) struct HeaderChoice {
    pub(crate) rcode: Rcode,
    pub(crate) authoritative: bool,
    pub(crate) recursion_available: bool,
    pub(crate) edns: bool,
}

impl<'a> Exchange<'a> {
    /// Makes the answer into `out`, which afterwards holds one whole message
    /// if the outcome is [`Outcome::Complete`]. `rows` must be those that the
    /// plan asks for; other rows are a SERVFAIL.
    pub fn answer(&self, rows: Rows<'a>, chased: &'a Chased, out: &mut MessageBuffer) -> Outcome {
        let mut sections = Sections::default();
        let rcode = match (self.plan, rows) {
            (Plan::Refused, _) => {
                let header = Self::header(Rcode::Refused, false, false, false);
                return self.complete(header, sections, out);
            }
            (Plan::Recurse, _) => return Outcome::Recurse,
            (Plan::NotImplemented(_), _) => Rcode::NotImp,
            (Plan::Invalid(zone), _) => self.no_such_name(*zone, &mut sections),
            (Plan::Address(_, ip), _) => self.encoded_address(*ip, &mut sections),
            (Plan::Lookup(..), Rows::Failed) => Rcode::ServFail,
            (Plan::Lookup(zone, _), Rows::UnknownDatacenter) => {
                self.no_such_name(*zone, &mut sections)
            }
            (Plan::Lookup(_, Lookup::Reverse(_)), Rows::Reverse(None))
                if self.zones.options.has_recursors =>
            {
                return Outcome::Recurse;
            }
            (Plan::Lookup(zone, lookup), rows) => {
                self.found(*zone, lookup, rows, chased, &mut sections)
            }
        };
        if !sections.targets.is_empty() {
            return Outcome::NeedsCname(sections.targets);
        }
        let recursors = self.zones.options.has_recursors;
        self.complete(Self::header(rcode, true, recursors, true), sections, out)
    }

    /// Makes the answer to a message that no recursor could answer: SERVFAIL
    /// with RA and without AA.
    pub fn recursion_failed(&self, out: &mut MessageBuffer) -> Report {
        let header = Self::header(Rcode::ServFail, false, true, true);
        write_answer(self, header, Sections::default(), out)
    }

    fn complete(
        &self,
        choice: HeaderChoice,
        found: Sections<'_>,
        out: &mut MessageBuffer,
    ) -> Outcome {
        Outcome::Complete(write_answer(self, choice, found, out))
    }

    fn header(rcode: Rcode, authoritative: bool, recursion: bool, edns: bool) -> HeaderChoice {
        HeaderChoice { rcode, authoritative, recursion_available: recursion, edns }
    }

    fn found(
        &self,
        zone: ZoneId,
        lookup: &Lookup<'a>,
        rows: Rows<'a>,
        chased: &'a Chased,
        sections: &mut Sections<'a>,
    ) -> Rcode {
        match (*lookup, rows) {
            (Lookup::Node { locality, .. }, Rows::Node(node)) => match node {
                Some(node) => self.node(locality, node, chased, sections),
                None => self.no_such_name(zone, sections),
            },
            (
                Lookup::Service { service, locality, .. }
                | Lookup::Connect { service, locality }
                | Lookup::Ingress { service, locality },
                Rows::Instances(instances),
            ) => {
                let ttl = self.zones.service_ttl(service);
                let rows = InstancesOf { zone, locality, instances, ttl, is_query: false };
                self.instances(&rows, chased, sections)
            }
            (Lookup::Query { datacenter, .. }, Rows::Query(found)) => {
                let ttl = found.ttl.unwrap_or_else(|| self.zones.service_ttl(found.service));
                let locality = datacenter.map_or(Locality::Local, Locality::Datacenter);
                let instances = found.instances;
                let rows = InstancesOf { zone, locality, instances, ttl, is_query: true };
                let rcode = self.instances(&rows, chased, sections);
                let subnet = self.request.edns.and_then(|edns| edns.client_subnet);
                if rcode == Rcode::NoError {
                    sections.scope_prefix = subnet.map_or(0, |subnet| subnet.source_prefix);
                }
                rcode
            }
            (Lookup::Virtual { .. }, Rows::Virtual(ip)) => {
                let owner = NameRef::QuestionLower;
                let record = |ip| Record { owner, ttl: self.zones.node_ttl, data: Data::A(ip) };
                sections.answers.extend(ip.map(record));
                Rcode::NoError
            }
            (Lookup::Servers, Rows::Instances(servers)) => {
                self.name_servers(zone, servers, sections);
                Rcode::NoError
            }
            (Lookup::Reverse(_), Rows::Reverse(target)) => self.reverse(target, sections),
            _ => {
                debug_assert!(false, "rows {rows:?} do not belong to {lookup:?}");
                Rcode::ServFail
            }
        }
    }

    pub(crate) fn question(&self) -> Option<&'a Question> {
        self.request.question.as_ref()
    }

    pub(crate) fn record_type(&self) -> RecordType {
        self.question().map_or(RecordType(0), |question| question.record_type)
    }

    /// NXDOMAIN, and the zone's SOA in Authority.
    pub(crate) fn no_such_name(&self, zone: ZoneId, sections: &mut Sections<'a>) -> Rcode {
        self.push_soa(zone, &mut sections.authority);
        Rcode::NxDomain
    }

    /// The zone's SOA record (RFC 1035 section 3.3.13).
    pub(crate) fn push_soa(&self, zone: ZoneId, into: &mut Vec<Record<'a>>) {
        let numbers = self.zones.options.soa;
        // RFC 1982: serials wrap around.
        let serial = self.now_unix_seconds as u32;
        let data = Data::Soa { zone, serial, numbers };
        into.push(Record { owner: NameRef::Zone(zone), ttl: numbers.min_ttl, data });
    }

    /// `.addr`: the record goes to Additional when another type was asked for.
    fn encoded_address(&self, ip: IpAddr, sections: &mut Sections<'a>) -> Rcode {
        let data = Data::address(ip);
        let asked = [data.record_type(), RecordType::ANY].contains(&self.record_type());
        let record = Record { owner: NameRef::QuestionLower, ttl: self.zones.node_ttl, data };
        if asked { &mut sections.answers } else { &mut sections.additional }.push(record);
        Rcode::NoError
    }

    fn node(
        &self,
        locality: Locality<'a>,
        node: &'a Node,
        chased: &'a Chased,
        sections: &mut Sections<'a>,
    ) -> Rcode {
        let asked = self.record_type();
        let place = self.place(locality, &node.peer_name, node.datacenter.as_str());
        let choice = AddressChoice::new(asked, self.is_translated(place));
        let owner = NameRef::Question;
        let ttl = self.zones.node_ttl;
        let addresses = [RecordType::A, RecordType::AAAA, RecordType::ANY].contains(&asked);
        match choice.of_node(node).filter(|_| addresses).map(|chosen| chosen.address) {
            Some(Effective::Ip(ip)) if is_asked(ip, asked) => {
                sections.answers.push(Record { owner, ttl, data: Data::address(ip) });
            }
            Some(Effective::Host(host)) => {
                let data = Data::Cname(NameRef::Host(host));
                sections.answers.push(Record { owner, ttl, data });
                let mut found = Vec::new();
                self.chase(host, None, chased, &mut found, sections);
                sections.answers.append(&mut found);
            }
            _ => {}
        }
        if [RecordType::TXT, RecordType::ANY].contains(&asked) {
            push_meta(node, owner, ttl, &mut sections.answers);
        } else if self.zones.options.enable_additional_node_meta_txt {
            push_meta(node, owner, ttl, &mut sections.additional);
        }
        Rcode::NoError
    }

    /// SOA and NS of a zone. The SOA record that was asked for always names
    /// `domain`; everything else uses the domain of the question, as Consul does.
    fn name_servers(
        &self,
        zone: ZoneId,
        servers: &'a [CheckServiceNode],
        sections: &mut Sections<'a>,
    ) {
        let mut names = Vec::new();
        let choice = AddressChoice::new(RecordType::ANY, false);
        let mut order: Vec<&CheckServiceNode> = servers.iter().collect();
        fastrand::Rng::with_seed(self.seed).shuffle(&mut order);
        for row in order {
            let only_passing = self.zones.options.only_passing;
            if names.len() == NAME_SERVERS_MAX || !crate::is_handed_out(row, only_passing) {
                continue;
            }
            let node = row.node.node.as_str();
            if !is_host_label(node) {
                sections.skipped_name_servers.push(node.to_owned());
                continue;
            }
            let datacenter = row.node.datacenter.as_str();
            let place = self.place(Locality::Local, "", datacenter);
            let target = NameRef::NodeLower(node, place, zone);
            let ttl = self.zones.node_ttl;
            names.push(Record { owner: NameRef::Zone(zone), ttl, data: Data::Ns(target) });
            if let Some(Chosen { address: Effective::Ip(ip), .. }) = choice.of_instance(row) {
                sections.additional.push(Record { owner: target, ttl, data: Data::address(ip) });
            }
        }
        if self.record_type() == RecordType::SOA {
            self.push_soa(ZoneId::Domain, &mut sections.answers);
            sections.authority = names;
        } else {
            sections.answers = names;
        }
    }

    fn reverse(&self, target: Option<ReverseTarget<'a>>, sections: &mut Sections<'a>) -> Rcode {
        let Some(target) = target else {
            return self.no_such_name(ZoneId::Domain, sections);
        };
        let place = Place::Datacenter(&self.zones.options.datacenter);
        let target = match target {
            ReverseTarget::Node(node) => NameRef::Node(node, place, ZoneId::Domain),
            ReverseTarget::Service(service) => NameRef::Service(service, place, ZoneId::Domain),
        };
        let data = Data::Ptr(target);
        sections.answers.push(Record { owner: NameRef::Question, ttl: 0, data });
        if self.record_type() == RecordType::SOA {
            self.push_soa(ZoneId::Domain, &mut sections.authority);
        }
        Rcode::NoError
    }

    /// Where a row is, for generated names: its peer, else its datacenter, else
    /// that of the question, else the own one.
    pub(crate) fn place(
        &self,
        locality: Locality<'a>,
        peer: &'a str,
        datacenter: &'a str,
    ) -> Place<'a> {
        match locality {
            _ if !peer.is_empty() => Place::Peer(peer),
            Locality::Peer(peer) => Place::Peer(peer),
            _ if !datacenter.is_empty() => Place::Datacenter(datacenter),
            Locality::Datacenter(datacenter) => Place::Datacenter(datacenter),
            Locality::Local => Place::Datacenter(&self.zones.options.datacenter),
        }
    }

    /// Whether addresses there are replaced by WAN ones.
    pub(crate) fn is_translated(&self, place: Place<'_>) -> bool {
        let options = &self.zones.options;
        let elsewhere = match place {
            Place::Datacenter(datacenter) => !datacenter.eq_ignore_ascii_case(&options.datacenter),
            Place::Peer(_) => false,
        };
        options.translate_wan_addrs && elsewhere
    }

    /// Adds what the host name `host` was resolved to, or asks for it. `ttl`
    /// replaces the TTLs of the records.
    pub(crate) fn chase(
        &self,
        host: &str,
        ttl: Option<u32>,
        chased: &'a Chased,
        into: &mut Vec<Record<'a>>,
        sections: &mut Sections<'a>,
    ) {
        let Some(name) = Name::from_text(host) else { return };
        if self.request.nesting >= NESTING_MAX {
            sections.nesting_exceeded = true;
            return;
        }
        let Some(records) = chased.get(&name) else {
            let known = sections.targets.iter().any(|target| target.name == name);
            // Names are asked for once. What was not resolved then stays bare.
            if let Some(via) = route(&name, self.zones)
                && !known
                && chased.is_empty()
                && sections.targets.len() < TARGETS_MAX
            {
                sections.targets.push(CnameTarget { name, via });
            }
            return;
        };
        let limit = if self.request.edns.is_some() { usize::MAX } else { CHASED_RECORDS_MAX };
        into.extend(records.iter().take(limit).map(|record| Record {
            owner: NameRef::Wire(&record.owner),
            ttl: ttl.unwrap_or(record.ttl),
            data: match &record.data {
                ChasedData::A(ip) => Data::A(*ip),
                ChasedData::Aaaa(ip) => Data::Aaaa(*ip),
                ChasedData::Cname(name) => Data::Cname(NameRef::Wire(name)),
            },
        }));
    }
}

/// Whether an address is of the type asked for; ANY and, for services, TXT take both.
pub(crate) fn is_asked(ip: IpAddr, asked: RecordType) -> bool {
    match asked {
        RecordType::A => ip.is_ipv4(),
        RecordType::AAAA => ip.is_ipv6(),
        RecordType::ANY | RecordType::TXT => true,
        _ => false,
    }
}

/// Adds the node's metadata as TXT records.
pub(crate) fn push_meta<'a>(
    node: &'a Node,
    owner: NameRef<'a>,
    ttl: u32,
    into: &mut Vec<Record<'a>>,
) {
    for (key, value) in node.meta.iter().flatten() {
        into.push(Record { owner, ttl, data: Data::Txt(key, value) });
    }
}

/// Whether a node name can be part of a host name: `[A-Za-z0-9-]` only.
fn is_host_label(node: &str) -> bool {
    !node.is_empty() && node.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
}
