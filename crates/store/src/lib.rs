//! Versioned in-memory tables with indexes, transactions, exact watches and
//! consistent snapshots.
//!
//! A [`Table`] is a description: its name, the key of a row, and secondary
//! indexes. The machinery is written once for all tables:
//!
//! - A [`Store`] holds the newest [`State`]. One writer changes it through a
//!   [`Tx`]; readers take a [`Store::snapshot`], which costs a few counters and
//!   never changes afterwards (persistent maps share what did not change).
//! - A [`Reader`] runs over a snapshot and records which keys and prefixes it
//!   looked at, the rows that were there and the gaps where none was. That
//!   [`WatchSet`] is what a blocked query waits for: it is woken by a commit
//!   that changed one of those rows or filled one of those gaps, and by no other.
//! - Rows are shared (`Arc`), never copied.
//!
//! Promises:
//!
//! - **Architecture Invariant:** a watch is marked as fired under the same lock
//!   that publishes the commit. Whoever can see a new row can also see that
//!   everything derived from the old one is out of date, so a result whose watch
//!   has not fired equals a fresh evaluation.
//! - No clock, no thread, no randomness; iteration is in key order.
//! - [`State`] does not interpret rows. What an index means is a domain's business.

mod index;
mod key;
mod reader;
mod state;
mod store;
mod table;
mod tx;
mod watch;

pub use index::{INDEXES, IndexRow};
pub use key::{Key, KeyBuilder};
pub use reader::Reader;
pub use state::State;
pub use store::{Batch, Store};
pub use table::{AnyTable, Secondary, Table};
pub use tx::{Mark, Tx};
pub use watch::{Span, Subscription, WatchSet};
