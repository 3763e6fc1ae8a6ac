//! Rings 0 to 2 are pure: no runtime, files, sockets, clock, threads or random
//! numbers of their own. What clippy can see is in `clippy-pure.toml`, which
//! each of these crates links to; the rest is looked for here by name.

use std::path::Path;

use syn::spanned::Spanned as _;
use syn::visit::Visit;

use super::Finding;
use super::edges::PLACES;
use super::source::{Source, attributes, is_test};

/// Paths that a pure crate does not name, with what to do about it.
const BANNED: &[(&[&str], &str)] = &[
    (&["tokio"], "the runtime belongs to the shell"),
    (&["std", "fs"], "files belong to the shell"),
    (&["std", "net", "TcpStream"], "sockets belong to the shell"),
    (&["std", "net", "TcpListener"], "sockets belong to the shell"),
    (&["std", "net", "UdpSocket"], "sockets belong to the shell"),
    (&["std", "net", "ToSocketAddrs"], "it asks the resolver: looking up belongs to the shell"),
    (&["std", "os", "unix", "net"], "sockets belong to the shell"),
    (&["std", "thread"], "threads belong to the shell"),
    (&["std", "process"], "processes belong to the shell"),
    (&["std", "env"], "the environment comes in as a parameter"),
    (&["std", "io", "stdin"], "standard streams belong to the shell"),
    (&["std", "io", "stdout"], "standard streams belong to the shell"),
    (&["std", "io", "stderr"], "standard streams belong to the shell"),
    (&["std", "time", "SystemTime", "now"], "time comes in as a parameter"),
    (&["std", "time", "Instant", "now"], "time comes in as a parameter"),
    (&["std", "time", "UNIX_EPOCH", "elapsed"], "time comes in as a parameter"),
    (&["jiff", "Timestamp", "now"], "time comes in as a parameter"),
    (&["jiff", "Zoned", "now"], "time comes in as a parameter"),
    (&["uuid", "Uuid", "new_v4"], "randomness comes in as a parameter"),
    (&["fastrand", "Rng", "new"], "randomness comes in as a parameter: use `with_seed`"),
];

/// Short forms of [`BANNED`] paths after a `use` of the type.
const BANNED_ENDS: &[(&[&str], &str)] = &[
    (&["SystemTime", "now"], "time comes in as a parameter"),
    (&["Instant", "now"], "time comes in as a parameter"),
    (&["Uuid", "new_v4"], "randomness comes in as a parameter"),
    (&["Rng", "new"], "randomness comes in as a parameter: use `with_seed`"),
];

/// The places of a pure crate where the shell begins, with the reason.
const SHELL_BEGINS: &[(&str, &str)] = &[
    ("crates/wal/src/file", "the one real disk behind the `Disk` trait"),
    ("crates/config/src/file_system", "reads configuration files for the command line"),
];

/// Checks the pure crates among `sources`.
pub(super) fn check(root: &Path, sources: &[Source]) -> Vec<Finding> {
    let pure = || PLACES.iter().filter(|place| place.ring.is_pure()).map(|place| place.name);
    let mut findings: Vec<Finding> =
        pure().filter_map(|name| check_clippy_link(root, name)).collect();
    for source in sources {
        let shell = SHELL_BEGINS.iter().any(|(path, _)| source.path.starts_with(path));
        if pure().any(|name| name == source.crate_name) && !shell {
            let mut paths = Paths { found: Vec::new() };
            paths.visit_file(&source.syntax);
            findings.extend(
                paths.found.into_iter().map(|(line, message)| {
                    Finding::new(format!("{}:{line}", source.path), message)
                }),
            );
        }
    }
    findings
}

fn check_clippy_link(root: &Path, name: &str) -> Option<Finding> {
    let path = format!("crates/{name}/clippy.toml");
    let linked = std::fs::read(root.join(&path)).ok();
    let same = linked.is_some() && linked == std::fs::read(root.join("clippy-pure.toml")).ok();
    let message = format!("{name} is pure: link {path} to ../../clippy-pure.toml");
    (!same).then(|| Finding::new(path, message))
}

/// Collects banned paths, with their lines.
struct Paths {
    found: Vec<(usize, String)>,
}

impl Paths {
    fn judge(&mut self, line: usize, segments: &[String]) {
        let is = |(path, _): &&(&[&str], &str)| {
            segments.len() >= path.len() && path.iter().zip(segments).all(|(a, b)| a == b)
        };
        let ends = |(path, _): &&(&[&str], &str)| {
            segments.len() == path.len() && path.iter().zip(segments).all(|(a, b)| a == b)
        };
        let banned = BANNED.iter().find(is).or_else(|| BANNED_ENDS.iter().find(ends));
        let reason = match banned {
            Some((_, reason)) => reason,
            // Free functions of fastrand use a generator of the thread.
            None if segments.len() > 1 && segments[0] == "fastrand" && segments[1] != "Rng" => {
                "randomness comes in as a parameter"
            }
            None => return,
        };
        self.found.push((line, format!("`{}` in a pure crate: {reason}", segments.join("::"))));
    }

    fn judge_use(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |ident: &syn::Ident| {
            before.iter().cloned().chain([ident.to_string()]).collect::<Vec<_>>()
        };
        match tree {
            syn::UseTree::Path(path) => self.judge_use(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) if name.ident == "self" => {
                self.judge(name.span().start().line, before);
            }
            syn::UseTree::Name(name) => self.judge(name.span().start().line, &with(&name.ident)),
            syn::UseTree::Rename(name) => self.judge(name.span().start().line, &with(&name.ident)),
            syn::UseTree::Glob(glob) => self.judge(glob.span().start().line, before),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.judge_use(tree, before));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.judge_use(&item.tree, &[]);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test(&function.attrs) {
            syn::visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.judge(path.span().start().line, &segments);
        syn::visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[usize]) {
        let mut paths = Paths { found: Vec::new() };
        paths.visit_file(&syn::parse_file(text).unwrap());
        let lines: Vec<usize> = paths.found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, expected, "{text}: {:?}", paths.found);
    }

    #[test]
    fn what_belongs_to_the_shell_is_found_however_it_is_named() {
        check("use std::fs;", &[1]);
        check("use std::{\n    fmt,\n    fs::{self, File},\n};", &[3, 3]);
        check("fn f() { std::fs::read(\"x\"); }", &[1]);
        check("use std::time::Instant;\nfn f() { Instant::now(); }", &[2]);
        check("fn f() {\n    let n = fastrand::u64(..);\n}", &[2]);
        check("async fn f(s: tokio::net::TcpStream) {}", &[1]);
        check("use std::net::*;", &[]);
    }

    #[test]
    fn values_and_tests_are_free() {
        check("use std::net::{IpAddr, SocketAddr};\nuse std::time::{Duration, Instant};", &[]);
        check("fn f(rng: &mut fastrand::Rng, now: std::time::Instant) {}", &[]);
        check("#[cfg(test)]\nmod tests {\n    use std::fs;\n}", &[]);
    }
}
