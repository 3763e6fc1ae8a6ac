//! Regular expressions in Go's dialect, run by a linear-time engine.
//!
//! The dialects agree but for a handful of spellings, which are rewritten:
//! `\d`, `\s`, `\w`, `\b` are ASCII in Go; `[` and `&&` in a class, `{` without a
//! count and `\<` are plain characters; `\Q…\E` quotes.

use regex::{Regex, RegexBuilder};
use thiserror::Error;

use crate::error::FilterError;

/// Bytes that one compiled expression may take.
const MAX_COMPILED_BYTES: usize = 1024 * 1024;
/// Bytes that its lazily built automaton may take.
const MAX_AUTOMATON_BYTES: usize = 1024 * 1024;
/// Deepest nesting of groups.
const MAX_NESTING: u32 = 200;

/// A compiled expression. Its size is bounded, and matching takes time in proportion
/// to the text.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// What Go's `regexp` says of an expression that it does not take.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("error parsing regexp: {0}")]
pub struct PatternError(String);

impl Pattern {
    /// Compiles an expression in Go's dialect.
    ///
    /// # Errors
    /// What Go says of a malformed one; one that would take much memory.
    pub fn compile(pattern: &str) -> Result<Self, PatternError> {
        RegexBuilder::new(&translate(pattern))
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_AUTOMATON_BYTES)
            .nest_limit(MAX_NESTING)
            .build()
            .map(Self)
            .map_err(|error| PatternError(explain(pattern, &error)))
    }

    /// Whether it matches anywhere in the text.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The first match and its groups: the whole match, then each group, `None` for those
    /// that had no part in it.
    pub fn groups<'t>(&self, text: &'t str) -> Option<Vec<Option<&'t str>>> {
        let captures = self.0.captures(text)?;
        Some(captures.iter().map(|group| group.map(|found| found.as_str())).collect())
    }
}

pub(crate) fn compile(pattern: &str) -> Result<Regex, FilterError> {
    match Pattern::compile(pattern) {
        Ok(compiled) => Ok(compiled.0),
        Err(error) => {
            Err(FilterError::Pattern { pattern: pattern.to_owned(), reason: error.to_string() })
        }
    }
}

/// Rewrites what the two dialects spell alike but read differently.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(character) = rest.chars().next() {
        let tail = &rest[character.len_utf8()..];
        rest = match character {
            '\\' => translate_escape(tail, in_class, &mut out),
            '[' if !in_class => {
                in_class = true;
                class_start(tail, &mut out)
            }
            '[' if tail.starts_with(':') && tail.contains(":]") => {
                let end = tail.find(":]").map_or(0, |at| at + 2);
                out.push('[');
                out.push_str(&tail[..end]);
                &tail[end..]
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
                tail
            }
            '[' | '&' | '~' if in_class => {
                out.push('\\');
                out.push(character);
                tail
            }
            '{' if !in_class && !is_count(tail) => {
                out.push_str("\\{");
                tail
            }
            _ => {
                out.push(character);
                tail
            }
        };
    }
    out
}

/// `[`, `[^`, and a `]` right after them, which is a plain character.
fn class_start<'a>(tail: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let mut rest = tail;
    if let Some(negated) = rest.strip_prefix('^') {
        out.push('^');
        rest = negated;
    }
    match rest.strip_prefix(']') {
        Some(after) => {
            out.push_str("\\]");
            after
        }
        None => rest,
    }
}

fn translate_escape<'a>(tail: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(kind) = tail.chars().next() else {
        out.push('\\');
        return tail;
    };
    let after = &tail[kind.len_utf8()..];
    match kind {
        'd' => out.push_str("[0-9]"),
        'D' => out.push_str("[^0-9]"),
        's' => out.push_str(r"[\t\n\f\r ]"),
        'S' => out.push_str(r"[^\t\n\f\r ]"),
        'w' => out.push_str("[0-9A-Za-z_]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'b' if !in_class => out.push_str(r"(?-u:\b)"),
        'B' if !in_class => out.push_str(r"(?-u:\B)"),
        '<' | '>' => out.push(kind),
        'Q' if !in_class => {
            let (quoted, rest) = after.split_once("\\E").unwrap_or((after, ""));
            out.push_str(&regex::escape(quoted));
            return rest;
        }
        _ => {
            out.push('\\');
            out.push(kind);
        }
    }
    after
}

/// Whether `2}`, `2,}` or `2,3}` follows.
fn is_count(tail: &str) -> bool {
    let Some((inside, _)) = tail.split_once('}') else { return false };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}

/// Go's words for the mistakes people make; the engine's own for the rest.
fn explain(pattern: &str, error: &regex::Error) -> String {
    let text = match error {
        regex::Error::Syntax(text) => text,
        regex::Error::CompiledTooBig(_) => return "expression too large".to_owned(),
        other => return other.to_string(),
    };
    let reason = text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or(text);
    match reason {
        "unclosed group" => format!("missing closing ): `{pattern}`"),
        "unopened group" => format!("unexpected ): `{pattern}`"),
        "unclosed character class" => {
            let from = pattern.rfind('[').unwrap_or(0);
            format!("missing closing ]: `{}`", &pattern[from..])
        }
        "repetition operator missing expression" => {
            let operator = pattern.find(['*', '+', '?']).map_or("", |at| &pattern[at..=at]);
            format!("missing argument to repetition operator: `{operator}`")
        }
        _ if reason.starts_with("incomplete escape sequence") => {
            "trailing backslash at end of expression: ``".to_owned()
        }
        other => format!("{other}: `{pattern}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        let cases = [
            (r"^10\.7\.", "10.7.0.1", true),
            ("web", "my-web-1", true),
            (r"^\d+$", "12", true),
            (r"^\d$", "٣", false),
            (r"^[\d\w]+$", "a1", true),
            (r"^\w$", "é", false),
            (r"^\W$", "é", true),
            (r"\bweb\b", "a web b", true),
            (r"a\Bb", "ab", true),
            ("[[]x", "[x", true),
            ("[[:alpha:]]+", "ab", true),
            ("^[a&&b]+$", "a&b", true),
            ("[]]", "]", true),
            ("[^]]", "]", false),
            ("a{,2}", "a{,2}", true),
            ("^a{2}$", "aa", true),
            (r"\<a\>", "<a>", true),
            (r"\Qa.b\E+", "a.bb", true),
            ("(?i)WEB", "web", true),
            ("a$", "a\n", false),
        ];
        for (pattern, text, expected) in cases {
            let regex = compile(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
            assert_eq!(regex.is_match(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_go() {
        let cases = [
            ("(", "missing closing ): `(`"),
            ("a)", "unexpected ): `a)`"),
            ("x[a", "missing closing ]: `[a`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("a\\", "trailing backslash at end of expression: ``"),
        ];
        for (pattern, reason) in cases {
            let quoted = crate::quote::Quoted(pattern).to_string();
            let expected = format!(
                "Failed to compile regular expression {quoted}: error parsing regexp: {reason}"
            );
            assert_eq!(compile(pattern).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn an_expression_that_would_take_much_memory_is_refused() {
        assert!(compile("((a{1000}){1000}){1000}").is_err());
        assert!(compile(&"(".repeat(50_000)).is_err());
    }
}
