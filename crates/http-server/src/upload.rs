//! Request bodies that are taken as they come.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

/// How long a client may be silent within a body.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The body of a request, of any size. Whoever takes it keeps no more than a piece.
pub struct Upload(pub(crate) Incoming);

impl Upload {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The client went, stayed silent for a minute, or broke the rules of HTTP.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let frame = timeout(SILENCE_MAX, self.0.frame()).await;
            let frame = frame.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
            let Some(frame) = frame else { return Ok(None) };
            // Trailers mean nothing here.
            if let Ok(bytes) = frame.map_err(io::Error::other)?.into_data() {
                return Ok(Some(bytes));
            }
        }
    }
}
