//! Paths and query strings.

use http_server::path::{Decoded, clean_path, decode_path, is_clean, parse_query};

/// What paths are made of.
pub(super) const WORDS: &[&str] = &[
    "/",
    "//",
    "/./",
    "/../",
    "..",
    "%2f",
    "%2F",
    "%25",
    "%",
    "%f",
    "%ff",
    "%C3%A9",
    "+",
    "?",
    "&",
    "=",
    ";",
    "/v1/kv/",
    "keys",
    "recurse",
    "separator=",
    "dc=dc1",
    "\u{e000}",
    "%00",
    "%0a",
];

/// Checks the input as a path and as a query string.
pub(super) fn check(input: &[u8]) {
    let text = super::text(input);
    let (path, query) = text.split_once('?').unwrap_or((&text, &text));
    for allow_unprintable in [false, true] {
        if let Decoded::Path(path) = decode_path(path, allow_unprintable) {
            check_clean(&path);
        }
    }
    check_clean(path);
    let Some(params) = parse_query(query) else { return };
    let again = parse_query(&params.encode()).expect("what was encoded can be read");
    let mut pairs = params.pairs().to_vec();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(again.pairs(), pairs);
    for (name, _) in params.pairs() {
        assert!(params.has(name));
    }
}

fn check_clean(path: &str) {
    let clean = clean_path(path);
    assert!(is_clean(&clean), "{path:?} became {clean:?}");
    assert_eq!(clean_path(&clean), clean);
    if is_clean(path) {
        assert_eq!(clean, path, "a clean path stays");
    }
}
