//! `/v1/proconsul/explain`: why something is seen, or not. Agents of Consul do not have
//! it and answer with 404.

use types::explain::Explanation;

use crate::{Client, Error, QueryOptions, Request};

/// What is to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExplainQuery {
    /// The instances of a service.
    Service {
        /// The name of the service, or the id of an instance that the agent runs.
        name: String,
        /// The id of one instance; empty for all.
        id: String,
        /// Tags that instances must have.
        tags: Vec<String>,
        /// Whether instances with warnings count as failing.
        passing: bool,
    },
    /// A DNS name.
    Dns {
        /// The name, with or without final dot.
        name: String,
        /// The mnemonic of the record type; empty for `A`.
        record_type: String,
    },
    /// A key.
    Key(String),
}

impl ExplainQuery {
    /// Asks the agent. The filter of the options is for the instances of a service.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn ask(&self, client: &Client, options: &QueryOptions) -> Result<Explanation, Error> {
        Ok(client.read(self.request(), options).await?.rows)
    }

    fn request(&self) -> Request {
        let request = Request::get("/v1/proconsul/explain");
        match self {
            Self::Service { name, id, tags, passing } => {
                let request = request
                    .query("service", name)
                    .query_unless_empty("id", id)
                    .query_each("tag", tags);
                if *passing { request.query("passing", "1") } else { request }
            }
            Self::Dns { name, record_type } => {
                request.query("dns", name).query_unless_empty("type", record_type)
            }
            Self::Key(key) => request.query("key", key),
        }
    }
}
