//! What a pool tells of itself: lines under Consul's names, and metrics.

use std::time::{Duration, Instant};

use gossip::memberlist::Counts;
use gossip::serf::{Event, Level, Measure, Report};
use telemetry::names;
use types::member::{Member, MemberStatus};

use super::options::PoolKind;

/// Complaints in a second; more are only counted. Anybody can make this agent complain.
const COMPLAINTS_MAX: u32 = 100;

/// What others did wrong, said no more often than somebody can read.
#[derive(Debug)]
pub(super) struct Complaints {
    second: Instant,
    said: u32,
    unsaid: u64,
}

impl Complaints {
    pub(super) fn new() -> Self {
        Self { second: Instant::now(), said: 0, unsaid: 0 }
    }

    /// Says it, unless there were too many in this second.
    pub(super) fn say(&mut self, telemetry: Telemetry, say: impl FnOnce(&Telemetry)) {
        if self.second.elapsed() >= Duration::from_secs(1) {
            if self.unsaid > 0 {
                let text = format!("{} more lines were left out", self.unsaid);
                telemetry.log_network(Level::Warn, &text);
            }
            *self = Self::new();
        }
        if self.said == COMPLAINTS_MAX {
            self.unsaid += 1;
        } else {
            self.said += 1;
            say(&telemetry);
        }
    }
}

/// Says what happens in one pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telemetry {
    kind: PoolKind,
    server: bool,
}

/// The name of a logger must be known when the program is built.
macro_rules! line {
    ($level:expr, $text:expr, $target:literal) => {
        match $level {
            Level::Debug => tracing::debug!(target: $target, "{}", $text),
            Level::Info => tracing::info!(target: $target, "{}", $text),
            Level::Warn => tracing::warn!(target: $target, "{}", $text),
            Level::Error => tracing::error!(target: $target, "{}", $text),
        }
    };
}

impl Telemetry {
    pub(super) fn new(kind: PoolKind, server: bool) -> Self {
        Self { kind, server }
    }

    /// A line of serf's.
    pub(super) fn log(&self, level: Level, text: &str) {
        match (self.kind, self.server) {
            (PoolKind::Lan, true) => {
                line!(level, format_args!("serf: {text}"), "agent.server.serf.lan")
            }
            (PoolKind::Lan, false) => {
                line!(level, format_args!("serf: {text}"), "agent.client.serf.lan")
            }
            (PoolKind::Wan, _) => {
                line!(level, format_args!("serf: {text}"), "agent.server.serf.wan")
            }
        }
    }

    /// A line of memberlist's.
    pub(super) fn log_network(&self, level: Level, text: &str) {
        let text = format_args!("memberlist: {text}");
        match (self.kind, self.server) {
            (PoolKind::Lan, true) => line!(level, text, "agent.server.memberlist.lan"),
            (PoolKind::Lan, false) => line!(level, text, "agent.client.memberlist.lan"),
            (PoolKind::Wan, _) => line!(level, text, "agent.server.memberlist.wan"),
        }
    }

    pub(super) fn report(&self, report: &Report) {
        match report {
            Report::Memberlist(warning) => self.log_network(report.level(), &warning.to_string()),
            _ => self.log(report.level(), &report.to_string()),
        }
    }

    fn network(&self) -> &'static str {
        match self.kind {
            PoolKind::Lan => "lan",
            PoolKind::Wan => "wan",
        }
    }

    pub(super) fn measure(&self, measure: &Measure) {
        let network = || [self.network().into()];
        match measure {
            Measure::Event(name) => {
                names::SERF_EVENTS.increment(network(), 1);
                names::SERF_EVENTS_NAMED.increment_at(name, network(), 1);
            }
            Measure::Query(name) => {
                names::SERF_QUERIES.increment(network(), 1);
                names::SERF_QUERIES_NAMED.increment_at(name, network(), 1);
            }
            Measure::Ack { duplicate: false } => names::SERF_QUERY_ACKS.increment(network(), 1),
            Measure::Ack { duplicate: true } => {
                names::SERF_QUERY_DUPLICATE_ACKS.increment(network(), 1);
            }
            Measure::Response { duplicate: false } => {
                names::SERF_QUERY_RESPONSES.increment(network(), 1);
            }
            Measure::Response { duplicate: true } => {
                names::SERF_QUERY_DUPLICATE_RESPONSES.increment(network(), 1);
            }
            Measure::Flap => names::SERF_MEMBER_FLAP.increment(network(), 1),
            Measure::CoordinateRejected => names::SERF_COORDINATE_REJECTED.increment(network(), 1),
            Measure::ZeroRoundTrip => names::SERF_COORDINATE_ZERO_RTT.increment(network(), 1),
            Measure::Received(bytes) => names::SERF_MSGS_RECEIVED.record(network(), *bytes as f64),
            Measure::Sent(bytes) => names::SERF_MSGS_SENT.record(network(), *bytes as f64),
            Measure::CoordinateAdjusted(millis) => {
                names::SERF_COORDINATE_ADJUSTMENT_MS.record(network(), *millis);
            }
            Measure::QueueDepth(queue, depth) => {
                let metric = match *queue {
                    "Event" => &names::SERF_QUEUE_EVENT,
                    "Query" => &names::SERF_QUEUE_QUERY,
                    _ => &names::SERF_QUEUE_INTENT,
                };
                metric.record(network(), *depth as f64);
            }
        }
    }

    pub(super) fn event(&self, event: &Event) {
        let network = || [self.network().into()];
        match event {
            Event::MemberJoin(_) => names::SERF_MEMBER_JOIN.increment(network(), 1),
            Event::MemberUpdate(_) => names::SERF_MEMBER_UPDATE.increment(network(), 1),
            Event::MemberFailed(_) => names::SERF_MEMBER_FAILED.increment(network(), 1),
            Event::MemberLeave(_) => names::SERF_MEMBER_LEFT.increment(network(), 1),
            Event::MemberReap(_) | Event::User(_) | Event::Query(_) => {}
        }
    }

    /// Members by state, in memberlist's words.
    pub(super) fn members(&self, members: &[Member]) {
        let states = [
            ("alive", [MemberStatus::ALIVE, MemberStatus::LEAVING]),
            ("dead", [MemberStatus::FAILED, MemberStatus::FAILED]),
            ("left", [MemberStatus::LEFT, MemberStatus::LEFT]),
        ];
        for (state, of) in states {
            let count = members.iter().filter(|member| of.contains(&member.status)).count();
            let labels = [self.network().into(), state.into()];
            names::MEMBERLIST_NODE_INSTANCES.set(labels, count as f64);
        }
    }

    /// Tells what was counted since `before`.
    pub(super) fn counts(&self, before: &Counts, now: &Counts) {
        let network = || [self.network().into()];
        names::MEMBERLIST_MSG_ALIVE.increment(network(), now.alive - before.alive);
        names::MEMBERLIST_MSG_SUSPECT.increment(network(), now.suspect - before.suspect);
        names::MEMBERLIST_MSG_DEAD.increment(network(), now.dead - before.dead);
        let probes = now.degraded_probes - before.degraded_probes;
        names::MEMBERLIST_DEGRADED_PROBE.increment(network(), probes);
        let timeouts = now.degraded_timeouts - before.degraded_timeouts;
        names::MEMBERLIST_DEGRADED_TIMEOUT.increment(network(), timeouts);
    }

    pub(super) fn health(&self, score: u32) {
        names::MEMBERLIST_HEALTH_SCORE.set([self.network().into()], f64::from(score));
    }

    pub(super) fn snapshot_written(&self, anew: bool, took: Duration) {
        let metric = match anew {
            true => &names::SERF_SNAPSHOT_COMPACT,
            false => &names::SERF_SNAPSHOT_APPEND_LINE,
        };
        metric.record([self.network().into()], took);
    }

    pub(super) fn packet_sent(&self, bytes: usize) {
        names::MEMBERLIST_UDP_SENT.increment([self.network().into()], bytes as u64);
    }

    pub(super) fn packet_received(&self, bytes: usize) {
        names::MEMBERLIST_UDP_RECEIVED.increment([self.network().into()], bytes as u64);
    }

    pub(super) fn stream_accepted(&self) {
        names::MEMBERLIST_TCP_ACCEPT.increment([self.network().into()], 1);
    }

    pub(super) fn stream_dialled(&self) {
        names::MEMBERLIST_TCP_CONNECT.increment([self.network().into()], 1);
    }

    pub(super) fn stream_sent(&self, bytes: usize) {
        names::MEMBERLIST_TCP_SENT.increment([self.network().into()], bytes as u64);
    }

    pub(super) fn exchanged(&self, took: Duration) {
        names::MEMBERLIST_PUSH_PULL_NODE.record([self.network().into()], took);
    }
}
