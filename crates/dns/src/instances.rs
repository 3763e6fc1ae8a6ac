//! Answers made of service instances: addresses, CNAMEs and SRV records.
//!
//! Instances are drawn one by one in random order, and no more of them than
//! can be sent: an answer with three addresses costs the same whether the
//! service has five instances or five thousand.

use types::catalog::CheckServiceNode;

use crate::address::{AddressChoice, Chosen, Effective};
use crate::answer::{Exchange, Sections, is_asked, push_meta};
use crate::cname::Chased;
use crate::distinct::Distinct;
use crate::health::{is_handed_out, srv_weight};
use crate::name::Name;
use crate::options::ZoneId;
use crate::plan::Locality;
use crate::record::{Data, NameRef, Place, Record, Srv};
use crate::record_type::{Rcode, RecordType};
use crate::truncate::{answers_max, octets_max};

/// An SRV record without its target: pointer, type, class, TTL, length,
/// priority, weight and port.
const SRV_OCTETS: usize = 18;

/// Instances to make an answer of.
pub(crate) struct InstancesOf<'a> {
    pub(crate) zone: ZoneId,
    pub(crate) locality: Locality<'a>,
    pub(crate) instances: &'a [CheckServiceNode],
    pub(crate) ttl: u32,
    /// A prepared query has its own health rule and order.
    pub(crate) is_query: bool,
}

impl<'a> Exchange<'a> {
    /// Records for instances: NXDOMAIN when no healthy one is there, NODATA
    /// (NOERROR with SOA) when none has a record of the type asked for.
    pub(crate) fn instances(
        &self,
        rows: &InstancesOf<'a>,
        chased: &'a Chased,
        sections: &mut Sections<'a>,
    ) -> Rcode {
        let any = if self.record_type() == RecordType::SRV {
            self.srv_records(rows, chased, sections)
        } else {
            self.address_records(rows, chased, sections)
        };
        if !any {
            return self.no_such_name(rows.zone, sections);
        }
        if sections.answers.is_empty() && sections.targets.is_empty() {
            self.push_soa(rows.zone, &mut sections.authority);
        }
        Rcode::NoError
    }

    /// The healthy rows in the order to answer with.
    fn draw(&self, rows: &InstancesOf<'a>) -> impl Iterator<Item = &'a CheckServiceNode> {
        let instances = rows.instances;
        let shuffled = !rows.is_query;
        let only_passing = self.zones.options.only_passing;
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut order: Vec<u32> = (0..instances.len() as u32).collect();
        let mut next = 0;
        // Fisher and Yates' shuffle, one step per row that is really used.
        let drawn = std::iter::from_fn(move || {
            if next == order.len() {
                return None;
            }
            if shuffled {
                let other = random.usize(next..order.len());
                order.swap(next, other);
            }
            next += 1;
            instances.get(order[next - 1] as usize)
        });
        drawn.filter(move |row| !shuffled || is_handed_out(row, only_passing))
    }

    fn choice(
        &self,
        rows: &InstancesOf<'a>,
        row: &'a CheckServiceNode,
    ) -> (AddressChoice, Place<'a>) {
        let peer = if row.node.peer_name.is_empty() {
            row.service.peer_name.as_str()
        } else {
            row.node.peer_name.as_str()
        };
        let place = self.place(rows.locality, peer, row.node.datacenter.as_str());
        (AddressChoice::new(self.record_type(), self.is_translated(place)), place)
    }

    /// Every QTYPE but SRV. Returns whether there was any healthy instance.
    fn address_records(
        &self,
        rows: &InstancesOf<'a>,
        chased: &'a Chased,
        sections: &mut Sections<'a>,
    ) -> bool {
        let asked = self.record_type();
        let stop_after = answers_max(self).saturating_add(1);
        let limit = match self.zones.options.a_record_limit {
            0 => usize::MAX,
            limit => limit as usize,
        };
        let (owner, ttl) = (NameRef::Question, rows.ttl);
        let mut any = false;
        let mut first_host = None;
        let mut distinct = Distinct::new(self.seed);
        sections.answers.reserve(stop_after.min(limit).min(rows.instances.len()));
        for row in self.draw(rows) {
            any = true;
            let (choice, _) = self.choice(rows, row);
            match choice.of_instance(row).map(|chosen| chosen.address) {
                Some(Effective::Ip(ip)) if is_asked(ip, asked) && distinct.insert(ip) => {
                    sections.answers.push(Record { owner, ttl, data: Data::address(ip) });
                    if sections.answers.len() == limit.min(stop_after) {
                        break;
                    }
                }
                // A text that is no valid name makes no record.
                Some(Effective::Host(host)) if first_host.is_none() => {
                    first_host = Name::from_text(host).map(|_| host);
                }
                _ => {}
            }
        }
        if sections.answers.len() == stop_after {
            sections.answers_at_most = rows.instances.len();
        }
        if let Some(host) = first_host.filter(|_| sections.answers.is_empty()) {
            let data = Data::Cname(NameRef::Host(host));
            sections.answers.push(Record { owner, ttl, data });
            let mut found = Vec::new();
            self.chase(host, Some(ttl), chased, &mut found, sections);
            sections.answers.append(&mut found);
        }
        any
    }

    /// SRV records with the addresses of their targets in Additional. Returns
    /// whether there was any healthy instance.
    fn srv_records(
        &self,
        rows: &InstancesOf<'a>,
        chased: &'a Chased,
        sections: &mut Sections<'a>,
    ) -> bool {
        let stop_after = answers_max(self).saturating_add(1);
        let octets_max = octets_max(self);
        let mut octets = 0;
        let mut any = false;
        let mut distinct = Distinct::new(self.seed);
        let root = Name::root();
        let question = self.question().map_or(&root, |question| &question.name);
        for row in self.draw(rows) {
            any = true;
            let (choice, place) = self.choice(rows, row);
            let Some(chosen) = choice.of_instance(row) else { continue };
            let port = choice.port(row);
            if !distinct.insert((row.node.node.as_str(), chosen.address_key(), port)) {
                continue;
            }
            let node = NameRef::Node(row.node.node.as_str(), place, rows.zone);
            let target = match chosen.address {
                Effective::Ip(_) if chosen.is_node && !chosen.is_translated => node,
                Effective::Ip(ip) => NameRef::Address(ip, place, rows.zone),
                Effective::Host(host) => NameRef::Host(host),
            };
            // A target that makes no valid name makes no record either.
            let Some(name) = target.compose(question, self.zones) else { continue };
            let start = sections.additional.len() as u32;
            match chosen.address {
                Effective::Ip(ip) => {
                    let data = Data::address(ip);
                    sections.additional.push(Record { owner: target, ttl: rows.ttl, data });
                }
                Effective::Host(host) => {
                    let mut found = Vec::new();
                    self.chase(host, Some(rows.ttl), chased, &mut found, sections);
                    sections.additional.append(&mut found);
                }
            }
            let glue = (start, sections.additional.len() as u32);
            if self.zones.options.enable_additional_node_meta_txt {
                push_meta(&row.node, node, rows.ttl, &mut sections.additional);
            }
            let srv = Srv { weight: srv_weight(row), port, target, glue };
            let data = Data::Srv(srv);
            sections.answers.push(Record { owner: NameRef::Question, ttl: rows.ttl, data });
            // Answers alone that do not fit are cut anyway: no more are needed.
            octets += SRV_OCTETS + name.as_wire().len();
            if sections.answers.len() == stop_after || octets > octets_max {
                sections.answers_at_most = rows.instances.len();
                break;
            }
        }
        any
    }
}

impl<'a> Chosen<'a> {
    /// What makes two addresses the same.
    fn address_key(&self) -> Result<std::net::IpAddr, &'a str> {
        match self.address {
            Effective::Ip(ip) => Ok(ip),
            Effective::Host(host) => Err(host),
        }
    }
}
