//! The membership machine: alone with a script, by its rules, and many of them in a network.

mod convergence;
mod dialogues;
mod network;
mod pings;
mod recorded;
mod rules;
mod words;

/// Some instant to count from. Tests have no other clock.
#[expect(clippy::disallowed_methods, reason = "an instant can be had nowhere else")]
fn start() -> std::time::Instant {
    std::time::Instant::now()
}
