//! What running checks see of the agent: where they report, and where aliases read.

use std::sync::{Arc, Weak};

use checks::{AliasAnswer, AliasFailure, AliasQuery, AliasSource, AliasState, Reporter};
use types::catalog::NodeService;
use types::check::Status;
use types::{CheckId, Index, NodeName};

use super::Shared;
use super::catalog::NodeQuery;

/// What running checks hold of the agent: enough to report, not to keep it alive.
pub(super) struct Hook(pub(super) Weak<Shared>);

impl Reporter for Hook {
    fn update(&self, check: &CheckId, status: Status, output: String) {
        if let Some(shared) = self.0.upgrade() {
            shared.report(check, status, output);
        }
    }
}

impl AliasSource for Hook {
    fn fetch<'a>(&'a self, query: AliasQuery<'a>) -> AliasAnswer<'a> {
        Box::pin(async move {
            match query.node {
                None => self.local_alias(&query).await,
                Some(node) => self.remote_alias(node, &query).await,
            }
        })
    }
}

impl Hook {
    async fn local_alias(&self, query: &AliasQuery<'_>) -> Result<AliasState, AliasFailure> {
        let gone = || AliasFailure("the agent is stopping".to_owned());
        let deadline = tokio::time::Instant::now() + query.wait;
        let mut changes = self.0.upgrade().ok_or_else(gone)?.changes.subscribe();
        loop {
            changes.borrow_and_update();
            {
                let shared = self.0.upgrade().ok_or_else(gone)?;
                let inner = shared.lock();
                let index = Index(inner.state.changed_at(query.service));
                if index > query.newer_than || tokio::time::Instant::now() >= deadline {
                    return Ok(AliasState {
                        service_found: inner.state.service(query.service).is_some(),
                        checks: inner
                            .state
                            .checks()
                            .map(|local| &*local.check)
                            .filter(|c| c.service_id.is_empty() || c.service_id == *query.service)
                            .cloned()
                            .collect(),
                        index,
                    });
                }
            }
            tokio::select! {
                changed = changes.changed() => changed.map_err(|_| gone())?,
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    async fn remote_alias(
        &self,
        node: &NodeName,
        query: &AliasQuery<'_>,
    ) -> Result<AliasState, AliasFailure> {
        let catalog = match self.0.upgrade() {
            Some(shared) => shared.catalog.clone(),
            None => return Err(AliasFailure("the agent is stopping".to_owned())),
        };
        let asked = NodeQuery {
            node: node.clone(),
            token: query.token.clone(),
            newer_than: query.newer_than,
            wait: query.wait,
            stale_max: query.stale_max,
        };
        let remote =
            catalog.remote(asked).await.map_err(|error| AliasFailure(error.to_string()))?;
        let wanted = |service: &Arc<NodeService>| service.id == *query.service;
        Ok(AliasState {
            service_found: query.service.is_empty() || remote.services.iter().any(wanted),
            checks: remote.checks.iter().map(|check| (**check).clone()).collect(),
            index: remote.index,
        })
    }
}
