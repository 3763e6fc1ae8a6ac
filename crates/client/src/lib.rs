//! An HTTP client for Consul's API.
//!
//! [`Client`] speaks to one agent: over TCP, TLS or a unix socket, with the
//! token, the datacenter and the rest of its [`Config`], which
//! [`Config::from_environment`] fills from the `CONSUL_HTTP_*` variables as
//! Consul's own tools do (`reference/cli.md` section 2).
//!
//! There are typed calls for what is asked most, grouped as the API is
//! (`kv_*`, `catalog_*`, `health_*`, `agent_*`, …), and [`Client::send`] for any
//! other request. Reads take [`QueryOptions`] and give the rows together with
//! [`QueryMeta`], whose index makes the next read a blocking one.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::Error> {
//! let client = client::Client::new(client::Config::default())?;
//! client.kv_put(&client::KvPut::new("app/limit", "10")).await?;
//! let found = client.kv_get("app/limit", &client::QueryOptions::default()).await?;
//! assert_eq!(found.rows.map(|entry| entry.value.to_vec()), Some(b"10".to_vec()));
//! # Ok(())
//! # }
//! ```
//!
//! The texts of [`Error`] are those that programs know from Consul's Go client.
//! Nothing is retried, except once when an idle connection turns out to be
//! closed before the request left.

mod acl;
mod agent;
mod catalog;
mod config;
mod config_entry;
mod connection;
mod coordinate;
mod error;
mod escape;
mod event;
mod explain;
mod kept_session;
mod kv;
pub mod lock;
mod operator;
mod request;
pub mod semaphore;
mod session;
mod snapshot;
mod tls;
mod transport;
mod upload;
pub mod watch;

pub use acl::Acl;
pub use agent::{MembersQuery, MonitorQuery};
pub use catalog::CatalogNode;
pub use config::{Address, Config, DEFAULT_ADDRESS, TlsConfig};
pub use config_entry::{ExportedService, ExportedServiceConsumers};
pub use coordinate::Coordinates;
pub use error::{DialError, Error, TransportError, system_text};
pub use escape::{path_escape, query_escape};
pub use event::EventFire;
pub use explain::ExplainQuery;
pub use kv::{KvCondition, KvDelete, KvPut};
pub use operator::{KeyAction, Keyring, KeyringOptions, Operator, RaftConfiguration, RaftServer};
pub use request::{Answer, QueryMeta, QueryOptions, Request};
pub use session::{SessionCreate, Sessions};
pub use snapshot::Snapshots;
pub use transport::{Client, Response};
pub use types::member::{Member, MemberStatus};
pub use upload::Upload;
