//! Golden dialogues: `testdata/*.txt` hold commands (`> ...`) and what one machine, named `a` at
//! 10.0.0.1, does. `UPDATE_EXPECT=1 cargo test` writes the answers anew; read the difference.
//!
//! `-> 2:` is a packet to 10.0.0.2; `!` is a line for the log; what is indented is told to serf.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gossip::memberlist::{Delegate, ExchangeId, Memberlist, Node, NodeState, Options, Timings};
use gossip::wire::message::{
    Ack, Alive, Dead, IndirectPing, Message as _, Nack, Ping, PushNode, Suspect,
};
use gossip::wire::{
    MessageType, Progress, Security, StreamMessage, StreamReader, Versions, stream,
};

use crate::words;

struct Stage {
    machine: Memberlist,
    serf: Serf,
    now: Instant,
    /// Packets with nothing in it but pings are not shown.
    quiet: bool,
}

#[derive(Default)]
struct Serf {
    told: String,
    to_say: Vec<Bytes>,
    refuses: Option<String>,
}

impl Delegate for Serf {
    fn handle_user(&mut self, from: SocketAddr, message: &[u8]) {
        let _ = writeln!(self.told, "  user {} from {from}", String::from_utf8_lossy(message));
    }

    fn broadcasts(&mut self, _overhead: usize, _limit: usize) -> Vec<Bytes> {
        std::mem::take(&mut self.to_say)
    }

    fn local_state(&mut self, _join: bool) -> Bytes {
        Bytes::from("state")
    }

    fn merge_remote_state(&mut self, state: &[u8], join: bool) {
        let state = String::from_utf8_lossy(state);
        let _ = writeln!(self.told, "  merge {state}{}", if join { " of a join" } else { "" });
    }

    fn joined(&mut self, node: &Node) {
        let _ = writeln!(self.told, "  joined {}", node.name);
    }

    fn left(&mut self, node: &Node) {
        let how = if node.state == NodeState::Left { "left" } else { "failed" };
        let _ = writeln!(self.told, "  {how} {}", node.name);
    }

    fn updated(&mut self, node: &Node) {
        let meta = String::from_utf8_lossy(&node.meta);
        let _ = writeln!(self.told, "  updated {} {meta}", node.name);
    }

    fn conflict(&mut self, existing: &Node, other: &Node) {
        let _ =
            writeln!(self.told, "  conflict {} {} {}", existing.name, existing.addr, other.addr);
    }

    fn refuses_alive(&mut self, node: &Node) -> Option<String> {
        self.refuses.clone().filter(|_| *node.name == *"x")
    }

    fn refuses_merge(&mut self, nodes: &[Node]) -> Option<String> {
        nodes.iter().find_map(|node| self.refuses_alive(node))
    }

    fn ack_payload(&mut self) -> Bytes {
        Bytes::from("here")
    }

    fn ping_complete(&mut self, node: &Node, rtt: Duration, payload: &[u8]) {
        let payload = String::from_utf8_lossy(payload);
        let _ = writeln!(self.told, "  {} answers after {rtt:?} {payload}", node.name);
    }
}

fn addr(host: &str) -> SocketAddr {
    format!("10.0.0.{host}:8301").parse().expect("a host is a number")
}

/// `a` is host 1, `b` host 2, and so on.
fn home(name: &str) -> SocketAddr {
    let host = name.bytes().next().map_or(0, |letter| letter - b'a' + 1);
    addr(&host.to_string())
}

impl Stage {
    fn new(timings: Timings) -> Self {
        let now = crate::start();
        let mut options = Options::new("a", addr("1"), 3);
        options.timings = timings;
        let mut serf = Serf::default();
        let machine = Memberlist::new(options, now, &mut serf);
        Self { machine, serf, now, quiet: false }
    }

    fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |place: usize| words.get(place).copied().unwrap_or_default();
        let number = |place: usize| word(place).parse().unwrap_or(0);
        let (machine, serf, now) = (&mut self.machine, &mut self.serf, self.now);
        let timeout = Duration::from_secs(5);
        match word(0) {
            "timings" => {
                let mut timings = match word(1) {
                    "lan" => Timings::lan(),
                    "wan" => Timings::wan(),
                    "local" => Timings::local(),
                    "dev" => Timings::lan().dev(),
                    other => panic!("no timings {other}"),
                };
                // Without probes, or without gossip.
                for off in &words[2..] {
                    match *off {
                        "no-probes" => timings.probe_interval = Duration::ZERO,
                        "no-gossip" => timings.gossip_interval = Duration::ZERO,
                        other => panic!("no way to switch off {other}"),
                    }
                }
                *self = Self::new(timings);
            }
            "advance" => self.advance(number(1)),
            "quiet" => self.quiet = true,
            "loud" => self.quiet = false,
            "say" => serf.to_say.push(Bytes::from(line["say ".len()..].to_owned())),
            "refuse" => serf.refuses = Some(line["refuse ".len()..].to_owned()),
            "join" => drop(machine.join(home(word(1)), Some(word(1)), now, serf)),
            "leave" => machine.leave(timeout, now, serf),
            "meta" => {
                machine.update_meta(Bytes::from(word(1).to_owned()), timeout, now, serf);
            }
            "members" => self.members(),
            "fails" => {
                let answer = Err("connection refused".to_owned());
                machine.handle_stream_answer(ExchangeId(number(1)), answer, now, serf);
            }
            "answers" => {
                let message = self.stream(&words[2..]);
                let id = ExchangeId(number(1));
                self.machine.handle_stream_answer(id, Ok(Some(message)), now, &mut self.serf);
            }
            "stream" => {
                let message = self.stream(&words[2..]);
                let from = home(word(1));
                let serf = &mut self.serf;
                if let Some(answer) = self.machine.handle_stream_request(from, message, now, serf) {
                    let _ = writeln!(
                        serf.told,
                        "answers {}",
                        words::stream(&answer, &Security::default())
                    );
                }
            }
            "from" => {
                let packet = message(&words[2..]);
                machine.handle_packet(home(word(1)), &packet, now, serf);
            }
            other => panic!("no command {other}"),
        }
    }

    /// Goes on by some milliseconds, one timeout after the other.
    fn advance(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        while let Some(at) = self.machine.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.machine.handle_timeout(self.now, &mut self.serf);
        }
        self.now = until;
    }

    fn members(&mut self) {
        let mut members: Vec<_> = self.machine.members().collect();
        members.sort_by_key(|node| node.name.clone());
        for node in members {
            let Node { name, addr, meta, state, incarnation, .. } = node;
            let meta = String::from_utf8_lossy(meta);
            let line = format!("{name}/{incarnation} {state:?} {addr} {meta}");
            let _ = writeln!(self.serf.told, "{}", line.trim_end());
        }
        let _ = writeln!(self.serf.told, "health {}", self.machine.health_score());
    }

    /// `push-pull` or `join`, then nodes `alive b 1`; or `ack 5`, `ping a 5`, `error text`.
    fn stream(&self, words: &[&str]) -> StreamMessage {
        let bytes = match words[0] {
            kind @ ("push-pull" | "join") => {
                let nodes = words[1..].chunks(3).map(|node| PushNode {
                    addr: Some(home(node[1]).ip()),
                    incarnation: node[2].parse().unwrap(),
                    meta: b"meta"[..].into(),
                    name: node[1].into(),
                    port: 8301,
                    state: ["alive", "suspect", "dead", "left", "older"]
                        .iter()
                        .position(|state| *state == node[0])
                        .map_or(0, |state| state as i64 % 4),
                    versions: Some(versions(node[0])),
                });
                stream::encode_push_pull(kind == "join", nodes, b"theirs")
            }
            "error" => stream::encode_error(&words[1..].join(" ")),
            "user" => stream::encode_user(words[1].as_bytes()),
            _ => message(words),
        };
        let mut reader = StreamReader::new();
        reader.buffer().extend(&bytes);
        match reader.next(&Security::default()) {
            Ok(Progress::Message(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    /// What has happened since the last call.
    fn told(&mut self) -> String {
        let mut told = String::new();
        while let Some(action) = self.machine.poll_action() {
            let line = words::action(&action);
            let only_pings = line.starts_with("->")
                && !["suspect", "alive", "dead", "user", "nack", "for me"]
                    .iter()
                    .any(|word| line.contains(word));
            if !self.quiet || !only_pings {
                let _ = writeln!(told, "{line}");
            }
        }
        told + &std::mem::take(&mut self.serf.told)
    }
}

/// Versions of a node of this state: an older one speaks what we do not understand.
fn versions(state: &str) -> Versions {
    match state {
        "older" => {
            Versions { protocol_min: 1, protocol_max: 1, protocol_current: 1, ..Versions::CONSUL }
        }
        _ => Versions::CONSUL,
    }
}

/// A message by its words.
fn message(words: &[&str]) -> Vec<u8> {
    let number = |place: usize| words.get(place).and_then(|word| word.parse().ok()).unwrap_or(0);
    let name = |place: usize| words.get(place).copied().unwrap_or_default();
    match words[0] {
        "ping" => {
            Ping { node: name(1).trim_matches('-').into(), seq_no: number(2), ..Ping::default() }
                .encode()
        }
        "indirect" => IndirectPing {
            nack: name(3) == "nack",
            node: name(1).into(),
            port: 8301,
            seq_no: number(2),
            target: Some(home(name(1)).ip()),
            ..IndirectPing::default()
        }
        .encode(),
        "ack" => Ack { payload: b"there"[..].into(), seq_no: number(1) }.encode(),
        "nack" => Nack { seq_no: number(1) }.encode(),
        "suspect" => {
            Suspect { node: name(1).into(), incarnation: number(2), from: name(3).into() }.encode()
        }
        "dead" => {
            Dead { node: name(1).into(), incarnation: number(2), from: name(3).into() }.encode()
        }
        "alive" => {
            // alive b 1 [meta] [at HOST]
            let at = words.iter().position(|word| *word == "at");
            let meta = words.get(3).filter(|word| **word != "at").copied().unwrap_or("meta");
            let addr = at.map_or(home(name(1)), |at| addr(name(at + 1)));
            Alive {
                addr: Some(addr.ip()),
                incarnation: number(2),
                meta: meta.as_bytes().into(),
                node: name(1).into(),
                port: addr.port(),
                versions: Some(Versions::CONSUL),
            }
            .encode()
        }
        "user" => [&[MessageType::User as u8], name(1).as_bytes()].concat(),
        other => panic!("no message {other}"),
    }
}

fn run(script: &str) -> String {
    let mut stage = Stage::new(Timings::lan());
    stage.told();
    let mut text = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            stage.command(command);
            let _ = write!(text, "{line}\n{}", stage.told());
        } else if line.starts_with('#') || line.is_empty() {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

#[test]
fn every_dialogue_goes_as_written() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/memberlist");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let outcome = std::panic::catch_unwind(|| run(&script));
        let text = outcome.unwrap_or_else(|_| panic!("in {}", path.display()));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{}", path.display());
    }
}
