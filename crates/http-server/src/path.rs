//! Paths and query strings, as Go's server reads them.

use contract::Params;

/// A decoded path, or what to answer instead.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The path with its escapes replaced. Bytes that are no text become U+FFFD.
    Path(String),
    /// An escape is broken: 400.
    Malformed,
    /// A character that cannot be printed: 400 with nothing.
    Unprintable,
}

/// Replaces the escapes of a path.
pub fn decode_path(raw: &str, allow_unprintable: bool) -> Decoded {
    let Some(bytes) = unescape(raw, false) else { return Decoded::Malformed };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    if !allow_unprintable && !text.chars().all(is_printable) {
        return Decoded::Unprintable;
    }
    Decoded::Path(text)
}

/// Go's `unicode.IsPrint`, as far as it matters: no control characters, no blank but the space.
fn is_printable(c: char) -> bool {
    c == ' ' || !(c.is_control() || c.is_whitespace() || ('\u{e000}'..='\u{f8ff}').contains(&c))
}

/// The path without empty, `.` and `..` segments; a slash at the end stays.
pub fn clean_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut clean = String::with_capacity(path.len());
    for segment in &segments {
        clean.push('/');
        clean.push_str(segment);
    }
    if clean.is_empty() || path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..") {
        clean.push('/');
    }
    clean
}

/// Whether [`clean_path`] would change the path. Most paths are clean.
pub fn is_clean(path: &str) -> bool {
    path.starts_with('/')
        && !path.contains("//")
        && !path.contains("/./")
        && !path.contains("/../")
        && !path.ends_with("/.")
        && !path.ends_with("/..")
}

/// Reads a query string; `None` if it has a broken escape or a semicolon.
pub fn parse_query(raw: &str) -> Option<Params> {
    let mut pairs = Vec::new();
    for part in raw.split('&').filter(|part| !part.is_empty()) {
        if part.contains(';') {
            return None;
        }
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let text = |raw: &str| {
            unescape(raw, true).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        pairs.push((text(key)?, text(value)?));
    }
    Some(Params::new(pairs))
}

/// Whether a query string carries a token.
pub(crate) fn has_token(query: &str) -> bool {
    query.split('&').any(|pair| pair.starts_with("token="))
}

/// Path and query as they may be logged: a token in them is hidden.
pub(crate) fn without_token(uri: &http::Uri) -> String {
    let Some(query) = uri.query() else { return uri.path().to_owned() };
    let shown: Vec<&str> = query
        .split('&')
        .map(|pair| if pair.starts_with("token=") { "token=<hidden>" } else { pair })
        .collect();
    format!("{}?{}", uri.path(), shown.join("&"))
}

fn unescape(raw: &str, plus_is_space: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return None;
                }
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
            }
            b'+' if plus_is_space => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        let cases = [
            ("//v1/kv/x", "/v1/kv/x"),
            ("/v1/./kv/", "/v1/kv/"),
            ("/v1/a/../kv", "/v1/kv"),
            ("/..", "/"),
            ("/", "/"),
            ("/v1/kv//a//b", "/v1/kv/a/b"),
        ];
        for (path, clean) in cases {
            assert_eq!(clean_path(path), clean);
            assert_eq!(is_clean(path), path == clean, "{path}");
        }
    }

    #[test]
    fn escapes_are_replaced_and_broken_ones_refused() {
        assert_eq!(decode_path("/v1/kv/a%2Fb%20c", false), Decoded::Path("/v1/kv/a/b c".into()));
        assert_eq!(decode_path("/v1/kv/%zz", false), Decoded::Malformed);
        assert_eq!(decode_path("/v1/kv/%4", false), Decoded::Malformed);
        assert_eq!(decode_path("/v1/kv/%+1", false), Decoded::Malformed);
        assert_eq!(decode_path("/v1/kv/%00", false), Decoded::Unprintable);
        assert_eq!(decode_path("/v1/kv/%00", true), Decoded::Path("/v1/kv/\0".into()));
    }

    #[test]
    fn a_token_in_a_url_is_not_logged() {
        let uri: http::Uri = "/v1/kv/a?x=1&token=b1gs33cr3t&y".parse().expect("it is one");
        assert_eq!(without_token(&uri), "/v1/kv/a?x=1&token=<hidden>&y");
        assert!(has_token("a=1&token=x") && !has_token("mytoken=x"));
    }

    #[test]
    fn query_strings_keep_order_and_repetition() {
        let params = parse_query("tag=a&tag=b+c&pretty&x=%26").expect("it is well-formed");
        assert_eq!(params.all("tag").collect::<Vec<_>>(), ["a", "b c"]);
        assert!(params.has("pretty") && params.text("pretty").is_empty());
        assert_eq!(params.text("x"), "&");
        assert!(parse_query("a=%zz").is_none());
        assert!(parse_query("a=1;b=2").is_none());
    }
}
