//! The functions of go-sockaddr.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use regex::RegexBuilder;

use super::Worth;
use crate::load::InterfaceAddr;

/// Calls a function of go-sockaddr by its name.
pub(super) fn call(
    name: &str,
    arguments: Vec<Worth>,
    interfaces: &[InterfaceAddr],
) -> Result<Worth, String> {
    let mut arguments = Arguments { name, rest: arguments.into_iter() };
    let worth = match name {
        "GetAllInterfaces" => Worth::Addresses(interfaces.to_vec()),
        "GetDefaultInterfaces" => Worth::Addresses(default_route(interfaces)),
        "GetPrivateInterfaces" => Worth::Addresses(private_interfaces(interfaces)),
        "GetPublicInterfaces" => Worth::Addresses(public_interfaces(interfaces)),
        "GetPrivateIP" => first_address(&private_interfaces(interfaces)),
        "GetPublicIP" => first_address(&public_interfaces(interfaces)),
        "GetPrivateIPs" => all_addresses(&by_size(interfaces, |ip| special(ip) && !unroutable(ip))),
        "GetPublicIPs" => all_addresses(&by_size(interfaces, |ip| !special(ip))),
        "GetInterfaceIP" => first_address(&on_interface(&arguments.text()?, interfaces)?),
        "GetInterfaceIPs" => all_addresses(&on_interface(&arguments.text()?, interfaces)?),
        name => operation(name, &mut arguments)?,
    };
    match arguments.rest.next() {
        None => Ok(worth),
        Some(_) => Err(format!("wrong number of args for {name}")),
    }
}

/// The functions that take a list of interfaces.
fn operation(name: &str, arguments: &mut Arguments<'_>) -> Result<Worth, String> {
    Ok(match name {
        "sort" => {
            let keys = arguments.text()?;
            let mut list = arguments.addresses()?;
            let order = sort_keys(&keys)?;
            list.sort_by(|a, b| compare(&order, a, b));
            Worth::Addresses(list)
        }
        "include" | "exclude" => {
            let (key, value) = (arguments.text()?, arguments.text()?);
            let test = selector(&key, &value)?;
            let mut list = arguments.addresses()?;
            list.retain(|one| test(one) == (name == "include"));
            Worth::Addresses(list)
        }
        "unique" => {
            let key = arguments.text()?;
            let mut list = arguments.addresses()?;
            let mut seen = Vec::new();
            let mut failed = None;
            list.retain(|one| match attribute(&key, one) {
                Ok(value) if seen.contains(&value) => false,
                Ok(value) => {
                    seen.push(value);
                    true
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            });
            failed.map_or(Ok(Worth::Addresses(list)), Err)?
        }
        "limit" => {
            let count = arguments.number()?;
            let mut list = arguments.addresses()?;
            list.truncate(usize::try_from(count).map_err(|_| "limit must not be negative")?);
            Worth::Addresses(list)
        }
        "offset" => offset(arguments.number()?, arguments.addresses()?)?,
        "attr" => {
            let key = arguments.text()?;
            match arguments.addresses()?.first() {
                Some(one) => Worth::Text(attribute(&key, one)?),
                None => Worth::Text(String::new()),
            }
        }
        "join" => {
            let (key, separator) = (arguments.text()?, arguments.text()?);
            let list = arguments.addresses()?;
            let texts: Result<Vec<_>, _> = list.iter().map(|one| attribute(&key, one)).collect();
            Worth::Text(texts?.join(&separator))
        }
        "math" => {
            let (operation, value) = (arguments.text()?, arguments.text()?);
            let list = arguments.addresses()?;
            let moved: Result<Vec<_>, _> =
                list.into_iter().map(|one| math(&operation, &value, one)).collect();
            Worth::Addresses(moved?)
        }
        other => return Err(format!("function \"{other}\" not defined")),
    })
}

struct Arguments<'a> {
    name: &'a str,
    rest: std::vec::IntoIter<Worth>,
}

impl Arguments<'_> {
    fn next(&mut self) -> Result<Worth, String> {
        self.rest.next().ok_or_else(|| format!("wrong number of args for {}", self.name))
    }

    fn text(&mut self) -> Result<String, String> {
        match self.next()? {
            Worth::Text(text) => Ok(text),
            _ => Err(format!("{} wants a text", self.name)),
        }
    }

    fn number(&mut self) -> Result<i64, String> {
        match self.next()? {
            Worth::Number(number) => Ok(number),
            _ => Err(format!("{} wants a number", self.name)),
        }
    }

    fn addresses(&mut self) -> Result<Vec<InterfaceAddr>, String> {
        match self.next()? {
            Worth::Addresses(list) => Ok(list),
            _ => Err(format!("{} wants interfaces", self.name)),
        }
    }
}

fn first_address(list: &[InterfaceAddr]) -> Worth {
    Worth::Text(list.first().map(|one| one.address.to_string()).unwrap_or_default())
}

fn all_addresses(list: &[InterfaceAddr]) -> Worth {
    let texts: Vec<_> = list.iter().map(|one| one.address.to_string()).collect();
    Worth::Text(texts.join(" "))
}

fn default_route(interfaces: &[InterfaceAddr]) -> Vec<InterfaceAddr> {
    interfaces.iter().filter(|one| one.default_route).cloned().collect()
}

fn private_interfaces(interfaces: &[InterfaceAddr]) -> Vec<InterfaceAddr> {
    let list = default_route(interfaces);
    by_size(&list, |ip| special(ip) && !unroutable(ip))
}

fn public_interfaces(interfaces: &[InterfaceAddr]) -> Vec<InterfaceAddr> {
    let list = default_route(interfaces);
    by_size(&list, |ip| !special(ip))
}

/// Usable addresses that pass `test`: IPv4 before IPv6, small networks first.
fn by_size(interfaces: &[InterfaceAddr], test: impl Fn(IpAddr) -> bool) -> Vec<InterfaceAddr> {
    let mut list: Vec<_> =
        interfaces.iter().filter(|one| one.up && test(one.address)).cloned().collect();
    list.sort_by(|a, b| compare(&[(false, SortKey::Kind), (false, SortKey::Size)], a, b));
    list
}

fn on_interface(pattern: &str, all: &[InterfaceAddr]) -> Result<Vec<InterfaceAddr>, String> {
    let named = selector("name", &format!("^{pattern}$"))?;
    let list: Vec<_> = all.iter().filter(|one| named(one)).cloned().collect();
    Ok(by_size(&list, |ip| !unroutable(ip) || ip.is_loopback()))
}

/// An address that no router forwards: loopback, link-local, multicast, any.
fn unroutable(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => (ip.segments()[0] & 0xffc0) == 0xfe80,
    };
    link_local || ip.is_loopback() || ip.is_multicast() || ip.is_unspecified()
}

/// An address of the special-purpose registries of RFC 6890.
pub(crate) fn special(ip: IpAddr) -> bool {
    in_rfc(ip, 6890).unwrap_or(false)
}

/// Whether the address lies in a network that the RFC sets apart; `None` for an
/// RFC that the functions do not know.
fn in_rfc(ip: IpAddr, rfc: u32) -> Option<bool> {
    let networks: &[&str] = match rfc {
        1112 | 3171 => &["224.0.0.0/4"],
        1122 => &["0.0.0.0/8", "127.0.0.0/8"],
        1918 => &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
        2544 => &["198.18.0.0/15"],
        3927 => &["169.254.0.0/16"],
        4193 => &["fc00::/7"],
        4291 => &["::/128", "::1/128", "fe80::/10", "ff00::/8"],
        5737 => &["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"],
        6598 => &["100.64.0.0/10"],
        6890 => &[
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "240.0.0.0/4",
            "::1/128",
            "::/128",
            "64:ff9b::/96",
            "::ffff:0:0/96",
            "100::/64",
            "2001::/23",
            "2001:db8::/32",
            "2002::/16",
            "fc00::/7",
            "fe80::/10",
        ],
        _ => return None,
    };
    let inside = |text: &&str| text.parse::<IpNet>().is_ok_and(|network| network.contains(&ip));
    Some(networks.iter().any(inside))
}

type Test = Box<dyn Fn(&InterfaceAddr) -> bool>;

fn selector(key: &str, value: &str) -> Result<Test, String> {
    let number = || value.parse::<u32>().map_err(|_| format!("bad {key}: {value:?}"));
    Ok(match key.to_ascii_lowercase().as_str() {
        "name" | "address" => {
            let regex = RegexBuilder::new(value)
                .size_limit(1 << 20)
                .build()
                .map_err(|_| format!("unable to compile {key} regexp {value:?}"))?;
            let name = key.eq_ignore_ascii_case("name");
            Box::new(move |one| match name {
                true => regex.is_match(&one.name),
                false => regex.is_match(&one.address.to_string()),
            })
        }
        "network" => {
            let network: IpNet =
                value.parse().map_err(|_| format!("unable to parse network {value:?}"))?;
            Box::new(move |one| network.contains(&one.address))
        }
        "rfc" => {
            let mut rfcs = Vec::new();
            for text in value.split('|') {
                let rfc = text.parse().map_err(|_| format!("unable to parse RFC {text:?}"))?;
                in_rfc(IpAddr::V4(Ipv4Addr::UNSPECIFIED), rfc)
                    .ok_or_else(|| format!("unsupported RFC {rfc}"))?;
                rfcs.push(rfc);
            }
            Box::new(move |one| rfcs.iter().any(|rfc| in_rfc(one.address, *rfc) == Some(true)))
        }
        "size" => {
            let bits = u8::try_from(
                value
                    .strip_prefix('/')
                    .unwrap_or(value)
                    .parse::<u32>()
                    .map_err(|_| format!("bad size: {value:?}"))?,
            )
            .map_err(|_| format!("bad size: {value:?}"))?;
            Box::new(move |one| one.prefix_len == bits)
        }
        // Interfaces have no port.
        "port" => {
            let port = number()?;
            Box::new(move |_| port == 0)
        }
        "type" => match value.to_ascii_lowercase().as_str() {
            "ip" => Box::new(|_| true),
            "ipv4" => Box::new(|one| one.address.is_ipv4()),
            "ipv6" => Box::new(|one| one.address.is_ipv6()),
            "unix" => Box::new(|_| false),
            _ => return Err(format!("unsupported type {value:?}")),
        },
        "flag" | "flags" => flags(value)?,
        _ => return Err(format!("invalid filter type {key:?}")),
    })
}

/// All flags of `up|forwardable|…` must hold.
fn flags(value: &str) -> Result<Test, String> {
    let mut tests: Vec<fn(&InterfaceAddr) -> bool> = Vec::new();
    for flag in value.split('|') {
        tests.push(match flag.to_ascii_lowercase().as_str() {
            "up" => |one| one.up,
            "down" => |one| !one.up,
            "loopback" => |one| one.address.is_loopback(),
            "forwardable" => |one| !unroutable(one.address),
            "global unicast" => {
                |one| !unroutable(one.address) && one.address != IpAddr::V4(Ipv4Addr::BROADCAST)
            }
            "link-local unicast" => |one| match one.address {
                IpAddr::V4(ip) => ip.is_link_local(),
                IpAddr::V6(ip) => (ip.segments()[0] & 0xffc0) == 0xfe80,
            },
            "multicast" => |one| one.address.is_multicast(),
            "unspecified" => |one| one.address.is_unspecified(),
            "broadcast" => |one| !one.address.is_loopback() && one.address.is_ipv4(),
            _ => return Err(format!("unsupported flag {flag:?}")),
        });
    }
    Ok(Box::new(move |one| tests.iter().all(|test| test(one))))
}

#[derive(Clone, Copy)]
enum SortKey {
    Name,
    Address,
    Kind,
    Size,
    Private,
    Default,
    Port,
}

/// `type,-size`: keys with commas between, `-` turns one around.
fn sort_keys(text: &str) -> Result<Vec<(bool, SortKey)>, String> {
    let key = |part: &str| {
        let (reverse, name) = match part.trim().strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, part.trim().trim_start_matches('+')),
        };
        let key = match name.to_ascii_lowercase().as_str() {
            "name" => SortKey::Name,
            "address" => SortKey::Address,
            "type" => SortKey::Kind,
            "size" => SortKey::Size,
            "private" => SortKey::Private,
            "default" => SortKey::Default,
            "port" => SortKey::Port,
            _ => return Err(format!("unknown sort type: {part:?}")),
        };
        Ok((reverse, key))
    };
    text.split(',').map(key).collect()
}

fn compare(keys: &[(bool, SortKey)], a: &InterfaceAddr, b: &InterfaceAddr) -> Ordering {
    for (reverse, key) in keys {
        let order = match key {
            SortKey::Name => a.name.cmp(&b.name),
            SortKey::Address => a.address.cmp(&b.address),
            SortKey::Kind => a.address.is_ipv6().cmp(&b.address.is_ipv6()),
            // The smallest network has the most bits.
            SortKey::Size => b.prefix_len.cmp(&a.prefix_len),
            SortKey::Private => special(b.address).cmp(&special(a.address)),
            SortKey::Default => b.default_route.cmp(&a.default_route),
            SortKey::Port => Ordering::Equal,
        };
        if order != Ordering::Equal {
            return if *reverse { order.reverse() } else { order };
        }
    }
    Ordering::Equal
}

fn attribute(key: &str, one: &InterfaceAddr) -> Result<String, String> {
    let network = || IpNet::new(one.address, one.prefix_len).ok();
    Ok(match key.to_ascii_lowercase().as_str() {
        "name" => one.name.clone(),
        "address" | "string" | "host" => one.address.to_string(),
        "port" => "0".to_owned(),
        "type" => if one.address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
        "size" => match one.address {
            IpAddr::V4(_) => (1u64 << 32u32.saturating_sub(one.prefix_len.into())).to_string(),
            IpAddr::V6(_) if one.prefix_len == 0 => {
                "340282366920938463463374607431768211456".into()
            }
            IpAddr::V6(_) => (1u128 << 128u32.saturating_sub(one.prefix_len.into())).to_string(),
        },
        "mask_bits" => one.prefix_len.to_string(),
        "network" => network().map(|net| net.trunc().to_string()).unwrap_or_default(),
        "netmask" => network().map(|net| net.netmask().to_string()).unwrap_or_default(),
        "broadcast" => network().map(|net| net.broadcast().to_string()).unwrap_or_default(),
        "first_usable" => network()
            .and_then(|net| net.hosts().next())
            .map(|ip| ip.to_string())
            .unwrap_or_default(),
        "flags" => if one.up { "up" } else { "down" }.to_owned(),
        _ => return Err(format!("unable to find the attribute {key:?}")),
    })
}

fn offset(by: i64, list: Vec<InterfaceAddr>) -> Result<Worth, String> {
    let length = list.len() as i64;
    let start = if by < 0 { length.saturating_add(by) } else { by };
    if start < 0 || start > length {
        return Err(format!("unable to seek past the end of the interfaces: offset {by}"));
    }
    Ok(Worth::Addresses(list.into_iter().skip(start as usize).collect()))
}

/// `math "address" "+5"` moves the address, `math "network" "+5"` counts from
/// the start of its network, or with `-` from the end.
fn math(operation: &str, value: &str, mut one: InterfaceAddr) -> Result<InterfaceAddr, String> {
    let bad = || format!("unable to convert {value:?} to int for operation {operation:?}");
    if operation.eq_ignore_ascii_case("mask") {
        let bits: u8 = value.parse().map_err(|_| bad())?;
        let net = IpNet::new(one.address, bits).map_err(|_| bad())?;
        one.address = net.network();
        return Ok(one);
    }
    if !value.starts_with(['+', '-']) {
        return Err(format!("sign (+/-) is required for operation {operation:?}"));
    }
    let amount: i128 = value.parse::<i64>().map_err(|_| bad())?.into();
    let net = IpNet::new(one.address, one.prefix_len).map_err(|_| bad())?;
    let base = match operation.to_ascii_lowercase().as_str() {
        "address" => one.address,
        "network" if amount < 0 => net.broadcast(),
        "network" => net.network(),
        _ => return Err(format!("unsupported math operation: {operation:?}")),
    };
    one.address = match base {
        IpAddr::V4(ip) => {
            let moved = i128::from(u32::from(ip)) + amount;
            IpAddr::V4(Ipv4Addr::from(u32::try_from(moved).map_err(|_| bad())?))
        }
        IpAddr::V6(ip) => {
            let step = amount.unsigned_abs();
            let number = u128::from(ip);
            let moved =
                if amount < 0 { number.checked_sub(step) } else { number.checked_add(step) };
            IpAddr::V6(Ipv6Addr::from(moved.ok_or_else(bad)?))
        }
    };
    Ok(one)
}
