//! Reading address values: templates, lists of addresses, unix sockets
//! (`reference/config.md` 1.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Build;
use crate::load::InterfaceAddr;
use crate::settings::quote;
use crate::template;

/// One address of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Ip(IpAddr),
    Unix(String),
}

/// `::` may be written `[::]`.
pub(crate) fn parse_ip(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok()
}

impl Build<'_> {
    /// The words of a value after its templates were expanded. A template that
    /// fails is noted.
    pub(crate) fn words(&mut self, key: &str, text: &str) -> Vec<String> {
        match template::expand(text, &self.environment.interfaces) {
            Ok(expanded) => expanded.split_whitespace().map(str::to_owned).collect(),
            Err(error) => {
                self.errors.push(format!("{key}: error parsing {}: {error}", quote(text)));
                Vec::new()
            }
        }
    }

    /// The addresses of a value; wrong ones are noted.
    pub(crate) fn addresses(&mut self, key: &str, text: &str) -> Vec<Address> {
        let mut out = Vec::new();
        for word in self.words(key, text) {
            if let Some(path) = word.strip_prefix("unix://") {
                out.push(Address::Unix(path.to_owned()));
            } else if let Some(ip) = parse_ip(&word) {
                out.push(Address::Ip(ip));
            } else {
                self.errors.push(format!("{key}: invalid ip address: {word}"));
            }
        }
        out
    }

    /// The one IP address of a value; `None` when it is empty or wrong, which
    /// is noted.
    pub(crate) fn one_ip(&mut self, key: &str, text: &str) -> Result<Option<IpAddr>, String> {
        let addresses = self.addresses(key, text);
        match addresses.as_slice() {
            [] => Ok(None),
            [Address::Ip(ip)] => Ok(Some(*ip)),
            [Address::Unix(_)] => Err(format!("{key} cannot be a unix socket")),
            several => {
                let shown: Vec<_> = several
                    .iter()
                    .map(|address| match address {
                        Address::Ip(ip) => ip.to_string(),
                        Address::Unix(path) => format!("unix://{path}"),
                    })
                    .collect();
                self.errors.push(format!("{key}: multiple addresses found: {}", shown.join(" ")));
                Ok(None)
            }
        }
    }

    /// Entries that may be templates; entries without one pass untouched.
    pub(crate) fn entries(&mut self, key: &str) -> Vec<String> {
        let mut out = Vec::new();
        for entry in self.settings.list(key) {
            if entry.contains("{{") {
                out.extend(self.words(key, &entry));
            } else {
                out.push(entry);
            }
        }
        out
    }
}

/// The address to announce when everything is bound: the one private IPv4
/// address of the host, or for `::` its one public IPv6 address.
pub(crate) fn detect_advertise(
    bind: IpAddr,
    interfaces: &[InterfaceAddr],
) -> Result<IpAddr, String> {
    let (what, matches): (_, fn(IpAddr) -> bool) = match bind {
        IpAddr::V4(_) => ("private IPv4", |ip| matches!(ip, IpAddr::V4(ip) if is_private(ip))),
        IpAddr::V6(_) => ("public IPv6", |ip| matches!(ip, IpAddr::V6(ip) if is_public(ip))),
    };
    let mut found = interfaces.iter().filter(|one| one.up && matches(one.address));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.address),
        (None, _) => Err(format!("No {what} address found")),
        (Some(_), Some(_)) => Err(format!(
            "Multiple {what} addresses found. Please configure one with 'bind' and/or 'advertise'."
        )),
    }
}

fn is_private(ip: Ipv4Addr) -> bool {
    let octets = ip.octets();
    ip.is_private() || (octets[0] == 100 && octets[1] & 0xc0 == 64)
}

fn is_public(ip: Ipv6Addr) -> bool {
    !ip.is_loopback()
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && !template::is_special(IpAddr::V6(ip))
}
