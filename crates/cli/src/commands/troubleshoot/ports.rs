//! `consul troubleshoot ports` (`reference/cli.md` section 20).

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome};
use crate::flag::Flag;

/// The ports that Consul listens on unless it is told otherwise.
const PORTS: [&str; 8] = ["8600", "8500", "8501", "8502", "8503", "8301", "8302", "8300"];

/// How long a port may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Most ports asked for at once.
const PORTS_MAX: usize = 1024;

pub(in crate::commands) const COMMAND: Command = Command {
    words: "troubleshoot ports",
    synopsis: "Tell which ports of a host are open",
    usage: "troubleshoot ports [options]",
    help: "Connects to TCP ports of a host, by default to those that Consul uses, and tells\n\
           which are open.\n\n\
           \x20   $ consul troubleshoot ports -host server-1.example.com\n\
           \x20   $ consul troubleshoot ports -host 10.0.0.7 -ports 8300,8301",
    api: ApiFlags::NONE,
    flags: || {
        vec![
            Flag::text("host", "Name or address of the host. Also CONSUL_HTTP_ADDR."),
            Flag::text("ports", "Ports, commas between; by default those that Consul uses."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let host = match call.arguments.text("host") {
        "" => (call.environment)("CONSUL_HTTP_ADDR").unwrap_or_default(),
        host => host.to_owned(),
    };
    if host.is_empty() {
        return Err(Failure::new(
            "-host is required. or set environment variable CONSUL_HTTP_ADDR",
        ));
    }
    let host = host_of(&host).to_owned();
    let mut asked = JoinSet::new();
    for port in ports(call.arguments.text("ports"))? {
        let host = host.clone();
        asked.spawn(async move {
            let connected = TcpStream::connect((host.trim_matches(['[', ']']), port));
            (port, matches!(tokio::time::timeout(TIMEOUT, connected).await, Ok(Ok(_))))
        });
    }
    // As they come: whoever waits for a closed one sees the others meanwhile.
    while let Some(answer) = asked.join_next().await {
        let Ok((port, open)) = answer else { continue };
        call.ui.output(match open {
            true => format!("TCP: Port {port} on {host} is open."),
            false => format!(
                "TCP: Port {port} on {host} is closed, unreachable, or the connection timed out."
            ),
        });
    }
    Ok(0)
}

/// The host of what may be the address of an agent.
fn host_of(address: &str) -> &str {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let address = address.split('/').next().unwrap_or(address);
    match address.rsplit_once(':') {
        // An IPv6 address without brackets has colons and no port.
        Some((host, _)) if !host.contains(':') || host.ends_with(']') => host,
        _ => address,
    }
}

fn ports(text: &str) -> Result<Vec<u16>, Failure> {
    let words: Vec<&str> = match text {
        "" => PORTS.to_vec(),
        text => text.split(',').map(str::trim).collect(),
    };
    if words.len() > PORTS_MAX {
        return Err(Failure::new(format!("More than {PORTS_MAX} ports")));
    }
    let port =
        |word: &str| word.parse().map_err(|_| Failure::new(format!("Not a port number: {word:?}")));
    words.into_iter().map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_in_any_address() {
        for (address, host) in [
            ("localhost", "localhost"),
            ("127.0.0.1:8500", "127.0.0.1"),
            ("https://consul.example.com:8501/prefix", "consul.example.com"),
            ("[::1]:8500", "[::1]"),
            ("::1", "::1"),
        ] {
            assert_eq!(host_of(address), host, "{address}");
        }
    }

    #[test]
    fn ports_are_a_list_of_numbers() {
        assert_eq!(ports("").unwrap().len(), 8);
        assert_eq!(ports("1, 65535").unwrap(), [1, 65535]);
        for wrong in ["0x1", "65536", "1,", "a"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
        assert!(ports(&"1,".repeat(2000)).is_err());
    }
}
