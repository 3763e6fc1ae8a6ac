//! What comes to the server port: frames of the multiplexer, and calls.

use bytes::BytesMut;
use rpc::net_rpc::header::{RequestHeader, ResponseHeader};
use rpc::yamux::frame::{Flags, Header, Kind};
use rpc::yamux::session::{Event, Read, Role, Session};
use types::msgpack::{self, ValueScan};

use super::assert_says;

/// Streams that a peer may have here.
const STREAMS_MAX: usize = 8;

/// Checks a session that gets the input from its peer, whole and in pieces.
pub(super) fn check_frames(input: &[u8]) {
    let whole = received(input, input.len().max(1));
    for piece in [1, 7, 64] {
        assert_eq!(received(input, piece), whole, "pieces of {piece}");
    }
}

/// What is read from all streams, and why the session ended.
fn received(input: &[u8], piece: usize) -> (Vec<(u32, Vec<u8>)>, Option<String>) {
    let mut session = Session::new(Role::Server, STREAMS_MAX);
    let mut buffer = BytesMut::new();
    let mut streams: Vec<(u32, Vec<u8>)> = Vec::new();
    for bytes in input.chunks(piece) {
        buffer.extend_from_slice(bytes);
        let handled = session.handle_input(&mut buffer);
        while let Some(event) = session.poll_event() {
            if let Event::Opened(id) = event {
                session.accept(id);
                streams.push((id, Vec::new()));
            }
        }
        assert!(session.streams() <= STREAMS_MAX);
        if let Err(error) = handled {
            assert_says(&error.to_string(), input.len());
            // What came before in the same piece may be read, but need not be.
            return (Vec::new(), Some(error.to_string()));
        }
    }
    for (id, got) in &mut streams {
        while let Ok(Read::Bytes(_)) = session.read(*id, |bytes| {
            got.extend_from_slice(bytes);
            bytes.len()
        }) {}
    }
    let read: usize = streams.iter().map(|(_, got)| got.len()).sum();
    assert!(read <= input.len(), "more is read than came");
    (streams, None)
}

/// Checks a stream of calls: where values end, and what their headers say.
pub(super) fn check_calls(input: &[u8]) {
    let mut scan = ValueScan::default();
    let mut found = Ok(None);
    for end in 0..=input.len() {
        found = scan.advance(&input[..end]);
        if !matches!(found, Ok(None)) {
            break;
        }
        assert!(scan.values_min() <= scan.bytes_min(), "a value is a byte at least");
    }
    match (&found, msgpack::value_len(input)) {
        (Ok(scanned), Ok(len)) => assert_eq!(*scanned, len),
        (Err(error), Err(other)) => assert_eq!(*error, other),
        (scanned, len) => panic!("in pieces {scanned:?}, whole {len:?}"),
    }
    if let Err(error) = msgpack::from_slice::<RequestHeader>(input) {
        assert_says(&error.to_string(), input.len());
    }
    if let Err(error) = msgpack::from_slice::<ResponseHeader>(input) {
        assert_says(&error.to_string(), input.len());
    }
}

fn frame(kind: Kind, flags: Flags, stream: u32, length: u32) -> Vec<u8> {
    Header { kind, flags, stream, length }.encode().to_vec()
}

/// Sessions as real ones begin and end.
pub(super) fn made_frames() -> Vec<Vec<u8>> {
    let open = frame(Kind::WindowUpdate, Flags::SYN, 1, 0);
    let data = [frame(Kind::Data, Flags::NONE, 1, 5), b"hello".to_vec()].concat();
    let other = [frame(Kind::Data, Flags::SYN | Flags::FIN, 3, 1), vec![0x80]].concat();
    let finish = frame(Kind::WindowUpdate, Flags::FIN, 1, 0);
    let abort = frame(Kind::WindowUpdate, Flags::RST, 1, 0);
    let ping = frame(Kind::Ping, Flags::SYN, 0, 7);
    let away = frame(Kind::GoAway, Flags::NONE, 0, 0);
    vec![
        [&open[..], &data, &other, &ping, &finish, &away].concat(),
        [&open[..], &data, &abort, &data, &ping].concat(),
    ]
}

/// Calls and answers.
pub(super) fn made_calls() -> Vec<Vec<u8>> {
    let request = RequestHeader { seq: 1, service_method: "KVS.Get".to_owned() };
    let response = ResponseHeader {
        error: "rpc: can't find method KVS.Get".to_owned(),
        seq: 1,
        service_method: request.service_method.clone(),
    };
    vec![
        [msgpack::to_vec(&request), b"\x82\xaaDatacenter\xa3dc1\xa3Key\xa1a".to_vec()].concat(),
        [msgpack::to_vec(&response), vec![0x80]].concat(),
    ]
}
