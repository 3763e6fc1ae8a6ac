//! gRPC over HTTP/2 (RFC 9113, RFC 7541) as far as etcd's KV and Watch calls need it: frames rendered beforehand, answers
//! skipped over. Header blocks are written with the static table only and never read: a call that fails brings no data.

use anyhow::{bail, ensure};

use super::{Dialogue, Script};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The longest frame that is taken: what HTTP/2 allows without being asked for more.
const FRAME_LIMIT: usize = 16 * 1024;

/// What a client says first: the preface, its settings (no pushes, the widest windows).
pub(crate) fn preface() -> Vec<u8> {
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let widest: u32 = (1 << 31) - 1;
    let mut settings = vec![0, 2, 0, 0, 0, 0, 0, 4];
    settings.extend_from_slice(&widest.to_be_bytes());
    frame(&mut out, SETTINGS, 0, 0, &settings);
    frame(&mut out, WINDOW_UPDATE, 0, 0, &(widest - 65_535).to_be_bytes());
    out
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Renders one call: its headers and its one message, for stream 1. A call that `stays` keeps its sending side open.
/// The message is at most 16 kB less 5 bytes, one frame.
pub(crate) fn call(path: &str, message: &[u8], stays: bool) -> Vec<u8> {
    // :method POST, :scheme http, then literals without indexing: :path, :authority, content-type, te.
    let mut block = vec![0x83, 0x86];
    for (name, value) in
        [(&[0x04][..], path), (&[0x01], "127.0.0.1"), (&[0x0f, 0x10], "application/grpc")]
    {
        block.extend_from_slice(name);
        literal(&mut block, value);
    }
    block.push(0);
    literal(&mut block, "te");
    literal(&mut block, "trailers");
    let mut out = Vec::new();
    frame(&mut out, HEADERS, END_HEADERS, 1, &block);
    let mut data = vec![0];
    data.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    data.extend_from_slice(message);
    frame(&mut out, DATA, if stays { 0 } else { END_STREAM }, 1, &data);
    out
}

/// A string without Huffman coding; all of ours are shorter than 127 bytes.
fn literal(block: &mut Vec<u8>, text: &str) {
    block.push(u8::try_from(text.len()).unwrap_or(0) & 0x7f);
    block.extend_from_slice(text.as_bytes());
}

/// Rewrites the stream numbers of a rendered [`call`].
fn renumber(call: &mut [u8], stream: u32) {
    let mut at = 0;
    while at + 9 <= call.len() {
        call[at + 5..at + 9].copy_from_slice(&stream.to_be_bytes());
        at += 9 + u32::from_be_bytes([0, call[at], call[at + 1], call[at + 2]]) as usize;
    }
}

/// What one read of a connection brought.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Data frames with something in them.
    pub(crate) messages: usize,
    /// A stream ended.
    pub(crate) ended: bool,
}

/// Reads frames and answers what has to be answered.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pending: Vec<u8>,
}

impl Frames {
    /// Takes bytes and says what the complete frames in them were.
    ///
    /// # Errors
    /// A stream was reset, the connection is being closed, or a frame is too long.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> anyhow::Result<Heard> {
        self.pending.extend_from_slice(bytes);
        let mut heard = Heard::default();
        let mut at = 0;
        while let Some(head) = self.pending.get(at..at + 9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            ensure!(length <= FRAME_LIMIT, "a frame is too long");
            let Some(payload) = self.pending.get(at + 9..at + 9 + length) else { break };
            at += 9 + length;
            match kind {
                DATA => heard.messages += usize::from(length > 0),
                SETTINGS if flags & ACK == 0 => frame(out, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => frame(out, PING, ACK, 0, payload),
                RST_STREAM => bail!("the peer reset a stream"),
                GOAWAY => bail!("the peer closes: {}", String::from_utf8_lossy(payload)),
                _ => {}
            }
            heard.ended |= matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        }
        self.pending.drain(..at);
        Ok(heard)
    }
}

/// Calls of a script, one after the other on one connection.
#[derive(Debug)]
pub(crate) struct Calls {
    script: Script,
    frames: Frames,
    stream: u32,
    messages: usize,
}

impl Calls {
    /// A conversation that follows `script`, whose requests are made by [`call`].
    pub(crate) fn new(script: Script) -> Self {
        Self { script, frames: Frames::default(), stream: 1, messages: 0 }
    }
}

impl Dialogue for Calls {
    fn open(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&preface());
    }

    fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(request) = self.script.step() else { return false };
        let start = out.len();
        out.extend_from_slice(request);
        renumber(&mut out[start..], self.stream);
        self.stream += 2;
        self.messages = 0;
        true
    }

    fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> anyhow::Result<Option<bool>> {
        let heard = self.frames.feed(bytes, out)?;
        self.messages += heard.messages;
        Ok(heard.ended.then_some(self.messages > 0))
    }

    fn excuse(&self) -> String {
        "a call without a message".to_owned()
    }
}

/// A protobuf field of bytes: `number` from 1 to 15.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push((length & 0x7f) as u8);
    out.extend_from_slice(bytes);
}

/// `etcdserverpb.PutRequest`.
fn put_message(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    field(&mut message, 1, key);
    field(&mut message, 2, value);
    message
}

/// etcd: sets a key.
pub(crate) fn put(key: &[u8], value: &[u8]) -> Vec<u8> {
    call("/etcdserverpb.KV/Put", &put_message(key, value), false)
}

/// etcd: reads a key, from this server's own state if `serializable`, else linearizable.
pub(crate) fn range(key: &[u8], serializable: bool) -> Vec<u8> {
    let mut message = Vec::new();
    field(&mut message, 1, key);
    if serializable {
        message.extend_from_slice(&[7 << 3, 1]);
    }
    call("/etcdserverpb.KV/Range", &message, false)
}

/// etcd: sets some keys in one transaction; at most 16 kB in all.
pub(crate) fn put_many<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut message = Vec::new();
    for (key, value) in pairs {
        let mut operation = Vec::new();
        field(&mut operation, 2, &put_message(key, value));
        field(&mut message, 2, &operation);
    }
    call("/etcdserverpb.KV/Txn", &message, false)
}

/// etcd: watches a key for as long as the connection lasts.
pub(crate) fn watch(key: &[u8]) -> Vec<u8> {
    let (mut create, mut message) = (Vec::new(), Vec::new());
    field(&mut create, 1, key);
    field(&mut message, 1, &create);
    call("/etcdserverpb.Watch/Watch", &message, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_the_end_of_its_stream_however_it_is_cut() {
        let mut answer = Vec::new();
        frame(&mut answer, SETTINGS, 0, 0, &[]);
        frame(&mut answer, HEADERS, END_HEADERS, 1, &[0x88]);
        frame(&mut answer, DATA, 0, 1, &[0, 0, 0, 0, 0]);
        frame(&mut answer, PING, 0, 0, &[7; 8]);
        frame(&mut answer, HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]);
        for cut in 0..answer.len() {
            let mut calls = Calls::new(Script::once(vec![range(b"k", true)]));
            let mut out = Vec::new();
            assert!(calls.ask(&mut out) && !calls.ask(&mut Vec::new()));
            out.clear();
            assert_eq!(calls.hear(&answer[..cut], &mut out).unwrap(), None);
            assert_eq!(calls.hear(&answer[cut..], &mut out).unwrap(), Some(true));
            assert_eq!(out.len(), 9 + 9 + 8, "settings and ping are acknowledged");
        }
    }

    #[test]
    fn a_call_without_data_is_a_failure_and_a_reset_an_error() {
        let mut calls = Calls::new(Script::once(vec![put(b"k", b"v")]));
        let mut bytes = Vec::new();
        frame(&mut bytes, HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]);
        assert_eq!(calls.hear(&bytes, &mut Vec::new()).unwrap(), Some(false));
        bytes.clear();
        frame(&mut bytes, RST_STREAM, 0, 1, &[0; 4]);
        assert!(calls.hear(&bytes, &mut Vec::new()).is_err());
    }

    #[test]
    fn each_call_gets_a_stream_of_its_own() {
        let mut calls = Calls::new(Script::forever(vec![put(b"key", &[b'v'; 300])].into(), 0));
        let (mut first, mut second) = (Vec::new(), Vec::new());
        calls.ask(&mut first);
        calls.ask(&mut second);
        assert_eq!(first.len(), second.len());
        assert_eq!(&first[5..9], &[0, 0, 0, 1]);
        assert_eq!(&second[5..9], &[0, 0, 0, 3]);
        let data = 9 + usize::from(second[2]);
        assert_eq!(&second[data + 5..data + 9], &[0, 0, 0, 3]);
    }
}
