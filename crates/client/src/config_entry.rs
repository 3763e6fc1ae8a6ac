//! `/v1/config` and `/v1/exported-services` (`reference/http-api.md` 2.5).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Answer, Client, Error, QueryOptions, Request};

/// A service that other clusters may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExportedService {
    /// The service.
    pub service: String,
    /// Who may use it.
    pub consumers: ExportedServiceConsumers,
}

/// Who may use an exported service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExportedServiceConsumers {
    /// Cluster peers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
    /// Enterprise's partitions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<String>,
}

impl Client {
    /// A configuration entry, free-form.
    ///
    /// # Errors
    /// Those of [`Client::read`]; 404 when it does not exist.
    pub async fn config_entry_get(
        &self,
        kind: &str,
        name: &str,
        options: &QueryOptions,
    ) -> Result<Answer<Value>, Error> {
        self.read(Request::get(format!("/v1/config/{kind}/{name}")), options).await
    }

    /// Writes a configuration entry; with `unchanged_since` only if its
    /// `ModifyIndex` is that (0: if it does not exist). Gives whether it was written.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn config_entry_put(
        &self,
        entry: &Value,
        unchanged_since: Option<u64>,
    ) -> Result<bool, Error> {
        let mut request = Request::put("/v1/config").json(entry);
        if let Some(index) = unchanged_since {
            request = request.query("cas", index.to_string());
        }
        let answer = self.call(request).await?.bytes().await?;
        Ok(answer.trim_ascii() == b"true")
    }

    /// The services that this cluster exports, with wildcards resolved.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn exported_services(
        &self,
        options: &QueryOptions,
    ) -> Result<Answer<Vec<ExportedService>>, Error> {
        self.read(Request::get("/v1/exported-services"), options).await
    }
}
