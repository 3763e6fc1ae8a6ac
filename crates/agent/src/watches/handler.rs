//! What runs when a watched state changes: a program or an HTTP request.

use std::convert::Infallible;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use checks::program::Program;
use checks::status::output::RingBuffer;
use client::watch::Change;
use client::{Client, Config, Request, TlsConfig};
use http::{HeaderMap, Method, Uri};
use tokio::io::AsyncWriteExt as _;
use types::GoDuration;

use crate::invocation::{Invocation, exit_error};

/// How much of a handler's output is logged, in bytes.
const OUTPUT_BYTES_MAX: usize = 4096;

/// One handler.
#[derive(Clone)]
pub(super) enum Handler {
    Script(ScriptHandler),
    Http(HttpHandler),
}

impl Handler {
    /// Hands the state over and waits until the handler is done. Gives whether it took the
    /// state; what went wrong is in the log.
    pub(super) async fn run(&self, change: Change) -> bool {
        match self {
            Handler::Script(handler) => handler.run(change).await,
            Handler::Http(handler) => handler.run(change).await,
        }
    }
}

/// A program that gets the state on its standard input.
///
/// It may take as long as it likes: its watch waits for it, and nothing else does.
#[derive(Clone)]
pub(super) struct ScriptHandler {
    /// The handler as the log shows it.
    pub(super) shown: String,
    pub(super) invocation: Invocation,
}

impl ScriptHandler {
    async fn run(&self, change: Change) -> bool {
        let mut captured = RingBuffer::new(OUTPUT_BYTES_MAX);
        let outcome = self.feed(change, &mut captured).await;
        let watch_handler = self.shown.as_str();
        if let Err(error) = &outcome {
            tracing::error!(target: "agent", watch_handler, error, "Failed to run watch handler");
        }
        let output = captured.marked_text();
        tracing::debug!(target: "agent", watch_handler, output, "watch handler output");
        outcome.is_ok()
    }

    async fn feed(&self, change: Change, captured: &mut RingBuffer) -> Result<(), String> {
        let mut command = self.invocation.command();
        command.env("CONSUL_INDEX", change.index.0.to_string()).stdin(Stdio::piped());
        let mut program =
            Program::start_command(command).map_err(|error| self.invocation.start_error(&error))?;
        let mut state = change.json;
        state.push(b'\n');
        let input = program.take_input();
        let written = async {
            if let Some(mut input) = input {
                // A program that does not read its input has the right to.
                let _ = input.write_all(&state).await;
            }
            std::future::pending::<Infallible>().await
        };
        let ended = tokio::select! {
            never = written => match never {},
            ended = attend(&mut program, captured) => ended,
        };
        let status = ended.map_err(|error| client::system_text(&error))?;
        exit_error(status).map_or(Ok(()), Err)
    }
}

async fn attend(program: &mut Program, captured: &mut RingBuffer) -> io::Result<ExitStatus> {
    let mut chunk = [0; 4096];
    loop {
        match program.read(&mut chunk).await? {
            0 => return program.wait().await,
            count => captured.push(&chunk[..count]),
        }
    }
}

/// A request with the state as its body. Redirects are not followed.
#[derive(Clone)]
pub(super) struct HttpHandler {
    url: String,
    request: Request,
    client: Client,
    timeout: Duration,
}

impl HttpHandler {
    pub(super) fn new(
        url: &str,
        uri: &Uri,
        method: Method,
        headers: HeaderMap,
        timeout: Duration,
        skip_verify: bool,
    ) -> Result<Self, String> {
        let scheme = uri.scheme_str().unwrap_or_default();
        let Some(authority) = uri.authority().filter(|_| matches!(scheme, "http" | "https")) else {
            return Err(format!("unsupported protocol scheme {scheme:?} in {url:?}"));
        };
        let config = Config {
            address: format!("{scheme}://{authority}"),
            tls: TlsConfig { skip_verify, ..TlsConfig::default() },
            connect_timeout: timeout,
            ..Config::default()
        };
        let client = Client::new(config).map_err(|error| error.to_string())?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::escaped(method, target);
        if !headers.contains_key("content-type") {
            request = request.header("Content-Type", "application/json");
        }
        for (name, value) in &headers {
            // Both were made from text.
            request = request.header(name.as_str(), value.to_str().unwrap_or_default());
        }
        Ok(Self { url: url.to_owned(), request, client, timeout })
    }

    async fn run(&self, change: Change) -> bool {
        let mut body = change.json;
        body.push(b'\n');
        let request = self.request.clone();
        let request = request.header("X-Consul-Index", change.index.0.to_string()).body(body);
        let watch = self.url.as_str();
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(Ok((status, output))) if status.is_success() => {
                tracing::debug!(target: "agent", watch, output, "http watch handler succeeded with output");
                true
            }
            Ok(Ok((status, output))) => {
                let status = status.to_string();
                tracing::error!(target: "agent", watch, status, output, "http watch handler failed with output");
                false
            }
            Ok(Err(error)) => {
                tracing::error!(target: "agent", watch, error = %error, "Failed to invoke http watch handler");
                false
            }
            Err(_) => {
                let timeout = GoDuration::from(self.timeout);
                tracing::error!(target: "agent", watch, error = "context deadline exceeded", timeout = %timeout, "Failed to invoke http watch handler");
                false
            }
        }
    }

    async fn exchange(
        &self,
        request: Request,
    ) -> Result<(http::StatusCode, String), client::Error> {
        let mut response = self.client.send(request).await?;
        let mut output = RingBuffer::new(OUTPUT_BYTES_MAX);
        while let Some(piece) = response.chunk().await? {
            output.push(&piece);
        }
        Ok((response.status(), output.marked_text()))
    }
}
