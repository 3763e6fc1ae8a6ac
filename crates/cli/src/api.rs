//! The flags that all commands share that ask an agent, and the client they
//! make (`reference/cli.md` section 2).

use client::{Client, Config, QueryOptions};
use types::SecretId;

use crate::command::Call;
use crate::failure::{Failure, Tried as _};
use crate::flag::Flag;

/// Which of the shared flags a command takes: `C`, `S`, `N` and `P` of
/// `reference/cli.md` section 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiFlags {
    client: bool,
    server: bool,
    namespace: bool,
    partition: bool,
}

impl ApiFlags {
    /// None: the command asks no agent.
    pub const NONE: Self =
        Self { client: false, server: false, namespace: false, partition: false };
    /// How to reach the agent.
    pub const C: Self = Self { client: true, ..Self::NONE };
    /// Also which datacenter, and whether stale answers do.
    pub const CS: Self = Self { server: true, ..Self::C };
    /// Also namespace and partition.
    pub const CSN: Self = Self { namespace: true, partition: true, ..Self::CS };
    /// Also the partition.
    pub const CSP: Self = Self { partition: true, ..Self::CS };
    /// Without datacenter, with namespace and partition.
    pub const CN: Self = Self { namespace: true, partition: true, ..Self::C };
    /// Without datacenter, with the partition.
    pub const CP: Self = Self { partition: true, ..Self::C };

    /// The flags themselves.
    pub fn flags(self) -> Vec<Flag> {
        let mut flags = Vec::new();
        if self.client {
            flags.extend_from_slice(CLIENT);
        }
        if self.server {
            flags.extend_from_slice(SERVER);
        }
        if self.namespace {
            flags.push(NAMESPACE);
        }
        if self.partition {
            flags.push(PARTITION);
        }
        flags
    }
}

/// Whether help lists a flag of this name under "HTTP API Options", which goes
/// by the name alone.
pub(crate) fn is_api_flag(name: &str) -> bool {
    CLIENT.iter().chain(SERVER).any(|flag| flag.name == name)
}

const CLIENT: &[Flag] = &[
    Flag::text("http-addr", "Address of the agent: host:port, or with http://, https:// or unix:// in front. Also CONSUL_HTTP_ADDR. Default: http://127.0.0.1:8500.")
        .word("address"),
    Flag::text("token", "ACL token of the request. Also CONSUL_HTTP_TOKEN. Without one the agent's own default token counts.")
        .word("value"),
    Flag::text("token-file", "File that holds the ACL token; wins over -token. Also CONSUL_HTTP_TOKEN_FILE.")
        .word("value"),
    Flag::text("ca-file", "File with the certificates of trusted authorities, PEM. Also CONSUL_CACERT.")
        .word("value"),
    Flag::text("ca-path", "Folder with such files. Also CONSUL_CAPATH.").word("value"),
    Flag::text("client-cert", "File with the certificate shown to the agent, PEM. Also CONSUL_CLIENT_CERT.")
        .word("value"),
    Flag::text("client-key", "File with the key of that certificate, PEM. Also CONSUL_CLIENT_KEY.")
        .word("value"),
    Flag::text("tls-server-name", "Name looked for in the agent's certificate in place of its address. Also CONSUL_TLS_SERVER_NAME.")
        .word("value"),
];

const SERVER: &[Flag] = &[
    Flag::text("datacenter", "Datacenter to ask; the agent's own by default.").word("value"),
    Flag::bool(
        "stale",
        "Let any server answer, not the leader alone: faster, perhaps a little behind.",
    ),
];

const NAMESPACE: Flag =
    Flag::text("namespace", "Enterprise: the namespace. Also CONSUL_NAMESPACE.").word("value");
const PARTITION: Flag =
    Flag::text("partition", "Enterprise: the admin partition. Also CONSUL_PARTITION.")
        .word("value");

impl Call {
    /// A client by the flags and the environment.
    pub(crate) fn client(&mut self) -> Result<Client, Failure> {
        self.client_or("Error connecting to Consul agent")
    }

    /// As [`Call::client`], where the complaint begins with other words.
    pub(crate) fn client_or(&mut self, complaint: &str) -> Result<Client, Failure> {
        let environment = self.environment.clone();
        let (mut config, warnings) = Config::from_environment(|name| environment(name));
        for warning in warnings {
            self.ui.error(warning);
        }
        let arguments = &self.arguments;
        for (flag, field) in [
            ("http-addr", &mut config.address),
            ("ca-file", &mut config.tls.ca_file),
            ("ca-path", &mut config.tls.ca_path),
            ("client-cert", &mut config.tls.certificate_file),
            ("client-key", &mut config.tls.key_file),
            ("tls-server-name", &mut config.tls.server_name),
            ("datacenter", &mut config.datacenter),
            ("namespace", &mut config.namespace),
            ("partition", &mut config.partition),
        ] {
            if arguments.is_set(flag) {
                arguments.text(flag).clone_into(field);
            }
        }
        if arguments.is_set("token") {
            config.token = SecretId::from(arguments.text("token"));
            // A token on the command line wins over a file from the environment.
            config.token_file.clear();
        }
        if arguments.is_set("token-file") {
            arguments.text("token-file").clone_into(&mut config.token_file);
        }
        Client::new(config).tried(complaint)
    }

    /// The options of reads that the flags ask for.
    pub(crate) fn query_options(&self) -> QueryOptions {
        QueryOptions { allow_stale: self.arguments.bool("stale"), ..QueryOptions::default() }
    }
}
