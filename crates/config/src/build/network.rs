//! Addresses, ports and sockets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::Build;
use super::addresses::{Address, detect_advertise};
use crate::runtime::{ListenAddr, Listeners, NetworkConfig, PortRange, Ports, UnixSockets};

pub(super) fn ports(build: &mut Build<'_>) -> Ports {
    let grpc_tls = match build.settings.is_set("ports.grpc_tls") || !build.server {
        true => port(build, "ports.grpc_tls"),
        false => Some(8503),
    };
    Ports {
        dns: port(build, "ports.dns"),
        http: port(build, "ports.http"),
        https: port(build, "ports.https"),
        grpc: port(build, "ports.grpc"),
        grpc_tls,
        serf_lan: port(build, "ports.serf_lan").unwrap_or(0),
        serf_wan: port(build, "ports.serf_wan"),
        server: port(build, "ports.server").unwrap_or(0),
        sidecar: range(build, "sidecar"),
        expose: range(build, "expose"),
        proxy: range(build, "proxy"),
    }
}

/// A port; zero and less is disabled, too large a number is noted.
fn port(build: &mut Build<'_>, key: &str) -> Option<u16> {
    let number = build.settings.int(key);
    if number <= 0 {
        return None;
    }
    let port = u16::try_from(number).ok();
    if port.is_none() {
        build.errors.push(format!("{key}: invalid port: {number}"));
    }
    port
}

fn range(build: &mut Build<'_>, name: &str) -> PortRange {
    PortRange {
        min: port(build, &format!("ports.{name}_min_port")).unwrap_or(0),
        max: port(build, &format!("ports.{name}_max_port")).unwrap_or(0),
    }
}

pub(super) fn network(build: &mut Build<'_>, ports: &Ports) -> Result<NetworkConfig, String> {
    let noted = build.errors.len();
    let Some(bind) = build.one_ip("bind_addr", &build.settings.text("bind_addr"))? else {
        // Consul says just this for an address that it cannot read; a template
        // that fails or finds several deserves its own text.
        let shown = &build.errors[noted..];
        if shown.iter().any(|error| !error.contains("invalid ip address")) {
            build.fail_if_wrong()?;
        }
        return Err("bind_addr cannot be empty".to_owned());
    };
    let mut client = Vec::new();
    for address in build.addresses("client_addr", &build.settings.text("client_addr")) {
        match address {
            Address::Ip(ip) => client.push(ip),
            Address::Unix(_) => return Err("client_addr cannot be a unix socket".to_owned()),
        }
    }
    if build.settings.text("client_addr").trim().is_empty() {
        build.warnings.push(
            "client_addr is empty, client services (DNS, HTTP, HTTPS, GRPC) will not be listening \
             for connections"
                .to_owned(),
        );
    }
    let advertise_lan = advertise(build, bind)?;
    let advertise_wan =
        build.one_ip("advertise_addr_wan", &build.settings.text("advertise_addr_wan"))?;
    if advertise_wan.is_some_and(|ip| ip.is_unspecified()) {
        return Err("Advertise WAN address cannot be 0.0.0.0, :: or [::]".to_owned());
    }
    Ok(NetworkConfig {
        bind,
        client,
        advertise_lan,
        advertise_wan: advertise_wan.unwrap_or(advertise_lan),
        rpc_bind: SocketAddr::new(bind, ports.server),
        rpc_advertise: SocketAddr::new(advertise_lan, ports.server),
        translate_wan_addrs: build.settings.bool("translate_wan_addrs"),
    })
}

fn advertise(build: &mut Build<'_>, bind: IpAddr) -> Result<IpAddr, String> {
    let text = build.settings.text("advertise_addr");
    match build.one_ip("advertise_addr", &text)? {
        Some(ip) if ip.is_unspecified() => {
            Err("Advertise address cannot be 0.0.0.0, :: or [::]".to_owned())
        }
        Some(ip) => Ok(ip),
        None if bind.is_unspecified() && text.trim().is_empty() => {
            detect_advertise(bind, &build.environment.interfaces)
        }
        None => Ok(bind),
    }
}

/// `lan`, `wan` and those of the family win over what the user wrote.
pub(super) fn tagged_addresses(
    build: &mut Build<'_>,
    network: &NetworkConfig,
) -> BTreeMap<String, String> {
    let mut tagged = build.settings.map("tagged_addresses");
    for (kind, ip) in [("lan", network.advertise_lan), ("wan", network.advertise_wan)] {
        let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
        tagged.insert(kind.to_owned(), ip.to_string());
        tagged.insert(format!("{kind}_{family}"), ip.to_string());
    }
    for (key, kind, v4) in [
        ("advertise_addr_ipv4", "lan_ipv4", true),
        ("advertise_addr_ipv6", "lan_ipv6", false),
        ("advertise_addr_wan_ipv4", "wan_ipv4", true),
        ("advertise_addr_wan_ipv6", "wan_ipv6", false),
    ] {
        let text = build.settings.text(key);
        match build.one_ip(key, &text) {
            Ok(Some(ip)) if ip.is_ipv4() == v4 => {
                tagged.insert(kind.to_owned(), ip.to_string());
            }
            Ok(Some(_)) => {
                let family = if v4 { "ipv4" } else { "ipv6" };
                build.errors.push(format!("{key} must be an {family} address"));
            }
            Ok(None) => {}
            Err(error) => build.errors.push(error),
        }
    }
    tagged
}

pub(super) fn listeners(
    build: &mut Build<'_>,
    ports: &Ports,
    network: &NetworkConfig,
) -> Result<Listeners, String> {
    let dns = listen(build, "addresses.dns", ports.dns, network);
    if dns.iter().any(|address| matches!(address, ListenAddr::Unix(_))) {
        return Err("DNS address cannot be a unix socket".to_owned());
    }
    let settings = build.settings;
    Ok(Listeners {
        dns,
        http: listen(build, "addresses.http", ports.http, network),
        https: listen(build, "addresses.https", ports.https, network),
        grpc: listen(build, "addresses.grpc", ports.grpc, network),
        grpc_tls: listen(build, "addresses.grpc_tls", ports.grpc_tls, network),
        unix_sockets: UnixSockets {
            user: settings.text("unix_sockets.user"),
            group: settings.text("unix_sockets.group"),
            mode: settings.text("unix_sockets.mode"),
        },
    })
}

/// A disabled port disables unix sockets too.
fn listen(
    build: &mut Build<'_>,
    key: &str,
    port: Option<u16>,
    network: &NetworkConfig,
) -> Vec<ListenAddr> {
    let text = build.settings.text(key);
    let addresses = match text.trim().is_empty() {
        true => network.client.iter().map(|ip| Address::Ip(*ip)).collect(),
        false => build.addresses(key, &text),
    };
    let Some(port) = port else { return Vec::new() };
    addresses
        .into_iter()
        .map(|address| match address {
            Address::Ip(ip) => ListenAddr::Tcp(SocketAddr::new(ip, port)),
            Address::Unix(path) => ListenAddr::Unix(path.into()),
        })
        .collect()
}
