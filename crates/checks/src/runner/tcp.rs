//! TCP checks: a connection, and a TLS handshake if asked, is all it takes.

use std::time::Duration;

use tokio::time::Instant;
use types::CheckId;
use types::check::CheckDefinition;

use super::tls::Peer;
use super::{Settings, dial};
use crate::status::{Outcome, definition};

#[derive(Debug)]
pub(super) struct Tcp {
    address: String,
    tls: Option<Peer>,
    timeout: Duration,
}

impl Tcp {
    pub(super) fn new(definition: &CheckDefinition) -> Self {
        let peer = || Peer::new(definition, false);
        Self {
            address: definition.tcp.clone(),
            tls: definition.tcp_use_tls.then(peer),
            timeout: definition::timeout(definition, definition::NETWORK_TIMEOUT),
        }
    }

    pub(super) async fn run(&self, check: &CheckId, settings: &Settings) -> Outcome {
        let kind = if self.tls.is_some() { "TCP+TLS" } else { "TCP" };
        match self.connect(settings).await {
            Ok(()) => Outcome::passing(format!("{kind} connect {}: Success", self.address)),
            Err(error) => {
                tracing::warn!(
                    target: "agent",
                    check = %check,
                    error = %error,
                    "Check {kind} connection failed"
                );
                Outcome::critical(error)
            }
        }
    }

    async fn connect(&self, settings: &Settings) -> Result<(), String> {
        let deadline = Instant::now() + self.timeout;
        let stream = dial::tcp(&self.address, deadline).await.map_err(|error| error.to_string())?;
        if let Some(peer) = &self.tls {
            let tls = settings.tls.load_full();
            let connect = tls.connect(stream, &self.address, peer, deadline);
            connect.await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
