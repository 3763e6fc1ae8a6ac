//! An agent: everything of Consul that runs on one machine, put together.
//!
//! [`run`] starts it and returns its exit code. What it consists of:
//!
//! - `process`: start, signals, leaving, the end; exit codes. `reload`: reading the
//!   configuration again; `file_watch`: when that happens by itself.
//! - `service_manager`: what systemd is told.
//! - `parts`: what runs, and the order in which it starts and stops.
//! - `acl_safety`: what keeps an agent out of clusters with ACLs while there are none here.
//! - `local`: the services and checks of this agent, and how they reach the catalog.
//! - `watches`: queries of the configuration, and handlers for their changes.
//! - [`invocation`]: programs that an operator names.
//! - `endpoint`: the HTTP endpoints that are about this agent, not about the state.
//! - [`dns_server`]: the sockets of the DNS interface.
//! - `explain`: why a service, a DNS name or a key is seen, or not.
//! - `pools`: the gossip pools that this agent is in, over [`gossip`]; `retry_join`: joining
//!   them at the start.
//! - `user_event`, `remote_exec`: events that users send to all agents, and what some order.
//! - [`gossip`]: the pools that this agent is in.
//! - `snapshot_schedule`: snapshots that a server saves by itself.
//! - `delegate`: what the other parts ask of the cluster; `backend` and `dns_source` go
//!   through it for HTTP and DNS.
//! - `advice`: which option on which side makes agents talk that cannot.
//! - [`logging`], `banner`, `data_dir`, `dns_metrics`, `environment`, `listeners`, `settings`, `stats`.

mod acl_safety;
mod advice;
mod backend;
mod banner;
mod cache;
mod certificate_expiry;
mod coordinate;
mod data_dir;
mod delegate;
mod dns_metrics;
pub mod dns_server;
mod dns_source;
mod endpoint;
mod environment;
mod explain;
mod file_watch;
pub mod gossip;
pub mod invocation;
mod listeners;
mod local;
mod local_catalog;
pub mod logging;
mod multi_error;
mod parts;
mod pools;
mod process;
mod reload;
mod remote_exec;
mod retry_join;
mod server_port;
mod service_manager;
mod settings;
mod snapshot_schedule;
mod stats;
mod user_event;
mod watches;

pub use environment::read_environment;
pub use process::{RunOptions, run};
