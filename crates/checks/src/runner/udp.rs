//! UDP checks: an empty datagram is sent, any answer will do.
//!
//! A port that is open and silent gives no answer, and nothing ends the wait:
//! such a check stays in its first status, as in Consul.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::Instant;
use types::CheckId;
use types::check::CheckDefinition;

use super::dial;
use crate::status::{Outcome, definition};

#[derive(Debug)]
pub(super) struct Udp {
    address: String,
    timeout: Duration,
}

impl Udp {
    pub(super) fn new(definition: &CheckDefinition) -> Self {
        Self {
            address: definition.udp.clone(),
            timeout: definition::timeout(definition, definition::NETWORK_TIMEOUT),
        }
    }

    pub(super) async fn run(&self, check: &CheckId) -> Outcome {
        let socket = match dial::udp(&self.address, Instant::now() + self.timeout).await {
            Ok(socket) => socket,
            Err(error) => {
                let message = "Check socket connection failed";
                tracing::warn!(target: "agent", check = %check, error = %error, "{message}");
                return Outcome::critical(error.to_string());
            }
        };
        match ask(&socket).await {
            Ok(()) => Outcome::passing(format!("UDP connect {}: Success", self.address)),
            Err((verb, error)) => {
                let error = named(&socket, verb, &error);
                let message = "Check socket read failed";
                tracing::warn!(target: "agent", check = %check, error = %error, "{message}");
                Outcome::critical(error)
            }
        }
    }
}

async fn ask(socket: &UdpSocket) -> Result<(), (&'static str, io::Error)> {
    socket.send(&[]).await.map_err(|error| ("write", error))?;
    let mut byte = [0; 1];
    match socket.recv(&mut byte).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
        Err(error) => Err(("read", error)),
    }
}

fn named(socket: &UdpSocket, verb: &str, error: &io::Error) -> String {
    let text = |address: io::Result<SocketAddr>| {
        address.map_or_else(|_| String::new(), |address| address.to_string())
    };
    let (local, peer) = (text(socket.local_addr()), text(socket.peer_addr()));
    format!("{verb} udp {local}->{peer}: {verb}: {}", dial::errno_text(error))
}
