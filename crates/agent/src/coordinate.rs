//! How the catalog learns where this agent is in the space of round trips, which gossip
//! measures.

use std::time::Duration;

use contract::ErrorKind;
use domains::coordinate::CoordinateUpdate;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::process::AgentHandle;

/// `sync_coordinate_interval_min`, which cannot be configured.
const INTERVAL_MIN: Duration = Duration::from_secs(15);

/// `sync_coordinate_rate_target`: how many updates the servers get in a second from all
/// agents together.
const UPDATES_PER_SECOND: f64 = 64.0;

/// Tells the servers where this agent is, again and again, until `stop`.
pub(crate) async fn tell(agent: AgentHandle, mut stop: watch::Receiver<bool>) {
    let members = || agent.lan_members().len();
    let mut next = Instant::now() + first_wait(members()).mul_f64(fastrand::f64());
    loop {
        tokio::select! {
            () = sleep_until(next) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        tell_once(&agent).await;
        next = Instant::now() + interval(members()).mul_f64(1.0 + fastrand::f64());
    }
}

async fn tell_once(agent: &AgentHandle) {
    let config = agent.config();
    let tokens = &config.acl.tokens;
    let token = if tokens.agent.is_empty() { &tokens.default } else { &tokens.agent };
    let update = CoordinateUpdate {
        datacenter: config.identity.datacenter.clone(),
        node: config.identity.node_name.clone(),
        coord: Some(agent.pools().coordinate().await),
        ..CoordinateUpdate::default()
    };
    match agent.delegate().write_typed(update, token).await {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::Denied => {
            tracing::warn!(target: "agent", error = %error, "Coordinate update blocked by ACLs");
        }
        Err(error) => {
            tracing::error!(target: "agent", error = %error, "Coordinate update error");
        }
    }
}

/// The longest wait before the first time: as long as all agents need that start at once.
fn first_wait(members: usize) -> Duration {
    Duration::from_secs_f64(members as f64 / UPDATES_PER_SECOND)
}

/// The shortest wait before the next time.
fn interval(members: usize) -> Duration {
    first_wait(members).max(INTERVAL_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_agents_there_are_the_less_often_each_speaks() {
        let seconds =
            |members| (first_wait(members).as_secs_f64(), interval(members).as_secs_f64());
        assert_eq!(seconds(1), (1.0 / 64.0, 15.0));
        assert_eq!(seconds(960), (15.0, 15.0));
        assert_eq!(seconds(6400), (100.0, 100.0));
    }
}
