//! Sizes: of functions, parameter lists, types and files, and how often a
//! program may stop itself. Tests and generated files do not count.

use std::collections::BTreeMap;
use std::fmt;

use syn::spanned::Spanned as _;
use syn::visit::Visit;

use super::source::{Source, attributes, is_test};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Rule {
    /// Lines of a function, from `fn` to its closing brace.
    FunctionLines,
    /// Parameters of a function, `self` included.
    Parameters,
    /// Inherent methods of a type, in all its `impl` blocks of one crate.
    Methods,
    /// Fields of a struct.
    Fields,
    /// Lines of a file.
    FileLines,
    /// `unwrap` and `expect` in a crate, per thousand lines.
    Panics,
    /// Kilobytes of a file that is checked in; see [`super::text`].
    FileKilobytes,
}

impl Rule {
    /// What to stay under, and what nothing may exceed.
    pub(super) const fn limits(self) -> (usize, usize) {
        match self {
            Rule::FunctionLines => (70, 120),
            Rule::Parameters => (5, 7),
            Rule::Methods => (30, 45),
            Rule::Fields => (20, 30),
            Rule::FileLines => (500, 1_000),
            Rule::Panics => (3, 5),
            Rule::FileKilobytes => (256, 256),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Rule::FunctionLines | Rule::FileLines => "lines",
            Rule::Parameters => "parameters",
            Rule::Methods => "methods",
            Rule::Fields => "fields",
            Rule::Panics => "unwrap/expect per 1,000 lines",
            Rule::FileKilobytes => "kilobytes",
        }
    }
}

/// One measured thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rule: Rule,
    /// Path, and for what is in a file `::` and its name.
    pub(super) place: String,
    pub(super) value: usize,
}

impl Size {
    /// The value with its unit and limits.
    pub(super) fn measure(&self) -> String {
        let (aim, stop) = self.rule.limits();
        format!("{} {} (aim {aim}, at most {stop})", self.value, self.rule.unit())
    }
}

/// All sizes of the workspace.
#[derive(Default)]
pub(super) struct Measures {
    pub(super) sizes: Vec<Size>,
}

/// The crate in which a panic is how a finding is told, as in a test.
const ALL_ASSERTIONS: &str = "fuzz";

/// At most this many functions of a hundred may be longer than the aim.
const LONG_FUNCTIONS_PERCENT: usize = 2;

impl Measures {
    pub(super) fn take(sources: &[Source]) -> Self {
        let mut sizes = Vec::new();
        let mut methods: BTreeMap<String, usize> = BTreeMap::new();
        let mut crates: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for source in sources {
            let mut visitor = Visitor {
                source,
                scope: Vec::new(),
                sizes: &mut sizes,
                methods: &mut methods,
                panics: 0,
            };
            visitor.visit_file(&source.syntax);
            let totals = crates.entry(&source.crate_name).or_default();
            totals.0 += source.lines;
            totals.1 += visitor.panics;
            sizes.push(Size {
                rule: Rule::FileLines,
                place: source.path.clone(),
                value: source.lines,
            });
        }
        sizes.extend(methods.into_iter().map(|(place, value)| Size {
            rule: Rule::Methods,
            place,
            value,
        }));
        for (name, (lines, panics)) in crates {
            if name == ALL_ASSERTIONS {
                continue;
            }
            // A small crate is measured as if it had a thousand lines.
            let value = (panics * 1_000).div_ceil(lines.max(1_000));
            sizes.push(Size { rule: Rule::Panics, place: name.to_owned(), value });
        }
        Self { sizes }
    }

    pub(super) fn above_aim(&self) -> impl Iterator<Item = &Size> {
        self.sizes.iter().filter(|size| size.value > size.rule.limits().0)
    }

    /// Functions longer than the aim, and how many may be.
    pub(super) fn long_functions(&self) -> (usize, usize) {
        let functions = || self.sizes.iter().filter(|size| size.rule == Rule::FunctionLines);
        let long = functions().filter(|size| size.value > Rule::FunctionLines.limits().0).count();
        (long, functions().count() * LONG_FUNCTIONS_PERCENT / 100)
    }
}

impl fmt::Display for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |rule| self.sizes.iter().filter(|size| size.rule == rule).count();
        let files = self.sizes.iter().filter(|size| size.rule == Rule::FileLines);
        let lines: usize = files.map(|size| size.value).sum();
        write!(
            f,
            "{} files, {lines} lines, {} functions, {} of them above {} lines",
            count(Rule::FileLines),
            count(Rule::FunctionLines),
            self.long_functions().0,
            Rule::FunctionLines.limits().0,
        )
    }
}

struct Visitor<'a> {
    source: &'a Source,
    /// The type or function that is being visited.
    scope: Vec<String>,
    sizes: &'a mut Vec<Size>,
    methods: &'a mut BTreeMap<String, usize>,
    panics: usize,
}

impl Visitor<'_> {
    fn record(&mut self, rule: Rule, name: &str, value: usize) {
        let scope: String = self.scope.iter().map(|outer| format!("{outer}::")).collect();
        let place = format!("{}::{scope}{name}", self.source.path);
        self.sizes.push(Size { rule, place, value });
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let name = signature.ident.to_string();
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        self.record(Rule::FunctionLines, &name, last - first + 1);
        self.record(Rule::Parameters, &name, signature.inputs.len());
    }

    fn within(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.scope.push(name);
        visit(self);
        self.scope.pop();
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.within(module.ident.to_string(), |this| syn::visit::visit_item_mod(this, module));
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig, &function.block);
        let name = function.sig.ident.to_string();
        self.within(name, |this| syn::visit::visit_item_fn(this, function));
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        let name = type_name(&block.self_ty);
        if block.trait_.is_none() {
            let count = block
                .items
                .iter()
                .filter(|item| matches!(item, syn::ImplItem::Fn(f) if !is_test(&f.attrs)))
                .count();
            *self.methods.entry(format!("{}::{name}", self.source.crate_name)).or_default() +=
                count;
        }
        self.within(name, |this| syn::visit::visit_item_impl(this, block));
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if is_test(&function.attrs) {
            return;
        }
        self.function(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.within(item.ident.to_string(), |this| syn::visit::visit_item_trait(this, item));
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        match &function.default {
            Some(block) => self.function(&function.sig, block),
            None => {
                let name = function.sig.ident.to_string();
                self.record(Rule::Parameters, &name, function.sig.inputs.len());
            }
        }
        syn::visit::visit_trait_item_fn(self, function);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.record(Rule::Fields, &item.ident.to_string(), item.fields.len());
        syn::visit::visit_item_struct(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let name = call.method.to_string();
        let panics = match name.as_str() {
            "unwrap" => call.args.is_empty(),
            "expect" => matches!(call.args.first(), Some(syn::Expr::Lit(_) | syn::Expr::Macro(_))),
            _ => false,
        };
        self.panics += usize::from(panics);
        syn::visit::visit_expr_method_call(self, call);
    }
}

/// `Store` of `Store<'_, T>`; the whole text of anything that is no path.
fn type_name(kind: &syn::Type) -> String {
    match kind {
        syn::Type::Path(path) => {
            path.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default()
        }
        syn::Type::Reference(reference) => type_name(&reference.elem),
        other => format!("line {}", other.span().start().line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(text: &str) -> Measures {
        let syntax = syn::parse_file(text).unwrap();
        Measures::take(&[Source {
            path: "a.rs".to_owned(),
            crate_name: "a".to_owned(),
            text: text.to_owned(),
            syntax,
            lines: text.lines().count(),
        }])
    }

    fn check(text: &str, rule: Rule, place: &str, value: usize) {
        let expected = Size { rule, place: place.to_owned(), value };
        let sizes = measure(text).sizes;
        assert!(sizes.contains(&expected), "{expected:?} is not in {sizes:?}");
    }

    #[test]
    fn sizes_are_measured() {
        let text =
            "struct S { a: u8, b: u8 }\nimpl S {\n    fn f(&self, x: u8) {\n        x\n    }\n}\n";
        check(text, Rule::Fields, "a.rs::S", 2);
        check(text, Rule::FunctionLines, "a.rs::S::f", 3);
        check(text, Rule::Parameters, "a.rs::S::f", 2);
        check(text, Rule::Methods, "a::S", 1);
        check(text, Rule::FileLines, "a.rs", 6);
        check("fn f() { a.unwrap(); b.expect(\"c\"); self.expect(d) }", Rule::Panics, "a", 2);
    }

    #[test]
    fn tests_do_not_count() {
        let sizes = measure("#[cfg(test)]\nmod tests {\n    fn f() { a.unwrap() }\n}\n").sizes;
        assert!(sizes.iter().all(|size| size.rule != Rule::FunctionLines));
        assert!(sizes.contains(&Size { rule: Rule::Panics, place: "a".to_owned(), value: 0 }));
    }
}
