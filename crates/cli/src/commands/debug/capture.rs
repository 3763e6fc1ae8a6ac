//! Gathers. What cannot be had is a warning, and the rest goes on.

use std::io::Write as _;
use std::time::Duration;

use client::{Client, MonitorQuery, QueryOptions, Request, Response};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::timeout;

use super::GRACE;
use super::bundle::Bundle;
use super::plan::{Plan, Target};
use crate::commands::operator::list_peers;
use crate::table::table;

/// Why something is missing in the bundle.
pub(super) type Warning = String;

type Captured = Result<(), Warning>;

/// Gathers into a bundle.
pub(super) struct Capture<'c> {
    pub(super) client: &'c Client,
    pub(super) plan: &'c Plan,
    pub(super) bundle: &'c Bundle,
}

impl Capture<'_> {
    /// What does not change.
    pub(super) async fn once(&self, about: &Value) -> Vec<Warning> {
        let mut done: Vec<Captured> = Vec::new();
        if self.plan.has(Target::Host) {
            done.push(self.json(Request::get("/v1/agent/host"), "host.json").await);
        }
        if self.plan.has(Target::Agent) {
            done.push(self.bundle.write_json("agent.json", about).map_err(named("agent.json")));
        }
        if self.plan.has(Target::Members) {
            let members = Request::get("/v1/agent/members").query("wan", "1");
            done.push(self.json(members, "members.json").await);
            done.push(self.peers().await);
        }
        done.into_iter().filter_map(Result::err).collect()
    }

    /// What goes on all the time.
    pub(super) async fn throughout(&self) -> Vec<Warning> {
        let duration = self.plan.duration.to_std();
        let (metrics, logs, profile, trace) = tokio::join!(
            self.if_wanted(Target::Metrics, self.metrics(duration)),
            self.if_wanted(Target::Logs, self.logs(duration)),
            self.if_wanted(Target::Pprof, self.profile("profile", "profile.prof")),
            self.if_wanted(Target::Pprof, self.profile("trace", "trace.out")),
        );
        [metrics, logs, profile, trace].into_iter().filter_map(Result::err).collect()
    }

    /// What is looked at now and then.
    pub(super) async fn at_interval(&self, now: &Timestamp) -> Vec<Warning> {
        if !self.plan.has(Target::Pprof) {
            return Vec::new();
        }
        let folder = now.as_second().to_string();
        if let Err(error) = self.bundle.make_folder(&folder) {
            return vec![named(&folder)(error)];
        }
        let mut warnings = Vec::new();
        for name in ["heap", "goroutine"] {
            let file = format!("{folder}/{name}.prof");
            let got = self.raw(Request::get(format!("/debug/pprof/{name}")), &file, GRACE).await;
            warnings.extend(got.err());
        }
        warnings
    }

    async fn if_wanted(&self, target: Target, work: impl Future<Output = Captured>) -> Captured {
        if self.plan.has(target) { work.await } else { Ok(()) }
    }

    async fn json(&self, request: Request, file: &str) -> Captured {
        let response = self.client.call(request).await.map_err(named(file))?;
        let value: Value = response.json().await.map_err(named(file))?;
        self.bundle.write_json(file, &value).map_err(named(file))
    }

    async fn peers(&self) -> Captured {
        let file = "listpeers.json";
        let peers = self.client.operator().raft_configuration(&QueryOptions::default()).await;
        let text = table(&list_peers::rows(&peers.map_err(named(file))?));
        self.bundle.write(file, text.as_bytes()).map_err(named(file))
    }

    /// The stream of metrics; of agents that have none, their metrics again and again.
    async fn metrics(&self, duration: Duration) -> Captured {
        let file = "metrics.json";
        let stream = self.client.send(Request::get("/v1/agent/metrics/stream")).await;
        let stream = stream.map_err(named(file))?;
        if stream.status().as_u16() != 404 {
            let stream = stream.success().await.map_err(named(file))?;
            return self.follow(stream, file, duration).await;
        }
        let mut ticks = tokio::time::interval(self.plan.interval.to_std());
        let polling = async {
            loop {
                ticks.tick().await;
                self.raw(Request::get("/v1/agent/metrics"), file, GRACE).await?;
            }
        };
        timeout(duration, polling).await.unwrap_or(Ok(()))
    }

    async fn logs(&self, duration: Duration) -> Captured {
        let file = "consul.log";
        let query = MonitorQuery { log_level: "TRACE".to_owned(), json: false };
        let lines = self.client.agent_monitor(&query).await.map_err(named(file))?;
        self.follow(lines, file, duration).await
    }

    async fn profile(&self, name: &str, file: &str) -> Captured {
        let duration = self.plan.duration.to_std();
        let seconds = duration.as_secs().to_string();
        let request = Request::get(format!("/debug/pprof/{name}")).query("seconds", seconds);
        self.raw(request, file, duration + GRACE).await
    }

    /// Writes an answer down as it is.
    async fn raw(&self, request: Request, file: &str, limit: Duration) -> Captured {
        let answer = async {
            let response = self.client.call(request).await.map_err(named(file))?;
            response.bytes().await.map_err(named(file))
        };
        let answer = timeout(limit, answer).await.map_err(named(file))??;
        self.bundle.write(file, &answer).map_err(named(file))
    }

    /// Writes a stream down for so long.
    async fn follow(&self, mut stream: Response, file: &str, duration: Duration) -> Captured {
        let mut out = self.bundle.file(file).map_err(named(file))?;
        let following = async {
            while let Some(part) = stream.chunk().await.map_err(named(file))? {
                out.write_all(&part).map_err(named(file))?;
            }
            Ok(())
        };
        timeout(duration, following).await.unwrap_or(Ok(()))
    }
}

fn named<E: std::fmt::Display>(what: &str) -> impl Fn(E) -> Warning {
    move |error| format!("Unable to capture {what}: {error}")
}
