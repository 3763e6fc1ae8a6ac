//! Where the agent is and how to speak to it (`reference/cli.md` section 2).

use std::fmt;
use std::time::Duration;

use types::{GoDuration, SecretId};

use crate::Error;

/// Where an agent listens when nothing else is said.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:8500";
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest body that is read at once.
const BODY_BYTES_MAX: usize = 1 << 30;

/// All that a [`crate::Client`] is made from.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// `host:port`, `http://…`, `https://…` or `unix:///path`. What follows
    /// the first slash after the host is put before every path.
    pub address: String,
    /// Whether TLS is used although the address does not say so.
    pub use_tls: bool,
    /// The ACL token.
    pub token: SecretId,
    /// A file that holds the token; it wins over `token` unless it is empty.
    pub token_file: String,
    /// `user:password` of HTTP basic authentication; without a colon the user alone.
    pub basic_auth: Option<String>,
    /// The datacenter asked; empty for the agent's own.
    pub datacenter: String,
    /// Enterprise's namespace; empty for none.
    pub namespace: String,
    /// Enterprise's partition; empty for none.
    pub partition: String,
    /// Longest wait of a blocking read; zero leaves it to the agent.
    pub wait_time: GoDuration,
    /// Certificates and keys.
    pub tls: TlsConfig,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest body, in bytes, of an answer that is read as a whole.
    pub body_bytes_max: usize,
}

/// Certificates and keys. Empty texts are not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// File with the certificates of trusted authorities.
    pub ca_file: String,
    /// Folder with such files.
    pub ca_path: String,
    /// File with the client's certificate.
    pub certificate_file: String,
    /// File with the client's key.
    pub key_file: String,
    /// The name sent as SNI and looked for in the certificate, in place of the host.
    pub server_name: String,
    /// Whether any certificate is taken.
    pub skip_verify: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: DEFAULT_ADDRESS.to_owned(),
            use_tls: false,
            token: SecretId::default(),
            token_file: String::new(),
            basic_auth: None,
            datacenter: String::new(),
            namespace: String::new(),
            partition: String::new(),
            wait_time: GoDuration::default(),
            tls: TlsConfig::default(),
            connect_timeout: CONNECT_TIMEOUT,
            body_bytes_max: BODY_BYTES_MAX,
        }
    }
}

// Secrets stay out of logs: the token's own Debug hides it, the password is left out here.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("address", &self.address)
            .field("use_tls", &self.use_tls)
            .field("token_file", &self.token_file)
            .field("datacenter", &self.datacenter)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The defaults overridden by the `CONSUL_*` variables, which `variable`
    /// looks up. An empty variable counts as absent. Also gives the warnings
    /// that Consul logs about variables it cannot read.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> (Self, Vec<String>) {
        let text = |name: &str| variable(name).filter(|value| !value.is_empty());
        let or_empty = |name: &str| text(name).unwrap_or_default();
        let mut warnings = Vec::new();
        let mut flag = |name: &str| {
            let value = text(name)?;
            let parsed = parse_bool(&value);
            if parsed.is_none() {
                warnings.push(format!(
                    "[WARN]  could not parse {name}: error=\"strconv.ParseBool: parsing {value:?}: invalid syntax\""
                ));
            }
            parsed
        };
        let config = Self {
            address: text("CONSUL_HTTP_ADDR").unwrap_or_else(|| DEFAULT_ADDRESS.to_owned()),
            use_tls: flag("CONSUL_HTTP_SSL").unwrap_or(false),
            token: SecretId::from(or_empty("CONSUL_HTTP_TOKEN").as_str()),
            token_file: or_empty("CONSUL_HTTP_TOKEN_FILE"),
            basic_auth: text("CONSUL_HTTP_AUTH"),
            namespace: or_empty("CONSUL_NAMESPACE"),
            partition: or_empty("CONSUL_PARTITION"),
            tls: TlsConfig {
                ca_file: or_empty("CONSUL_CACERT"),
                ca_path: or_empty("CONSUL_CAPATH"),
                certificate_file: or_empty("CONSUL_CLIENT_CERT"),
                key_file: or_empty("CONSUL_CLIENT_KEY"),
                server_name: or_empty("CONSUL_TLS_SERVER_NAME"),
                skip_verify: flag("CONSUL_HTTP_SSL_VERIFY") == Some(false),
            },
            ..Self::default()
        };
        (config, warnings)
    }
}

/// Go's spellings of a boolean.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// An address taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP, with or without TLS.
    Tcp {
        /// Whether TLS is spoken.
        tls: bool,
        /// Name or IP address; IPv6 without its brackets.
        host: String,
        /// The port; 80 or 443 when none is written.
        port: u16,
        /// Host and port as they were written, for the `Host` header and for error texts.
        authority: String,
        /// Put before every path; empty or beginning with a slash.
        prefix: String,
    },
    /// A unix socket.
    Unix {
        /// The socket's path.
        path: String,
    },
}

impl Address {
    /// Takes an address apart. `use_tls` turns a plain address, even one that
    /// says `http`, into a TLS one.
    ///
    /// # Errors
    /// [`Error::UnknownScheme`].
    pub fn parse(text: &str, use_tls: bool) -> Result<Self, Error> {
        let (tls, rest) = match text.split_once("://") {
            Some(("unix", path)) => return Ok(Address::Unix { path: path.to_owned() }),
            Some(("http", rest)) => (use_tls, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, _)) => return Err(Error::UnknownScheme(scheme.to_owned())),
            None => (use_tls, text),
        };
        let (authority, prefix) = match rest.split_once('/') {
            Some((authority, "")) => (authority, String::new()),
            Some((authority, prefix)) => (authority, format!("/{}", prefix.trim_end_matches('/'))),
            None => (rest, String::new()),
        };
        let default_port = if tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().unwrap_or(default_port))
            }
            _ => (authority, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Address::Tcp { tls, host, port, authority: authority.to_owned(), prefix })
    }

    /// The beginning of every URL, for error texts. A unix socket is called `localhost`.
    pub fn url(&self) -> String {
        match self {
            Address::Tcp { tls, authority, prefix, .. } => {
                format!("{}://{authority}{prefix}", if *tls { "https" } else { "http" })
            }
            Address::Unix { .. } => "http://localhost".to_owned(),
        }
    }

    /// The `Host` header.
    pub(crate) fn host_header(&self) -> &str {
        match self {
            Address::Tcp { authority, .. } => authority,
            Address::Unix { .. } => "localhost",
        }
    }

    /// What is put before every path.
    pub(crate) fn prefix(&self) -> &str {
        match self {
            Address::Tcp { prefix, .. } => prefix,
            Address::Unix { .. } => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(tls: bool, host: &str, port: u16, authority: &str, prefix: &str) -> Address {
        Address::Tcp {
            tls,
            host: host.into(),
            port,
            authority: authority.into(),
            prefix: prefix.into(),
        }
    }

    #[test]
    fn addresses_are_taken_apart() {
        for (text, use_tls, expected) in [
            ("127.0.0.1:8500", false, tcp(false, "127.0.0.1", 8500, "127.0.0.1:8500", "")),
            ("127.0.0.1:8500", true, tcp(true, "127.0.0.1", 8500, "127.0.0.1:8500", "")),
            ("http://a:1", true, tcp(true, "a", 1, "a:1", "")),
            ("https://a", false, tcp(true, "a", 443, "a", "")),
            ("http://a/consul/", false, tcp(false, "a", 80, "a", "/consul")),
            ("a:1/x/y", false, tcp(false, "a", 1, "a:1", "/x/y")),
            ("[::1]:8500", false, tcp(false, "::1", 8500, "[::1]:8500", "")),
            ("[::1]", false, tcp(false, "::1", 80, "[::1]", "")),
            ("unix:///run/consul.sock", false, Address::Unix { path: "/run/consul.sock".into() }),
        ] {
            assert_eq!(Address::parse(text, use_tls).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_scheme_is_named() {
        let error = Address::parse("ftp://x", false).unwrap_err();
        assert_eq!(error.to_string(), "Unknown protocol scheme: ftp");
    }

    #[test]
    fn variables_fill_the_configuration() {
        let (config, warnings) = Config::from_environment(|name| {
            let value = match name {
                "CONSUL_HTTP_ADDR" => "10.0.0.1:80",
                "CONSUL_HTTP_SSL" => "true",
                "CONSUL_HTTP_SSL_VERIFY" => "0",
                "CONSUL_HTTP_AUTH" => "me:secret",
                "CONSUL_NAMESPACE" => "team",
                "CONSUL_CACERT" => "",
                _ => return None,
            };
            Some(value.to_owned())
        });
        assert!(warnings.is_empty());
        assert!(config.use_tls && config.tls.skip_verify);
        assert_eq!(config.address, "10.0.0.1:80");
        assert_eq!(config.basic_auth.as_deref(), Some("me:secret"));
        assert_eq!(config.namespace, "team");
        assert!(config.tls.ca_file.is_empty());
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn an_unreadable_flag_is_warned_about_and_ignored() {
        let (config, warnings) =
            Config::from_environment(|name| (name == "CONSUL_HTTP_SSL").then(|| "maybe".into()));
        assert!(!config.use_tls);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("CONSUL_HTTP_SSL"), "{warnings:?}");
    }
}
