//! Streams: read in pieces of any size, and no longer than they may be.

use gossip::wire::message::{Message as _, Ping, PushNode};
use gossip::wire::stream::{self, NODES_MAX, SEALED_MAX, StreamError};
use gossip::wire::{Key, Keyring, Progress, Security, StreamMessage, StreamReader, Versions, lzw};
use proptest::prelude::*;

use crate::hex;

const NONCE: [u8; 12] = *b"nonce--nonce";

fn sealed() -> Security {
    let key = Key::new(&[3; 32]).unwrap();
    Security { keyring: Some(Keyring::new(key)), label: "pool".into(), ..Security::default() }
}

/// Reads a stream that comes in pieces of these sizes, and then all at once.
fn read(bytes: &[u8], security: &Security, pieces: &[usize]) -> Result<StreamMessage, String> {
    let mut reader = StreamReader::new();
    let (mut rest, mut pieces) = (bytes, pieces.iter());
    loop {
        match reader.next(security).map_err(|error| error.to_string())? {
            Progress::Message(message) => return Ok(message),
            Progress::More(0) => panic!("nothing is missing and nothing comes"),
            Progress::More(missing) if missing > rest.len() => return Err("EOF".to_owned()),
            Progress::More(_) => {
                let piece = pieces.next().map_or(rest.len(), |size| *size).clamp(1, rest.len());
                reader.buffer().extend(&rest[..piece]);
                rest = &rest[piece..];
            }
        }
    }
}

fn push_pull(count: usize, user_state: &[u8]) -> Vec<u8> {
    let names: Vec<String> = (0..count).map(|number| format!("node-{number}")).collect();
    let nodes = names.iter().map(|name| PushNode {
        addr: Some([10, 0, 0, 1].into()),
        incarnation: 9,
        meta: name.repeat(9).into_bytes().into(),
        name: name.into(),
        port: 8301,
        state: 0,
        versions: Some(Versions::CONSUL),
    });
    stream::encode_push_pull(true, nodes, user_state)
}

fn every_kind() -> Vec<Vec<u8>> {
    let ping = Ping { node: "a".into(), seq_no: 7, ..Ping::default() };
    vec![
        push_pull(0, b""),
        push_pull(30, b"state"),
        ping.encode(),
        hex("02 82 a75061796c6f6164 c0 a55365714e6f 07"),
        stream::encode_user(b"hello"),
        stream::encode_user(&[9; 3000]),
        stream::encode_error("no"),
    ]
}

#[test]
fn a_message_is_read_in_pieces_of_any_size() {
    let plain = Security::default();
    for message in every_kind() {
        let expected = read(&message, &plain, &[]).unwrap();
        let compressed = stream::pack(message.clone(), true);
        for (security, packed) in
            [(&plain, &message), (&plain, &compressed), (&sealed(), &compressed)]
        {
            let bytes = security.seal_stream(NONCE, packed);
            for size in [1, 2, 3, 100, 1399] {
                let pieces = vec![size; bytes.len()];
                assert_eq!(read(&bytes, security, &pieces).as_ref(), Ok(&expected));
            }
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end], security, &[]), Err("EOF".to_owned()));
            }
        }
    }
}

#[test]
fn a_push_pull_gives_what_was_put_in() {
    let message = read(&push_pull(40, b"state"), &Security::default(), &[]);
    let Ok(StreamMessage::PushPull(message)) = message else { panic!("{message:?}") };
    assert_eq!((message.join, &message.user_state[..]), (true, &b"state"[..]));
    let nodes = message.nodes().unwrap();
    assert_eq!((nodes.len(), nodes[39].name.as_ref(), nodes[39].incarnation), (40, "node-39", 9));
}

/// A stream is refused for this reason.
fn check(bytes: &[u8], security: &Security, expected: &str) {
    assert_eq!(
        read(bytes, security, &[]),
        Err(expected.to_owned()),
        "{:02x?}",
        &bytes[..bytes.len().min(20)]
    );
}

#[test]
fn encryption_must_be_the_pool_s() {
    let (plain, sealed) = (Security::default(), sealed());
    let ping = Ping { seq_no: 1, ..Ping::default() }.encode();
    let unlabelled = Security { label: "".into(), ..sealed.clone() };
    check(&ping, &unlabelled, "Encryption is configured but remote state is not encrypted");
    let bytes = unlabelled.seal_stream(NONCE, &ping);
    check(&bytes, &plain, "Remote state is encrypted and encryption is not configured");
    check(&bytes, &sealed, "discarding message with unacceptable label \"\"");
    let other = Keyring::new(Key::new(&[4; 32]).unwrap());
    let other = Security { keyring: Some(other), ..unlabelled.clone() };
    check(&bytes, &other, "No installed keys could decrypt the message");
    // The length is under the tag too.
    let mut longer = [&bytes[..], &[0]].concat();
    longer[4] += 1;
    check(&longer, &unlabelled, "No installed keys could decrypt the message");
    let lenient = Security { verify_incoming: false, ..unlabelled };
    assert!(read(&ping, &lenient, &[]).is_ok());
}

#[test]
fn lengths_that_lie_are_refused_before_anything_is_read() {
    let plain = Security::default();
    let length = (SEALED_MAX as u32 + 1).to_be_bytes();
    let unlabelled = Security { label: "".into(), ..sealed() };
    check(
        &[&[10][..], &length].concat(),
        &unlabelled,
        "Remote node state is larger than limit (20971521)",
    );
    // Header maps {Join, Nodes, UserStateLen}.
    let header = |nodes: &str, user: &str| {
        hex(&format!("06 83 a44a6f696e c2 a54e6f646573 {nodes} ac5573657253746174654c656e {user}"))
    };
    let limit = NODES_MAX;
    check(
        &header("ce 00020001", "00"),
        &plain,
        &format!("number of nodes is larger than limit ({limit})"),
    );
    check(&header("ff", "00"), &plain, "number of nodes is below zero");
    check(
        &header("00", "ce ffffffff"),
        &plain,
        "user state length is larger than limit (20971520)",
    );
    check(&header("00", "d3 8000000000000000"), &plain, "user state length is below zero");
    check(
        &hex("08 81 aa557365724d73674c656e ce 7fffffff"),
        &plain,
        "user message length is larger than limit (1048576)",
    );
    // A node's record, and a map, that are larger than any.
    check(
        &[header("01", "00"), hex("81 a44d657461 db 00100000")].concat(),
        &plain,
        "a node's record is larger than limit (65536)",
    );
    check(
        &hex("06 81 a44a6f696e db 00100000"),
        &plain,
        "a message's map is larger than limit (65536)",
    );
    check(
        &hex("09 82 a4416c676f 00 a3427566 db 7fffffff"),
        &plain,
        "a compressed message is larger than limit (20971520)",
    );
    // Nested, or with more members than any.
    check(&[&[6][..], &[0x91; 500]].concat(), &plain, "msgpack: more than 64 values");
    check(&hex("06 df ffffffff"), &plain, "msgpack: more than 64 values");
    check(&hex("05"), &plain, "Received invalid msgType (5)");
    check(&hex("63 80"), &plain, "Received invalid msgType (99)");
    // Encrypted or compressed, nothing more can come.
    let short = stream::encode_user(b"hello");
    let short = &short[..short.len() - 1];
    for packed in [lzw::compress(short), sealed().seal_stream(NONCE, short).into_owned()] {
        let security = if packed[0] == 9 { &plain } else { &sealed() };
        check(&packed, security, &StreamError::Truncated.to_string());
    }
}

#[test]
fn what_explodes_is_refused() {
    let bomb = lzw::compress(&vec![8; stream::PLAIN_MAX + 1]);
    assert!(bomb.len() < 200_000, "{} bytes", bomb.len());
    let expected = "compressed message is more than 67108864 bytes long when decompressed";
    check(&bomb, &Security::default(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_make_no_difference(
        count in 0..8usize, user in prop::collection::vec(any::<u8>(), 0..500),
        compress in any::<bool>(), seals in any::<bool>(),
        pieces in prop::collection::vec(1..300usize, 0..40),
    ) {
        let security = if seals { sealed() } else { Security::default() };
        let message = push_pull(count, &user);
        let expected = read(&message, &Security::default(), &[]);
        let packed = stream::pack(message, compress);
        let bytes = security.seal_stream(NONCE, &packed);
        prop_assert_eq!(read(&bytes, &security, &pieces), expected);
    }

    #[test]
    fn damage_does_no_harm(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), which in 0..7usize,
        pieces in prop::collection::vec(1..60usize, 0..40),
    ) {
        let mut message = every_kind().swap_remove(which);
        let at = at.index(message.len());
        message[at] = byte;
        // What is refused may be refused for another reason if less of it has come.
        let at_once = read(&message, &Security::default(), &[]).ok();
        let in_pieces = read(&message, &Security::default(), &pieces).ok();
        prop_assert_eq!(&at_once, &in_pieces);
        if let Some(StreamMessage::PushPull(message)) = at_once {
            let _ = message.nodes();
        }
    }
}
