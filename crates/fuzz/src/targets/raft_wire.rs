//! The RPCs between servers: requests as a stream, and answers.

use bytes::{Bytes, BytesMut};
use raft::wire::{self, Rpc, Sender, Splitter};
use raft::{
    AppendEntries, Body, Configuration, Entry, EntryKind, InstallSnapshot, LogPosition,
    RequestPreVote, RequestVote, Server, ServerId, SnapshotMeta, Suffrage, Term, VoteResponse,
};
use types::Index;

use super::assert_says;

/// Checks a stream of requests, and the same bytes as an answer to each call.
pub(super) fn check(input: &[u8]) {
    let (mut splitter, mut buffer) = (Splitter::requests(), BytesMut::from(input));
    loop {
        match splitter.next(&mut buffer) {
            Ok(None) => break,
            Err(error) => {
                assert_says(&error.to_string(), input.len());
                break;
            }
            Ok(Some(request)) => check_request(&request),
        }
    }
    let (mut splitter, mut buffer) = (Splitter::responses(), BytesMut::from(input));
    let Ok(Some(answer)) = splitter.next(&mut buffer) else { return };
    for rpc in (0..5).filter_map(|byte| Rpc::from_byte(byte).ok()) {
        match wire::decode_response(rpc, &answer) {
            Err(error) => assert_says(&error.to_string(), input.len()),
            Ok(response) => {
                let mut out = Vec::new();
                let body = response.body.as_ref().map_err(String::as_str);
                assert!(wire::encode_response(&mut out, &sender(), body));
                let again = wire::decode_response(rpc, &out).expect("we read what we write");
                assert_eq!(again.body, response.body);
            }
        }
    }
}

fn check_request(bytes: &Bytes) {
    match wire::decode_request(bytes) {
        Err(error) => assert_says(&error.to_string(), bytes.len()),
        Ok(request) => {
            let mut out = Vec::new();
            assert!(wire::encode_request(&mut out, &sender(), &request.body));
            let again = wire::decode_request(&out.into()).expect("we read what we write");
            assert_eq!(again.body, request.body);
        }
    }
}

fn sender() -> Sender {
    Sender { id: ServerId("a".into()), address: "127.0.0.1:8300".into() }
}

/// One message of each kind.
pub(super) fn made() -> Vec<Vec<u8>> {
    let last = LogPosition { term: Term(3), index: Index(70_000) };
    let id = sender().id;
    let server = Server { id, address: sender().address, suffrage: Suffrage::Voter };
    let configuration = Configuration { servers: vec![server] };
    let entry = |kind, data: Bytes| Entry {
        index: Index(70_001),
        term: Term(3),
        kind,
        data,
        extensions: Bytes::from_static(b"\x08\x01"),
        appended_at: 1_700_000_000_000_000_000,
    };
    let entries = vec![
        entry(EntryKind::Command, Bytes::from_static(b"\x02\x80")),
        entry(EntryKind::Configuration, configuration.encode()),
    ];
    let term = Term(4);
    let snapshot = SnapshotMeta {
        id: String::new(),
        last,
        configuration,
        configuration_index: Index(1),
        size: 5,
    };
    let requests = [
        Body::AppendEntries(AppendEntries {
            term,
            previous: last,
            entries,
            leader_commit: Index(9),
        }),
        Body::RequestVote(RequestVote { term, last, leadership_transfer: true }),
        Body::RequestPreVote(RequestPreVote { term, last }),
        Body::InstallSnapshot(InstallSnapshot { term, snapshot }),
        Body::TimeoutNow,
    ];
    let mut made: Vec<Vec<u8>> = Vec::new();
    for request in requests {
        let mut out = Vec::new();
        assert!(wire::encode_request(&mut out, &sender(), &request));
        made.push(out);
    }
    made.push(made.concat());
    let vote = Body::RequestVoteResponse(VoteResponse { term, granted: true });
    for answer in [Ok(&vote), Err(wire::UNSUPPORTED_PROTOCOL)] {
        let mut out = Vec::new();
        assert!(wire::encode_response(&mut out, &sender(), answer));
        made.push(out);
    }
    made
}
