//! A connection to the agent's HTTP interface, kept alive between requests.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server that says nothing for this long hangs.
const TIMEOUT: Duration = Duration::from_secs(30);

/// No answer of the test is longer.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// A kept connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `X-Consul-Index`, or zero.
    pub(crate) index: u64,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body for people.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_patient(address, TIMEOUT)
    }

    /// A connection on which nobody waits longer than this for an answer.
    pub(crate) fn open_patient(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks and waits for the whole answer. After an error it is not known what the
    /// server did, and the connection is of no more use.
    pub(crate) fn ask(&mut self, method: &str, target: &str, body: &[u8]) -> io::Result<Answer> {
        let mut request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request)?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| malformed("status line", &first))?;
        let (mut index, mut length, mut is_chunked) = (0, 0, false);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed("header", &line))?;
            let number = || value.trim().parse().map_err(|_| malformed("number", &line));
            match name.to_ascii_lowercase().as_str() {
                "x-consul-index" => index = number()?,
                "content-length" => length = number()?,
                "transfer-encoding" => is_chunked = value.trim() == "chunked",
                _ => {}
            }
        }
        let body = if is_chunked { self.chunks()? } else { self.exactly(length)? };
        Ok(Answer { status, index, body })
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let bytes = u64::from_str_radix(&line, 16).map_err(|_| malformed("chunk", &line))?;
            body.extend(self.exactly(bytes)?);
            self.line()?;
            if bytes == 0 {
                return Ok(body);
            }
        }
    }

    fn exactly(&mut self, bytes: u64) -> io::Result<Vec<u8>> {
        if bytes > BODY_BYTES_MAX {
            return Err(malformed("length", &bytes.to_string()));
        }
        let mut body = Vec::new();
        (&mut self.stream).take(bytes).read_to_end(&mut body)?;
        if (body.len() as u64) < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(body)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        // A line that was cut off is none.
        let whole = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(whole.to_owned())
    }
}

fn malformed(what: &str, text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a {what}: {text:?}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answered(bytes: &'static [u8]) -> io::Result<Answer> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 16];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            // Until the client has gone, so that nothing is reset.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let mut connection = Connection::open(address).unwrap();
        let answer = connection.ask("GET", "/", b"");
        drop(connection);
        server.join().unwrap();
        answer
    }

    #[test]
    fn answers_of_both_framings_are_read() {
        let plain =
            answered(b"HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 2\r\n\r\nhi");
        let plain = plain.unwrap();
        assert_eq!((plain.status, plain.index, plain.text()), (200, 7, "hi".to_owned()));
        let chunked = b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        let chunked = answered(chunked).unwrap();
        assert_eq!((chunked.status, chunked.index, chunked.text()), (500, 0, "hi".to_owned()));
    }

    #[test]
    fn an_answer_that_was_cut_off_is_no_acknowledgement() {
        for bytes in [
            &b""[..],
            b"HTTP/1.1 200 O",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntru",
        ] {
            assert!(answered(bytes).is_err(), "{bytes:?}");
        }
    }
}
