//! Several machines on this one: addresses of the loopback interface, or network namespaces
//! on a bridge of their own, between which links can be cut.

use std::ffi::OsStr;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Where packets to a host go that is cut off: nobody has this hardware address.
const NOWHERE: &str = "02:00:00:00:00:99";

/// Hosts that a network can have.
const HOSTS_MAX: u8 = 250;

/// A network of hosts. Taken down when dropped.
#[derive(Debug)]
pub(crate) struct Network {
    kind: Kind,
    /// The first three bytes of all addresses.
    prefix: [u8; 3],
    /// Addresses given so far: one that was given back is not given again.
    given: u8,
    namespaces: Vec<String>,
}

#[derive(Debug)]
enum Kind {
    Loopback,
    /// The bridge, whose own address is this machine's.
    Bridge(String),
}

/// One host.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    namespace: Option<String>,
}

impl Host {
    /// A program that will run on this host.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(program) };
        let mut command = Command::new("ip");
        // It becomes the program: signals to the child are signals to that.
        command.args(["netns", "exec", namespace]).arg(program);
        command
    }
}

impl Network {
    /// Hosts that share this machine's network, each with an address of its own.
    pub(crate) fn loopback(random: &mut fastrand::Rng) -> Self {
        let prefix = [127, random.u8(10..250), random.u8(..)];
        Self { kind: Kind::Loopback, prefix, given: 0, namespaces: Vec::new() }
    }

    /// Hosts with a network each, on a bridge; or why there cannot be any here.
    pub(crate) fn namespaces(random: &mut fastrand::Rng) -> Result<Self, String> {
        let bridge = format!("pc{:08x}", random.u32(..));
        let prefix = [10, random.u8(200..250), random.u8(..)];
        let [a, b, c] = prefix;
        let made = ip(&["link", "add", &bridge, "type", "bridge"]);
        made.map_err(|error| format!("no bridge can be made: {error:#}"))?;
        let network =
            Self { kind: Kind::Bridge(bridge.clone()), prefix, given: 1, namespaces: Vec::new() };
        let up = ip(&["addr", "add", &format!("{a}.{b}.{c}.1/24"), "dev", &bridge])
            .and_then(|()| ip(&["link", "set", &bridge, "up"]));
        up.map_err(|error| format!("the bridge cannot be used: {error:#}"))?;
        Ok(network)
    }

    /// Whether links can be cut and addresses changed.
    pub(crate) fn has_links(&self) -> bool {
        matches!(self.kind, Kind::Bridge(_))
    }

    /// One more host.
    pub(crate) fn add(&mut self, name: &str) -> anyhow::Result<Host> {
        let address = self.next_address()?;
        let mut host = Host { name: name.to_owned(), address, namespace: None };
        let Kind::Bridge(bridge) = &self.kind else { return Ok(host) };
        let namespace = format!("{bridge}-{name}");
        let outside = format!("{bridge}n{}", self.namespaces.len());
        ip(&["netns", "add", &namespace])?;
        self.namespaces.push(namespace.clone());
        let inside = ["peer", "name", "eth0", "netns", &namespace];
        ip(&[&["link", "add", &outside, "type", "veth"], &inside[..]].concat())?;
        ip(&["link", "set", &outside, "master", bridge, "up"])?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
        ip(&["-n", &namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
        host.namespace = Some(namespace);
        Ok(host)
    }

    /// Gives a host another address. Programs on it that hold the old one lose it.
    pub(crate) fn change_address(&mut self, host: &mut Host) -> anyhow::Result<()> {
        let address = self.next_address()?;
        if let Some(namespace) = &host.namespace {
            let old = format!("{}/24", host.address);
            // In this order: with its first address a network loses all its others.
            ip(&["-n", namespace, "addr", "del", &old, "dev", "eth0"])?;
            ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
        }
        host.address = address;
        Ok(())
    }

    /// What the hosts' names mean on one of them; those that are not named there mean
    /// nothing. Only where hosts have namespaces.
    pub(crate) fn set_names(&self, on: &Host, hosts: &[&Host]) -> anyhow::Result<()> {
        let namespace = on.namespace.as_deref().context("names need namespaces")?;
        let folder = names_folder(namespace);
        fs::create_dir_all(&folder)?;
        let lines: String =
            hosts.iter().map(|host| format!("{} {}\n", host.address, host.name)).collect();
        // In place: a program that runs there has this very file before its eyes.
        fs::write(folder.join("hosts"), format!("127.0.0.1 localhost\n{lines}"))?;
        Ok(())
    }

    /// What `from` sends to `to` arrives nowhere, and nobody is told.
    pub(crate) fn cut(&self, from: &Host, to: &Host) -> anyhow::Result<()> {
        let namespace = from.namespace.as_deref().context("only namespaces have links")?;
        let address = to.address.to_string();
        let neighbour =
            ["neigh", "replace", &address, "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent"];
        ip(&[&["-n", namespace], &neighbour[..]].concat())
    }

    /// Takes back all cuts of what a host sends.
    pub(crate) fn heal(&self, host: &Host) -> anyhow::Result<()> {
        let namespace = host.namespace.as_deref().context("only namespaces have links")?;
        ip(&["-n", namespace, "neigh", "flush", "dev", "eth0", "nud", "permanent"])
    }

    fn next_address(&mut self) -> anyhow::Result<Ipv4Addr> {
        ensure!(self.given < HOSTS_MAX, "the network has no more addresses");
        self.given += 1;
        let [a, b, c] = self.prefix;
        Ok(Ipv4Addr::new(a, b, c, self.given))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What is gone already is gone.
        for namespace in &self.namespaces {
            let _ = ip(&["netns", "del", namespace]);
            let _ = fs::remove_dir_all(names_folder(namespace));
        }
        if let Kind::Bridge(bridge) = &self.kind {
            let _ = ip(&["link", "del", bridge]);
        }
    }
}

/// Where `ip netns exec` finds the files that a namespace has instead of those in `/etc`.
fn names_folder(namespace: &str) -> PathBuf {
    Path::new("/etc/netns").join(namespace)
}

fn ip<S: AsRef<OsStr> + std::fmt::Debug>(words: &[S]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(words).output().context("cannot run ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {words:?}: {}", said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_the_loopback_network_have_an_address_each() {
        let mut network = Network::loopback(&mut fastrand::Rng::with_seed(1));
        let (one, two) = (network.add("one").unwrap(), network.add("two").unwrap());
        assert!(one.address.is_loopback() && two.address.is_loopback());
        assert_ne!(one.address, two.address);
        let mut moved = one.clone();
        network.change_address(&mut moved).unwrap();
        assert!(moved.address != one.address && moved.address != two.address);
        assert!(network.cut(&one, &two).is_err(), "loopback has no links to cut");
    }
}
