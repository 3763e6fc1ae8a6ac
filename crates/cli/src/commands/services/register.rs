//! `consul services register`.

use std::collections::BTreeMap;

use types::catalog::ServiceAddress;
use types::service::ServiceDefinition;
use types::{ServiceId, ServiceName};

use super::definitions;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::{Arguments, Flag, Kind, quote};

pub(in crate::commands) const COMMAND: Command = Command {
    words: "services register",
    synopsis: "Register services with the agent",
    usage: "services register [options] [FILE...]",
    help: "Registers the services that files define, in the form of the agent's own\n\
           configuration, or one service made from flags. The agent keeps them; those\n\
           from its own files do not change.\n\n\
           \x20   $ consul services register web.hcl\n\
           \x20   $ consul services register -name=web -port=80 -tag=blue",
    api: ApiFlags::CSN,
    flags: || {
        vec![
            Flag::text("address", "Address of the instance; the node's own by default."),
            Flag::text("id", "Id of the instance; the name by default."),
            Flag::text("kind", "Kind of the service: connect-proxy, mesh-gateway, …."),
            Flag::map("meta", "Metadata, key=value. May be repeated."),
            Flag::text("name", "Name of the service."),
            Flag::new("port", Kind::Integer, "Port of the instance."),
            Flag::text("socket", "Unix socket of the instance, in place of address and port."),
            Flag::list("tag", "A tag. May be repeated."),
            Flag::map("tagged-address", "A named address, name=address:port. May be repeated."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let files = call.arguments.words.clone();
    let arguments = &call.arguments;
    if files.is_empty() && arguments.text("name").is_empty() {
        let text = "Service registration requires at least one argument or flags.";
        return Err(Failure::new(text));
    }
    if !files.is_empty() && !arguments.text("id").is_empty() {
        let text = "Service registration requires arguments or -id, not both.";
        return Err(Failure::new(text));
    }
    let services =
        if files.is_empty() { vec![from_flags(arguments)?] } else { definitions(&files)? };
    let client = call.client()?;
    for service in services {
        let name = service.name.as_str();
        let complaint = format!("Error registering service {}", quote(name));
        client.agent_register(&service).await.tried(&complaint)?;
        call.ui.output(format!("Registered service: {name}"));
    }
    Ok(0)
}

fn from_flags(arguments: &Arguments) -> Result<ServiceDefinition, Failure> {
    let address = arguments.text("address");
    if split_host_port(address).is_ok() {
        return Err(Failure::new(
            "Invalid Service address when using CLI flags. Use -port flag instead: \
             address should not contain port",
        ));
    }
    let mut tagged_addresses = BTreeMap::new();
    for (name, text) in arguments.map("tagged-address") {
        let address = split_host_port(&text).tried("Invalid Tagged Address")?;
        tagged_addresses.insert(name, address);
    }
    let meta = arguments.map("meta");
    Ok(ServiceDefinition {
        kind: arguments.text("kind").to_owned(),
        id: ServiceId::from(arguments.text("id")),
        name: ServiceName::from(arguments.text("name")),
        address: address.to_owned(),
        port: arguments.integer("port"),
        socket_path: arguments.text("socket").to_owned(),
        tags: arguments.list("tag"),
        meta: (!meta.is_empty()).then_some(meta),
        tagged_addresses: (!tagged_addresses.is_empty()).then_some(tagged_addresses),
        ..ServiceDefinition::default()
    })
}

/// Takes `host:port` or `[ip]:port` apart, with the complaints of Go's `net`.
fn split_host_port(text: &str) -> Result<ServiceAddress, String> {
    let complain = |reason: &str| Err(format!("address {text}: {reason}"));
    let Some((host, port)) = text.rsplit_once(':') else {
        return complain("missing port in address");
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host,
        None if text.ends_with(']') => return complain("missing port in address"),
        None if host.contains(':') => return complain("too many colons in address"),
        None => host,
    };
    match port.parse() {
        Ok(port) => Ok(ServiceAddress { address: host.to_owned(), port }),
        Err(_) => Err(format!("strconv.Atoi: parsing {}: invalid syntax", quote(port))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_as_go_does_it() {
        let good = |address: &str, port| Ok(ServiceAddress { address: address.into(), port });
        for (text, expected) in [
            ("1.2.3.4:80", good("1.2.3.4", 80)),
            ("[::1]:80", good("::1", 80)),
            ("1.2.3.4", Err("address 1.2.3.4: missing port in address".to_owned())),
            ("::1", Err("address ::1: too many colons in address".to_owned())),
            ("[::1]", Err("address [::1]: missing port in address".to_owned())),
            ("a:b", Err("strconv.Atoi: parsing \"b\": invalid syntax".to_owned())),
        ] {
            assert_eq!(split_host_port(text), expected);
        }
    }
}
