//! `consul tls cert create`.

use std::net::{IpAddr, Ipv4Addr};

use super::{is_taken, read, save, validity};
use crate::ApiFlags;
use crate::certificate::{Authority, CertificateRequest};
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::{Flag, Kind};

/// What stands for the domain in file names.
const DOMAIN: &str = "#DOMAIN#";

/// Printed before a server's certificate is made.
const SERVER_WARNING: &str = "\
==> WARNING: Server Certificates grants authority to become a
    server and access all state in the cluster including root keys
    and all ACL tokens. Do not distribute them to production hosts
    that are not server nodes. Store them as securely as CA keys.";

pub(in crate::commands) const COMMAND: Command = Command {
    words: "tls cert create",
    synopsis: "Make a certificate",
    usage: "tls cert create [options]",
    help: "Makes a certificate signed by the authority, and its key, as two files in the\n\
           current folder. It is for a server, for a client, or for the command line.\n\n\
           \x20   $ consul tls cert create -server -dc=east\n\
           \x20   $ consul tls cert create -client\n\
           \x20   $ consul tls cert create -cli",
    api: ApiFlags::NONE,
    flags: || {
        vec![
            Flag::text("ca", "File with the certificate of the authority.")
                .or("#DOMAIN#-agent-ca.pem"),
            Flag::text("key", "File with the key of the authority.")
                .or("#DOMAIN#-agent-ca-key.pem"),
            Flag::bool("server", "Make a certificate for a server."),
            Flag::bool("client", "Make a certificate for a client agent."),
            Flag::bool("cli", "Make a certificate for the command line."),
            Flag::new("days", Kind::Integer, "Days that the certificate is valid.").or("365"),
            Flag::text("dc", "Datacenter of the agent.").or("dc1"),
            Flag::text("domain", "DNS domain of the agents.").or("consul"),
            Flag::text("node", "With -server: the node that the certificate names."),
            Flag::list("additional-dnsname", "One more DNS name. May be given more than once."),
            Flag::list("additional-ipaddress", "One more IP address. May be given more than once."),
        ]
    },
    run: Run::Here(run),
};

/// Whom a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Server,
    Client,
    Cli,
}

impl Holder {
    fn of(call: &Call) -> Result<Self, Failure> {
        let flag = |name: &str| call.arguments.bool(name);
        match (flag("server"), flag("client"), flag("cli")) {
            (true, false, false) => Ok(Holder::Server),
            (false, true, false) => Ok(Holder::Client),
            (false, false, true) => Ok(Holder::Cli),
            _ => Err(Failure::new("Please provide either -server, -client, or -cli")),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Holder::Server => "server",
            Holder::Client => "client",
            Holder::Cli => "cli",
        }
    }
}

fn run(call: &mut Call) -> Outcome {
    let holder = Holder::of(call)?;
    let request = request(call, holder)?;
    let domain = call.arguments.text("domain").to_owned();
    let authority_file = call.arguments.text("ca").replace(DOMAIN, &domain);
    let key_file = call.arguments.text("key").replace(DOMAIN, &domain);
    let certificate = read(&authority_file, "Error reading CA")?;
    let key = read(&key_file, "Error reading CA key")?;
    let authority = Authority::from_pem(&certificate, &key).tried("Error reading CA")?;
    let issued = authority.issue(&request).tried("Error creating the certificate")?;

    if holder == Holder::Server {
        call.ui.output(SERVER_WARNING);
    }
    call.ui.output(format!("==> Using {authority_file} and {key_file}"));
    let prefix = format!("{}-{}-{domain}", call.arguments.text("dc"), holder.word());
    let files = free_names(&prefix)?;
    save(&issued, &files[0], &files[1])?;
    for file in files {
        call.ui.output(format!("==> Saved {file}"));
    }
    Ok(0)
}

fn request(call: &Call, holder: Holder) -> Result<CertificateRequest, Failure> {
    let arguments = &call.arguments;
    let node = arguments.text("node");
    if !node.is_empty() && holder != Holder::Server {
        return Err(Failure::new("-node requires -server"));
    }
    let (dc, domain) = (arguments.text("dc"), arguments.text("domain"));
    let common_name = format!("{}.{dc}.{domain}", holder.word());
    let mut dns_names = Vec::new();
    if !node.is_empty() {
        dns_names.push(format!("{node}.{common_name}"));
    }
    dns_names.extend([common_name.clone(), "localhost".to_owned()]);
    dns_names.extend(arguments.list("additional-dnsname"));
    let mut addresses = Vec::new();
    if holder != Holder::Cli {
        addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    for text in arguments.list("additional-ipaddress") {
        let address = text.parse().map_err(|_| {
            Failure::new(format!("-additional-ipaddress must be an IP address, not {text}"))
        })?;
        addresses.push(address);
    }
    Ok(CertificateRequest {
        common_name,
        dns_names,
        addresses,
        for_authentication: holder != Holder::Cli,
        validity: validity(call)?,
    })
}

/// Names for a certificate and its key with the lowest number that is free.
fn free_names(prefix: &str) -> Result<[String; 2], Failure> {
    (0..u32::MAX)
        .map(|number| [format!("{prefix}-{number}.pem"), format!("{prefix}-{number}-key.pem")])
        .find(|names| !names.iter().any(|name| is_taken(name)))
        .ok_or_else(|| Failure::new(format!("no free number for {prefix}")))
}
