//! `/v1/agent/` (`reference/http-api.md` 2.2).

use std::collections::BTreeMap;

use serde_json::Value;
use types::check::HealthCheck;
use types::member::Member;
use types::service::ServiceDefinition;

use crate::{Client, Error, Request, Response};

/// Which members are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembersQuery {
    /// The WAN pool in place of the LAN pool.
    pub wan: bool,
    /// A segment; `_all` for every one.
    pub segment: String,
    /// A filter expression.
    pub filter: String,
}

/// Which log lines are streamed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MonitorQuery {
    /// The lowest level, as `INFO`; empty for the agent's default.
    pub log_level: String,
    /// JSON in place of text.
    pub json: bool,
}

impl Client {
    /// What the agent says about itself; free-form.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn agent_self(&self) -> Result<Value, Error> {
        self.call(Request::get("/v1/agent/self")).await?.json().await
    }

    /// The members of a gossip pool as this agent sees them.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn agent_members(&self, query: &MembersQuery) -> Result<Vec<Member>, Error> {
        let mut request = Request::get("/v1/agent/members")
            .query("segment", query.segment.as_str())
            .query_unless_empty("filter", &query.filter);
        if query.wan {
            request = request.query("wan", "1");
        }
        self.call(request).await?.json().await
    }

    /// The checks of the agent by id.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn agent_checks(&self) -> Result<BTreeMap<String, HealthCheck>, Error> {
        self.call(Request::get("/v1/agent/checks")).await?.json().await
    }

    /// The service instances of the agent by id; free-form.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn agent_services(&self) -> Result<BTreeMap<String, Value>, Error> {
        self.call(Request::get("/v1/agent/services")).await?.json().await
    }

    /// Registers a service with the agent.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn agent_register(&self, service: &ServiceDefinition) -> Result<(), Error> {
        self.call_silently(Request::put("/v1/agent/service/register").json(service)).await
    }

    /// Removes a service instance and its checks from the agent.
    ///
    /// # Errors
    /// Those of [`Client::call`]; 404 when there is no such id.
    pub async fn agent_deregister(&self, id: &str) -> Result<(), Error> {
        self.call_silently(Request::put(format!("/v1/agent/service/deregister/{id}"))).await
    }

    /// Puts the node into maintenance, or takes it out.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn agent_node_maintenance(&self, enable: bool, reason: &str) -> Result<(), Error> {
        self.maintenance("/v1/agent/maintenance".to_owned(), enable, reason).await
    }

    /// Puts a service instance into maintenance, or takes it out.
    ///
    /// # Errors
    /// Those of [`Client::call`]; 404 when there is no such id.
    pub async fn agent_service_maintenance(
        &self,
        id: &str,
        enable: bool,
        reason: &str,
    ) -> Result<(), Error> {
        self.maintenance(format!("/v1/agent/service/maintenance/{id}"), enable, reason).await
    }

    async fn maintenance(&self, path: String, enable: bool, reason: &str) -> Result<(), Error> {
        let mut request = Request::put(path).query("enable", enable.to_string());
        if enable {
            request = request.query("reason", reason);
        }
        self.call_silently(request).await
    }

    /// Has the agent read its configuration again.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn agent_reload(&self) -> Result<(), Error> {
        self.call_silently(Request::put("/v1/agent/reload")).await
    }

    /// Has the agent leave its cluster and end.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn agent_leave(&self) -> Result<(), Error> {
        self.call_silently(Request::put("/v1/agent/leave")).await
    }

    /// Has the agent join the cluster of the agent at `address`.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn agent_join(&self, address: &str, wan: bool) -> Result<(), Error> {
        let mut request = Request::put(format!("/v1/agent/join/{address}"));
        if wan {
            request = request.query("wan", "1");
        }
        self.call_silently(request).await
    }

    /// Turns a failed member into one that left; with `prune` it is forgotten at once.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn agent_force_leave(&self, node: &str, prune: bool, wan: bool) -> Result<(), Error> {
        let mut request = Request::put(format!("/v1/agent/force-leave/{node}"));
        if prune {
            request = request.query("prune", "1");
        }
        if wan {
            request = request.query("wan", "1");
        }
        self.call_silently(request).await
    }

    /// The agent's log from now on, line by line, through [`Response::chunk`].
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn agent_monitor(&self, query: &MonitorQuery) -> Result<Response, Error> {
        let mut request =
            Request::get("/v1/agent/monitor").query_unless_empty("loglevel", &query.log_level);
        if query.json {
            request = request.query("logjson", "true");
        }
        self.call(request).await
    }
}
