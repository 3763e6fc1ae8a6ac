//! The files of the repository, and the Rust ones among them as syntax trees.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use syn::visit::Visit;

/// A Rust file that is part of the product: no test, nothing generated.
pub(super) struct Source {
    /// Path from the root.
    pub(super) path: String,
    /// `types` for `crates/types/src/…`.
    pub(super) crate_name: String,
    pub(super) text: String,
    pub(super) syntax: syn::File,
    /// How many lines are not in an item for tests.
    pub(super) lines: usize,
}

/// All files of the repository as paths from the root, in order. What
/// `.gitignore` names from the root (`/target`) is left out.
pub(super) fn list(root: &Path) -> anyhow::Result<Vec<String>> {
    let ignored = std::fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
    let mut skipped: Vec<&str> =
        ignored.lines().filter_map(|line| line.strip_prefix('/')).collect();
    skipped.push(".git");
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder)).with_context(|| folder.clone())? {
            let entry = entry?;
            let name = entry
                .file_name()
                .into_string()
                .map_err(|name| anyhow!("{folder}: the name {} is not UTF-8", name.display()))?;
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let kind = entry.file_type()?;
            if skipped.contains(&path.as_str()) {
                continue;
            } else if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Parses the product's files among `files`.
pub(super) fn parse(root: &Path, files: &[String]) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut test_modules = BTreeSet::new();
    for path in files.iter().filter(|path| is_product(path)) {
        let text = std::fs::read_to_string(root.join(path)).with_context(|| path.clone())?;
        if text.lines().take(5).any(|line| line.contains("@generated")) {
            continue;
        }
        let syntax = syn::parse_file(&text).with_context(|| format!("{path} does not parse"))?;
        let mut tests = TestItems::default();
        tests.visit_file(&syntax);
        test_modules.extend(tests.modules.iter().flat_map(|name| module_files(path, name)));
        let lines = text.lines().count().saturating_sub(tests.lines);
        let crate_name = match path.split('/').collect::<Vec<_>>().as_slice() {
            ["crates", name, ..] => (*name).to_owned(),
            [name, ..] => (*name).to_owned(),
            [] => String::new(),
        };
        sources.push(Source { path: path.clone(), crate_name, text, syntax, lines });
    }
    sources.retain(|source| !test_modules.iter().any(|module| source.path.starts_with(module)));
    Ok(sources)
}

fn is_product(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let product = matches!(parts.as_slice(), ["crates", _, "src", ..] | ["xtask", "src", ..]);
    product
        && path.ends_with(".rs")
        && !parts.contains(&"tests")
        && parts.last() != Some(&"tests.rs")
}

/// The files that `#[cfg(test)] mod name;` in `path` may mean.
fn module_files(path: &str, name: &str) -> [String; 2] {
    let folder = match path.rsplit_once('/') {
        Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    };
    [format!("{folder}/{name}.rs"), format!("{folder}/{name}/")]
}

/// Whether an item is there for tests only.
pub(super) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("test") {
            return true;
        }
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Meta>().is_ok_and(|meta| only_for_tests(&meta))
    })
}

fn only_for_tests(meta: &syn::Meta) -> bool {
    match meta {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) if list.path.is_ident("all") => list
            .parse_args_with(
                syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated,
            )
            .is_ok_and(|parts| parts.iter().any(only_for_tests)),
        _ => false,
    }
}

/// The attributes of any item.
pub(super) fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::ExternCrate(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::ForeignMod(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::TraitAlias(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Union(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Counts the lines of items for tests and collects the modules among them that
/// stand in files of their own.
#[derive(Default)]
struct TestItems {
    lines: usize,
    modules: Vec<String>,
}

impl<'ast> Visit<'ast> for TestItems {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(attributes(item)) {
            return syn::visit::visit_item(self, item);
        }
        let span = syn::spanned::Spanned::span(item);
        self.lines += span.end().line - span.start().line + 1;
        if let syn::Item::Mod(module) = item
            && module.content.is_none()
        {
            self.modules.push(module.ident.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_for_tests_are_told_from_others() {
        let check = |text: &str, expected: bool| {
            let item: syn::Item = syn::parse_str(text).unwrap();
            assert_eq!(is_test(attributes(&item)), expected, "{text}");
        };
        check("#[cfg(test)] mod tests;", true);
        check("#[cfg(all(test, unix))] fn f() {}", true);
        check("#[test] fn f() {}", true);
        check("#[cfg(not(test))] fn f() {}", false);
        check("#[cfg(any(test, feature = \"x\"))] fn f() {}", false);
        check("fn test() {}", false);
    }

    #[test]
    fn the_files_of_a_module_follow_the_rules_of_rust() {
        assert_eq!(module_files("a/src/lib.rs", "x"), ["a/src/x.rs", "a/src/x/"]);
        assert_eq!(module_files("a/src/b.rs", "x"), ["a/src/b/x.rs", "a/src/b/x/"]);
        assert_eq!(module_files("a/src/b/mod.rs", "x"), ["a/src/b/x.rs", "a/src/b/x/"]);
    }
}
