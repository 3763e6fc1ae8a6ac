//! Configuration: the two languages, and the way from files to settings.

use std::collections::BTreeMap;
use std::io;

use config::file_system::{FileKind, FileSystem};
use config::{Environment, InterfaceAddr, Sources};

use super::assert_says;

/// What HCL is made of.
pub(super) const HCL_WORDS: &[&str] = &[
    " = ",
    "{\n",
    "}\n",
    "[",
    "]",
    ", ",
    "\"",
    "\n",
    "# c\n",
    "/* c */",
    "// c\n",
    "<<EOT\n",
    "<<-EOT\n",
    "EOT\n",
    "true",
    "false",
    "ports",
    "service",
    "services",
    "check",
    "checks",
    "node_name",
    "data_dir",
    "datacenter",
    "acl",
    "tokens",
    "telemetry",
    "dns_config",
    "tls",
    "defaults",
    "ca_file",
    "bind_addr",
    "client_addr",
    "retry_join",
    "server",
    "bootstrap_expect",
    "interval = \"10s\"",
    "http = \"http://localhost\"",
    "args = [\"/bin/true\"]",
    "port = 80",
    "\"{{ GetPrivateIP }}\"",
    "connect { sidecar_service {} }",
    "config_entries",
    "bootstrap",
    "limits",
    "performance",
    "raft_multiplier = 1",
    "recursors",
    "log_level = \"INFO\"",
    "segments",
    "encrypt",
    "meta",
    "tags",
    "weights",
    "proxy",
    "upstreams",
    "\\\"",
    "\\n",
    "${x}",
    "0x1f",
    "1.5e3",
    "-7",
    "--- b.hcl\n",
    "--- c.json\n",
    "-node=x\n",
    "-server\n",
    "watches",
    "unix_sockets",
    "autopilot",
    "audit",
    "peering",
    "xds",
    "ui_config",
    "gossip_lan",
    "node_meta",
    "advertise_addr",
    "serf_lan",
    "addresses",
    "advertise_addr_wan = \"::1\"",
    "license_path",
];

/// What JSON is made of.
pub(super) const JSON_WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\"a\"",
    "true",
    "false",
    "null",
    "1",
    "-0",
    "0.5",
    "1e5",
    "\\u0041",
    "\\ud83d\\ude00",
    "\\ud800",
    "\\/",
    "\\\"",
    "\u{e9}",
    " ",
    "\n",
    "1E+400",
    "01",
];

/// What address templates are made of.
pub(super) const TEMPLATE_WORDS: &[&str] = &[
    "{{ ",
    " }}",
    "GetPrivateIP",
    "GetPublicIP",
    "GetAllInterfaces",
    "GetInterfaceIP \"eth0\"",
    "GetDefaultInterfaces",
    "GetPrivateInterfaces",
    " | ",
    "include \"network\" \"10.0.0.0/8\"",
    "exclude \"flags\" \"loopback\"",
    "attr \"address\"",
    "join \"address\" \" \"",
    "sort \"default\"",
    "limit 1",
    "offset -1",
    "unique \"name\"",
    "math \"network\" \"+1\"",
    "\"",
    "(",
    ")",
    "-",
    "include \"rfc\" \"1918\"",
    "include \"name\" \"(a*)*$\"",
    "sort \"-address,size\"",
    "`x`",
    "limit -1",
    "limit 99999999999",
    "math \"mask\" \"33\"",
    "math \"address\" \"-5\"",
];

/// Checks one HCL document.
pub(super) fn check_hcl(input: &[u8]) {
    let text = super::text(input);
    if let Err(error) = config::hcl::parse(&text) {
        assert_says(&error, text.len());
    }
}

/// Checks one JSON document against a second reader.
pub(super) fn check_json(input: &[u8]) {
    let text = super::text(input);
    let second: Result<serde_json::Value, _> = serde_json::from_str(&text);
    if let Err(error) = config::json::parse(&text) {
        assert_says(&error, text.len());
        assert!(second.is_err() || error.contains("more than"), "sound JSON is refused: {error}");
    }
}

/// Checks one address template.
pub(super) fn check_template(input: &[u8]) {
    let text = super::text(input);
    if let Err(error) = config::template::expand(&text, &environment().interfaces) {
        assert_says(&error, text.len());
    }
}

/// Checks a whole configuration. The input is lines: first flags (`-name=value`)
/// and an HCL fragment, then files, each after a line `--- name`.
pub(super) fn check_config(input: &[u8]) {
    let text = super::text(input);
    let (sources, files) = sources(&text);
    let environment = environment();
    let loaded = config::load(&sources, &files, &environment);
    match &loaded {
        Ok(loaded) => {
            for line in loaded.warnings.iter().chain(&loaded.without_effect) {
                assert_says(line, text.len());
            }
        }
        Err(error) => assert_says(&error.0, text.len()),
    }
    let again = config::load(&sources, &files, &environment);
    let apart = |loaded: &config::Loaded| (loaded.warnings.clone(), loaded.without_effect.clone());
    assert_eq!(loaded.as_ref().map(apart), again.as_ref().map(apart), "the order is by chance");
    if let Err(error) = config::validate(&["/conf".to_owned()], "", &files, &environment) {
        assert_says(&error.0, text.len());
    }
}

fn sources(text: &str) -> (Sources, Folder) {
    let mut sources = Sources { config_files: vec!["/conf".to_owned()], ..Sources::default() };
    let (mut fragment, mut files) = (String::new(), BTreeMap::new());
    let mut name: Option<String> = None;
    for line in text.split_inclusive('\n') {
        if let Some(file) = line.strip_prefix("--- ") {
            let file = file.trim().replace('/', "_");
            files.entry(file.clone()).or_insert_with(String::new);
            name = Some(file);
            continue;
        }
        match (&name, line.strip_prefix('-')) {
            (Some(name), _) => files.entry(name.clone()).or_default().push_str(line),
            (None, Some(flag)) => {
                let (name, value) =
                    flag.trim_end().split_once('=').unwrap_or((flag.trim_end(), "true"));
                if name == "dev" {
                    sources.dev = true;
                } else {
                    sources.flags.push((name.to_owned(), value.to_owned()));
                }
            }
            (None, None) => fragment.push_str(line),
        }
    }
    if !fragment.is_empty() {
        sources.hcl.push(fragment);
    }
    (sources, Folder(files))
}

fn environment() -> Environment {
    let interface = |name: &str, address: &str, prefix_len, default_route| InterfaceAddr {
        name: name.to_owned(),
        address: address.parse().expect("an address"),
        prefix_len,
        up: true,
        default_route,
    };
    Environment {
        host_name: "machine".to_owned(),
        interfaces: vec![
            interface("lo", "127.0.0.1", 8, false),
            interface("eth0", "10.0.0.5", 24, true),
            interface("eth0", "fe80::5", 64, false),
            interface("eth1", "198.51.100.7", 0, false),
            interface("eth2", "2001:db8::5", 128, false),
        ],
        variables: Vec::new(),
    }
}

/// One folder, `/conf`.
struct Folder(BTreeMap<String, String>);

impl Folder {
    fn file(&self, path: &str) -> io::Result<&String> {
        let file = path.strip_prefix("/conf/").and_then(|name| self.0.get(name));
        file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl FileSystem for Folder {
    fn kind(&self, path: &str) -> io::Result<FileKind> {
        match path {
            "/conf" => Ok(FileKind::Directory),
            _ => self.file(path).map(|_| FileKind::File),
        }
    }

    fn names(&self, _path: &str) -> io::Result<Vec<String>> {
        Ok(self.0.keys().cloned().collect())
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.file(path).map(|text| text.clone().into_bytes())
    }
}
