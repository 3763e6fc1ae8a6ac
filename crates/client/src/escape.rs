//! Percent-encoding as Go's `net/url` does it, so that a URL in an error text
//! and in an access log reads as it does with Consul's own client.

use std::fmt::Write as _;

/// Escapes a whole path; slashes stay.
pub fn path_escape(path: &str) -> String {
    escape(path, |byte| b"-_.~$&+,/:;=@".contains(&byte), false)
}

/// Escapes one name or value of a query string; a space becomes `+`.
pub fn query_escape(text: &str) -> String {
    escape(text, |byte| b"-_.~".contains(&byte), true)
}

fn escape(text: &str, keep: fn(u8) -> bool, plus: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || keep(byte) {
            out.push(char::from(byte));
        } else if plus && byte == b' ' {
            out.push('+');
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_their_slashes_and_lose_their_question_marks() {
        for (path, expected) in [
            ("/v1/kv/app/a", "/v1/kv/app/a"),
            ("/v1/kv/a b?c#d%", "/v1/kv/a%20b%3Fc%23d%25"),
            ("/v1/kv/$&+,/:;=@", "/v1/kv/$&+,/:;=@"),
            ("/v1/kv/ü!*'()", "/v1/kv/%C3%BC%21%2A%27%28%29"),
        ] {
            assert_eq!(path_escape(path), expected);
        }
    }

    #[test]
    fn query_values_turn_spaces_into_plus_signs() {
        assert_eq!(query_escape("Meta.os == \"linux\""), "Meta.os+%3D%3D+%22linux%22");
        assert_eq!(query_escape("a/b:c+d"), "a%2Fb%3Ac%2Bd");
    }
}
