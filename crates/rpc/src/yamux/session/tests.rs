use super::*;

/// Bytes as hexadecimal digits; blanks are for the eye.
fn hex(text: &str) -> BytesMut {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect::<Vec<_>>().as_slice().into()
}

fn frame(kind: Kind, flags: Flags, stream: u32, length: u32) -> BytesMut {
    Header { kind, flags, stream, length }.encode().as_slice().into()
}

fn output(session: &mut Session) -> BytesMut {
    let mut output = BytesMut::new();
    session.take_output(&mut output);
    output
}

fn events(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

fn read(session: &mut Session, id: u32) -> Result<Vec<u8>, StreamError> {
    let mut bytes = Vec::new();
    session.read(id, |waiting| {
        bytes.extend_from_slice(waiting);
        waiting.len()
    })?;
    Ok(bytes)
}

fn server() -> Session {
    Session::new(Role::Server, 1000)
}

/// A server with one stream, number 1, that was accepted.
fn server_with_stream() -> Session {
    let mut session = server();
    session.handle_input(&mut frame(Kind::WindowUpdate, Flags::SYN, 1, 0)).unwrap();
    assert_eq!(events(&mut session), [Event::Opened(1)]);
    session.accept(1);
    output(&mut session);
    session
}

#[test]
fn a_call_looks_as_it_does_between_real_programs() {
    let request = hex("82a353657101ad536572766963654d6574686f64ab5374617475732e50696e67 80");
    let response =
        hex("83a54572726f72a0a353657101ad536572766963654d6574686f64ab5374617475732e50696e67 80");
    let mut client = Session::new(Role::Client, 1000);
    let id = client.open().unwrap();
    assert_eq!(client.write(id, &request), Ok(request.len()));
    let mut sent = output(&mut client);
    let mut expected = hex("000100010000000100000000 000000000000000100000021");
    expected.extend_from_slice(&request);
    assert_eq!(sent, expected);

    let mut server = server();
    server.handle_input(&mut sent).unwrap();
    assert_eq!(events(&mut server), [Event::Opened(1), Event::Readable(1)]);
    server.accept(1);
    assert_eq!(read(&mut server, 1).unwrap(), request);
    assert_eq!(server.write(1, &response), Ok(response.len()));
    let mut sent = output(&mut server);
    let mut expected = hex("000100020000000100000000 000000000000000100000028");
    expected.extend_from_slice(&response);
    assert_eq!(sent, expected);
    client.handle_input(&mut sent).unwrap();
    assert_eq!(events(&mut client), [Event::Acknowledged, Event::Readable(1)]);
    assert_eq!(read(&mut client, 1).unwrap(), response);

    client.finish(1);
    let mut sent = output(&mut client);
    assert_eq!(sent, hex("000100040000000100000000"));
    server.handle_input(&mut sent).unwrap();
    assert_eq!(server.read(1, |_| 0), Ok(Read::End));
    server.release(1);
    assert_eq!(output(&mut server), hex("000100040000000100000000"));
}

#[test]
fn pings_are_answered_with_their_value() {
    let mut session = server();
    session.handle_input(&mut hex("000200010000000000000007")).unwrap();
    assert_eq!(output(&mut session), hex("000200020000000000000007"));
    session.ping(9);
    assert_eq!(output(&mut session), hex("000200010000000000000009"));
    session.handle_input(&mut hex("000200020000000000000009")).unwrap();
    assert_eq!(events(&mut session), [Event::Pong(9)]);
}

#[test]
fn frames_may_come_in_any_pieces() {
    let bytes = hex(
        "000100010000000100000000 000000000000000100000003 616263 000000040000000100000002 6465",
    );
    for piece in 1..=bytes.len() {
        let (mut session, mut input, mut got) = (server(), BytesMut::new(), Vec::new());
        for bytes in bytes.chunks(piece) {
            input.extend_from_slice(bytes);
            session.handle_input(&mut input).unwrap();
            if let Ok(more) = read(&mut session, 1) {
                got.extend(more);
            }
        }
        assert_eq!(got, b"abcde", "pieces of {piece}");
        assert_eq!(session.read(1, |_| 0), Ok(Read::End));
    }
}

#[test]
fn syn_ack_and_fin_may_ride_on_data() {
    let mut session = server();
    let mut input = frame(Kind::Data, Flags::SYN | Flags::FIN, 1, 2);
    input.extend_from_slice(b"hi");
    session.handle_input(&mut input).unwrap();
    assert_eq!(events(&mut session), [Event::Opened(1), Event::Readable(1)]);
    session.accept(1);
    assert_eq!(read(&mut session, 1).unwrap(), b"hi");
    assert_eq!(session.read(1, |_| 0), Ok(Read::End));

    let mut client = Session::new(Role::Client, 1000);
    client.open().unwrap();
    let mut input = frame(Kind::Data, Flags::ACK, 1, 2);
    input.extend_from_slice(b"hi");
    client.handle_input(&mut input).unwrap();
    assert_eq!(events(&mut client), [Event::Acknowledged, Event::Readable(1)]);
}

#[test]
fn a_writer_stops_at_the_window_and_goes_on_when_it_grows() {
    let mut session = server_with_stream();
    let bytes = vec![7; WINDOW as usize + 10];
    let mut sent = 0;
    loop {
        let len = session.write(1, &bytes[sent..]).unwrap();
        assert!(len <= DATA_MAX);
        if len == 0 {
            break;
        }
        sent += len;
        output(&mut session);
    }
    assert_eq!(sent, WINDOW as usize);
    session.handle_input(&mut frame(Kind::WindowUpdate, Flags::NONE, 1, 4)).unwrap();
    assert_eq!(events(&mut session), [Event::Writable(1)]);
    assert_eq!(session.write(1, &bytes[sent..]), Ok(4));
}

#[test]
fn a_reader_gives_room_back_once_half_of_it_was_used() {
    let mut session = server_with_stream();
    let half = WINDOW / 2;
    let send = |session: &mut Session, len: u32| {
        let mut input = frame(Kind::Data, Flags::NONE, 1, len);
        input.resize(HEADER_BYTES + len as usize, 0);
        session.handle_input(&mut input).unwrap();
    };
    send(&mut session, half - 1);
    assert_eq!(read(&mut session, 1).unwrap().len(), half as usize - 1);
    assert!(!session.has_output());
    send(&mut session, 1);
    assert_eq!(session.read(1, |_| 1), Ok(Read::Bytes(1)));
    assert_eq!(output(&mut session), frame(Kind::WindowUpdate, Flags::NONE, 1, half));
    // What waits is not given back.
    send(&mut session, WINDOW);
    assert_eq!(session.read(1, |_| 1), Ok(Read::Bytes(1)));
    assert!(!session.has_output());
}

#[test]
fn who_sends_more_than_the_window_ends_the_session() {
    let mut session = server_with_stream();
    let mut input = frame(Kind::Data, Flags::NONE, 1, WINDOW);
    input.resize(HEADER_BYTES + WINDOW as usize, 0);
    session.handle_input(&mut input).unwrap();
    let more = session.handle_input(&mut frame(Kind::Data, Flags::NONE, 1, 1));
    assert_eq!(more, Err(SessionError::ReceiveWindow(1)));
    assert_eq!(output(&mut session), frame(Kind::GoAway, Flags::NONE, 0, 1));
}

#[test]
fn what_breaks_the_rules_ends_the_session() {
    for (input, error) in [
        ("01", None),
        ("010100010000000100000000", Some(SessionError::Frame(FrameError::Version(1)))),
        ("000400010000000100000000", Some(SessionError::Frame(FrameError::Kind(4)))),
        ("000100010000000000000000", Some(SessionError::StreamId(0))),
        ("000100010000000200000000", Some(SessionError::StreamId(2))),
        ("000100010000000100000000", Some(SessionError::StreamId(1))),
        ("000000000000000100040001", Some(SessionError::ReceiveWindow(1))),
        ("0001000000000001ffffffff", Some(SessionError::SendWindow(1))),
        ("000300000000000000000001", Some(SessionError::GoneAway(1))),
        ("000300000000000000000002", Some(SessionError::GoneAway(2))),
    ] {
        let mut session = server_with_stream();
        assert_eq!(session.handle_input(&mut hex(input)).err(), error, "{input}");
    }
}

#[test]
fn frames_for_streams_that_are_gone_are_dropped() {
    let mut session = server_with_stream();
    session.release(1);
    assert_eq!(output(&mut session), frame(Kind::WindowUpdate, Flags::RST, 1, 0));
    let mut input = hex("000000000000000100000003 616263 000100040000000100000000");
    input.extend_from_slice(&frame(Kind::Ping, Flags::SYN, 0, 1));
    session.handle_input(&mut input).unwrap();
    assert_eq!(output(&mut session), frame(Kind::Ping, Flags::ACK, 0, 1));
    assert_eq!((session.streams(), session.buffered), (0, 0));
}

#[test]
fn an_abort_is_seen_by_readers_and_writers() {
    let mut session = server_with_stream();
    let mut input = hex("000000000000000100000003 616263 000100080000000100000000");
    session.handle_input(&mut input).unwrap();
    let expected = [Event::Readable(1), Event::Readable(1), Event::Writable(1)];
    assert_eq!(events(&mut session), expected);
    assert_eq!(session.read(1, |_| 0), Err(StreamError::Reset));
    assert_eq!(session.write(1, b"x"), Err(StreamError::Reset));
    session.release(1);
    assert!(!session.has_output());
    assert_eq!((session.streams(), session.buffered), (0, 0));
}

#[test]
fn streams_beyond_the_backlog_are_refused_and_the_session_goes_on() {
    let mut session = server();
    let open = |session: &mut Session, id: u32| {
        session.handle_input(&mut frame(Kind::WindowUpdate, Flags::SYN, id, 0)).unwrap();
    };
    let backlog = BACKLOG_MAX as u32;
    (0..backlog).for_each(|index| open(&mut session, 2 * index + 1));
    assert!(!session.has_output());
    open(&mut session, 2 * backlog + 1);
    let refused = frame(Kind::WindowUpdate, Flags::RST, 2 * backlog + 1, 0);
    assert_eq!(output(&mut session), refused);
    session.accept(1);
    output(&mut session);
    open(&mut session, 2 * backlog + 3);
    assert!(!session.has_output());
    assert_eq!(events(&mut session).len(), BACKLOG_MAX + 1);
}

#[test]
fn there_are_no_more_streams_than_allowed() {
    let mut session = Session::new(Role::Server, 2);
    for id in [1, 3, 5] {
        session.handle_input(&mut frame(Kind::WindowUpdate, Flags::SYN, id, 0)).unwrap();
    }
    assert_eq!(output(&mut session), frame(Kind::WindowUpdate, Flags::RST, 5, 0));
    assert_eq!(session.streams(), 2);
}

#[test]
fn opening_waits_for_those_that_were_not_accepted() {
    let mut session = Session::new(Role::Client, 1000);
    for index in 0..BACKLOG_MAX as u32 {
        assert_eq!(session.open(), Ok(2 * index + 1));
    }
    assert_eq!(session.open(), Err(OpenError::Backlog));
    session.handle_input(&mut frame(Kind::WindowUpdate, Flags::ACK, 1, 0)).unwrap();
    assert!(session.open().is_ok());
    assert_eq!(session.open(), Err(OpenError::Backlog));
    session.handle_input(&mut frame(Kind::WindowUpdate, Flags::RST, 3, 0)).unwrap();
    assert!(session.open().is_ok());
    session.release(5);
    assert!(session.open().is_ok());
    assert_eq!(session.open(), Err(OpenError::Backlog));
}

#[test]
fn numbers_of_streams_run_out() {
    let mut session = Session::new(Role::Client, 1000);
    session.next_stream = Some(u32::MAX);
    assert_eq!(session.open(), Ok(u32::MAX));
    assert_eq!(session.open(), Err(OpenError::Exhausted));
}

#[test]
fn a_peer_that_goes_away_in_peace_takes_no_more_streams() {
    let mut session = Session::new(Role::Client, 1000);
    let id = session.open().unwrap();
    session.handle_input(&mut frame(Kind::GoAway, Flags::NONE, 0, 0)).unwrap();
    assert_eq!(session.open(), Err(OpenError::GoneAway));
    assert_eq!(session.write(id, b"x"), Ok(1));
}

#[test]
fn after_the_end_what_came_can_be_read() {
    let mut session = server_with_stream();
    session.handle_input(&mut hex("000000000000000100000003 616263")).unwrap();
    session.end();
    assert_eq!(read(&mut session, 1).unwrap(), b"abc");
    assert_eq!(session.read(1, |_| 0), Ok(Read::End));
    assert_eq!(session.write(1, b"x"), Err(StreamError::Closed));
    assert_eq!(session.open(), Err(OpenError::Ended));
    assert!(!session.has_output());
}

#[test]
fn a_peer_that_only_asks_has_to_wait_for_its_answers() {
    let mut session = server();
    let pings: BytesMut =
        frame(Kind::Ping, Flags::SYN, 0, 1).repeat(OUTPUT_MAX / HEADER_BYTES + 1).as_slice().into();
    assert!(session.wants_input());
    session.handle_input(&mut { pings }).unwrap();
    assert!(!session.wants_input());
    output(&mut session);
    assert!(session.wants_input());
}
