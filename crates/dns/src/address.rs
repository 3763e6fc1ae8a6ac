//! Which address of an instance is handed out (`reference/dns.md` section 6).

use std::net::IpAddr;

use types::catalog::{CheckServiceNode, Node};

use crate::record_type::RecordType;

/// An address to hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effective<'a> {
    Ip(IpAddr),
    /// A host name: becomes a CNAME or an SRV target.
    Host(&'a str),
}

/// An address, and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen<'a> {
    pub(crate) address: Effective<'a>,
    /// Whether the node's address had to serve.
    pub(crate) is_node: bool,
    /// Whether it is a WAN address in place of the plain one.
    pub(crate) is_translated: bool,
}

/// The names of tagged addresses in order of preference.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddressChoice {
    keys: &'static [&'static str],
    wan: bool,
}

impl AddressChoice {
    /// For a QTYPE; `wan` when the addresses are those of another datacenter
    /// and `translate_wan_addrs` is set.
    pub(crate) fn new(record_type: RecordType, wan: bool) -> Self {
        let keys: &[&str] = match (record_type, wan) {
            (RecordType::A, false) => &["lan_ipv4"],
            (RecordType::A, true) => &["wan_ipv4", "wan"],
            (RecordType::AAAA, false) => &["lan_ipv6"],
            (RecordType::AAAA, true) => &["wan_ipv6", "wan"],
            (_, false) => &["lan_ipv6", "lan_ipv4"],
            (_, true) => &["wan_ipv6", "wan_ipv4", "wan"],
        };
        Self { keys, wan }
    }

    /// The address of a node.
    pub(crate) fn of_node<'a>(&self, node: &'a Node) -> Option<Chosen<'a>> {
        let tagged = node.tagged_addresses.as_ref().and_then(|tagged| {
            self.keys.iter().find_map(|key| tagged.get(*key)).filter(|text| !text.is_empty())
        });
        let text = tagged.unwrap_or(&node.address);
        let is_translated = self.wan && tagged.is_some();
        Some(Chosen { address: effective(text)?, is_node: true, is_translated })
    }

    /// The address of an instance: its own, else its node's.
    pub(crate) fn of_instance<'a>(&self, row: &'a CheckServiceNode) -> Option<Chosen<'a>> {
        let service = &row.service;
        let tagged = service.tagged_addresses.as_ref().and_then(|tagged| {
            let mut found = self.keys.iter().filter_map(|key| tagged.get(*key));
            found.find(|tagged| !tagged.address.is_empty())
        });
        let text = tagged.map_or(&service.address, |tagged| &tagged.address);
        match effective(text) {
            Some(address) => {
                let is_translated = self.wan && tagged.is_some();
                Some(Chosen { address, is_node: false, is_translated })
            }
            None => self.of_node(&row.node),
        }
    }

    /// The port of an instance; out of range is clamped.
    pub(crate) fn port(&self, row: &CheckServiceNode) -> u16 {
        let tagged = row.service.tagged_addresses.as_ref().filter(|_| self.wan);
        let wan = tagged.and_then(|tagged| tagged.get("wan")).filter(|wan| wan.port != 0);
        let port = wan.map_or(row.service.port, |wan| wan.port);
        port.clamp(0, i64::from(u16::MAX)) as u16
    }
}

fn effective(text: &str) -> Option<Effective<'_>> {
    match text.parse() {
        Ok(ip) => Some(Effective::Ip(ip)),
        Err(_) if text.is_empty() => None,
        Err(_) => Some(Effective::Host(text)),
    }
}
