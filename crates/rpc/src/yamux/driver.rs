//! The task that owns the socket of a session.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::{Instant, Sleep};

use super::connection::{Options, Shared};

/// Least and most bytes that are read at once. Sessions are many and mostly quiet: one
/// gets much room only while much comes.
const INPUT_BYTES: (usize, usize) = (2 << 10, 64 << 10);

/// Room for output that a quiet session keeps.
const OUTPUT_KEPT: usize = 16 << 10;

/// Moves bytes between the socket and the session. It completes when the session ended;
/// dropping it ends the session.
pub struct Driver<S> {
    io: S,
    shared: Arc<Shared>,
    options: Options,
    /// What was read and is no complete header.
    input: BytesMut,
    /// How much is read next.
    input_bytes: usize,
    /// What was taken from the session and not written yet.
    writing: BytesMut,
    needs_flush: bool,
    wakers: Vec<Waker>,
    /// When the other side will have taken no bytes for too long; counts while `stalled`.
    stall: Pin<Box<Sleep>>,
    stalled: bool,
    /// When to ask whether the other side is there, or to stop waiting for its answer.
    keep_alive: Pin<Box<Sleep>>,
    /// The last ping, while it waits for its answer.
    unanswered: Option<u32>,
    pings: u32,
    /// Whether anything came since the last ping.
    heard: bool,
}

impl<S> Driver<S> {
    pub(super) fn new(io: S, shared: Arc<Shared>, options: Options) -> Self {
        Self {
            io,
            shared,
            input: BytesMut::new(),
            input_bytes: INPUT_BYTES.0,
            writing: BytesMut::new(),
            needs_flush: false,
            wakers: Vec::new(),
            stall: Box::pin(tokio::time::sleep(options.write_timeout)),
            stalled: false,
            keep_alive: Box::pin(tokio::time::sleep(options.keep_alive)),
            unanswered: None,
            pings: 0,
            heard: false,
            options,
        }
    }

    fn end(&mut self, why: &str) {
        self.shared.lock().end(why.to_owned(), &mut self.wakers);
        self.wake();
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Does what can be done without waiting.
    ///
    /// # Errors
    /// Why the session is over.
    fn step(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        self.shared.lock().set_driver(context.waker());
        loop {
            self.keep_alive(context)?;
            self.write(context)?;
            let progress = self.read(context)?;
            // What was read may have left an answer to be written.
            let answers = self.writing.is_empty() && self.shared.lock().session.has_output();
            if !progress && !answers {
                return Ok(());
            }
        }
    }

    fn keep_alive(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        let mut state = self.shared.lock();
        if self.unanswered.is_some() && self.unanswered == state.pong {
            self.unanswered = None;
            self.keep_alive.as_mut().reset(Instant::now() + self.options.keep_alive);
        }
        while self.keep_alive.as_mut().poll(context).is_ready() {
            // A busy connection may not get to our ping in time.
            if self.unanswered.is_some() && !self.heard {
                return Err("keepalive timeout".to_owned());
            }
            self.heard = false;
            self.pings = self.pings.wrapping_add(1);
            self.unanswered = Some(self.pings);
            state.session.ping(self.pings);
            self.keep_alive.as_mut().reset(Instant::now() + self.options.write_timeout);
        }
        Ok(())
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        loop {
            if self.writing.is_empty() {
                let closing = self.take_output();
                if self.writing.is_empty() {
                    let flushed = !self.needs_flush || self.flush(context)?;
                    if !closing || !flushed {
                        return Ok(());
                    }
                    // Lets TLS say that this was all, if that needs no waiting.
                    let _ = Pin::new(&mut self.io).poll_shutdown(context);
                    return Err("session shutdown".to_owned());
                }
            }
            match Pin::new(&mut self.io).poll_write(context, &self.writing) {
                Poll::Ready(Ok(0)) => return Err("the connection takes no bytes".to_owned()),
                Poll::Ready(Ok(written)) => {
                    self.writing.advance(written);
                    self.stalled = false;
                    self.needs_flush = true;
                }
                Poll::Ready(Err(error)) => return Err(error.to_string()),
                Poll::Pending => return self.wait_to_write(context),
            }
            if self.writing.is_empty() && self.writing.capacity() > OUTPUT_KEPT {
                self.writing = BytesMut::new();
            }
        }
    }

    /// Takes what is to be written; says whether the session is to be closed after that.
    fn take_output(&mut self) -> bool {
        let mut state = self.shared.lock();
        state.session.take_output(&mut self.writing);
        state.unblock(&mut self.wakers);
        let closing = state.closing;
        drop(state);
        self.wake();
        closing
    }

    fn flush(&mut self, context: &mut Context<'_>) -> Result<bool, String> {
        match Pin::new(&mut self.io).poll_flush(context) {
            Poll::Ready(Ok(())) => {
                self.needs_flush = false;
                self.stalled = false;
                Ok(true)
            }
            Poll::Ready(Err(error)) => Err(error.to_string()),
            Poll::Pending => self.wait_to_write(context).map(|()| false),
        }
    }

    fn wait_to_write(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        if !std::mem::replace(&mut self.stalled, true) {
            self.stall.as_mut().reset(Instant::now() + self.options.write_timeout);
        }
        match self.stall.as_mut().poll(context) {
            Poll::Ready(()) => Err("connection write timeout".to_owned()),
            Poll::Pending => Ok(()),
        }
    }

    /// Says whether anything was read.
    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, String> {
        {
            let mut state = self.shared.lock();
            state.paused = !state.session.wants_input();
            if state.paused {
                return Ok(false);
            }
        }
        self.input.reserve(self.input_bytes);
        let read = pin!(self.io.read_buf(&mut self.input)).poll(context);
        let len = match read {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(0)) => return Err("EOF".to_owned()),
            Poll::Ready(Ok(len)) => len,
            // TLS that ended without saying so; that there is no more is all the same.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err("EOF".to_owned());
            }
            Poll::Ready(Err(error)) => return Err(error.to_string()),
        };
        self.heard = true;
        let mut state = self.shared.lock();
        let handled = state.session.handle_input(&mut self.input);
        state.dispatch(&mut self.wakers);
        drop(state);
        self.wake();
        if let Err(error) = handled {
            self.say_goodbye(context);
            return Err(error.to_string());
        }
        self.fit_input(len);
        Ok(true)
    }

    /// More room after it was used up, less after little of it was.
    fn fit_input(&mut self, len: usize) {
        let (least, most) = INPUT_BYTES;
        if len >= self.input_bytes {
            self.input_bytes = (self.input_bytes * 2).min(most);
        } else if len < self.input_bytes / 4 {
            self.input_bytes = (self.input_bytes / 2).max(least);
        }
        if self.input.is_empty() && self.input.capacity() > 2 * self.input_bytes {
            self.input = BytesMut::new();
        }
    }

    /// Tells a peer that broke the rules that it did, if that needs no waiting.
    fn say_goodbye(&mut self, context: &mut Context<'_>) {
        if self.writing.is_empty() {
            self.take_output();
        }
        let _ = Pin::new(&mut self.io).poll_write(context, &self.writing);
        let _ = Pin::new(&mut self.io).poll_flush(context);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Driver<S> {
    /// Why the session ended.
    type Output = String;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<String> {
        let driver = &mut *self;
        match driver.step(context) {
            Ok(()) => Poll::Pending,
            Err(why) => {
                driver.end(&why);
                Poll::Ready(why)
            }
        }
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        self.end("session shutdown");
    }
}
