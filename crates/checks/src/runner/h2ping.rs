//! H2PING checks: a ping frame of HTTP/2 and its acknowledgement.

use std::time::Duration;

use bytes::Bytes;
use h2::{Ping, client};
use tokio::time::{Instant, timeout, timeout_at};
use types::CheckId;
use types::check::CheckDefinition;

use super::body::Stream;
use super::tls::Peer;
use super::{Settings, alongside, dial};
use crate::status::{Outcome, definition};

/// How long the goodbye may take; the outcome is known by then.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct H2Ping {
    address: String,
    tls: Option<Peer>,
    timeout: Duration,
}

impl H2Ping {
    pub(super) fn new(definition: &CheckDefinition) -> Self {
        let use_tls = definition.h2ping_use_tls.unwrap_or(true);
        Self {
            address: definition.h2ping.clone(),
            tls: use_tls.then(|| Peer::new(definition, true)),
            timeout: definition::timeout(definition, definition::NETWORK_TIMEOUT),
        }
    }

    pub(super) async fn run(&self, check: &CheckId, settings: &Settings) -> Outcome {
        match self.ping(check, settings).await {
            Ok(()) => Outcome::passing("HTTP2 ping was successful"),
            Err(text) => Outcome::critical(text),
        }
    }

    async fn ping(&self, check: &CheckId, settings: &Settings) -> Result<(), String> {
        let deadline = Instant::now() + self.timeout;
        let stream = connect(&self.address, self.tls.as_ref(), settings, deadline)
            .await
            .map_err(|error| format!("Failed to dial to {}: {error}", self.address))?;
        let late = "context deadline exceeded";
        let handshake = timeout_at(deadline, client::Builder::new().handshake::<_, Bytes>(stream));
        let (sender, mut connection) = match handshake.await {
            Ok(Ok(started)) => started,
            Ok(Err(error)) => return Err(format!("Failed to create client connection {error}")),
            Err(_) => return Err(format!("Failed to create client connection {late}")),
        };
        let mut pings = connection.ping_pong().ok_or("HTTP2 ping failed: no ping")?;
        let mut connection = std::pin::pin!(connection);
        let ping = timeout_at(deadline, pings.ping(Ping::opaque()));
        let result = match alongside(connection.as_mut(), ping).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("HTTP2 ping failed: {}", error_text(&error))),
            Err(_) => Err(format!("HTTP2 ping failed: {late}")),
        };
        drop((sender, pings));
        // With nobody left to use it, the connection says goodbye and ends. A
        // failed ping has ended it already.
        if result.is_ok()
            && let Ok(Err(error)) = timeout(SHUTDOWN_TIMEOUT, connection).await
        {
            tracing::warn!(
                target: "agent",
                check = %check,
                error = %error_text(&error),
                "Shutdown of H2Ping check client connection gave an error"
            );
        }
        result
    }
}

/// A stream to `address`, with TLS when there is a peer to verify.
pub(super) async fn connect(
    address: &str,
    tls: Option<&Peer>,
    settings: &Settings,
    deadline: Instant,
) -> Result<Box<dyn Stream>, String> {
    let stream = dial::tcp(address, deadline).await.map_err(|error| error.to_string())?;
    let Some(peer) = tls else {
        return Ok(Box::new(stream));
    };
    let stream = settings.tls.load_full().connect(stream, address, peer, deadline).await;
    Ok(Box::new(stream.map_err(|error| error.to_string())?))
}

/// An HTTP/2 error, as Go says it where it can be known.
pub(super) fn error_text(error: &h2::Error) -> String {
    match error.get_io() {
        Some(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        Some(io) => dial::errno_text(io),
        None => format!("http2: {error}"),
    }
}
