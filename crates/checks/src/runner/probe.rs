//! One question to the world: the kinds of polling checks.

use types::CheckId;
use types::check::CheckDefinition;

use super::docker::Docker;
use super::grpc::Grpc;
use super::h2ping::H2Ping;
use super::http::Http;
use super::script::Script;
use super::tcp::Tcp;
use super::udp::Udp;
use super::{Settings, StartError};
use crate::status::Outcome;

/// What one run found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Observation {
    pub(super) outcome: Outcome,
    /// Whether it is the status at once, without counting: a script that did
    /// not start or ran out of time.
    pub(super) bypasses_thresholds: bool,
}

impl Observation {
    pub(super) fn counted(outcome: Outcome) -> Self {
        Self { outcome, bypasses_thresholds: false }
    }

    pub(super) fn immediate(outcome: Outcome) -> Self {
        Self { outcome, bypasses_thresholds: true }
    }
}

/// The kinds of checks that are asked at intervals.
#[derive(Debug)]
pub(super) enum Probe {
    Http(Box<Http>),
    Tcp(Tcp),
    Udp(Udp),
    Grpc(Grpc),
    Docker(Docker),
    Script(Script),
    H2Ping(H2Ping),
}

impl Probe {
    /// The probe of a definition, `None` when it polls nothing. The order of
    /// the kinds is that of `reference/checks.md` section 1.
    pub(super) fn new(
        definition: &CheckDefinition,
        settings: &Settings,
    ) -> Result<Option<Self>, StartError> {
        let has_script = !definition.script_args.is_empty();
        Ok(Some(match definition {
            d if !d.http.is_empty() => Probe::Http(Box::new(Http::new(d, settings))),
            d if !d.tcp.is_empty() => Probe::Tcp(Tcp::new(d)),
            d if !d.udp.is_empty() => Probe::Udp(Udp::new(d)),
            d if !d.grpc.is_empty() => Probe::Grpc(Grpc::new(d)),
            d if !d.docker_container_id.is_empty() && has_script => {
                Probe::Docker(Docker::new(d, settings))
            }
            d if !d.os_service.is_empty() => return Err(StartError::NotImplemented),
            d if has_script => Probe::Script(Script::new(d, settings)),
            d if !d.h2ping.is_empty() => Probe::H2Ping(H2Ping::new(d)),
            _ => return Ok(None),
        }))
    }

    /// Asks once. It ends within the timeout of the check, except for Docker
    /// checks, which have none, and for a UDP port that stays silent.
    pub(super) async fn run(&self, check: &CheckId, settings: &Settings) -> Observation {
        Observation::counted(match self {
            Probe::Script(script) => return Box::pin(script.run(check)).await,
            Probe::Docker(docker) => Box::pin(docker.run()).await,
            Probe::Http(http) => Box::pin(http.run(check, settings)).await,
            Probe::Tcp(tcp) => Box::pin(tcp.run(check, settings)).await,
            Probe::Udp(udp) => Box::pin(udp.run(check)).await,
            Probe::Grpc(grpc) => Box::pin(grpc.run(settings)).await,
            Probe::H2Ping(h2ping) => Box::pin(h2ping.run(check, settings)).await,
        })
    }
}
