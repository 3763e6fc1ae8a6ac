//! Golden dialogues: `testdata/*.dialogue`. A line says what happens; below it stands,
//! indented, what autopilot makes of it. `UPDATE_GOLDEN=1 cargo test -p server` writes that
//! anew; review the difference.
//!
//! `config NAME=VALUE…`, `leader ID`, `voter ID`, `listener ID` (they are in the
//! configuration), `ID NAME=VALUE…` (what is known of one: `status`, `contact` in
//! milliseconds or `never`, `index`, `term`), `joins` (a server that gossip knows is told
//! of), and `at SECONDS`, when all are looked at and what is to be done is done.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use raft::{Change, Configuration, ServerId, Suffrage};
use types::GoDuration;
use types::member::MemberStatus;

use super::super::health::MemberFacts;
use super::super::membership::additions;
use super::*;

#[test]
fn every_dialogue_goes_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/autopilot/testdata");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let written = std::fs::read_to_string(&path).unwrap();
        let played = World::default().play(&written);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, played).unwrap();
            continue;
        }
        for (number, (expected, line)) in written.lines().zip(played.lines()).enumerate() {
            assert_eq!(line, expected, "{} line {}", path.display(), number + 1);
        }
        assert_eq!(written, played, "{}", path.display());
    }
}

#[derive(Default)]
struct World {
    pilot: Pilot,
    config: AutopilotConfiguration,
    quorum: Configuration,
    leader: Option<ServerId>,
    known: BTreeMap<String, ServerFacts>,
}

impl World {
    fn play(mut self, script: &str) -> String {
        let mut out = String::new();
        for line in script.lines().filter(|line| !line.starts_with("  ")) {
            writeln!(out, "{line}").unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [] | ["#", ..] => {}
                ["config", ref settings @ ..] => settings.iter().for_each(|s| self.set(s)),
                ["at", seconds] => self.look(seconds.parse().unwrap(), &mut out),
                ["joins", id, address] => self.join(id, address, &mut out),
                [role @ ("leader" | "voter" | "listener"), id] => self.put(role, id),
                [id, ref facts @ ..] => facts.iter().for_each(|fact| self.tell(id, fact)),
            }
        }
        out
    }

    fn set(&mut self, setting: &str) {
        let (name, value) = setting.split_once('=').unwrap();
        match name {
            "cleanup" => self.config.cleanup_dead_servers = value.parse().unwrap(),
            "min_quorum" => self.config.min_quorum = value.parse().unwrap(),
            "stabilization" => {
                self.config.server_stabilization_time = GoDuration::parse(value).unwrap();
            }
            other => panic!("{other}"),
        }
    }

    fn put(&mut self, role: &str, id: &str) {
        let suffrage = if role == "listener" { Suffrage::Nonvoter } else { Suffrage::Voter };
        let server_id = ServerId(id.into());
        let address = format!("{id}:8300").into();
        self.quorum.servers.push(raft::Server { id: server_id.clone(), address, suffrage });
        if role == "leader" {
            self.leader = Some(server_id);
        }
        self.known(id);
    }

    /// What is known of one; as well as can be if nothing was said.
    fn known(&mut self, id: &str) -> &mut ServerFacts {
        self.known.entry(id.to_owned()).or_insert_with(|| ServerFacts {
            id: ServerId(id.into()),
            address: String::new(),
            suffrage: Suffrage::Voter,
            leads: false,
            member: Some(MemberFacts {
                name: format!("node-{id}"),
                version: String::new(),
                status: MemberStatus::ALIVE,
            }),
            last_contact: Some(Duration::from_millis(10)),
            last_term: 3,
            last_index: 1000,
        })
    }

    fn tell(&mut self, id: &str, fact: &str) {
        let known = self.known(id);
        let (name, value) = fact.split_once('=').unwrap();
        let with = |status| {
            let name = format!("node-{id}");
            Some(MemberFacts { name, version: String::new(), status })
        };
        match (name, value) {
            ("status", "alive") => known.member = with(MemberStatus::ALIVE),
            ("status", "failed") => known.member = with(MemberStatus::FAILED),
            ("status", "left") => known.member = with(MemberStatus::LEFT),
            ("status", "none") => known.member = None,
            ("contact", "never") => known.last_contact = None,
            ("contact", ms) => {
                known.last_contact = Some(Duration::from_millis(ms.parse().unwrap()));
            }
            ("index", index) => known.last_index = index.parse().unwrap(),
            ("term", term) => known.last_term = term.parse().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn join(&mut self, id: &str, address: &str, out: &mut String) {
        match additions(&self.quorum, &ServerId(id.into()), &address.into()) {
            Ok(changes) => changes.iter().for_each(|change| self.change(change, out)),
            Err(error) => writeln!(out, "  error: {error}").unwrap(),
        }
        self.known(id);
    }

    fn change(&mut self, change: &Change, out: &mut String) {
        match change {
            Change::AddVoter { id, address } => writeln!(out, "  add voter {} {address}", id.0),
            Change::AddNonvoter { id, address } => {
                writeln!(out, "  add nonvoter {} {address}", id.0)
            }
            Change::Remove { id } => writeln!(out, "  remove {}", id.0),
            Change::DemoteVoter { id } => writeln!(out, "  demote {}", id.0),
        }
        .unwrap();
        self.quorum = self.quorum.changed(change).unwrap();
    }

    fn look(&mut self, seconds: i128, out: &mut String) {
        let now = Timestamp::from_unix_nanos(seconds * 1_000_000_000);
        let facts: Vec<ServerFacts> = self
            .quorum
            .servers
            .iter()
            .map(|server| ServerFacts {
                address: server.address.to_string(),
                suffrage: server.suffrage,
                leads: Some(&server.id) == self.leader.as_ref(),
                ..self.known[&*server.id.0].clone()
            })
            .collect();
        let state = self.pilot.handle_servers(&self.config, &facts, now);
        let (healthy, tolerance) = (state.healthy, state.failure_tolerance);
        writeln!(out, "  healthy {healthy}, tolerates {tolerance}").unwrap();
        for step in self.pilot.reconcile(&self.config, now) {
            match step {
                Step::Promote { id, address } => {
                    let (id, address) = (ServerId(id.into()), address.into());
                    self.change(&Change::AddVoter { id, address }, out);
                }
                Step::Remove { id } => {
                    self.change(&Change::Remove { id: ServerId(id.into()) }, out)
                }
                Step::ForceLeave { name } => {
                    writeln!(out, "  force-leave {name}").unwrap();
                    let id = name.trim_start_matches("node-").to_owned();
                    self.tell(&id, "status=left");
                    self.change(&Change::Remove { id: ServerId(id.into()) }, out);
                }
            }
        }
    }
}
