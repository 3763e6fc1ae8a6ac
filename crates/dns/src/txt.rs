//! Node metadata as TXT (RFC 1464; `reference/dns.md` section 4).

/// Prefix of keys whose value is the whole text.
const RAW_PREFIX: &str = "rfc1035-";

/// The text of one metadata entry: `key=value` with RFC 1464 quoting, or the
/// bare value for keys that start with `rfc1035-`.
pub fn meta_text(key: &str, value: &str) -> String {
    let raw = key.get(..RAW_PREFIX.len()).is_some_and(|head| head.eq_ignore_ascii_case(RAW_PREFIX));
    if raw {
        return value.to_owned();
    }
    let mut text = String::with_capacity(key.len() + value.len() + 1);
    let leading = key.len() - key.trim_start_matches(' ').len();
    let trailing = key.trim_end_matches(' ').len();
    for (at, character) in key.char_indices() {
        let edge_space = character == ' ' && (at < leading || at >= trailing);
        if edge_space || matches!(character, '`' | '=') {
            text.push('`');
        }
        text.push(character);
    }
    text.push('=');
    for character in value.chars() {
        if character == '`' {
            text.push('`');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_quoted_as_rfc_1464_says() {
        let cases = [
            ("color", "blue", "color=blue"),
            ("equation", "a=4", "equation=a=4"),
            ("a=a", "true", "a`=a=true"),
            ("=", "\\=", "`==\\="),
            ("`b`", "`c", "``b``=``c"),
            ("  edge ", " kept ", "` ` edge` = kept "),
            ("   ", "x", "` ` ` =x"),
            ("rfc1035-note", "raw = text", "raw = text"),
            ("RFC1035-", "x`", "x`"),
            ("rfc1035", "x", "rfc1035=x"),
            ("empty", "", "empty="),
        ];
        for (key, value, text) in cases {
            assert_eq!(meta_text(key, value), text, "{key} {value}");
        }
    }
}
