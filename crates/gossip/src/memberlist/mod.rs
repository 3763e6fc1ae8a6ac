//! Who is there: SWIM with Lifeguard, as memberlist speaks it.

pub mod action;
pub mod delegate;
pub mod node;
pub mod options;
pub mod queue;

pub use action::{Action, ExchangeId, Waited, Warning};
pub use delegate::Delegate;
pub use node::{Node, NodeState};
pub use options::{Options, Timings};
pub use queue::BroadcastQueue;
