//! Messages and actions as lines of text, for people.

use std::net::SocketAddr;

use gossip::memberlist::{Action, ExchangeId};
use gossip::wire::message::{Ack, Alive, Dead, IndirectPing, Nack, Ping, Suspect, decode};
use gossip::wire::serf::{self, SerfMessage, SerfPushPull};
use gossip::wire::{MessageType, Progress, Security, StreamMessage, StreamReader};

/// An action; addresses by their last number.
pub(crate) fn action(action: &Action) -> String {
    match action {
        Action::Packet { to, plain } => format!("{}: {}", host(*to), packet(plain)),
        Action::Exchange { id, to, name, message, answered, .. } => {
            let name = name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
            let answered = if *answered { "" } else { ", no answer" };
            let message = stream(message, &Security::default());
            format!("stream {} to {}{name}: {message}{answered}", number(*id), host(*to))
        }
        Action::Exchanged { id, outcome: Ok(()) } => format!("stream {} is done", number(*id)),
        Action::Exchanged { id, outcome: Err(error) } => {
            format!("stream {} failed: {error}", number(*id))
        }
        Action::Broadcast { what, sent } => {
            format!("{what:?} {}", if *sent { "is told" } else { "ran out of time" })
        }
        Action::Warning(warning) => format!("! {warning}"),
    }
}

fn number(id: ExchangeId) -> u64 {
    id.0
}

fn host(addr: SocketAddr) -> String {
    format!("-> {}", addr.to_string().replace("10.0.0.", "").replace(":8301", ""))
}

/// The messages of a packet.
pub(crate) fn packet(plain: &[u8]) -> String {
    let mut words = Vec::new();
    let read =
        gossip::wire::packet::unpack(plain, &mut |kind, body| words.push(message(kind, body)));
    read.expect("what the machine sends can be read");
    let checked = if plain[0] == MessageType::HasCrc as u8 { " +crc" } else { "" };
    format!("{}{checked}", words.join("; "))
}

fn message(kind: MessageType, body: &[u8]) -> String {
    match kind {
        MessageType::Ping => {
            let Ping { node, seq_no, .. } = decode(body).unwrap();
            format!("ping {node} #{seq_no}")
        }
        MessageType::IndirectPing => {
            let request: IndirectPing<'_> = decode(body).unwrap();
            let IndirectPing { node, seq_no, nack, .. } = request;
            format!("ping {node} for me #{seq_no}{}", if nack { " or nack" } else { "" })
        }
        MessageType::Ack => {
            let Ack { seq_no, payload } = decode(body).unwrap();
            let payload = match serf::decode_coordinate(&payload) {
                Ok(_) => "with a coordinate".to_owned(),
                Err(_) => String::from_utf8_lossy(&payload).into_owned(),
            };
            format!("ack #{seq_no} {payload}").trim_end().to_owned()
        }
        MessageType::Nack => format!("nack #{}", decode::<Nack>(body).unwrap().seq_no),
        MessageType::Suspect => {
            let Suspect { from, incarnation, node } = decode(body).unwrap();
            format!("suspect {node}/{incarnation} says {from}")
        }
        MessageType::Dead => {
            let Dead { from, incarnation, node } = decode(body).unwrap();
            format!("dead {node}/{incarnation} says {from}")
        }
        MessageType::Alive => {
            let Alive { node, incarnation, meta, .. } = decode(body).unwrap();
            let meta = match meta.first() {
                Some(0xff) => format!("{:?}", serf::decode_tags(&meta).unwrap()),
                _ => String::from_utf8_lossy(&meta).into_owned(),
            };
            format!("alive {node}/{incarnation} {meta}").trim_end().to_owned()
        }
        MessageType::User => match SerfMessage::decode(body) {
            Ok(message) => format!("{message:?}"),
            Err(_) => format!("user {}", String::from_utf8_lossy(body)),
        },
        other => format!("{other:?}"),
    }
}

/// A stream's message.
pub(crate) fn stream(bytes: &[u8], security: &Security) -> String {
    let mut reader = StreamReader::new();
    reader.buffer().extend(bytes);
    match reader.next(security) {
        Ok(Progress::Message(StreamMessage::PushPull(message))) => {
            let nodes = message.nodes().unwrap();
            let state = |number: i64| ["alive", "suspect", "dead", "left"][number as usize];
            let mut nodes: Vec<String> = nodes
                .iter()
                .map(|node| format!("{} {}/{}", state(node.state), node.name, node.incarnation))
                .collect();
            // The order is that of probes, which chance has made.
            nodes.sort();
            let what = if message.join { "join" } else { "push-pull" };
            let user = match SerfMessage::decode(&message.user_state) {
                Ok(SerfMessage::PushPull(state)) => {
                    let SerfPushPull { time, event_time, query_time, .. } = &state;
                    let events: Vec<_> = state.events.iter().flatten().collect();
                    format!(
                        "clocks {} {} {} statuses {:?} left {:?} events {events:?} in {} places",
                        time.0,
                        event_time.0,
                        query_time.0,
                        state.status_times,
                        state.left_members,
                        state.events.len(),
                    )
                }
                _ => format!("{:?}", message.user_state),
            };
            format!("{what} [{}] {user}", nodes.join(", "))
        }
        Ok(Progress::Message(StreamMessage::Ping(ping))) => {
            format!("ping {} #{}", ping.node, ping.seq_no)
        }
        Ok(Progress::Message(message)) => format!("{message:?}"),
        other => panic!("{other:?} in what the machine sends"),
    }
}
