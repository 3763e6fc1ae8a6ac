//! Several errors in one text, as Go's `multierror` lists them: clients show it as it is.

/// The text for these errors; there is at least one.
pub(crate) fn list<T: AsRef<str>>(errors: &[T]) -> String {
    let (count, word) = (errors.len(), if errors.len() == 1 { "error" } else { "errors" });
    let listed: String = errors.iter().map(|error| format!("\t* {}\n", error.as_ref())).collect();
    format!("{count} {word} occurred:\n{listed}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_and_listed() {
        assert_eq!(list(&["a"]), "1 error occurred:\n\t* a\n\n");
        assert_eq!(list(&["a", "b"]), "2 errors occurred:\n\t* a\n\t* b\n\n");
    }
}
