//! What can be seen without a syntax tree: module docs, words, large files.

use std::path::Path;

use anyhow::Context as _;

use super::Finding;
use super::limits::{Rule, Size};
use super::source::Source;

/// Words that do not stay in the repository. Each is split so that this table
/// does not find itself.
const WORDS: &[(&str, &str)] = &[
    (concat!("todo", "!("), "finish it, or write an issue"),
    (concat!("unimple", "mented!("), "finish it, or write an issue"),
    (concat!("dbg", "!("), "remove it"),
    (concat!("FIX", "ME"), "mend it, or write an issue"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/tmp/", "brief"), "a path of one machine"),
    (concat!("/tmp/", "target"), "a path of one machine"),
    (concat!("arti", "factory"), "the registry of one machine"),
];

/// Kinds of files whose text is read.
const TEXTS: &[&str] = &["rs", "toml", "md", "sh", "txt", "hcl", "json", "yml", "yaml", "run"];

/// Every module says what it is.
pub(super) fn module_docs(source: &Source) -> Option<Finding> {
    let first = source.text.lines().find(|line| !line.trim().is_empty());
    let documented = first.is_some_and(|line| line.starts_with("//!"));
    (!documented).then(|| Finding::new(source.path.clone(), "does not start with `//!`"))
}

/// How large each file is.
pub(super) fn sizes(root: &Path, files: &[String]) -> anyhow::Result<Vec<Size>> {
    let size = |path: &String| {
        let bytes = std::fs::metadata(root.join(path)).with_context(|| path.clone())?.len();
        let value = usize::try_from(bytes.div_ceil(1024))?;
        Ok(Size { rule: Rule::FileKilobytes, place: path.clone(), value })
    };
    files.iter().map(size).collect()
}

/// Looks for [`WORDS`], and that README and continuous integration agree.
pub(super) fn check(root: &Path, files: &[String]) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in files {
        let extension = path.rsplit('.').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        if name == "Cargo.lock" || !(TEXTS.contains(&extension) || path.starts_with(".ci/")) {
            continue;
        }
        let bytes = std::fs::read(root.join(path)).with_context(|| path.clone())?;
        let text = String::from_utf8_lossy(&bytes);
        findings.extend(
            words(&text)
                .into_iter()
                .map(|(line, message)| Finding::new(format!("{path}:{line}"), message)),
        );
    }
    findings.extend(test_command(root));
    Ok(findings)
}

fn words(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (word, advice) in WORDS {
        for (at, _) in text.match_indices(word) {
            let line = text[..at].matches('\n').count() + 1;
            found.push((line, format!("`{}`: {advice}", word.trim_end_matches('('))));
        }
    }
    found
}

/// The command that tests everything, as the README tells people.
const TEST_COMMAND: &str = "cargo test --workspace";

/// What people are told to run is what continuous integration runs.
fn test_command(root: &Path) -> Vec<Finding> {
    [".ci/run", "README.md"]
        .into_iter()
        .filter(|path| {
            std::fs::read_to_string(root.join(path)).is_ok_and(|text| !text.contains(TEST_COMMAND))
        })
        .map(|path| Finding::new(path, format!("does not say `{TEST_COMMAND}`")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_with_their_lines() {
        let text = format!("fine\n// {}ME later\n", "FIX");
        let found = words(&text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, 2);
        assert_eq!(words("a todo list, and a workbench/"), []);
    }
}
