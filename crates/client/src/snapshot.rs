//! `/v1/snapshot` (`reference/http-api.md` 2.15).

use crate::transport::send_upload;
use crate::{Client, Error, QueryOptions, Request, Response, Upload};

/// Which records a restore kept without putting them in force; a header of ours.
const CARRIED: &str = "x-proconsul-carried";

/// Calls about snapshots, see [`Client::snapshot`].
#[derive(Clone, Copy)]
pub struct Snapshots<'c>(&'c Client);

impl Client {
    /// Calls about snapshots of the servers' state.
    pub fn snapshot(&self) -> Snapshots<'_> {
        Snapshots(self)
    }
}

impl Snapshots<'_> {
    /// Saves the state of the servers: an archive, to be read with [`Response::chunk`].
    /// Its index is that of [`Response::meta`].
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn save(self, options: &QueryOptions) -> Result<Response, Error> {
        self.0.call(Request::get("/v1/snapshot").options(options)).await
    }

    /// Puts an archive in place of the state of all servers. Returns what the servers
    /// keep of it without its being in force: `ACLToken 3, ConfigEntry 2`. A server that is
    /// no Proconsul says nothing about that.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn restore(self, archive: Upload) -> Result<Option<String>, Error> {
        let request = Request::put("/v1/snapshot");
        let answer = send_upload(self.0, request, archive).await?.success().await?;
        let carried = answer.headers().get(CARRIED).and_then(|value| value.to_str().ok());
        let carried = carried.map(str::to_owned);
        answer.bytes().await?;
        Ok(carried)
    }
}
