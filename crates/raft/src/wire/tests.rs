use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::entry::{Entry, EntryKind, Server};

/// The server of the recorded messages.
fn recorded(port: u16, id: &str) -> Sender {
    Sender { id: ServerId(id.into()), address: format!("127.0.0.1:{port}").into() }
}

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("hex digits are text");
        u8::from_str_radix(pair, 16).expect("hex digits")
    };
    digits.chunks(2).map(byte).collect()
}

/// A request is read as `body` and `body` is written as the request.
fn check_request(bytes: &Bytes, sender: &Sender, body: &Body) {
    let request = decode_request(bytes).expect("it was recorded");
    assert_eq!((&request.body, request.is_supported()), (body, true));
    assert_eq!((request.id.as_ref(), &request.address), (Some(&sender.id), &sender.address));
    let mut out = Vec::new();
    assert!(encode_request(&mut out, sender, body));
    assert_eq!(out, *bytes);
}

const LEADER_ID: &str = "46ba4b89-73b1-8e89-fdbb-2b3d24450785";

/// Of a leader that is Consul 1.21.4, in term 2.
const HEARTBEAT: &str = "00 89a441646472af3132372e302e302e313a3338333030a7456e7472696573c0\
     a24944da002434366261346238392d373362312d386538392d666462622d326233643234343530373835\
     a64c6561646572af3132372e302e302e313a3338333030b14c6561646572436f6d6d6974496e64657800\
     ac507265764c6f67456e74727900ab507265764c6f675465726d00af50726f746f636f6c56657273696f6e03\
     a45465726d02";

fn append(previous: (u64, u64), entries: Vec<Entry>, leader_commit: u64) -> Body {
    let (previous, leader_commit) = (position(previous.0, previous.1), Index(leader_commit));
    Body::AppendEntries(AppendEntries { term: Term(2), previous, entries, leader_commit })
}

fn entry(index: u64, kind: EntryKind, data: Bytes) -> Entry {
    let (index, term, extensions) = (Index(index), Term(1), Bytes::new());
    Entry { index, term, kind, data, extensions, appended_at: 0 }
}

#[test]
fn a_heartbeat_has_the_bytes_of_a_real_one() {
    let heartbeat = append((0, 0), Vec::new(), 0);
    check_request(&hex(HEARTBEAT), &recorded(38300, LEADER_ID), &heartbeat);
}

#[test]
fn the_first_entry_of_a_cluster_has_the_bytes_of_a_real_one() {
    let leader = recorded(38300, LEADER_ID);
    let server = Server {
        id: leader.id.clone(),
        address: leader.address.clone(),
        suffrage: Suffrage::Voter,
    };
    let configuration = Configuration { servers: vec![server] }.encode();
    let first = entry(1, EntryKind::Configuration, configuration.clone());
    let mut out = Vec::new();
    assert!(encode_request(&mut out, &leader, &append((0, 0), vec![first.clone()], 0)));
    let expected = [
        hex("86aa417070656e6465644174af01000000000000000000000000ffffa444617461da0057").to_vec(),
        configuration.to_vec(),
        hex("aa457874656e73696f6e73c0a5496e64657801a45465726d01a45479706505").to_vec(),
    ]
    .concat();
    assert!(out.windows(expected.len()).any(|window| window == expected));
    check_request(&out.into(), &leader, &append((0, 0), vec![first], 0));
}

#[test]
fn a_mismatch_is_answered_with_the_bytes_of_a_real_one() {
    let follower = recorded(38310, LEADER_ID);
    let body = Body::AppendEntriesResponse(AppendEntriesResponse {
        term: Term(2),
        last_log: Index(0),
        success: false,
        no_retry_backoff: true,
    });
    let expected = hex("a0 87a441646472af3132372e302e302e313a3338333130\
         a24944da002434366261346238392d373362312d386538392d666462622d326233643234343530373835\
         a74c6173744c6f6700ae4e6f52657472794261636b6f6666c3\
         af50726f746f636f6c56657273696f6e03a753756363657373c2a45465726d02");
    let mut out = Vec::new();
    assert!(encode_response(&mut out, &follower, Ok(&body)));
    assert_eq!(out, expected);
    let response = decode_response(Rpc::AppendEntries, &out);
    assert_eq!(response, Ok(Response { id: Some(follower.id), body: Ok(body) }));
}

/// Go 1.16's raft: no id, the address beside the header, no time in an entry.
#[test]
fn requests_of_older_servers_are_understood() {
    let heartbeat = hex(
        "00 87a7456e7472696573c0a64c6561646572ae3132372e302e302e313a38333030b14c6561646572436f\
         6d6d6974496e64657800ac507265764c6f67456e74727900ab507265764c6f675465726d00af50726f746f\
         636f6c56657273696f6e03a45465726d05",
    );
    let request = decode_request(&heartbeat).expect("it is sound");
    assert_eq!((request.id, &*request.address), (None, "127.0.0.1:8300"));
    let Body::AppendEntries(body) = request.body else { panic!("{:?}", request.body) };
    assert!(body.is_heartbeat() && body.term == Term(5));

    let mut out = vec![0];
    let entries =
        "91 85a444617461a101aa457874656e73696f6e73c0a5496e64657807a45465726d03a45479706500";
    out.extend_from_slice(b"\x81\xa7Entries");
    out.extend(hex(entries));
    let request = decode_request(&out.into()).expect("it is sound");
    assert!(!request.is_supported(), "it gives no protocol version");
    let Body::AppendEntries(body) = request.body else { panic!("{:?}", request.body) };
    let data = Bytes::from_static(&[1]);
    let expected = Entry { term: Term(3), ..entry(7, EntryKind::Command, data) };
    assert_eq!(body.entries, [expected]);
}

/// What a leader that is Consul 1.8.7, in term 2, said to a stranger.
#[test]
fn answers_of_older_servers_are_understood() {
    let vote =
        "a0 84a74772616e746564c2a55065657273c0af50726f746f636f6c56657273696f6e03a45465726d02";
    let append = "a0 85a74c6173744c6f6707ae4e6f52657472794261636b6f6666c2\
         af50726f746f636f6c56657273696f6e03a753756363657373c2a45465726d02";
    let install = "a0 83af50726f746f636f6c56657273696f6e00a753756363657373c2a45465726d02";
    let term = Term(2);
    let appended =
        AppendEntriesResponse { term, last_log: Index(7), success: false, no_retry_backoff: false };
    let installed = InstallSnapshotResponse { term, success: false };
    for (rpc, answer, body) in [
        (Rpc::RequestVote, vote, Body::RequestVoteResponse(VoteResponse { term, granted: false })),
        (Rpc::AppendEntries, append, Body::AppendEntriesResponse(appended)),
        (Rpc::InstallSnapshot, install, Body::InstallSnapshotResponse(installed)),
    ] {
        let response = decode_response(rpc, &hex(answer));
        assert_eq!(response, Ok(Response { id: None, body: Ok(body) }), "{rpc:?}");
    }
}

#[test]
fn refusals_are_told_and_understood() {
    let mut out = Vec::new();
    let sender = recorded(38300, LEADER_ID);
    assert!(encode_response(&mut out, &sender, Err(UNSUPPORTED_PROTOCOL)));
    assert_eq!(out, [&[0xda, 0, 53][..], UNSUPPORTED_PROTOCOL.as_bytes(), b"\xc0"].concat());
    for rpc in (0..5).map(|byte| Rpc::from_byte(byte).expect("it is one")) {
        let response = decode_response(rpc, &out).expect("it is sound");
        assert_eq!(response.body, Err(UNSUPPORTED_PROTOCOL.to_owned()));
        assert_eq!(response.id, None);
    }
}

#[test]
fn what_no_server_sends_is_refused_and_says_why() {
    let entries = |entries: &[u8]| [b"\x00\x81\xa7Entries", entries].concat();
    let snapshot = |fields: &[u8]| [b"\x02", fields].concat();
    let name = [&b"\x03\x81\xa2ID\xda\x01\x00"[..], &[b'x'; 256]].concat();
    let many = entries(&[&[0xdc, 4, 1][..], &[0x80; 1025]].concat());
    for (what, request, expected) in [
        ("nothing", vec![], "an empty request"),
        ("another type", vec![7, 0x80], "unknown rpc type 7"),
        ("no map", vec![1, 0x07], "msgpack: expected a map"),
        ("cut", hex(HEARTBEAT)[..99].to_vec(), "msgpack: unexpected end"),
        ("add-peer", entries(b"\x91\x81\xa4Type\x02"), "log entries of kind 2 are unknown"),
        ("too many", many, "at most 1024 entries"),
        ("a long id", name, "the sender's id or address is too long"),
        ("no text", b"\x03\x81\xa2ID\xa1\xff".to_vec(), "the sender's id or address"),
        ("old snapshot", snapshot(b"\x80"), "snapshots of version 0 cannot be read"),
        (
            "no configuration",
            snapshot(b"\x81\xafSnapshotVersion\x01"),
            "configuration entry: msgpack: unexpected end",
        ),
        (
            "a size below zero",
            snapshot(b"\x83\xadConfiguration\xa1\x80\xa4Size\xff\xafSnapshotVersion\x01"),
            "a snapshot of -1 bytes",
        ),
    ] {
        let error = decode_request(&request.into()).expect_err(what).to_string();
        assert!(error.contains(expected), "{what}: {error}");
    }
}

#[test]
fn a_message_that_is_too_large_is_refused_when_it_says_so() {
    let too_large = Err(WireError::TooLarge(1 << 20));
    for announced in [&b"\x01\x81\xa4Term\xdb\xff\xff\xff\xff"[..], b"\x01\xdd\x00\xff\xff\xff"] {
        let mut buffer = BytesMut::from(announced);
        assert_eq!(Splitter::requests().next(&mut buffer), too_large);
    }
    let mut buffer = BytesMut::from(&b"\x05"[..]);
    assert_eq!(Splitter::requests().next(&mut buffer), Err(WireError::UnknownRpc(5)));
}

#[test]
fn times_are_those_of_go() {
    let mut timed = entry(1, EntryKind::Barrier, Bytes::new());
    timed.appended_at = 1_700_000_000_123_456_789;
    let sender = recorded(1, "a");
    let mut out = Vec::new();
    let body = append((0, 0), vec![timed], 0);
    assert!(encode_request(&mut out, &sender, &body));
    // As `time.Unix(1700000000, 123456789).UTC().MarshalBinary()`, but for the zone.
    let time = hex("01 0000000edce5e800 075bcd15 0000");
    assert!(out.windows(15).any(|window| window == time));
    check_request(&out.into(), &sender, &body);
}

fn positions() -> impl Strategy<Value = LogPosition> {
    (any::<u64>(), any::<u64>()).prop_map(|(term, index)| position(term, index))
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    use EntryKind::{Barrier, Command, Configuration, Noop};
    let kinds = proptest::sample::select(vec![Command, Noop, Barrier, Configuration]);
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let entry = (any::<u64>(), any::<u64>(), kinds, bytes(), bytes(), any::<u64>());
    let entry = entry.prop_map(|(index, term, kind, data, extensions, appended_at)| {
        let (index, term) = (Index(index), Term(term));
        Entry { index, term, kind, data, extensions, appended_at }
    });
    proptest::collection::vec(entry, 0..5)
}

fn snapshots() -> impl Strategy<Value = SnapshotMeta> {
    let server = ("[a-z]{0,40}", "[0-9.:]{0,20}", any::<bool>());
    let servers = proptest::collection::vec(server, 0..4);
    let size = 0..=i64::MAX.unsigned_abs();
    (positions(), servers, any::<u64>(), size).prop_map(|(last, servers, set_at, size)| {
        let servers = servers.into_iter().map(|(id, address, votes)| Server {
            id: ServerId(id.into()),
            address: address.into(),
            suffrage: if votes { Suffrage::Voter } else { Suffrage::Nonvoter },
        });
        let configuration = Configuration { servers: servers.collect() };
        let configuration_index = Index(set_at);
        SnapshotMeta { id: String::new(), last, configuration, configuration_index, size }
    })
}

fn requests() -> impl Strategy<Value = Body> {
    let number = any::<u64>;
    prop_oneof![
        (number(), positions(), entries(), number()).prop_map(
            |(term, previous, entries, commit)| {
                let (term, leader_commit) = (Term(term), Index(commit));
                Body::AppendEntries(AppendEntries { term, previous, entries, leader_commit })
            }
        ),
        (number(), positions(), any::<bool>()).prop_map(|(term, last, leadership_transfer)| {
            Body::RequestVote(RequestVote { term: Term(term), last, leadership_transfer })
        }),
        (number(), positions()).prop_map(|(term, last)| Body::RequestPreVote(RequestPreVote {
            term: Term(term),
            last
        })),
        (number(), snapshots()).prop_map(|(term, snapshot)| {
            Body::InstallSnapshot(InstallSnapshot { term: Term(term), snapshot })
        }),
        Just(Body::TimeoutNow),
    ]
}

fn responses() -> impl Strategy<Value = (Rpc, Body)> {
    let number = any::<u64>;
    let flag = any::<bool>;
    let vote = || {
        (number(), flag()).prop_map(|(term, granted)| VoteResponse { term: Term(term), granted })
    };
    prop_oneof![
        (number(), number(), flag(), flag()).prop_map(|(term, last, success, no_retry_backoff)| {
            let (term, last_log) = (Term(term), Index(last));
            let body = AppendEntriesResponse { term, last_log, success, no_retry_backoff };
            (Rpc::AppendEntries, Body::AppendEntriesResponse(body))
        }),
        vote().prop_map(|body| (Rpc::RequestVote, Body::RequestVoteResponse(body))),
        vote().prop_map(|body| (Rpc::RequestPreVote, Body::RequestPreVoteResponse(body))),
        (number(), flag()).prop_map(|(term, success)| {
            let body = InstallSnapshotResponse { term: Term(term), success };
            (Rpc::InstallSnapshot, Body::InstallSnapshotResponse(body))
        }),
        Just((Rpc::TimeoutNow, Body::TimeoutNowResponse)),
    ]
}

proptest! {
    #[test]
    fn requests_come_back_in_whatever_pieces_they_arrive(
        bodies in proptest::collection::vec(requests(), 1..4),
        piece in 1usize..200,
    ) {
        let sender = recorded(8300, "b");
        let mut sent = Vec::new();
        for body in &bodies {
            prop_assert!(encode_request(&mut sent, &sender, body));
        }
        let (mut splitter, mut buffer) = (Splitter::requests(), BytesMut::new());
        let mut received = Vec::new();
        for piece in sent.chunks(piece) {
            buffer.extend_from_slice(piece);
            while let Some(request) = splitter.next(&mut buffer).expect("it is sound") {
                received.push(decode_request(&request).expect("it is sound").body);
            }
        }
        prop_assert!(buffer.is_empty());
        prop_assert_eq!(received.len(), bodies.len());
        for (received, sent) in received.iter().zip(&bodies) {
            prop_assert_eq!(received, sent);
        }
    }

    #[test]
    fn answers_come_back(answers in proptest::collection::vec(responses(), 1..4)) {
        let sender = recorded(8300, "b");
        let mut sent = Vec::new();
        for (_, body) in &answers {
            prop_assert!(encode_response(&mut sent, &sender, Ok(body)));
        }
        let (mut splitter, mut buffer) = (Splitter::responses(), BytesMut::from(&sent[..]));
        for (rpc, body) in answers {
            let answer = splitter.next(&mut buffer).expect("it is sound").expect("it is whole");
            let response = decode_response(rpc, &answer).expect("it is sound");
            prop_assert_eq!(response, Response { id: Some(sender.id.clone()), body: Ok(body) });
        }
        prop_assert_eq!(splitter.next(&mut buffer), Ok(None));
    }
}
