//! Pools of agents on this machine's network: among ourselves, and with real ones.

mod alone;
mod interop;
mod pool;
mod serf;
