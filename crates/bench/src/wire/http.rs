//! HTTP/1.1 as far as a load generator needs it: requests rendered once, answers skipped over quickly.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::{Dialogue, Script};

/// The longest head of an answer that is taken, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;

/// Of the body of an answer that is no success, about so many bytes are kept to be shown.
const EXCUSE: usize = 200;

/// Renders a request on a connection that stays open.
pub(crate) fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n").into_bytes();
    if method != "GET" {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// Where in an answer the parser stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    /// So many bytes of the body are still to come.
    Body(u64),
    ChunkSize,
    /// So many bytes of the chunk and its line end are still to come.
    Chunk(u64),
    /// The empty line (or trailers) behind the last chunk.
    Trailer,
}

/// Reads one answer after the other.
#[derive(Debug)]
pub(crate) struct Parser {
    part: Part,
    /// What has come of the head, of a chunk's size or of a trailer line.
    partial: Vec<u8>,
    /// Status of the last answer.
    pub(crate) status: u16,
    /// `X-Consul-Index` of the last answer; 0 if it had none.
    pub(crate) index: u64,
    /// Body of the last answer, if bodies are kept.
    pub(crate) body: Vec<u8>,
    keeps_body: bool,
}

impl Parser {
    /// A parser at the start of an answer. Bodies are skipped unless kept.
    pub(crate) fn new(keeps_body: bool) -> Self {
        Self {
            part: Part::Head,
            partial: Vec::new(),
            status: 0,
            index: 0,
            body: Vec::new(),
            keeps_body,
        }
    }

    /// Takes bytes; returns how many of them were used once the answer is complete, `None` if it is not.
    ///
    /// # Errors
    /// These bytes are no HTTP/1.1 answer with a length or chunks.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> anyhow::Result<Option<usize>> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match self.part {
                Part::Head => {
                    let Some(used) = self.take_until(rest, b"\r\n\r\n")? else { return Ok(None) };
                    at += used;
                    let head = std::mem::take(&mut self.partial);
                    self.part = self.read_head(&head)?;
                    self.partial = head;
                    self.partial.clear();
                    self.body.clear();
                    if self.part == Part::Body(0) {
                        return Ok(Some(self.end(at)));
                    }
                }
                Part::Body(left) | Part::Chunk(left) => {
                    let used = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    // The line end of a chunk is no part of the body.
                    let line_end = if matches!(self.part, Part::Chunk(_)) { 2 } else { 0 };
                    let wanted =
                        usize::try_from(left.saturating_sub(line_end)).unwrap_or(usize::MAX);
                    self.keep(&rest[..used.min(wanted)]);
                    at += used;
                    let left = left - used as u64;
                    if left > 0 {
                        self.part = self.part.with(left);
                        return Ok(None);
                    }
                    if matches!(self.part, Part::Body(_)) {
                        return Ok(Some(self.end(at)));
                    }
                    self.part = Part::ChunkSize;
                }
                Part::ChunkSize => {
                    let Some(used) = self.take_until(rest, b"\r\n")? else { return Ok(None) };
                    at += used;
                    let size = chunk_size(&self.partial)?;
                    self.partial.clear();
                    self.part = if size == 0 { Part::Trailer } else { Part::Chunk(size + 2) };
                }
                Part::Trailer => {
                    let Some(used) = self.take_until(rest, b"\r\n")? else { return Ok(None) };
                    at += used;
                    let last = self.partial == b"\r\n";
                    self.partial.clear();
                    if last {
                        return Ok(Some(self.end(at)));
                    }
                }
            }
        }
    }

    fn end(&mut self, at: usize) -> usize {
        self.part = Part::Head;
        at
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.keeps_body || (self.status != 200 && self.body.len() < EXCUSE) {
            self.body.extend_from_slice(bytes);
        }
    }

    /// Moves bytes into `partial` until it ends with `end`; returns how many, or `None` if they were all moved in vain.
    fn take_until(&mut self, bytes: &[u8], end: &[u8]) -> anyhow::Result<Option<usize>> {
        let before = self.partial.len();
        let from = before.saturating_sub(end.len() - 1);
        self.partial.extend_from_slice(&bytes[..bytes.len().min(HEAD_LIMIT)]);
        let found = self.partial[from..].windows(end.len()).position(|window| window == end);
        if let Some(position) = found {
            let length = from + position + end.len();
            self.partial.truncate(length);
            return Ok(Some(length - before));
        }
        ensure!(self.partial.len() < HEAD_LIMIT, "the head of an answer is too long");
        Ok(None)
    }

    fn read_head(&mut self, head: &[u8]) -> anyhow::Result<Part> {
        ensure!(head.starts_with(b"HTTP/1.1 ") && head.len() >= 12, "this is no HTTP/1.1 answer");
        self.status = head[9..12]
            .iter()
            .try_fold(0u16, |status, byte| {
                byte.is_ascii_digit().then(|| status * 10 + u16::from(byte - b'0'))
            })
            .context("the status is no number")?;
        self.index = 0;
        let mut part = None;
        for line in head.split(|&byte| byte == b'\n').skip(1) {
            if let Some(value) = header(line, b"content-length:") {
                part = Some(Part::Body(number(value).context("Content-Length is no number")?));
            } else if header(line, b"transfer-encoding:").is_some() {
                part = Some(Part::ChunkSize);
            } else if let Some(value) = header(line, b"x-consul-index:") {
                self.index = number(value).unwrap_or(0);
            }
        }
        part.context("an answer without length and chunks")
    }
}

impl Part {
    fn with(self, left: u64) -> Self {
        if matches!(self, Self::Body(_)) { Self::Body(left) } else { Self::Chunk(left) }
    }
}

fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let start = line.get(..name.len())?;
    start.eq_ignore_ascii_case(name).then(|| line[name.len()..].trim_ascii())
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn chunk_size(line: &[u8]) -> anyhow::Result<u64> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let digits = std::str::from_utf8(digits).context("a chunk's size is no text")?;
    u64::from_str_radix(digits, 16)
        .context("a chunk's size is no number")
        .map(|size| size.min(1 << 40))
}

/// Requests of a script, one after the other on one connection.
#[derive(Debug)]
pub(crate) struct Requests {
    script: Script,
    parser: Parser,
}

impl Requests {
    /// A conversation that follows `script`.
    pub(crate) fn new(script: Script) -> Self {
        Self { script, parser: Parser::new(false) }
    }
}

impl Dialogue for Requests {
    fn open(&mut self, _out: &mut Vec<u8>) {}

    fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        self.script.step().map(|request| out.extend_from_slice(request)).is_some()
    }

    fn hear(&mut self, bytes: &[u8], _out: &mut Vec<u8>) -> anyhow::Result<Option<bool>> {
        let Some(used) = self.parser.feed(bytes)? else { return Ok(None) };
        ensure!(used == bytes.len(), "the peer said more than it was asked");
        Ok(Some(self.parser.status == 200))
    }

    fn excuse(&self) -> String {
        let body: Vec<u8> = self.parser.body.iter().copied().take(EXCUSE).collect();
        format!("{} {}", self.parser.status, String::from_utf8_lossy(&body))
    }
}

/// An answer that was waited for.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// `X-Consul-Index`, 0 if there was none.
    pub(crate) index: u64,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// One request on a connection of its own; for setting up and for asking whether a server is ready.
///
/// # Errors
/// No connection, silence for two minutes, or no HTTP.
pub(crate) fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &[u8],
) -> anyhow::Result<Answer> {
    call_within(Duration::from_secs(120), address, method, path, body)
}

/// Like [`call`], for one who has not so much time.
///
/// # Errors
/// Also that the time is over.
pub(crate) fn call_within(
    patience: Duration,
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &[u8],
) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, patience.min(Duration::from_secs(5)))?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(&request(method, path, body))?;
    let mut parser = Parser::new(true);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = stream.read(&mut buffer)?;
        ensure!(length > 0, "{method} {path}: the connection ended before the answer");
        if parser.feed(&buffer[..length])?.is_some() {
            return Ok(Answer { status: parser.status, index: parser.index, body: parser.body });
        }
    }
}

/// Like [`call`], for requests that have to succeed.
///
/// # Errors
/// Also any status but 200.
pub(crate) fn expect(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &[u8],
) -> anyhow::Result<Answer> {
    let answer = call(address, method, path, body)?;
    if answer.status != 200 {
        bail!("{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-length: 4\r\nX-Consul-Index: 17\r\n\r\ntrue";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\n\r\n";

    #[test]
    fn answers_are_read_however_they_are_cut() {
        for (bytes, status, index, body) in
            [(PLAIN, 200, 17, &b"true"[..]), (CHUNKED, 404, 0, &b"abc0123456789"[..])]
        {
            for cut in 0..bytes.len() {
                let mut parser = Parser::new(true);
                assert_eq!(parser.feed(&bytes[..cut]).unwrap(), None);
                assert_eq!(parser.feed(&bytes[cut..]).unwrap(), Some(bytes.len() - cut));
                assert_eq!((parser.status, parser.index), (status, index));
                assert_eq!(parser.body, body);
            }
        }
    }

    #[test]
    fn two_answers_in_one_piece_are_told_apart() {
        let both = [PLAIN, CHUNKED].concat();
        let mut parser = Parser::new(false);
        assert_eq!(parser.feed(&both).unwrap(), Some(PLAIN.len()));
        assert_eq!(parser.feed(&both[PLAIN.len()..]).unwrap(), Some(CHUNKED.len()));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for bytes in [
            &b"HTTP/1.0 200 OK\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 xx0 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert!(Parser::new(false).feed(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
        assert!(Parser::new(false).feed(&[b'x'; HEAD_LIMIT + 1]).is_err());
    }
}
