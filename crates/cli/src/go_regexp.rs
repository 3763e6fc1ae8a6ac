//! Regular expressions with complaints in the words of Go.

use regex::Regex;

/// Compiles an expression.
///
/// # Errors
/// What Go's `regexp` says about the expression.
pub(crate) fn compile(expression: &str) -> Result<Regex, String> {
    Regex::new(expression).map_err(|error| {
        let text = error.to_string();
        let at = |letter: char| expression.find(letter).map_or(expression, |at| &expression[at..]);
        let (reason, part) = if text.contains("unclosed character class") {
            ("missing closing ]", at('['))
        } else if text.contains("unclosed group") {
            ("missing closing )", expression)
        } else if text.contains("unopened group") {
            ("unexpected )", expression)
        } else if text.contains("repetition operator missing expression") {
            let operator = expression.find(['*', '+', '?']).unwrap_or(0);
            let end = (operator + 1).min(expression.len());
            ("missing argument to repetition operator", &expression[operator..end])
        } else if text.contains("invalid character class range") {
            ("invalid character class range", at('['))
        } else if text.contains("unrecognized escape") || text.contains("incomplete escape") {
            ("invalid escape sequence", at('\\'))
        } else {
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            return format!("error parsing regexp: {reason}: `{expression}`");
        };
        format!("error parsing regexp: {reason}: `{part}`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_in_the_words_of_go() {
        for (expression, expected) in [
            ("[", "missing closing ]: `[`"),
            ("al[ive", "missing closing ]: `[ive`"),
            ("(", "missing closing ): `(`"),
            ("a)", "unexpected ): `a)`"),
            ("*", "missing argument to repetition operator: `*`"),
        ] {
            let complaint = compile(expression).unwrap_err();
            assert_eq!(complaint, format!("error parsing regexp: {expected}"));
        }
        assert!(compile("^(alive|left)$").unwrap().is_match("left"));
    }
}
