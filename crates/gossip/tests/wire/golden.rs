//! Bytes of real agents (`reference/gossip-wire.md` section 18), both ways.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use gossip::wire::message::{Ack, Alive, Dead, Message, Ping, PushNode, decode};
use gossip::wire::serf::{
    self, Join, KeyRequest, Leave, PastEvent, Query, SerfMessage, SerfPushPull, UserEvent,
    UserEvents,
};
use gossip::wire::{
    MessageType, Progress, Security, StreamMessage, StreamReader, Versions, lzw, packet, stream,
};
use serde::Deserialize;
use types::Blob;
use types::coordinate::Coordinate;
use types::user_event::LamportTime;

use crate::hex;

const PING: &str = "00 85 a44e6f6465 a670796e6f6465 a55365714e6f 01 aa536f7572636541646472 a47f000001 \
    aa536f757263654e6f6465 a27331 aa536f75726365506f7274 cd959d";

const ACK: &str = "0282a75061796c6f6164da00820184aa41646a7573746d656e74cb0000000000000000\
    a54572726f72cb3ff8000000000000a6486569676874cb3ee4f8b588e368f1a356656398\
    cb0000000000000000cb0000000000000000cb0000000000000000cb0000000000000000\
    cb0000000000000000cb0000000000000000cb0000000000000000cb0000000000000000a55365714e6fcd0309";

const ALIVE: &str = "0486a441646472a47f000001ab496e6361726e6174696f6e01a44d657461da0076\
    ff88a4726f6c65a46e6f6465a26463a3646331a77365676d656e74a0a26964da0024\
    61616161616161612d313131312d323232322d333333332d626262626262626262626262\
    a376736ea132a776736e5f6d696ea132a776736e5f6d6178a133a56275696c64af312e32312e343a3030303030303030\
    a44e6f6465a670796e6f6465a4506f7274cd95a7a356736ea6010502020504";

const DEAD: &str = "0583a446726f6da26331ab496e6361726e6174696f6e02a44e6f6465a26331";
const JOIN: &str = "0182a54c54696d6501a44e6f6465a27332";
const LEAVE: &str = "0083a54c54696d6502a44e6f6465a26331a55072756e65c2";
const NEW_LEADER: &str = "0384a24343c2a54c54696d6501a44e616d65b1636f6e73756c3a6e65772d6c6561646572\
    a75061796c6f6164a27331";
const DEPLOY: &str = "0384a24343c2a54c54696d6502a44e616d65b3636f6e73756c3a6576656e743a6465706c6f79\
    a75061796c6f6164da0042\
    84a24944d92463613963353930372d333831632d353236372d336535392d636131343164656233363262\
    a16ea66465706c6f79a170c4087061796c6f616421a17601";
const LIST_KEYS: &str = "048ba441646472a47f000001a746696c74657273c0a5466c61677300a24944ce495f862e\
    a54c54696d6501a44e616d65af5f736572665f6c6973742d6b657973a75061796c6f6164a70781a34b6579a0\
    a4506f7274cd95bbab52656c6179466163746f7200aa536f757263654e6f6465a27333a754696d656f7574cebebc2000";

fn localhost() -> Option<IpAddr> {
    Some(Ipv4Addr::LOCALHOST.into())
}

/// One of memberlist's messages is these bytes, and these bytes are it.
fn check<M>(text: &str, message: &M)
where
    M: Message + Deserialize<'static> + PartialEq + Debug,
{
    // Decoded messages borrow.
    let bytes: &'static [u8] = hex(text).leak();
    assert_eq!(message.encode(), bytes);
    assert_eq!(bytes[0], M::TYPE as u8);
    assert_eq!(decode::<M>(&bytes[1..]).as_ref(), Ok(message));
}

/// One of serf's messages is these bytes, and these bytes are it.
fn check_serf(text: &str, message: &SerfMessage) {
    let bytes = hex(text);
    assert_eq!(message.encode(), bytes);
    assert_eq!(SerfMessage::decode(&bytes).as_ref(), Ok(message));
}

#[test]
fn memberlist_messages_are_those_of_real_agents() {
    let ping = Ping {
        node: "pynode".into(),
        seq_no: 1,
        source_addr: localhost(),
        source_node: "s1".into(),
        source_port: 38301,
    };
    check(PING, &ping);
    let payload = serf::encode_coordinate(&Coordinate::fresh());
    check(ACK, &Ack { seq_no: 777, payload: payload.to_vec().into() });
    check(DEAD, &Dead { incarnation: 2, node: "c1".into(), from: "c1".into() });
    let bytes = hex(ALIVE);
    let alive: Alive<'_> = decode(&bytes[1..]).unwrap();
    assert_eq!((alive.addr, alive.port, alive.incarnation), (localhost(), 38311, 1));
    assert_eq!(alive.versions, Some(Versions::CONSUL));
    assert_eq!(alive.encode(), bytes);
}

#[test]
fn addresses_of_an_acks_answer_are_left_out_when_empty() {
    let ping = Ping { node: "a".into(), seq_no: 1, ..Ping::default() };
    assert_eq!(ping.encode(), hex("00 82 a44e6f6465 a161 a55365714e6f 01"));
    assert_eq!(ping.source(), None);
}

#[test]
fn coordinates_and_tags_are_those_of_real_agents() {
    let ack = hex(ACK);
    let ack: Ack<'_> = decode(&ack[1..]).unwrap();
    assert_eq!(serf::decode_coordinate(&ack.payload), Ok(Coordinate::fresh()));
    let alive = hex(ALIVE);
    let alive: Alive<'_> = decode(&alive[1..]).unwrap();
    let tags = serf::decode_tags(&alive.meta).unwrap();
    assert_eq!((tags["role"].as_str(), tags["build"].as_str()), ("node", "1.21.4:00000000"));
    assert_eq!(serf::decode_tags(&serf::encode_tags(&tags)), Ok(tags.clone()));
    assert_eq!(serf::encode_tags(&tags).len(), alive.meta.len());
    assert_eq!(serf::decode_tags(b"db").unwrap()["role"], "db");
}

#[test]
fn serf_messages_are_those_of_real_agents() {
    check_serf(JOIN, &SerfMessage::Join(Join { time: LamportTime(1), node: "s2".into() }));
    let leave = Leave { time: LamportTime(2), node: "c1".into(), prune: false };
    check_serf(LEAVE, &SerfMessage::Leave(leave));
    let event = UserEvent {
        time: LamportTime(1),
        name: "consul:new-leader".into(),
        payload: Blob(Bytes::from("s1")),
        coalesce: false,
    };
    check_serf(NEW_LEADER, &SerfMessage::UserEvent(event.clone()));
    let bytes = hex(DEPLOY);
    let payload = Blob(Bytes::copy_from_slice(&bytes[bytes.len() - 0x42..]));
    let deploy =
        UserEvent { time: LamportTime(2), name: "consul:event:deploy".into(), payload, ..event };
    check_serf(DEPLOY, &SerfMessage::UserEvent(deploy));
}

#[test]
fn a_query_about_keys_is_that_of_a_real_agent() {
    let query = Query {
        addr: localhost(),
        filters: Vec::new(),
        flags: 0,
        id: 0x495f862e,
        time: LamportTime(1),
        name: "_serf_list-keys".into(),
        payload: Blob(SerfMessage::KeyRequest(KeyRequest::default()).encode()),
        port: 38331,
        relay_factor: 0,
        source_node: "s3".into(),
        timeout: 3_200_000_000,
    };
    check_serf(LIST_KEYS, &SerfMessage::Query(query));
}

/// Serf's part of a push/pull with one event, as a server answered it.
fn user_state() -> SerfPushPull {
    let event = PastEvent { name: "consul:new-leader".into(), payload: Blob(Bytes::from("s1")) };
    let mut events = vec![None; 512];
    events[1] = Some(UserEvents { time: LamportTime(1), events: vec![event] });
    SerfPushPull {
        time: LamportTime(1),
        status_times: [("s1".into(), LamportTime(0))].into(),
        left_members: Vec::new(),
        event_time: LamportTime(2),
        events,
        query_time: LamportTime(1),
    }
}

#[test]
fn a_push_pull_is_that_of_a_real_agent() {
    let state = SerfMessage::PushPull(user_state()).encode();
    let begin = "0286aa4576656e744c54696d6502a64576656e7473dc0200c0\
        82a64576656e74739182a44e616d65b1636f6e73756c3a6e65772d6c6561646572\
        a75061796c6f6164a27331a54c54696d6501c0c0";
    let end = "a54c54696d6501ab4c6566744d656d6265727390aa51756572794c54696d6501\
        ac5374617475734c54696d657381a2733100";
    assert!(state.starts_with(&hex(begin)));
    assert!(state.ends_with(&hex(end)));
    assert_eq!(state.len(), 0x27c);
    assert_eq!(SerfMessage::decode(&state), Ok(SerfMessage::PushPull(user_state())));

    let node = PushNode {
        addr: localhost(),
        incarnation: 1,
        meta: vec![0xff; 0xea].into(),
        name: "s1".into(),
        port: 38301,
        state: 0,
        versions: Some(Versions::CONSUL),
    };
    let message = stream::encode_push_pull(true, [node.clone()].into_iter(), &state);
    assert_eq!(message.len(), 967);
    let begin = "0683a44a6f696ec3a54e6f64657301ac5573657253746174654c656ecd027c\
        87a441646472a47f000001ab496e6361726e6174696f6e01a44d657461da00ea";
    assert!(message.starts_with(&hex(begin)));
    let behind_meta = "a44e616d65a27331a4506f7274cd959da5537461746500a356736ea6010502020504";
    assert!(message[..message.len() - 0x27c].ends_with(&hex(behind_meta)));

    let mut reader = StreamReader::new();
    reader.buffer().extend(&message);
    let Ok(Progress::Message(StreamMessage::PushPull(read))) = reader.next(&Security::default())
    else {
        panic!("it is a whole push/pull");
    };
    assert!(read.join);
    assert_eq!(read.user_state, state);
    assert_eq!(read.nodes(), Ok(vec![node]));
}

#[test]
fn a_push_pull_of_many_small_things_does_not_fill_the_memory() {
    // Each of these members is one byte: a nil.
    let many = |key: &str, of: &[u8], count: u32| {
        let name = [&[0xa0 | key.len() as u8], key.as_bytes()].concat();
        [&name[..], &[0xdd], &count.to_be_bytes(), &of.repeat(count as usize)].concat()
    };
    let inner = [&hex("81")[..], &many("Events", &[0xc0], 5_000)].concat();
    let body =
        [&hex("02 82")[..], &many("LeftMembers", &[0xc0], 200_000), &many("Events", &inner, 20)]
            .concat();
    let Ok(SerfMessage::PushPull(state)) = SerfMessage::decode(&body) else { panic!("not read") };
    assert_eq!(state.left_members.len(), stream::NODES_MAX);
    assert_eq!(state.events.len(), 20);
    assert!(state.events.iter().flatten().all(|events| events.events.len() == 256));
    let places = [&hex("02 81")[..], &many("Events", &[0xc0], 100_000)].concat();
    let Ok(SerfMessage::PushPull(state)) = SerfMessage::decode(&places) else { panic!("not read") };
    assert_eq!(state.events.len(), 4096);
}

#[test]
fn compression_is_go_s() {
    // The header of a compound that a real agent compressed.
    let mut compound = hex("07 03 0126 00b6 0030 04");
    compound.extend([0; 400]);
    let compressed = lzw::compress(&compound);
    assert!(compressed.starts_with(&hex("09 82 a4416c676f 00 a3427566")));
    let begin = hex("000f0c086002");
    let start = compressed.windows(begin.len()).position(|window| window == begin);
    assert!(start.is_some_and(|start| start < 16), "{compressed:02x?}");
    assert_eq!(lzw::decompress(&compressed[1..], 1 << 16), Ok(compound));
}

#[test]
fn a_packet_s_layers_come_off_in_their_order() {
    let parts = [hex(ALIVE), hex(DEAD), [&[MessageType::User as u8][..], &hex(JOIN)].concat()];
    let packed = packet::pack(packet::compound(&parts), true, true);
    assert_eq!((packed[0], packed[5]), (0x0c, 0x09));
    assert_eq!(packed[1..5], crc32fast::hash(&packed[5..]).to_be_bytes());
    let mut seen = Vec::new();
    let result = packet::unpack(&packed, &mut |kind, body| {
        seen.push([&[kind as u8], body].concat());
    });
    assert_eq!(result, Ok(()));
    assert_eq!(seen, parts);
}
