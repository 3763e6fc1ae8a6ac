//! URLs as HTTP checks need them: read, resolved against each other (RFC 3986,
//! section 5.2) and printed, with mistakes told in Go's words.

use std::fmt;

/// A URL that may be relative to another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Url {
    /// Lower case; empty when the text has none.
    pub(super) scheme: String,
    /// What follows the scheme's `//`; `None` when the text has no `//`.
    authority: Option<Authority>,
    /// Percent-encoded.
    path: String,
    /// Percent-encoded, without `?`.
    query: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Authority {
    /// `user` or `user:password`, as written.
    user: Option<String>,
    /// `host` or `host:port`, as written.
    host_port: String,
}

impl Url {
    /// Reads a URL; the error is Go's (`parse "…": …`).
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        read(text).map_err(|reason| format!("parse \"{text}\": {reason}"))
    }

    /// The URL that `location` means on a page at this one.
    pub(super) fn resolve(&self, location: &str) -> Result<Self, String> {
        let mut target = Self::parse(location)
            .map_err(|error| format!("failed to parse Location header \"{location}\": {error}"))?;
        if !target.scheme.is_empty() {
            target.path = without_dots(&target.path);
            return Ok(target);
        }
        target.scheme.clone_from(&self.scheme);
        if target.authority.is_some() {
            target.path = without_dots(&target.path);
            return Ok(target);
        }
        target.authority.clone_from(&self.authority);
        if target.path.is_empty() {
            target.path.clone_from(&self.path);
            target.query = target.query.or_else(|| self.query.clone());
        } else if target.path.starts_with('/') {
            target.path = without_dots(&target.path);
        } else {
            let directory = self.path.rfind('/').map_or("/", |slash| &self.path[..=slash]);
            target.path = without_dots(&format!("{directory}{}", target.path));
        }
        Ok(target)
    }

    /// `host` or `host:port` as written, for the `Host` header.
    pub(super) fn host_port(&self) -> &str {
        self.authority.as_ref().map_or("", |authority| &authority.host_port)
    }

    /// The host without port and brackets.
    pub(super) fn host(&self) -> &str {
        let host_port = self.host_port();
        match split_port(host_port) {
            Some((host, _)) => host,
            None => host_port,
        }
        .trim_start_matches('[')
        .trim_end_matches(']')
    }

    /// The port as written, else the one of the scheme.
    pub(super) fn port(&self) -> &str {
        match split_port(self.host_port()) {
            Some((_, port)) if !port.is_empty() => port,
            _ if self.is_https() => "443",
            _ => "80",
        }
    }

    /// `host:port` to connect to.
    pub(super) fn address(&self) -> String {
        let host = self.host();
        let port = self.port();
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    pub(super) fn is_https(&self) -> bool {
        self.scheme == "https"
    }

    /// Path and query as a request line holds them.
    pub(super) fn target(&self) -> String {
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        match &self.query {
            Some(query) => format!("{slash}{}?{query}", self.path),
            None => format!("{slash}{}", self.path),
        }
    }

    /// `scheme://host:port/path?query`, as a request to a proxy holds it.
    pub(super) fn absolute_target(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host_port(), self.target())
    }

    /// User name and password, decoded.
    pub(super) fn credentials(&self) -> Option<(String, String)> {
        let user = self.authority.as_ref()?.user.as_ref()?;
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        Some((percent_decoded(name), percent_decoded(password)))
    }

    /// Whether the text was a full URL.
    pub(super) fn is_absolute(&self) -> bool {
        !self.scheme.is_empty()
    }
}

/// The URL with its password hidden, as error texts show it.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if let Some(authority) = &self.authority {
            f.write_str("//")?;
            match authority.user.as_deref().map(|user| user.split_once(':').ok_or(user)) {
                Some(Ok((name, _))) => write!(f, "{name}:***@")?,
                Some(Err(name)) => write!(f, "{name}@")?,
                None => {}
            }
            f.write_str(&authority.host_port)?;
        }
        f.write_str(&self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

fn read(text: &str) -> Result<Url, String> {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let text = text.split_once('#').map_or(text, |(text, _)| text);
    let mut url = Url::default();
    let mut rest = text;
    let scheme_end = text.find(|letter: char| !is_scheme_letter(letter));
    match scheme_end.filter(|end| text[*end..].starts_with(':')) {
        Some(0) => return Err("missing protocol scheme".to_owned()),
        Some(end) if text.starts_with(|letter: char| letter.is_ascii_alphabetic()) => {
            url.scheme = text[..end].to_ascii_lowercase();
            rest = &text[end + 1..];
        }
        _ => {}
    }
    if let Some((before, query)) = rest.split_once('?') {
        url.query = Some(percent_encoded(query));
        rest = before;
    }
    if let Some(after) = rest.strip_prefix("//") {
        let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
        url.authority = Some(read_authority(authority)?);
        rest = path;
    } else if url.scheme.is_empty() && rest.split('/').next().is_some_and(|s| s.contains(':')) {
        return Err("first path segment in URL cannot contain colon".to_owned());
    }
    url.path = percent_encoded(rest);
    Ok(url)
}

fn is_scheme_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.')
}

fn read_authority(text: &str) -> Result<Authority, String> {
    let (user, host_port) = match text.rsplit_once('@') {
        Some((user, host_port)) => (Some(user.to_owned()), host_port),
        None => (None, text),
    };
    if host_port.starts_with('[') && !host_port.contains(']') {
        return Err("missing ']' in host".to_owned());
    }
    if let Some((_, port)) = split_port(host_port)
        && !port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(format!("invalid port \":{port}\" after host"));
    }
    if let Some(odd) = host_port.chars().find(|letter| " \"<>\\^`{|}".contains(*letter)) {
        return Err(format!("invalid character \"{odd}\" in host name"));
    }
    Ok(Authority { user, host_port: host_port.to_owned() })
}

/// Splits at the colon before the port; colons inside brackets do not count.
fn split_port(host_port: &str) -> Option<(&str, &str)> {
    let after_bracket = host_port.rfind(']').map_or(0, |bracket| bracket + 1);
    let colon = after_bracket + host_port[after_bracket..].find(':')?;
    Some((&host_port[..colon], &host_port[colon + 1..]))
}

/// Removes `.` and `..` segments (RFC 3986, section 5.2.4). The result of a
/// path that is not empty starts with a slash.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in path.split('/').skip(usize::from(path.starts_with('/'))) {
        ends_open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    if path.is_empty() {
        return String::new();
    }
    let slash = if ends_open && !kept.is_empty() { "/" } else { "" };
    format!("/{}{slash}", kept.join("/"))
}

/// Encodes the bytes that cannot stand in a request line.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Decodes `%41`; anything that is no such code stays.
pub(super) fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url = Url::parse("HTTP://me:se%63ret@web.local:8080/a b?q=1#part").unwrap();
        assert_eq!(url.to_string(), "http://me:***@web.local:8080/a%20b?q=1");
        assert_eq!(url.host_port(), "web.local:8080");
        assert_eq!(url.address(), "web.local:8080");
        assert_eq!(url.target(), "/a%20b?q=1");
        assert_eq!(url.absolute_target(), "http://web.local:8080/a%20b?q=1");
        assert_eq!(url.credentials(), Some(("me".into(), "secret".into())));
        assert_eq!(Url::parse("https://[::1]").unwrap().address(), "[::1]:443");
        assert_eq!(Url::parse("http://web?x").unwrap().target(), "/?x");
        assert_eq!(Url::parse("http://127.0.0.1:1").unwrap().to_string(), "http://127.0.0.1:1");
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_go() {
        let cases = [
            ("://", r#"parse "://": missing protocol scheme"#),
            ("a b:c", r#"parse "a b:c": first path segment in URL cannot contain colon"#),
            (
                "127.0.0.1:80",
                r#"parse "127.0.0.1:80": first path segment in URL cannot contain colon"#,
            ),
            ("http://h:x/", r#"parse "http://h:x/": invalid port ":x" after host"#),
            ("http://[::1/", r#"parse "http://[::1/": missing ']' in host"#),
        ];
        for (text, expect) in cases {
            assert_eq!(Url::parse(text).unwrap_err(), expect);
        }
    }

    #[test]
    fn locations_are_resolved_as_the_rfc_says() {
        let base = Url::parse("http://a/b/c/d?q").unwrap();
        let cases = [
            ("g", "http://a/b/c/g"),
            ("./g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d?y"),
            ("", "http://a/b/c/d?q"),
            ("..", "http://a/b/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("https://x/./y/../z", "https://x/z"),
        ];
        for (location, expect) in cases {
            assert_eq!(base.resolve(location).unwrap().to_string(), expect, "{location}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_url_panic(text in "(http:)?[/a.:@?#%\\[\\]é 0-9]{0,20}", location in "[/.?a:%é]{0,12}") {
            if let Ok(url) = Url::parse(&text) {
                let _ = (url.address(), url.target(), url.credentials(), url.resolve(&location));
                prop_assert!(url.target().starts_with('/'));
            }
        }
    }
}
