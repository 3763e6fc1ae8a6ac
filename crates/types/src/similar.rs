//! Names that a person may have meant: for errors and explanations that help.

/// How many letters may be wrong, by the length of the name.
fn tolerance(length: usize) -> usize {
    match length {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    }
}

/// Names longer than this are not compared letter by letter: the work grows with the
/// square of the length.
const COMPARED_OCTETS_MAX: usize = 256;

/// The candidates that are the wanted name up to case, slashes and blanks at its ends,
/// or a letter or two; nearest first, then in the order given, at most `most`. The
/// wanted name itself is not among them.
pub fn similar<'c>(
    wanted: &str,
    candidates: impl IntoIterator<Item = &'c str>,
    most: usize,
) -> Vec<&'c str> {
    let plain = |name: &str| name.trim_matches(['/', ' ']).to_lowercase();
    let wanted_plain = plain(wanted);
    let mut found: Vec<(usize, &str)> = Vec::new();
    for candidate in candidates {
        if candidate == wanted {
            continue;
        }
        if let Some(distance) = distance(&wanted_plain, &plain(candidate)) {
            found.push((distance, candidate));
        }
    }
    found.sort_by_key(|(distance, _)| *distance);
    found.truncate(most);
    found.into_iter().map(|(_, name)| name).collect()
}

/// How far two names are apart, if not too far.
fn distance(a: &str, b: &str) -> Option<usize> {
    if a == b {
        return Some(0);
    }
    let most = tolerance(a.len().min(b.len()));
    if most == 0 || a.len().abs_diff(b.len()) > most || a.len().max(b.len()) > COMPARED_OCTETS_MAX {
        return None;
    }
    let distance = strsim::osa_distance(a, b);
    (distance <= most).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_slashes_and_a_wrong_letter_are_forgiven() {
        let names = ["web", "Web", "webs", "payments", "paymets", "redis", "/payments/"];
        assert_eq!(similar("web", names, 9), ["Web"]);
        assert_eq!(similar("payments", names, 9), ["/payments/", "paymets"]);
        assert_eq!(similar("rdeis", names, 9), ["redis"]);
        assert_eq!(similar("payments", names, 1), ["/payments/"]);
    }

    #[test]
    fn short_names_must_be_the_same_but_for_case() {
        assert!(similar("db", ["dc", "db1"], 9).is_empty());
        assert_eq!(similar("db", ["DB"], 9), ["DB"]);
    }
}
