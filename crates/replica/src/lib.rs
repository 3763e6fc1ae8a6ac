//! One server's copy of the replicated state: what the log does to it, its bytes in a
//! snapshot, and how it is asked.
//!
//! - [`fsm`]: applies committed commands to the store.
//! - [`state_file`]: the state in Consul's snapshot format.
//! - [`admission`]: what a leader does with a command before it enters the log.
//! - [`live`]: query results that are kept until what they came from changes.
//! - [`blocking`]: when a query that waits has its answer.
//! - [`session_timers`]: when sessions are over, as their leader sees it.
//!
//! `server` drives it behind Raft and under tokio, and the simulator in one thread under a
//! seed; both run this code. What takes a clock, a log line or a metric is theirs
//! ([`fsm::Witness`]).

pub mod admission;
pub mod blocking;
pub mod fsm;
pub mod live;
pub mod session_timers;
pub mod state_file;
