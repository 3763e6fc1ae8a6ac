//! What operators call the agents that are to be joined (`reference/gossip-wire.md`
//! section 4).
//!
//! Names are looked up as the system does. memberlist first asks for all addresses over TCP,
//! since its resolver stops at what fits a datagram; the system's goes on over TCP by itself.

use std::net::{IpAddr, SocketAddr};

use gossip::serf::Seed;

/// Addresses that one name may have.
const ADDRESSES_MAX: usize = 64;

/// The text of a seed, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named<'s> {
    node: Option<&'s str>,
    host: &'s str,
    port: u16,
}

fn parse(seed: &str, default_port: u16) -> Result<Named<'_>, String> {
    let (node, address) = match seed.split_once('/') {
        Some((node, address)) => (Some(node).filter(|node| !node.is_empty()), address),
        None => (None, seed),
    };
    let failed = |why: &str| format!("Failed to resolve {seed}: {why}");
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| failed("missing ']'"))?;
            (host, rest.strip_prefix(':'))
        }
        // More than one colon: an address of version 6 without a port.
        None if address.matches(':').count() > 1 => (address, None),
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    if host.is_empty() {
        return Err(failed("lookup : no such host"));
    }
    let port = match port {
        None => default_port,
        Some(port) => port.parse().map_err(|_| failed(&format!("invalid port {port:?}")))?,
    };
    Ok(Named { node, host, port })
}

/// The seeds that a text names; more than one where a name has several addresses.
///
/// # Errors
/// Nothing can be found under it; why, for people.
pub(super) async fn resolve(seed: &str, default_port: u16) -> Result<Vec<Seed>, String> {
    let Named { node, host, port } = parse(seed, default_port)?;
    let name = node.map(str::to_owned);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![Seed { address: SocketAddr::new(ip, port), name }]);
    }
    let found = tokio::net::lookup_host((host, port)).await;
    let found: Vec<SocketAddr> = found
        .map_err(|_| format!("Failed to resolve {seed}: lookup {host}: no such host"))?
        .take(ADDRESSES_MAX)
        .collect();
    Ok(found.into_iter().map(|address| Seed { address, name: name.clone() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_a_seed_are_understood() {
        let check = |seed: &str, node: Option<&str>, host: &str, port: u16| {
            assert_eq!(parse(seed, 8301), Ok(Named { node, host, port }), "{seed}");
        };
        check("10.0.0.1", None, "10.0.0.1", 8301);
        check("10.0.0.1:7946", None, "10.0.0.1", 7946);
        check("consul.example", None, "consul.example", 8301);
        check("consul.example:1", None, "consul.example", 1);
        check("[::1]:7946", None, "::1", 7946);
        check("[::1]", None, "::1", 8301);
        check("fe80::1", None, "fe80::1", 8301);
        check("s1.dc1/10.0.0.1:8302", Some("s1.dc1"), "10.0.0.1", 8302);
        check("s1.dc1/[::1]:8302", Some("s1.dc1"), "::1", 8302);
        check("/10.0.0.1", None, "10.0.0.1", 8301);
    }

    #[test]
    fn what_is_no_seed_is_refused_with_its_text() {
        let check = |seed: &str, why: &str| {
            let expected = format!("Failed to resolve {seed}: {why}");
            assert_eq!(parse(seed, 8301), Err(expected));
        };
        check("", "lookup : no such host");
        check(":8301", "lookup : no such host");
        check("[::1", "missing ']'");
        check("host:port", "invalid port \"port\"");
        check("host:70000", "invalid port \"70000\"");
    }

    #[tokio::test]
    async fn an_address_needs_no_lookup_and_a_name_gets_one() {
        let seed = Seed { address: "10.0.0.1:7946".parse().unwrap(), name: Some("a".to_owned()) };
        assert_eq!(resolve("a/10.0.0.1:7946", 1).await, Ok(vec![seed]));
        let local = resolve("localhost", 8301).await.expect("every machine knows itself");
        assert!(local.iter().all(|seed| seed.address.ip().is_loopback()), "{local:?}");
        let error = resolve("nowhere.invalid", 8301).await.unwrap_err();
        assert_eq!(
            error,
            "Failed to resolve nowhere.invalid: lookup nowhere.invalid: no such host"
        );
    }
}
