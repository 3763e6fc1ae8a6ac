//! Files in memory and a machine with known interfaces.

#![allow(dead_code, reason = "not every test binary uses all of it")]

use std::collections::BTreeMap;
use std::io;

use config::file_system::{FileKind, FileSystem};
use config::{Environment, InterfaceAddr, LoadError, Loaded, Sources};

/// Files by path; a folder exists when a file lies in it.
#[derive(Debug, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<String, String>);

impl FileSystem for Files {
    fn kind(&self, path: &str) -> io::Result<FileKind> {
        if self.0.contains_key(path) {
            return Ok(FileKind::File);
        }
        let folder = format!("{}/", path.trim_end_matches('/'));
        match self.0.keys().any(|name| name.starts_with(&folder)) {
            true => Ok(FileKind::Directory),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let folder = format!("{}/", path.trim_end_matches('/'));
        let inside = self.0.keys().rev().filter_map(|name| name.strip_prefix(&folder));
        let mut names: Vec<_> =
            inside.map(|rest| rest.split('/').next().unwrap_or(rest).to_owned()).collect();
        names.dedup();
        Ok(names)
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let text = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.clone().into_bytes())
    }
}

/// `lo`, `eth0` with a private address of each family and the default route,
/// `eth1` with a public IPv4 address.
pub(crate) fn machine() -> Environment {
    let address = |name: &str, text: &str, prefix_len, default_route| InterfaceAddr {
        name: name.to_owned(),
        address: text.parse().unwrap(),
        prefix_len,
        up: true,
        default_route,
    };
    Environment {
        host_name: "box".to_owned(),
        interfaces: vec![
            address("lo", "127.0.0.1", 8, false),
            address("lo", "::1", 128, false),
            address("eth0", "10.1.2.3", 24, true),
            address("eth0", "fe80::1", 64, true),
            address("eth1", "8.8.4.4", 20, false),
        ],
        variables: Vec::new(),
    }
}

/// Loads from flags as on a command line (`-name=value`, `-name`) and files.
pub(crate) fn load_with(arguments: &str, files: &Files) -> Result<Loaded, LoadError> {
    let mut sources = Sources::default();
    for argument in split(arguments) {
        let (name, value) = argument.split_once('=').unwrap_or((argument, "true"));
        let value = value.trim_matches('\'').to_owned();
        match name {
            "dev" => sources.dev = true,
            "config-file" | "config-dir" => sources.config_files.push(value),
            "config-format" => sources.config_format = value,
            "hcl" => sources.hcl.push(value),
            name => sources.flags.push((name.to_owned(), value)),
        }
    }
    config::load(&sources, files, &machine())
}

/// Splits at each ` -name`; a value may hold spaces.
fn split(arguments: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = arguments.trim();
    while let Some(argument) = rest.strip_prefix('-') {
        let is_next = |at: &usize| argument[at + 2..].starts_with(|c: char| c.is_ascii_lowercase());
        let end = argument.match_indices(" -").map(|(at, _)| at).find(is_next);
        let end = end.unwrap_or(argument.len());
        out.push(argument[..end].trim());
        rest = argument[end..].trim_start();
    }
    out
}

/// Loads from flags alone.
pub(crate) fn load(arguments: &str) -> Result<Loaded, LoadError> {
    load_with(arguments, &Files::default())
}
