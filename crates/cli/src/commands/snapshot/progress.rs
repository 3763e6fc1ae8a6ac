//! How far a transfer is, for whoever sits at a terminal.

use std::time::{Duration, Instant};

use super::inspect::size_text;
use crate::ui::Ui;

/// How often the line is drawn anew.
pub(super) const PERIOD: Duration = Duration::from_millis(100);

/// Letters of a full bar.
const WIDTH: usize = 30;

/// One line on standard error that is drawn over, and nothing where that is no terminal.
pub(super) struct Progress {
    what: &'static str,
    /// Bytes of all of it, if that is known.
    total: Option<u64>,
    started: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    pub(super) fn new(what: &'static str, total: Option<u64>) -> Self {
        Self { what, total, started: Instant::now(), drawn: None }
    }

    /// This many bytes are through.
    pub(super) fn draw(&mut self, ui: &mut Ui, bytes: u64) {
        if !ui.is_terminal() || self.drawn.is_some_and(|at| at.elapsed() < PERIOD) {
            return;
        }
        self.drawn = Some(Instant::now());
        let line = line(self.what, bytes, self.total, self.started.elapsed());
        ui.raw_error(format!("\r{line}\x1b[K"));
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self, ui: &mut Ui) {
        if self.drawn.take().is_some() {
            ui.raw_error("\r\x1b[K");
        }
    }
}

fn line(what: &str, bytes: u64, total: Option<u64>, elapsed: Duration) -> String {
    let through = size_text(bytes);
    let rate = size_text((bytes as f64 / elapsed.as_secs_f64().max(0.001)) as u64);
    match total {
        Some(total) if bytes >= total => format!("{what}: {through}, the servers check it"),
        Some(total) => {
            let full = (WIDTH as u64 * bytes / total.max(1)) as usize;
            let bar = format!("{}{}", "#".repeat(full), " ".repeat(WIDTH - full));
            format!("{what} [{bar}] {through} of {}, {rate}/s", size_text(total))
        }
        None => format!("{what}: {through}, {rate}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is_as_well_as_that_is_known() {
        let second = Duration::from_secs(1);
        assert_eq!(line("Saving", 2048, None, second), "Saving: 2KB, 2KB/s");
        assert_eq!(
            line("Restoring", 512, Some(1024), second),
            "Restoring [###############               ] 512B of 1KB, 512B/s"
        );
        assert_eq!(
            line("Restoring", 1024, Some(1024), second),
            "Restoring: 1KB, the servers check it"
        );
    }
}
