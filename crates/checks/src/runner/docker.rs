//! Docker checks: a program inside a container, through Docker's HTTP API
//! (`POST /containers/<id>/exec`, `POST /exec/<id>/start`, `GET /exec/<id>/json`).
//!
//! They have no timeout, as in Consul: a program that never ends keeps its
//! check in its last status.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::net::{TcpStream, UnixStream};
use types::check::{CheckDefinition, Status};

use super::body::{CheckRequest, Stream, handshake, transport_error};
use super::{Settings, alongside, dial};
use crate::status::output::RingBuffer;
use crate::status::{Outcome, output};

/// A JSON answer of Docker has at most this many bytes.
const ANSWER_MAX: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Docker {
    container: String,
    command: Vec<String>,
    /// `unix:///path` or `tcp://host:port`.
    daemon: String,
    output_limit: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    #[serde(default)]
    exit_code: Option<i64>,
}

impl Docker {
    pub(super) fn new(definition: &CheckDefinition, settings: &Settings) -> Self {
        let command = match definition.script_args.as_slice() {
            [] if definition.shell.is_empty() => vec![settings.shell.clone()],
            [] => vec![definition.shell.clone()],
            args => args.to_vec(),
        };
        Self {
            container: definition.docker_container_id.clone(),
            command,
            daemon: settings.docker_host.clone(),
            output_limit: output::limit(definition.output_max_size, settings.output_max_size),
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        self.execute().await.unwrap_or_else(Outcome::critical)
    }

    async fn execute(&self) -> Result<Outcome, String> {
        let id = self.create().await?;
        let captured = self.start(&id).await.map_err(|error| {
            format!("start exec failed for container {}: {error}", self.container)
        })?;
        let code = self.exit_code(&id).await.map_err(|error| {
            format!("inspect exec failed for container {}: {error}", self.container)
        })?;
        let status = match code {
            0 => Status::Passing,
            1 => Status::Warning,
            _ => Status::Critical,
        };
        Ok(Outcome::new(status, captured.marked_text()))
    }

    async fn create(&self) -> Result<String, String> {
        let container = &self.container;
        let failed = |error: &str| format!("create exec failed for container {container}: {error}");
        let body = json!({
            "AttachStdin": false,
            "AttachStdout": true,
            "AttachStderr": true,
            "Tty": false,
            "Cmd": self.command,
        });
        let path = format!("/containers/{}/exec", path_segment(container));
        let answer = self.call(Method::POST, &path, body.to_string(), async |response| {
            let status = response.status();
            Ok((status, json_bytes(response).await?))
        });
        let (status, bytes) = answer.await.map_err(|error| failed(&error))?;
        match status {
            StatusCode::CREATED => {
                let created: Created =
                    serde_json::from_slice(&bytes).map_err(|error| failed(&error.to_string()))?;
                Ok(created.id)
            }
            StatusCode::NOT_FOUND => {
                Err(format!("create exec failed for unknown container {container}"))
            }
            StatusCode::CONFLICT => {
                Err(format!("create exec failed since container {container} is paused or stopped"))
            }
            other => Err(failed(&status_text(other))),
        }
    }

    async fn start(&self, id: &str) -> Result<RingBuffer, String> {
        let path = format!("/exec/{}/start", path_segment(id));
        let body = json!({"Detach": false, "Tty": false}).to_string();
        self.call(Method::POST, &path, body, async |response| {
            if !response.status().is_success() {
                return Err(status_text(response.status()));
            }
            let mut frames = Frames::new(self.output_limit);
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| transport_error(&error, ""))?;
                if let Some(data) = frame.data_ref() {
                    frames.push(data);
                }
            }
            Ok(frames.captured)
        })
        .await
    }

    async fn exit_code(&self, id: &str) -> Result<i64, String> {
        let path = format!("/exec/{}/json", path_segment(id));
        self.call(Method::GET, &path, String::new(), async |response| {
            if !response.status().is_success() {
                return Err(status_text(response.status()));
            }
            let bytes = json_bytes(response).await?;
            let inspected: Inspected =
                serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            inspected.exit_code.ok_or_else(|| "the program is still running".to_owned())
        })
        .await
    }

    /// One request on a connection of its own.
    async fn call<T>(
        &self,
        method: Method,
        path: &str,
        body: String,
        read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, String>,
    ) -> Result<T, String> {
        let stream = self.connect().await?;
        let failed = |error: hyper::Error| transport_error(&error, "");
        let (mut sender, connection) = handshake(stream).await.map_err(failed)?;
        let request: CheckRequest = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "docker")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        alongside(connection, async {
            read(sender.send_request(request).await.map_err(failed)?).await
        })
        .await
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        if let Some(path) = self.daemon.strip_prefix("unix://") {
            let stream = UnixStream::connect(path).await.map_err(|error| {
                format!("dial unix {path}: connect: {}", dial::errno_text(&error))
            })?;
            return Ok(Box::new(stream));
        }
        let schemes = ["tcp://", "http://"];
        let Some(address) = schemes.iter().find_map(|scheme| self.daemon.strip_prefix(scheme))
        else {
            return Err(format!("unsupported DOCKER_HOST \"{}\"", self.daemon));
        };
        let address = address.trim_end_matches('/');
        let stream = TcpStream::connect(address).await.map_err(|error| {
            format!("dial tcp {address}: connect: {}", dial::errno_text(&error))
        })?;
        Ok(Box::new(stream))
    }
}

async fn json_bytes(response: Response<Incoming>) -> Result<Bytes, String> {
    let limited = Limited::new(response.into_body(), ANSWER_MAX);
    Ok(limited.collect().await.map_err(|error| error.to_string())?.to_bytes())
}

fn status_text(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default())
}

/// A container id or name as one segment of a path.
fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

/// Output of a container without a terminal: frames of `[stream, 0, 0, 0,
/// length (4 bytes, big endian)]` and that many bytes, cut anywhere.
struct Frames {
    captured: RingBuffer,
    header: BytesMut,
    left: usize,
}

impl Frames {
    fn new(limit: usize) -> Self {
        Self { captured: RingBuffer::new(limit), header: BytesMut::new(), left: 0 }
    }

    fn push(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.left == 0 {
                let count = data.len().min(8 - self.header.len());
                self.header.extend_from_slice(&data[..count]);
                data.advance(count);
                if self.header.len() < 8 {
                    return;
                }
                self.header.advance(4);
                self.left = self.header.get_u32() as usize;
            }
            let count = data.len().min(self.left);
            self.captured.push(&data[..count]);
            self.left -= count;
            data.advance(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_may_be_cut_anywhere(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..6),
            cut in 1usize..12,
        ) {
            let mut wire = Vec::new();
            for message in &messages {
                wire.extend([1, 0, 0, 0]);
                wire.extend((message.len() as u32).to_be_bytes());
                wire.extend(message);
            }
            let mut frames = Frames::new(4096);
            for chunk in wire.chunks(cut) {
                frames.push(chunk);
            }
            let all = messages.concat();
            prop_assert_eq!(frames.captured.text(), String::from_utf8_lossy(&all));
        }
    }
}
