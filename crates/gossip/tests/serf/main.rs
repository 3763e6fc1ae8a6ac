//! Whole pools of serf in memory.

mod dialogues;
mod network;
mod pools;
mod rules;

/// A base to count from.
#[expect(clippy::disallowed_methods, reason = "its value is never seen")]
fn start() -> std::time::Instant {
    std::time::Instant::now()
}
