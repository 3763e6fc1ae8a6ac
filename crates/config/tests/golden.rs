//! Golden files: arguments and files in, merged settings, definitions, warnings
//! or the error out. `BLESS=1 cargo test -p config` writes what came out.
//!
//! A case: a line `> arguments`, files as `--- path` with their text, and below
//! `===` what is printed.

mod support;

use std::fs;
use std::path::PathBuf;

use support::{Files, load_with};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/testdata")
}

#[test]
fn golden_files_hold() {
    let mut names: Vec<_> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(!names.is_empty());
    let bless = std::env::var_os("BLESS").is_some();
    for path in names.iter().filter(|path| path.extension().is_some_and(|e| e == "txt")) {
        let text = fs::read_to_string(path).unwrap();
        let (input, expected) = text.split_once("===\n").expect("a case has a line ===");
        let printed = run(input);
        if bless {
            fs::write(path, format!("{input}===\n{printed}")).unwrap();
        } else {
            assert_eq!(printed, expected, "{}", path.display());
        }
    }
}

fn run(input: &str) -> String {
    let mut arguments = "";
    let mut files = Files::default();
    let mut current: Option<String> = None;
    for line in input.split_inclusive('\n') {
        if let Some(rest) = line.strip_prefix("> ") {
            arguments = rest.trim();
        } else if let Some(path) = line.strip_prefix("--- ") {
            current = Some(path.trim().to_owned());
            files.0.insert(path.trim().to_owned(), String::new());
        } else if let Some(text) = current.as_ref().and_then(|path| files.0.get_mut(path)) {
            text.push_str(line);
        }
    }
    let loaded = match load_with(arguments, &files) {
        Ok(loaded) => loaded,
        Err(error) => return format!("error: {error}\n"),
    };
    let mut out = String::new();
    let json = loaded.config.settings.to_json();
    for (key, value) in json.as_object().unwrap() {
        if !matches!(key.as_str(), "services" | "checks") {
            out.push_str(&format!("{key} = {value}\n"));
        }
    }
    for service in loaded.config.services() {
        out.push_str(&format!("service {}\n", serde_json::to_string(service).unwrap()));
    }
    for check in loaded.config.check_definitions() {
        out.push_str(&format!("check {}\n", serde_json::to_string(check).unwrap()));
    }
    for warning in loaded.warnings {
        out.push_str(&format!("warning: {warning}\n"));
    }
    for note in loaded.without_effect {
        out.push_str(&format!("note: {note}\n"));
    }
    out
}
