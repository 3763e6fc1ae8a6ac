//! Words for people.

use std::time::Duration;

/// Most characters of a text from outside that stand in a line.
const LINE_MAX: usize = 160;

/// `1 check`, `2 checks`.
pub(super) fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        many => format!("{many} {noun}s"),
    }
}

/// The first line of a text from outside, cut where it gets long, without what would
/// change a terminal.
pub(super) fn first_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or("");
    let mut plain: String = line.chars().filter(|c| !c.is_control()).take(LINE_MAX).collect();
    if plain.len() < line.len() && line.chars().count() > LINE_MAX {
        plain.push('…');
    }
    plain.trim_end_matches('.').to_owned()
}

/// `"a" and "b"`.
pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(" and ")
}

/// Whole seconds.
pub(super) fn seconds(duration: Duration) -> String {
    count(usize::try_from(duration.as_secs_f64().ceil() as u64).unwrap_or(usize::MAX), "second")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_from_outside_are_one_short_line_that_a_terminal_survives() {
        assert_eq!(first_line("  dial tcp: refused.\nmore"), "dial tcp: refused");
        assert_eq!(first_line("red \u{1b}[31m"), "red [31m");
        assert_eq!(first_line(&"x".repeat(500)).chars().count(), LINE_MAX + 1);
        assert_eq!(first_line(""), "");
    }

    #[test]
    fn numbers_agree_with_their_nouns() {
        assert_eq!(count(1, "check"), "1 check");
        assert_eq!(count(0, "check"), "0 checks");
        assert_eq!(seconds(Duration::from_millis(1200)), "2 seconds");
    }
}
