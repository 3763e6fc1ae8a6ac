//! `/v1/agent/monitor`: the log as it is written (`reference/telemetry.md` section 3).

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use contract::{CallError, ErrorKind, Request, Response};
use http::Method;
use http_server::{LocalRoute, Reply};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::metrics::require_agent_read;
use super::{AuthorizerHook, handler, route};
use crate::logging::{Follower, Level, Logging};

/// Most clients at a time: each costs the whole process a formatted line for each line.
const CLIENTS_MAX: usize = 64;

/// Lines that are sent in one piece. Nothing waits for a piece to fill.
const PIECE_LINES_MAX: usize = 64;

/// Pieces on their way to a client; behind them, lines wait in the queue of the log,
/// where those that are too many are counted.
const PIECES_MAX: usize = 2;

#[derive(Clone)]
struct Monitor {
    logging: Logging,
    authorizer: AuthorizerHook,
    stop: watch::Receiver<bool>,
    /// One task for each client. They end with the agent, or with the last handler.
    clients: Arc<Mutex<JoinSet<()>>>,
}

/// The route. It needs `agent:read` on this node; its streams end with `stop`.
pub(crate) fn routes(
    logging: &Logging,
    authorizer: &AuthorizerHook,
    stop: &watch::Receiver<bool>,
) -> Vec<LocalRoute> {
    let monitor = Monitor {
        logging: logging.clone(),
        authorizer: authorizer.clone(),
        stop: stop.clone(),
        clients: Arc::default(),
    };
    let follow = handler(&monitor, |monitor, request| async move { monitor.follow(&request) });
    vec![route("/v1/agent/monitor", Method::GET, follow)]
}

impl Monitor {
    fn follow(&self, request: &Request) -> Result<Reply, CallError> {
        require_agent_read(&self.authorizer, request)?;
        let level = match request.params.text("loglevel") {
            "" => Level::Info,
            text => Level::parse(text)
                .ok_or_else(|| CallError::bad_request(format!("Unknown log level: {text}")))?,
        };
        let json = request.params.has("logjson");
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        while clients.try_join_next().is_some() {}
        if clients.len() >= CLIENTS_MAX {
            let text = "Too many clients monitor the log of this agent";
            return Err(CallError::new(ErrorKind::TooMany, text));
        }
        let (client, pieces) = mpsc::channel(PIECES_MAX);
        clients.spawn(hand_on(self.logging.follow(level, json), client, self.stop.clone()));
        let stream = Some(("text/plain; charset=utf-8", pieces));
        Ok(Reply { stream, ..Reply::from(Response::ok()) })
    }
}

/// Hands lines to a client until it goes or the agent stops.
async fn hand_on(
    mut follower: Follower,
    client: mpsc::Sender<Bytes>,
    mut stop: watch::Receiver<bool>,
) {
    tokio::select! {
        () = send_lines(&mut follower, &client) => {}
        () = client.closed() => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    let dropped = follower.dropped();
    drop(follower);
    if dropped > 0 {
        tracing::warn!(
            target: "agent",
            dropped_count = dropped,
            "Dropped logs during monitor request"
        );
    }
}

/// Sends what there is at once, so that a client is never more than a piece behind.
async fn send_lines(follower: &mut Follower, client: &mpsc::Sender<Bytes>) {
    let mut lines = Vec::with_capacity(PIECE_LINES_MAX);
    while follower.lines.recv_many(&mut lines, PIECE_LINES_MAX).await > 0 {
        let piece = match lines.len() {
            1 => lines.pop().unwrap_or_default(),
            _ => lines
                .drain(..)
                .fold(BytesMut::new(), |mut piece, line| {
                    piece.extend_from_slice(&line);
                    piece
                })
                .freeze(),
        };
        if client.send(piece).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use acl::Authorizer;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::metrics::tests::{call, everybody, request};
    use super::*;

    const PATH: &str = "/v1/agent/monitor";

    struct Fixture {
        routes: Vec<LocalRoute>,
        stop: watch::Sender<bool>,
        /// Were there one dispatcher alone, a line that another test's thread comes to first
        /// would be off for all threads: `tracing` asks only the dispatcher of that thread then.
        _second: tracing::Dispatch,
        _log: tracing::subscriber::DefaultGuard,
    }

    /// Routes over a log that this thread writes to, and that nobody else shows.
    fn fixture(may: Authorizer) -> Fixture {
        let logging = Logging::new(Level::Error, false, None, None);
        logging.begin();
        let (stop, stopped) = watch::channel(false);
        let routes = routes(&logging, &everybody(may), &stopped);
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let subscriber = tracing_subscriber::registry().with(logging.layer());
        Fixture { routes, stop, _second, _log: tracing::subscriber::set_default(subscriber) }
    }

    async fn stream(fixture: &Fixture, query: &[(&str, &str)]) -> mpsc::Receiver<Bytes> {
        let reply = call(&fixture.routes, request(PATH, query)).await.expect("it is allowed");
        let (content_type, stream) = reply.stream.expect("it is a stream");
        assert_eq!(content_type, "text/plain; charset=utf-8");
        stream
    }

    async fn text(stream: &mut mpsc::Receiver<Bytes>) -> String {
        let piece = stream.recv().await.expect("the stream is open");
        String::from_utf8(piece.to_vec()).expect("lines are text")
    }

    #[tokio::test]
    async fn lines_come_at_the_level_that_was_asked_for() {
        let fixture = fixture(Authorizer::allow_all());
        let mut by_default = stream(&fixture, &[]).await;
        let mut debug = stream(&fixture, &[("loglevel", "debug"), ("logjson", "")]).await;
        tracing::debug!(target: "agent.http", "One");
        tracing::info!(target: "agent", service = "web 1", "Two");
        let line = text(&mut by_default).await;
        assert!(line.ends_with("[INFO]  agent: Two: service=\"web 1\"\n"), "{line}");
        let lines = text(&mut debug).await;
        let modules: Vec<&str> = lines.lines().filter_map(|line| line.split('"').nth(11)).collect();
        assert_eq!(modules, ["agent.http", "agent"], "{lines}");
    }

    #[tokio::test]
    async fn an_unknown_level_is_refused() {
        let fixture = fixture(Authorizer::allow_all());
        let asked = request(PATH, &[("loglevel", "shout")]);
        let Err(error) = call(&fixture.routes, asked).await else { panic!("it is no level") };
        assert_eq!(
            (error.kind(), error.text()),
            (ErrorKind::BadRequest, "Unknown log level: shout")
        );
    }

    #[tokio::test]
    async fn a_token_must_be_allowed_to_read_the_agent() {
        let fixture = fixture(Authorizer::deny_all());
        let asked = request(PATH, &[("loglevel", "shout")]);
        let Err(error) = call(&fixture.routes, asked).await else { panic!("it may not") };
        assert!(error.text().contains("lacks permission 'agent:read' on \"a1\""));
    }

    #[tokio::test]
    async fn streams_end_when_the_agent_stops() {
        let fixture = fixture(Authorizer::allow_all());
        let mut lines = stream(&fixture, &[]).await;
        fixture.stop.send(true).expect("it listens");
        assert!(lines.recv().await.is_none());
    }

    #[tokio::test]
    async fn what_a_slow_client_missed_is_counted_in_the_log() {
        let fixture = fixture(Authorizer::allow_all());
        let slow = stream(&fixture, &[]).await;
        // Nothing else runs between these lines: 512 of them wait, the rest is lost.
        for number in 0..600 {
            tracing::info!(target: "agent", number, "Line");
        }
        let mut other = stream(&fixture, &[("loglevel", "warn")]).await;
        drop(slow);
        let line = text(&mut other).await;
        let words = "[WARN]  agent: Dropped logs during monitor request: dropped_count=88\n";
        assert!(line.ends_with(words), "{line}");
    }

    #[tokio::test]
    async fn clients_are_bounded_and_those_that_left_make_place() {
        let fixture = fixture(Authorizer::allow_all());
        let mut streams = Vec::new();
        for _ in 0..CLIENTS_MAX {
            streams.push(stream(&fixture, &[]).await);
        }
        let Err(error) = call(&fixture.routes, request(PATH, &[])).await else { panic!("full") };
        assert_eq!(error.kind(), ErrorKind::TooMany);
    }
}
