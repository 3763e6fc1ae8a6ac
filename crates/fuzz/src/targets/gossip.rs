//! What comes from the gossip network: packets and streams, through their layers and into a
//! machine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gossip::memberlist::{Action, Memberlist, Node, NodeState, Options};
use gossip::wire::message::{
    Ack, Alive, Dead, IndirectPing, Message as _, Nack, Ping, PushNode, Suspect,
};
use gossip::wire::serf::{
    self, Filter, Join, KeyRequest, Leave, PastEvent, Query, QueryResponse, Relay, SerfMessage,
    SerfPushPull, UserEvent, UserEvents,
};
use gossip::wire::{
    Key, Keyring, Progress, Security, StreamMessage, StreamReader, Versions, packet, stream,
};
use types::Blob;
use types::coordinate::Coordinate;
use types::user_event::LamportTime;

use super::assert_says;

/// Actions that one packet may cause: its parts, each with an answer, and a warning.
const ACTIONS_MAX: usize = 64 * 1024;

/// Checks one packet, as it comes and as it is inside its encryption.
pub(super) fn check_packet(input: &[u8]) {
    let key = Key::new(&[7; 16]).expect("16 bytes are a key");
    let security = Security { keyring: Some(Keyring::new(key)), ..Security::default() };
    if let Err(error) = security.open_packet(input) {
        assert_says(&error.to_string(), input.len());
    }
    let mut machine = Machine::new();
    let Ok(plain) = Security::default().open_packet(input) else { return };
    machine.with(|machine, now| machine.handle_packet(other(), &plain, now, &mut ()));
    machine.settle(input.len());
    // Once more, as a replay.
    let before: Vec<Node> = machine.memberlist.members().cloned().collect();
    machine.with(|machine, now| machine.handle_packet(other(), &plain, now, &mut ()));
    machine.settle(input.len());
    for node in before {
        let after = machine.memberlist.node(&node.name).expect("no one is forgotten at once");
        assert!(after.incarnation >= node.incarnation, "an incarnation fell");
    }
}

/// Checks one stream, in pieces that the first bytes choose.
pub(super) fn check_stream(input: &[u8]) {
    let (sizes, bytes) = input.split_at(input.len().min(4));
    let whole = read(bytes, &[]);
    // What is refused may be refused for another reason, or found to be too short, if less of it
    // has come.
    let in_pieces = read(bytes, sizes).ok().flatten();
    if let Err(error) = &whole {
        assert_says(&error.to_string(), bytes.len());
    }
    let whole = whole.ok().flatten();
    assert_eq!(whole, in_pieces, "the pieces make a difference");
    let Some(message) = whole else { return };
    if let StreamMessage::PushPull(theirs) = &message
        && let Err(error) = theirs.nodes()
    {
        assert_says(&error.to_string(), bytes.len());
    }
    let mut machine = Machine::new();
    let answer = machine
        .with(|machine, now| machine.handle_stream_request(other(), message.clone(), now, &mut ()));
    machine.settle(bytes.len());
    if let Some(answer) = answer {
        assert!(matches!(read(&answer, &[]), Ok(Some(_))), "what we answer is read");
    }
    let id = machine.with(|machine, now| machine.join(other(), None, now, &mut ()));
    machine.with(|machine, now| {
        machine.handle_stream_answer(id, Ok(Some(message)), now, &mut ());
    });
    machine.settle(bytes.len());
}

/// Checks serf's messages, alone or as what a packet carries.
pub(super) fn check_serf(input: &[u8]) {
    match SerfMessage::decode(input) {
        Err(error) => assert_says(&error.to_string(), input.len()),
        Ok(message) => {
            let bytes = message.encode();
            let again = SerfMessage::decode(&bytes).expect("we read what we write");
            assert_eq!(again.encode(), bytes, "writing changes it");
        }
    }
    if let Ok(filter) = Filter::decode(input) {
        assert_eq!(Filter::decode(&filter.encode()), Ok(filter));
    }
    if let Ok(tags) = serf::decode_tags(input) {
        assert_eq!(serf::decode_tags(&serf::encode_tags(&tags)), Ok(tags));
    }
    if let Err(error) = serf::decode_coordinate(input) {
        assert_says(&error.to_string(), input.len());
    }
}

/// The message of a stream that comes in pieces of these sizes, over and over; `None` if it ends
/// too early.
fn read(bytes: &[u8], sizes: &[u8]) -> Result<Option<StreamMessage>, stream::StreamError> {
    let mut reader = StreamReader::new();
    let security = Security::default();
    let mut rest = bytes;
    let mut sizes = sizes.iter().cycle();
    loop {
        match reader.next(&security)? {
            Progress::Message(message) => return Ok(Some(message)),
            Progress::More(missing) => {
                assert!(missing > 0, "nothing is missing and nothing comes");
                if missing > rest.len() {
                    return Ok(None);
                }
                let size = sizes.next().map_or(rest.len(), |size| usize::from(*size));
                let (piece, behind) = rest.split_at(size.clamp(1, rest.len()));
                reader.buffer().extend(piece);
                rest = behind;
            }
        }
    }
}

/// A machine that knows another one, and the promises that it keeps whatever comes.
struct Machine {
    memberlist: Memberlist,
    now: Instant,
}

fn own() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 8301))
}

fn other() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 8301))
}

impl Machine {
    fn new() -> Self {
        let now = Instant::now();
        let mut memberlist = Memberlist::new(Options::new("a", own(), 1), now, &mut ());
        memberlist.handle_packet(other(), &alive().encode(), now, &mut ());
        Self { memberlist, now }
    }

    fn with<T>(&mut self, input: impl FnOnce(&mut Memberlist, Instant) -> T) -> T {
        input(&mut self.memberlist, self.now)
    }

    fn settle(&mut self, input_bytes: usize) {
        let mut actions = 0;
        while let Some(action) = self.memberlist.poll_action() {
            actions += 1;
            assert!(actions < ACTIONS_MAX, "no end of actions");
            match action {
                Action::Packet { plain, .. } => {
                    assert!(plain.len() < packet::PACKET_RECEIVE_MAX);
                    packet::unpack(&plain, &mut |_, _| {}).expect("what we send is read");
                }
                Action::Warning(warning) => {
                    assert_says(&warning.to_string(), input_bytes.max(packet::EXPANDED_MAX));
                }
                _ => {}
            }
        }
        let own = self.memberlist.local_node();
        assert_eq!(
            (own.state, own.addr),
            (NodeState::Alive, self::own()),
            "talked out of being there"
        );
        assert!(self.memberlist.queued() <= self.memberlist.known_nodes());
        for _ in 0..3 {
            self.now += Duration::from_secs(3);
            self.memberlist.handle_timeout(self.now, &mut ());
        }
        assert!(self.memberlist.next_timeout().is_some_and(|at| at > self.now));
    }
}

fn alive() -> Alive<'static> {
    Alive {
        addr: Some(other().ip()),
        incarnation: 1,
        meta: b"\xff\x80"[..].into(),
        node: "b".into(),
        port: other().port(),
        versions: Some(Versions::CONSUL),
    }
}

fn user_messages() -> Vec<Bytes> {
    let time = LamportTime(7);
    let event = PastEvent { name: "deploy".into(), payload: Blob(Bytes::from("x")) };
    let places = vec![None, Some(UserEvents { time, events: vec![event] }), None];
    let filters = [
        Filter::Nodes(vec!["a".into(), "b".into()]),
        Filter::Tag { tag: "role".into(), expression: "^consul$".into() },
    ];
    let query = Query {
        addr: Some(other().ip()),
        filters: filters.iter().map(Filter::encode).collect(),
        id: 9,
        time,
        name: "_serf_ping".into(),
        port: 8301,
        relay_factor: 1,
        source_node: "b".into(),
        timeout: 3_200_000_000,
        ..Query::default()
    };
    let inner = SerfMessage::Join(Join { time, node: "b".into() }).encode();
    let relay = Relay { to: Some(other()), to_name: "b".into(), message: inner };
    [
        SerfMessage::Join(Join { time, node: "b".into() }),
        SerfMessage::Leave(Leave { time, node: "b".into(), prune: true }),
        SerfMessage::PushPull(SerfPushPull {
            event_time: time,
            events: places,
            left_members: vec!["c".into()],
            status_times: BTreeMap::from([("b".into(), time)]),
            ..SerfPushPull::default()
        }),
        SerfMessage::UserEvent(UserEvent { time, name: "e".into(), ..UserEvent::default() }),
        SerfMessage::Query(query),
        SerfMessage::QueryResponse(QueryResponse { id: 9, time, ..QueryResponse::default() }),
        SerfMessage::KeyRequest(KeyRequest { key: Bytes::from("0123456789abcdef") }),
        SerfMessage::Relay(relay),
    ]
    .iter()
    .map(SerfMessage::encode)
    .collect()
}

/// serf's messages, tags, a filter and a coordinate.
pub(super) fn made_serf() -> Vec<Vec<u8>> {
    let mut made: Vec<Vec<u8>> = user_messages().iter().map(|message| message.to_vec()).collect();
    let tags = BTreeMap::from([("role".to_owned(), "consul".to_owned())]);
    made.push(serf::encode_tags(&tags).to_vec());
    made.push(Filter::Nodes(vec!["a".into()]).encode().to_vec());
    made.push(serf::encode_coordinate(&Coordinate::fresh()).to_vec());
    made
}

/// One packet of each kind, and several layers.
pub(super) fn made_packets() -> Vec<Vec<u8>> {
    let ping = Ping {
        node: "a".into(),
        seq_no: 1,
        source_addr: Some(other().ip()),
        source_node: "b".into(),
        source_port: 8301,
    };
    let indirect = IndirectPing {
        nack: true,
        node: "b".into(),
        port: 8301,
        seq_no: 5,
        target: Some(other().ip()),
        ..IndirectPing::default()
    };
    let suspect = Suspect { incarnation: 1, node: "a".into(), from: "b".into() };
    let dead = Dead { incarnation: u32::MAX, node: "b".into(), from: "b".into() };
    let payload = serf::encode_coordinate(&Coordinate::fresh());
    let mut made = vec![
        ping.encode(),
        indirect.encode(),
        Ack { payload: payload.as_ref().into(), seq_no: 1 }.encode(),
        Nack { seq_no: 1 }.encode(),
        suspect.encode(),
        alive().encode(),
        dead.encode(),
        [&[8][..], &user_messages()[0]].concat(),
    ];
    let compound = packet::compound(&made);
    made.push(packet::pack(compound.clone(), false, true));
    made.push(packet::pack(compound, true, false));
    made
}

/// One stream of each kind; the first bytes choose pieces.
pub(super) fn made_streams() -> Vec<Vec<u8>> {
    let states = [0, 1, 2, 3].map(|state| PushNode {
        addr: Some(other().ip()),
        incarnation: 2,
        meta: b"\xff\x80"[..].into(),
        name: if state == 0 { "a".into() } else { "b".into() },
        port: 8301,
        state,
        versions: Some(Versions::CONSUL),
    });
    let push_pull = stream::encode_push_pull(true, states.into_iter(), &user_messages()[2]);
    let ping = Ping { node: "a".into(), seq_no: 1, ..Ping::default() };
    [
        stream::pack(push_pull.clone(), true),
        push_pull,
        ping.encode(),
        Ack { seq_no: 1, ..Ack::default() }.encode(),
        stream::encode_user(&user_messages()[1]),
        stream::encode_error("no"),
    ]
    .iter()
    .map(|message| [&[255, 1, 3, 40][..], message].concat())
    .collect()
}
