//! The machine of a session: frames from the other side and wishes of streams in, bytes
//! for the other side and events out.
//!
//! Everything that the other side can make grow has a bound: bytes of a stream (its
//! window), bytes of all streams and answers that wait to be written (the shell stops
//! reading, see [`Session::wants_input`]), streams, and streams that nobody accepted yet
//! (one more is refused with RST, as Go's library does).

use std::collections::{HashMap, VecDeque};

use bytes::{Buf as _, BytesMut};

use super::frame::{Flags, FrameError, HEADER_BYTES, Header, Kind};

/// Bytes that either side may send on a new stream.
pub const WINDOW: u32 = 256 << 10;

/// Streams of the other side that nobody accepted yet, and of ours that it did not.
pub const BACKLOG_MAX: usize = 256;

/// Bytes that wait to be written before streams have to wait.
const OUTPUT_MAX: usize = 256 << 10;

/// Bytes of one data frame, so that streams take turns.
const DATA_MAX: usize = 32 << 10;

/// Bytes that wait to be read, over all streams, before no more are taken from the other side.
const BUFFERED_MAX: usize = 64 << 20;

/// Room that a stream keeps while nothing waits in it.
const BUFFER_KEPT: usize = 16 << 10;

/// Which side this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Dialled: its streams have odd numbers.
    Client,
    /// Was dialled: its streams have even numbers.
    Server,
}

/// Why a session cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A stream was opened twice, or with a number of this side.
    #[error("stream {0} cannot be opened")]
    StreamId(u32),
    /// More bytes than this side allowed.
    #[error("recv window exceeded on stream {0}")]
    ReceiveWindow(u32),
    /// The other side allows more bytes than a window can hold.
    #[error("window of stream {0} overflows")]
    SendWindow(u32),
    /// The other side ended the session because of us, or of itself.
    #[error("remote end went away with code {0}")]
    GoneAway(u32),
}

/// Why a stream takes or gives no more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The other side aborted it.
    #[error("connection reset")]
    Reset,
    /// It was ended on this side, or the session ended.
    #[error("stream closed")]
    Closed,
}

/// Why no stream can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The other side did not accept [`BACKLOG_MAX`] streams yet: wait for
    /// [`Event::Acknowledged`].
    #[error("too many streams wait to be accepted")]
    Backlog,
    /// The other side takes no more.
    #[error("remote end is not accepting connections")]
    GoneAway,
    /// All numbers are used up.
    #[error("streams exhausted")]
    Exhausted,
    /// The session ended.
    #[error("session shutdown")]
    Ended,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The other side opened this stream: [`Session::accept`] it.
    Opened(u32),
    /// There is something to read: bytes, their end, or an abort.
    Readable(u32),
    /// There is room to write, or an abort.
    Writable(u32),
    /// One of our streams was accepted.
    Acknowledged,
    /// The other side answered the ping of this value.
    Pong(u32),
}

/// What reading gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// This many bytes were taken.
    Bytes(usize),
    /// Nothing yet.
    Nothing,
    /// The other side sends no more.
    End,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    role: Role,
    streams: HashMap<u32, StreamState>,
    streams_max: usize,
    next_stream: Option<u32>,
    /// Streams of the other side that wait for [`Session::accept`].
    unaccepted: usize,
    /// Our streams that the other side did not accept yet.
    unacknowledged: usize,
    /// Bytes that wait in streams.
    buffered: usize,
    /// The data frame that is being read.
    payload: Option<Payload>,
    output: BytesMut,
    events: VecDeque<Event>,
    remote_gone: bool,
    ended: bool,
}

#[derive(Debug)]
struct StreamState {
    /// Bytes that we may send.
    send_window: u32,
    /// Bytes that the other side may send.
    receive_window: u32,
    buffer: BytesMut,
    unacknowledged: bool,
    sent_fin: bool,
    got_fin: bool,
    reset: bool,
}

impl StreamState {
    fn new(unacknowledged: bool) -> Self {
        Self {
            send_window: WINDOW,
            receive_window: WINDOW,
            buffer: BytesMut::new(),
            unacknowledged,
            sent_fin: false,
            got_fin: false,
            reset: false,
        }
    }
}

/// What is left of a data frame.
#[derive(Clone, Copy, Debug)]
struct Payload {
    stream: u32,
    left: usize,
    fin: bool,
}

impl Session {
    /// A session in which the other side may have `streams_max` streams at a time.
    pub fn new(role: Role, streams_max: usize) -> Self {
        Self {
            role,
            streams: HashMap::new(),
            streams_max,
            next_stream: Some(if role == Role::Client { 1 } else { 2 }),
            unaccepted: 0,
            unacknowledged: 0,
            buffered: 0,
            payload: None,
            output: BytesMut::new(),
            events: VecDeque::new(),
            remote_gone: false,
            ended: false,
        }
    }

    /// Takes what the other side sent, all of it but a piece of a header.
    ///
    /// # Errors
    /// The session cannot go on. The other side is told so with the last bytes of
    /// [`Session::take_output`].
    pub fn handle_input(&mut self, input: &mut BytesMut) -> Result<(), SessionError> {
        let handled = self.handle_frames(input);
        if handled.is_err() && !self.ended {
            self.send(Kind::GoAway, Flags::NONE, 0, 1);
        }
        handled
    }

    fn handle_frames(&mut self, input: &mut BytesMut) -> Result<(), SessionError> {
        loop {
            if !self.handle_payload(input) {
                return Ok(());
            }
            let Some(bytes) = input.first_chunk::<HEADER_BYTES>() else { return Ok(()) };
            let header = Header::decode(bytes)?;
            input.advance(HEADER_BYTES);
            match header.kind {
                Kind::Data | Kind::WindowUpdate => self.handle_stream(header)?,
                Kind::Ping if header.flags.has(Flags::SYN) => {
                    self.send(Kind::Ping, Flags::ACK, 0, header.length);
                }
                Kind::Ping => self.events.push_back(Event::Pong(header.length)),
                Kind::GoAway if header.length == 0 => {
                    self.remote_gone = true;
                    // Who waits to open a stream is to hear of it.
                    self.events.push_back(Event::Acknowledged);
                }
                Kind::GoAway => return Err(SessionError::GoneAway(header.length)),
            }
        }
    }

    /// Goes on with a data frame; false while it is not complete.
    fn handle_payload(&mut self, input: &mut BytesMut) -> bool {
        let Some(payload) = &mut self.payload else { return true };
        let len = payload.left.min(input.len());
        payload.left -= len;
        let payload = *payload;
        match self.streams.get_mut(&payload.stream).filter(|stream| !stream.reset) {
            // Bytes for a stream that is gone are dropped, as in Go's library.
            None => input.advance(len),
            Some(stream) => {
                stream.buffer.extend_from_slice(&input[..len]);
                input.advance(len);
                self.buffered += len;
                let complete = payload.left == 0;
                stream.got_fin |= complete && payload.fin;
                if len > 0 || (complete && payload.fin) {
                    self.events.push_back(Event::Readable(payload.stream));
                }
            }
        }
        if payload.left == 0 {
            self.payload = None;
        }
        payload.left == 0
    }

    fn handle_stream(&mut self, header: Header) -> Result<(), SessionError> {
        let Header { kind, flags, stream: id, length } = header;
        if flags.has(Flags::SYN) {
            self.handle_open(id)?;
        }
        let fin = flags.has(Flags::FIN);
        if kind == Kind::Data {
            self.payload = Some(Payload { stream: id, left: length as usize, fin });
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if flags.has(Flags::ACK) && std::mem::take(&mut stream.unacknowledged) {
            self.unacknowledged -= 1;
            self.events.push_back(Event::Acknowledged);
        }
        if flags.has(Flags::RST) {
            stream.reset = true;
            self.buffered -= std::mem::take(&mut stream.buffer).len();
            if std::mem::take(&mut stream.unacknowledged) {
                self.unacknowledged -= 1;
                self.events.push_back(Event::Acknowledged);
            }
            self.events.extend([Event::Readable(id), Event::Writable(id)]);
            return Ok(());
        }
        match kind {
            Kind::Data => {
                let left = stream.receive_window.checked_sub(length);
                stream.receive_window = left.ok_or(SessionError::ReceiveWindow(id))?;
            }
            _ => {
                let window = stream.send_window.checked_add(length);
                stream.send_window = window.ok_or(SessionError::SendWindow(id))?;
                if length > 0 {
                    self.events.push_back(Event::Writable(id));
                }
                if fin {
                    stream.got_fin = true;
                    self.events.push_back(Event::Readable(id));
                }
            }
        }
        Ok(())
    }

    fn handle_open(&mut self, id: u32) -> Result<(), SessionError> {
        let ours = u32::from(self.role == Role::Client);
        if id == 0 || id % 2 == ours || self.streams.contains_key(&id) {
            return Err(SessionError::StreamId(id));
        }
        if self.unaccepted >= BACKLOG_MAX || self.streams.len() >= self.streams_max {
            self.send(Kind::WindowUpdate, Flags::RST, id, 0);
            return Ok(());
        }
        self.unaccepted += 1;
        self.streams.insert(id, StreamState::new(false));
        self.events.push_back(Event::Opened(id));
        Ok(())
    }

    /// What happened since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(&mut self) -> Result<u32, OpenError> {
        if self.ended {
            return Err(OpenError::Ended);
        }
        if self.remote_gone {
            return Err(OpenError::GoneAway);
        }
        if self.unacknowledged >= BACKLOG_MAX {
            return Err(OpenError::Backlog);
        }
        let id = self.next_stream.ok_or(OpenError::Exhausted)?;
        self.next_stream = id.checked_add(2);
        self.unacknowledged += 1;
        self.streams.insert(id, StreamState::new(true));
        self.send(Kind::WindowUpdate, Flags::SYN, id, 0);
        Ok(id)
    }

    /// Accepts a stream that the other side opened. Call it once for each
    /// [`Event::Opened`].
    pub fn accept(&mut self, id: u32) {
        self.unaccepted -= 1;
        if self.streams.get(&id).is_some_and(|stream| !stream.reset) {
            self.send(Kind::WindowUpdate, Flags::ACK, id, 0);
        }
    }

    /// Refuses a stream that the other side opened, in place of [`Session::accept`].
    pub fn refuse(&mut self, id: u32) {
        self.unaccepted -= 1;
        self.release(id);
    }

    /// Takes as many of `bytes` as may be sent; none when there is no room: wait for
    /// [`Event::Writable`], or for output to be taken while [`Session::is_output_full`].
    ///
    /// # Errors
    /// See [`StreamError`].
    pub fn write(&mut self, id: u32, bytes: &[u8]) -> Result<usize, StreamError> {
        if self.ended {
            return Err(StreamError::Closed);
        }
        let stream = self.streams.get_mut(&id).ok_or(StreamError::Closed)?;
        if stream.reset {
            return Err(StreamError::Reset);
        }
        if stream.sent_fin {
            return Err(StreamError::Closed);
        }
        let room = OUTPUT_MAX.saturating_sub(self.output.len()).min(DATA_MAX);
        let len = room.min(bytes.len()).min(stream.send_window as usize);
        if len > 0 {
            stream.send_window -= len as u32;
            self.send(Kind::Data, Flags::NONE, id, len as u32);
            self.output.extend_from_slice(&bytes[..len]);
        }
        Ok(len)
    }

    /// Shows `take` the bytes that wait; it returns how many it took.
    ///
    /// # Errors
    /// The other side aborted the stream.
    pub fn read(
        &mut self,
        id: u32,
        take: impl FnOnce(&[u8]) -> usize,
    ) -> Result<Read, StreamError> {
        let ended = self.ended;
        let stream = self.streams.get_mut(&id).ok_or(StreamError::Closed)?;
        if stream.reset {
            return Err(StreamError::Reset);
        }
        if stream.buffer.is_empty() {
            return Ok(if stream.got_fin || ended { Read::End } else { Read::Nothing });
        }
        let taken = take(&stream.buffer).min(stream.buffer.len());
        stream.buffer.advance(taken);
        self.buffered -= taken;
        let waits = stream.buffer.len();
        if waits == 0 && stream.buffer.capacity() > BUFFER_KEPT {
            stream.buffer = BytesMut::new();
        }
        // What is left of a data frame has used the window up and is still to come.
        let coming = self.payload.filter(|payload| payload.stream == id).map_or(0, |p| p.left);
        let allowed = stream.receive_window + (waits + coming) as u32;
        let more = WINDOW.saturating_sub(allowed);
        if more >= WINDOW / 2 && !stream.got_fin {
            stream.receive_window += more;
            self.send(Kind::WindowUpdate, Flags::NONE, id, more);
        }
        Ok(Read::Bytes(taken))
    }

    /// Ends this side's bytes of a stream.
    pub fn finish(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.reset && !std::mem::replace(&mut stream.sent_fin, true) {
            self.send(Kind::WindowUpdate, Flags::FIN, id, 0);
        }
    }

    /// Forgets a stream that nobody holds any more. Where the other side does not expect
    /// that, it is told: with FIN if it ended its own bytes, else with RST.
    pub fn release(&mut self, id: u32) {
        let Some(stream) = self.streams.remove(&id) else { return };
        self.buffered -= stream.buffer.len();
        if stream.unacknowledged {
            self.unacknowledged -= 1;
            self.events.push_back(Event::Acknowledged);
        }
        if stream.reset || stream.sent_fin {
            return;
        }
        let flags = if stream.got_fin { Flags::FIN } else { Flags::RST };
        self.send(Kind::WindowUpdate, flags, id, 0);
    }

    /// Whether the other side neither ended nor aborted the stream, and nothing waits in it.
    pub fn is_quiet(&self, id: u32) -> bool {
        let quiet = |s: &StreamState| !s.got_fin && !s.reset && s.buffer.is_empty();
        !self.ended && !self.remote_gone && self.streams.get(&id).is_some_and(quiet)
    }

    /// Asks whether the other side is there; it answers with [`Event::Pong`].
    pub fn ping(&mut self, value: u32) {
        self.send(Kind::Ping, Flags::SYN, 0, value);
    }

    /// Tells the other side that the session ends in peace.
    pub fn go_away(&mut self) {
        self.send(Kind::GoAway, Flags::NONE, 0, 0);
    }

    /// The connection is gone: what came may be read, and nothing be written.
    pub fn end(&mut self) {
        self.ended = true;
        self.output.clear();
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Swaps what is to be written with `empty`, whose room is used from now on.
    pub fn take_output(&mut self, empty: &mut BytesMut) {
        debug_assert!(empty.is_empty());
        std::mem::swap(&mut self.output, empty);
    }

    /// Whether something is to be written.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether streams have to wait until output is taken.
    pub fn is_output_full(&self) -> bool {
        self.output.len() >= OUTPUT_MAX
    }

    /// Whether there is room for what more input may bring. A peer that does not read its
    /// answers, or whose streams nobody reads, has to wait.
    pub fn wants_input(&self) -> bool {
        self.output.len() <= OUTPUT_MAX && self.buffered <= BUFFERED_MAX
    }

    fn send(&mut self, kind: Kind, flags: Flags, stream: u32, length: u32) {
        if !self.ended {
            let header = Header { kind, flags, stream, length };
            self.output.extend_from_slice(&header.encode());
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
