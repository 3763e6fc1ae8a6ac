//! The shell of a session: one task that owns the socket, and handles for streams.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::driver::Driver;
use super::session::{Event, OpenError, Read, Role, Session, StreamError};

/// How many streams are let write at a time: what they write fills the output.
const WRITERS_MAX: usize = 8;

/// Limits of a session.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often the other side is asked whether it is there.
    pub keep_alive: Duration,
    /// How long it may take to answer that, and to take bytes.
    pub write_timeout: Duration,
    /// Most streams that the other side may have at a time. One more is refused.
    pub streams_max: usize,
}

impl Default for Options {
    /// Those of Consul, and a number of streams that an agent with as many blocking queries
    /// stays below.
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            streams_max: 16 << 10,
        }
    }
}

/// Makes a session of a connection. Somebody must run the [`Driver`]; when it is dropped,
/// all streams end.
pub fn connect<S>(io: S, role: Role, options: Options) -> (Connection, Incoming, Driver<S>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            session: Session::new(role, options.streams_max),
            wakers: HashMap::new(),
            driver: None,
            incoming: None,
            opened: VecDeque::new(),
            accepts: true,
            opening: Vec::new(),
            blocked: VecDeque::new(),
            closing: false,
            ended: None,
            pong: None,
            paused: false,
        }),
    });
    let driver = Driver::new(io, Arc::clone(&shared), options);
    (Connection { shared: Arc::clone(&shared) }, Incoming { shared }, driver)
}

pub(super) struct Shared {
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) session: Session,
    wakers: HashMap<u32, Wakers>,
    driver: Option<Waker>,
    incoming: Option<Waker>,
    /// Streams that the other side opened and nobody took yet.
    opened: VecDeque<u32>,
    accepts: bool,
    /// Who waits to open a stream.
    opening: Vec<Waker>,
    /// Streams that wait for output to be taken, the longest waiting first.
    blocked: VecDeque<u32>,
    pub(super) closing: bool,
    /// Why the session ended.
    ended: Option<String>,
    /// The last ping that was answered.
    pub(super) pong: Option<u32>,
    /// Whether no input is taken for want of room.
    pub(super) paused: bool,
}

/// Who waits for a stream.
#[derive(Default)]
struct Wakers {
    read: Option<Waker>,
    write: Option<Waker>,
    /// Whether it stands among those who wait for output to be taken.
    blocked: bool,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whom to wake. The driver says so each time it runs, whatever it waits for then.
    pub(super) fn set_driver(&mut self, waker: &Waker) {
        match &mut self.driver {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Tells the driver that there is something to do.
    fn wake_driver(&mut self) {
        let resumes = self.paused && self.session.wants_input();
        let unblocks = !self.blocked.is_empty();
        if (self.session.has_output() || self.closing || resumes || unblocks)
            && let Some(waker) = self.driver.take()
        {
            waker.wake();
        }
    }

    /// Turns events into wakers of those who wait for them.
    pub(super) fn dispatch(&mut self, wakers: &mut Vec<Waker>) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Opened(id) if self.accepts => {
                    self.opened.push_back(id);
                    wakers.extend(self.incoming.take());
                }
                Event::Opened(id) => self.session.refuse(id),
                Event::Readable(id) => {
                    wakers.extend(self.wakers.get_mut(&id).and_then(|w| w.read.take()));
                }
                Event::Writable(id) => {
                    wakers.extend(self.wakers.get_mut(&id).and_then(|w| w.write.take()));
                }
                Event::Acknowledged => wakers.append(&mut self.opening),
                Event::Pong(value) => self.pong = Some(value),
            }
        }
    }

    /// Lets as many streams write as there is room for; the next ones when that is written.
    pub(super) fn unblock(&mut self, wakers: &mut Vec<Waker>) {
        for id in self.blocked.drain(..self.blocked.len().min(WRITERS_MAX)) {
            wakers.extend(self.wakers.get_mut(&id).and_then(|waiting| {
                waiting.blocked = false;
                waiting.write.take()
            }));
        }
    }

    pub(super) fn end(&mut self, why: String, wakers: &mut Vec<Waker>) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(why);
        self.session.end();
        self.blocked.clear();
        wakers.extend(
            self.wakers.values_mut().flat_map(|w| [w.read.take(), w.write.take()]).flatten(),
        );
        wakers.append(&mut self.opening);
        wakers.extend(self.incoming.take());
    }
}

/// One side of a session. It is closed when this is dropped.
pub struct Connection {
    shared: Arc<Shared>,
}

impl Connection {
    /// Opens a stream; waits while too many others wait to be accepted.
    ///
    /// # Errors
    /// The session ended, or the other side takes no more streams.
    pub async fn open(&self) -> Result<Stream, OpenError> {
        poll_fn(|context| {
            let mut state = self.shared.lock();
            let opened = state.session.open();
            if opened == Err(OpenError::Backlog) {
                state.opening.push(context.waker().clone());
                return Poll::Pending;
            }
            state.wake_driver();
            Poll::Ready(opened.map(|id| Stream { shared: Arc::clone(&self.shared), id }))
        })
        .await
    }

    /// Why the session ended, if it did.
    pub fn ended(&self) -> Option<String> {
        self.shared.lock().ended.clone()
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.shared.lock().session.streams()
    }

    /// Ends the session and all its streams.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        if !state.closing {
            state.closing = true;
            state.session.go_away();
            state.wake_driver();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

/// The streams that the other side opens. When this is dropped, it can open none.
pub struct Incoming {
    shared: Arc<Shared>,
}

impl Incoming {
    /// The next one; `None` when the session ended.
    pub async fn next(&mut self) -> Option<Stream> {
        poll_fn(|context| {
            let mut state = self.shared.lock();
            if let Some(id) = state.opened.pop_front() {
                state.session.accept(id);
                state.wake_driver();
                return Poll::Ready(Some(Stream { shared: Arc::clone(&self.shared), id }));
            }
            if state.ended.is_some() {
                return Poll::Ready(None);
            }
            state.incoming = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.accepts = false;
        while let Some(id) = state.opened.pop_front() {
            state.session.refuse(id);
        }
        state.wake_driver();
    }
}

/// A stream. Dropping it before both sides ended aborts it.
pub struct Stream {
    shared: Arc<Shared>,
    id: u32,
}

impl Stream {
    /// Whether it can carry another call: the other side neither ended nor aborted it, and
    /// sent nothing that nobody asked for.
    pub fn is_quiet(&self) -> bool {
        let state = self.shared.lock();
        state.ended.is_none() && state.session.is_quiet(self.id)
    }

    /// Ends it in peace, where nothing more is expected from the other side.
    pub fn finish(self) {
        self.shared.lock().session.finish(self.id);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        let read = state.session.read(self.id, |bytes| {
            let len = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..len]);
            len
        });
        match read.map_err(broken)? {
            Read::Nothing => {
                let wakers = state.wakers.entry(self.id).or_default();
                wakers.read = Some(context.waker().clone());
                Poll::Pending
            }
            Read::Bytes(_) => {
                state.wake_driver();
                Poll::Ready(Ok(()))
            }
            Read::End => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut state = self.shared.lock();
        let written = state.session.write(self.id, bytes).map_err(broken)?;
        if written == 0 {
            let full = state.session.is_output_full();
            let waiting = state.wakers.entry(self.id).or_default();
            waiting.write = Some(context.waker().clone());
            if full && !std::mem::replace(&mut waiting.blocked, true) {
                state.blocked.push_back(self.id);
            }
            return Poll::Pending;
        }
        state.wake_driver();
        Poll::Ready(Ok(written))
    }

    /// Bytes are on their way as soon as they are written.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        state.session.finish(self.id);
        state.wake_driver();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.wakers.remove(&self.id);
        state.session.release(self.id);
        let mut wakers = Vec::new();
        state.dispatch(&mut wakers);
        state.wake_driver();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

fn broken(error: StreamError) -> io::Error {
    let kind = match error {
        StreamError::Reset => io::ErrorKind::ConnectionReset,
        StreamError::Closed => io::ErrorKind::BrokenPipe,
    };
    io::Error::new(kind, error)
}
