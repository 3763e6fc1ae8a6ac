//! What the machine says about itself.

use config::{Environment, InterfaceAddr};

/// The name of this machine.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Reads host name, interfaces and variables.
pub fn read_environment() -> Environment {
    let default_route = default_route_interface();
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let interfaces = interfaces
        .into_iter()
        .map(|interface| {
            let prefix_len = match &interface.addr {
                if_addrs::IfAddr::V4(v4) => v4.prefixlen,
                if_addrs::IfAddr::V6(v6) => v6.prefixlen,
            };
            InterfaceAddr {
                address: interface.ip(),
                prefix_len,
                up: interface.is_oper_up() || interface.is_loopback(),
                default_route: default_route.as_deref() == Some(interface.name.as_str()),
                name: interface.name,
            }
        })
        .collect();
    Environment {
        host_name: host_name(),
        interfaces,
        variables: std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
    }
}

/// The interface of the default IPv4 route, from the kernel's table.
fn default_route_interface() -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/route").ok()?;
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let name = columns.next()?;
        (columns.next()? == "00000000").then(|| name.to_owned())
    })
}
