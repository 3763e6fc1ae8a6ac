//! The rings: which crate may depend on which, and what a pure crate may not
//! depend on at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;

use super::Finding;

/// A crate of the workspace and its place in it.
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) ring: Ring,
    /// The crates of the workspace that it may depend on.
    may_use: &'static [&'static str],
}

/// From the inside out: an arrow points only inward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ring {
    Words,
    Machines,
    Features,
    Shell,
    /// Never shipped.
    Tools,
}

impl Ring {
    /// Whether time, randomness, files and the network come from outside.
    pub(super) fn is_pure(self) -> bool {
        self <= Ring::Features
    }
}

const fn place(name: &'static str, ring: Ring, may_use: &'static [&'static str]) -> Place {
    Place { name, ring, may_use }
}

/// Every crate of the workspace. A new crate is a line here.
pub(super) const PLACES: &[Place] = &[
    place("types", Ring::Words, &[]),
    place("store", Ring::Machines, &["types"]),
    place("raft", Ring::Machines, &["types"]),
    place("snapshot", Ring::Machines, &["types", "raft"]),
    place("wal", Ring::Machines, &["types", "raft", "snapshot"]),
    place("acl", Ring::Machines, &["types"]),
    place("dns", Ring::Machines, &["types"]),
    place("filter", Ring::Machines, &["types"]),
    place("config", Ring::Machines, &["types"]),
    place("gossip", Ring::Machines, &["types"]),
    place("contract", Ring::Machines, &["types", "store", "acl", "filter"]),
    place("domains", Ring::Features, &["types", "store", "acl", "filter", "contract"]),
    place("replica", Ring::Features, &["types", "store", "snapshot", "acl", "contract", "domains"]),
    place("telemetry", Ring::Shell, &["types"]),
    place("tls", Ring::Shell, &[]),
    place("checks", Ring::Shell, &["types", "telemetry", "tls"]),
    place("http-server", Ring::Shell, &["types", "acl", "contract", "telemetry"]),
    place("rpc", Ring::Shell, &["types", "contract", "telemetry", "tls"]),
    place("grpc", Ring::Shell, &["types", "telemetry", "rpc"]),
    place("client", Ring::Shell, &["types", "tls"]),
    place(
        "server",
        Ring::Shell,
        &[
            "types",
            "store",
            "raft",
            "snapshot",
            "wal",
            "acl",
            "filter",
            "contract",
            "domains",
            "replica",
            "telemetry",
            "rpc",
            "grpc",
        ],
    ),
    place(
        "agent",
        Ring::Shell,
        &[
            "types",
            "store",
            "acl",
            "dns",
            "filter",
            "snapshot",
            "config",
            "contract",
            "domains",
            "telemetry",
            "checks",
            "client",
            "http-server",
            "gossip",
            "rpc",
            "grpc",
            "server",
            "tls",
        ],
    ),
    place("cli", Ring::Shell, &["types", "acl", "filter", "snapshot", "config", "agent", "client"]),
    place("linearizability", Ring::Tools, &[]),
    place(
        "sim",
        Ring::Tools,
        &[
            "linearizability",
            "types",
            "store",
            "raft",
            "wal",
            "acl",
            "filter",
            "contract",
            "domains",
            "replica",
            "gossip",
        ],
    ),
    place("bench", Ring::Tools, &["types", "client"]),
    place(
        "fuzz",
        Ring::Tools,
        &[
            "types",
            "store",
            "raft",
            "snapshot",
            "wal",
            "acl",
            "dns",
            "filter",
            "config",
            "contract",
            "domains",
            "replica",
            "gossip",
            "rpc",
            "grpc",
            "checks",
            "http-server",
            "server",
            "agent",
            "cli",
        ],
    ),
    place("xtask", Ring::Tools, &["linearizability"]),
];

/// Crates that do what a pure crate leaves to the shell.
const IMPURE: &[&str] = &[
    "tokio",
    "tokio-rustls",
    "tokio-stream",
    "tokio-util",
    "mio",
    "hyper",
    "hyper-util",
    "h2",
    "reqwest",
    "socket2",
    "rustix",
    "libc",
    "nix",
    "getrandom",
    "rand",
    "tempfile",
    "rustls-native-certs",
    "tracing-subscriber",
];

/// Checks the `Cargo.toml` of every crate of the workspace at `root`.
pub(super) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut folders: Vec<_> = std::fs::read_dir(root.join("crates"))
        .context("crates")?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|folder| folder.join("Cargo.toml").is_file())
        .collect();
    folders.sort();
    folders.push(root.join("xtask"));

    let mut manifests = BTreeMap::new();
    for folder in folders {
        let path = folder.join("Cargo.toml");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let manifest = Manifest::parse(&text).with_context(|| shown.clone())?;
        manifests.insert(shown, manifest);
    }
    let workspace: BTreeSet<String> =
        manifests.values().map(|manifest| manifest.name.clone()).collect();
    Ok(manifests.iter().flat_map(|(path, manifest)| judge(path, manifest, &workspace)).collect())
}

struct Manifest {
    name: String,
    dependencies: BTreeSet<String>,
    dev_dependencies: BTreeSet<String>,
}

impl Manifest {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let table: toml::Table = toml::from_str(text)?;
        let name = table
            .get("package")
            .and_then(|package| package.get("name")?.as_str())
            .context("no package.name")?
            .to_owned();
        let names = |section: &str| -> BTreeSet<String> {
            let at_top = table.get(section).into_iter();
            let by_target = table.get("target").and_then(|t| t.as_table());
            let by_target = by_target.into_iter().flatten().filter_map(|(_, t)| t.get(section));
            at_top
                .chain(by_target)
                .filter_map(|section| section.as_table())
                .flat_map(|section| section.keys().cloned())
                .collect()
        };
        let mut dependencies = names("dependencies");
        dependencies.extend(names("build-dependencies"));
        Ok(Self { name, dependencies, dev_dependencies: names("dev-dependencies") })
    }
}

fn judge(path: &str, manifest: &Manifest, workspace: &BTreeSet<String>) -> Vec<Finding> {
    let Some(place) = PLACES.iter().find(|place| place.name == manifest.name) else {
        let message = format!("{} has no line in xtask/src/tidy/edges.rs", manifest.name);
        return vec![Finding::new(path, message)];
    };
    let mut findings = Vec::new();
    for dependency in &manifest.dependencies {
        let name = dependency.as_str();
        if workspace.contains(name) && !place.may_use.contains(&name) {
            let message = format!("{} may not depend on {name}", place.name);
            findings.push(Finding::new(path, message));
        }
        if place.ring.is_pure() && IMPURE.contains(&name) {
            let message = format!("{} is pure and may not depend on {name}", place.name);
            findings.push(Finding::new(path, message));
        }
    }
    for dependency in &manifest.dev_dependencies {
        let outward =
            PLACES.iter().any(|other| other.name == dependency && other.ring > place.ring);
        if outward {
            let message = format!("tests of {} may not depend on {dependency}", place.name);
            findings.push(Finding::new(path, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let workspace = PLACES.iter().map(|place| place.name.to_owned()).collect();
        let manifest = Manifest::parse(text).unwrap();
        let findings = judge("Cargo.toml", &manifest, &workspace);
        let messages: Vec<String> = findings.into_iter().map(|f| f.message).collect();
        assert_eq!(messages, expected, "{text}");
    }

    #[test]
    fn every_arrow_points_inward() {
        for place in PLACES {
            for used in place.may_use {
                let used = PLACES.iter().find(|other| other.name == *used).unwrap();
                assert!(used.ring <= place.ring, "{} -> {}", place.name, used.name);
            }
        }
    }

    #[test]
    fn edges_that_are_not_in_the_table_are_found() {
        check("[package]\nname = 'dns'\n[dependencies]\ntypes = '1'\nbytes = '1'", &[]);
        check(
            "[package]\nname = 'dns'\n[dependencies.store]\npath = 'x'",
            &["dns may not depend on store"],
        );
        check(
            "[package]\nname = 'dns'\n[target.'cfg(unix)'.dependencies]\ntokio = '1'",
            &["dns is pure and may not depend on tokio"],
        );
        check(
            "[package]\nname = 'dns'\n[dev-dependencies]\ntempfile = '1'\nagent = '1'",
            &["tests of dns may not depend on agent"],
        );
        check("[package]\nname = 'new'", &["new has no line in xtask/src/tidy/edges.rs"]);
    }
}
