//! What members of a pool tell each other, into a whole node; and the files that it keeps.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gossip::consul::{MergeRules, Server};
use gossip::memberlist;
use gossip::serf::{
    Action, Options, Serf, Snapshot, SnapshotWrite, read_keyring_file, write_keyring_file,
};
use gossip::wire::message::{Alive, Message as _};
use gossip::wire::serf::{
    Filter, Join, KeyRequest, Leave, Query, QueryResponse, Relay, SerfMessage, UserEvent,
    encode_tags,
};
use gossip::wire::{Key, Keyring, Versions};
use types::user_event::LamportTime;

use super::{assert_says, text};

/// Actions that one message may cause: an answer, copies of it, events and reports.
const ACTIONS_MAX: usize = 64 * 1024;

/// Tells a node message after message; in front of each stands its length.
pub(super) fn check(input: &[u8]) {
    let mut node = Node::new();
    let mut rest = input;
    while let Some((&length, behind)) = rest.split_first() {
        let (message, behind) = behind.split_at(behind.len().min(length.into()));
        rest = behind;
        node.tell(message);
    }
    // Whatever was said, the node is there, knows what to do next, and can be left.
    let own = node.serf.members().find(|member| member.name == "me").expect("it knows itself");
    assert_eq!(own.status.as_str(), "alive");
    node.serf.members().for_each(|member| drop(Server::from_member(member)));
    assert!(node.serf.coordinate().check().is_ok());
    node.serf.leave(node.now);
    for _ in 0..10_000 {
        node.drain();
        if node.serf.has_left() {
            return;
        }
        node.now = node.serf.next_timeout().expect("a node has always something to do");
        node.serf.handle_timeout(node.now);
    }
    panic!("a leave without an end");
}

struct Node {
    serf: Serf,
    now: Instant,
    snapshot: String,
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 8301))
}

impl Node {
    fn new() -> Self {
        let now = Instant::now();
        let list = memberlist::Options::new("me", address(1), 1);
        let mut options = Options::new(list, 1);
        options.merge = MergeRules::Lan {
            datacenter: "dc1".to_owned(),
            name: "me".to_owned(),
            node_id: "1".to_owned(),
        };
        let key = Key::new(&[7; 16]).expect("16 bytes are a key");
        options.security.keyring = Some(Keyring::new(key));
        options.persist_keyring = true;
        options.resolve_name_conflicts = true;
        options.snapshot = Some(Snapshot::default());
        let serf = Serf::new(options, now).expect("the tags are short");
        let mut node = Self { serf, now, snapshot: String::new() };
        let meta = encode_tags(&[("role".to_owned(), "node".to_owned())].into());
        let alive = Alive {
            addr: Some(address(2).ip()),
            port: address(2).port(),
            incarnation: 1,
            meta: meta.as_ref().into(),
            node: "a".into(),
            versions: Some(Versions::CONSUL),
        };
        node.serf.handle_packet(address(2), &alive.encode(), now);
        node.serf.handle_timeout(now);
        node
    }

    fn tell(&mut self, message: &[u8]) {
        let packet = [&[8], message].concat();
        self.serf.handle_packet(address(2), &packet, self.now);
        self.now += Duration::from_millis(7);
        self.serf.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        let mut actions = 0;
        while let Some(action) = self.serf.poll_action() {
            actions += 1;
            assert!(actions < ACTIONS_MAX, "one message has no end");
            match action {
                Action::Packet { plain, .. } => assert!(plain.len() <= 1400, "{}", plain.len()),
                Action::PersistKeyring(change, file) => {
                    assert!(read_keyring_file(file.0.as_bytes()).is_ok());
                    self.serf.handle_persisted(change, Ok(()), self.now);
                }
                Action::Snapshot(SnapshotWrite::Replace(file)) => self.snapshot = file,
                Action::Snapshot(
                    SnapshotWrite::Append(lines) | SnapshotWrite::AppendAndSync(lines),
                ) => self.snapshot.push_str(&lines),
                Action::Report(report) => assert_says(&report.to_string(), 1400),
                _ => {}
            }
        }
        // What it writes, it reads.
        let (_, unread) = Snapshot::read(self.snapshot.as_bytes(), false);
        assert_eq!(unread.count, 0, "{}", self.snapshot);
    }
}

/// Some conversations.
pub(super) fn made() -> Vec<Vec<u8>> {
    let join = |time, node: &str| SerfMessage::Join(Join { time, node: node.to_owned() });
    let leave =
        |time, node: &str, prune| SerfMessage::Leave(Leave { time, node: node.to_owned(), prune });
    let event = |time| {
        SerfMessage::UserEvent(UserEvent { time, name: "e".to_owned(), ..UserEvent::default() })
    };
    let query = |name: &str, payload: Bytes| {
        let filters = [
            Filter::Nodes(vec!["me".to_owned()]),
            Filter::Tag { tag: "role".to_owned(), expression: ".*".to_owned() },
        ];
        SerfMessage::Query(Query {
            time: LamportTime(3),
            id: 7,
            name: name.to_owned(),
            payload: payload.into(),
            addr: Some(address(2).ip()),
            port: 8301,
            flags: 1,
            relay_factor: 1,
            timeout: 1 << 32,
            source_node: "a".to_owned(),
            filters: filters.iter().map(Filter::encode).collect(),
        })
    };
    let key = SerfMessage::KeyRequest(KeyRequest { key: Bytes::from_static(&[9; 16]) }).encode();
    let response = SerfMessage::QueryResponse(QueryResponse::default());
    let relay = Relay { to: Some(address(2)), to_name: "a".to_owned(), message: response.encode() };
    let first = LamportTime(2);
    let last = LamportTime(u64::MAX);
    let conversations = [
        vec![join(first, "a"), leave(LamportTime(5), "a", false), join(last, "a")],
        vec![leave(first, "me", true), leave(first, "b", true), join(first, "b")],
        vec![event(first), event(first), event(last), event(LamportTime(600))],
        vec![query("load", Bytes::new()), query("_serf_list-keys", key.clone())],
        vec![query("_serf_install-key", key.clone()), response, SerfMessage::Relay(relay)],
        vec![query("_serf_use-key", key.clone()), query("_serf_remove-key", key)],
        vec![query("_serf_conflict", Bytes::from("a"))],
    ];
    let framed = |messages: &Vec<SerfMessage>| {
        let bytes = messages.iter().map(SerfMessage::encode);
        bytes.flat_map(|message| [&[message.len() as u8], &message[..]].concat()).collect()
    };
    conversations.iter().map(framed).collect()
}

/// Checks the files of a pool: what is read is written the same way.
pub(super) fn check_files(input: &[u8]) {
    for rejoin_after_leave in [false, true] {
        let (mut snapshot, _) = Snapshot::read(input, rejoin_after_leave);
        let file = snapshot.rewrite();
        let (again, unread) = Snapshot::read(file.as_bytes(), rejoin_after_leave);
        assert_eq!(unread.count, 0, "{file}");
        assert_eq!(again.clocks(), snapshot.clocks());
        assert!(again.alive().eq(snapshot.alive()), "{file}");
    }
    match read_keyring_file(input) {
        Err(error) => assert_says(&error.to_string(), input.len()),
        Ok(keyring) => {
            let again = read_keyring_file(write_keyring_file(&keyring).as_bytes());
            assert_eq!(again.as_ref(), Ok(&keyring), "{}", text(input));
        }
    }
}

/// Lines and keys.
pub(super) const FILE_WORDS: &[&str] = &[
    "alive: ",
    "not-alive: ",
    "clock: ",
    "event-clock: ",
    "query-clock: ",
    "leave",
    "coordinate: ",
    "# ",
    "\n",
    "a 10.0.0.1:8301",
    "18446744073709551615",
    "[\"",
    "\"]",
    "\",\"",
    "pUqJrVyVRj5jsiYEkM/tFQ==",
];
