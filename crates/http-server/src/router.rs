//! Which route a path belongs to.

use std::collections::HashMap;
use std::sync::Arc;

use contract::{CallError, Request, Route};
use http::Method;

use crate::route_metrics::RouteMetrics;
use crate::{BoxFuture, Reply, Upload};

/// A handler that answers by itself: the agent's own endpoints.
pub type LocalHandler = Arc<dyn Fn(Request) -> BoxFuture<Result<Reply, CallError>> + Send + Sync>;

/// A handler that takes the body as it comes; that of its request is empty.
pub type UploadHandler =
    Arc<dyn Fn(Request, Upload) -> BoxFuture<Result<Reply, CallError>> + Send + Sync>;

/// A path that the agent answers by itself.
pub struct LocalRoute {
    /// The path. One that ends in `/` stands for everything below it.
    pub path: &'static str,
    /// The methods, in the order in which `Allow` lists them.
    pub verbs: Vec<(Method, LocalHandler)>,
}

/// What answers one method of one route.
#[derive(Clone)]
pub(crate) enum Handler {
    /// Gives a call to run.
    Domain(fn(&Request) -> Result<contract::Call, CallError>),
    /// Answers by itself.
    Local(LocalHandler),
    /// Answers by itself, and takes the body as it comes.
    Upload(UploadHandler),
}

/// One method of a path.
pub(crate) struct Verb {
    /// `None` is any.
    method: Option<Method>,
    pub(crate) handler: Handler,
    pub(crate) metrics: RouteMetrics,
}

/// One path with its methods.
pub(crate) struct Entry {
    pub(crate) path: &'static str,
    verbs: Vec<Verb>,
    /// The value of `Allow`.
    pub(crate) allow: String,
}

impl Entry {
    pub(crate) fn verb(&self, method: &Method) -> Option<&Verb> {
        let fits = |verb: &&Verb| verb.method.as_ref().is_none_or(|known| known == method);
        self.verbs.iter().find(fits)
    }

    /// Whether a handler of the route answers `OPTIONS`, and not its list of methods.
    pub(crate) fn answers_options(&self) -> bool {
        self.verbs.iter().any(|verb| verb.method.is_none())
    }
}

/// All routes.
#[derive(Default)]
pub struct Router {
    entries: HashMap<&'static str, Entry>,
}

impl Router {
    /// No routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the routes of a domain.
    ///
    /// # Panics
    ///
    /// If a path is taken.
    pub fn add_domain(&mut self, routes: &'static [Route]) {
        for route in routes {
            let verbs = route.verbs.iter();
            let verbs = verbs.map(|verb| (verb.method.clone(), Handler::Domain(verb.call)));
            self.add(route.path, verbs.collect());
        }
    }

    /// Adds routes of the agent's own.
    ///
    /// # Panics
    ///
    /// If a path is taken.
    pub fn add_local(&mut self, routes: Vec<LocalRoute>) {
        for route in routes {
            let verbs = route.verbs.into_iter();
            let verbs = verbs.map(|(method, handler)| (Some(method), Handler::Local(handler)));
            self.add(route.path, verbs.collect());
        }
    }

    /// Adds a method whose body may be of any size to a path that is there.
    ///
    /// # Panics
    ///
    /// If the path is not there or has the method.
    pub fn add_upload(&mut self, path: &'static str, method: Method, handler: UploadHandler) {
        let entry = self.entries.remove(path).expect("an upload joins a route that is there");
        assert!(entry.verb(&method).is_none(), "two handlers claim {method} {path}");
        let there = entry.verbs.into_iter().map(|verb| (verb.method, verb.handler));
        let mut verbs: Vec<_> = there.collect();
        verbs.push((Some(method), Handler::Upload(handler)));
        self.add(path, verbs);
    }

    fn add(&mut self, path: &'static str, verbs: Vec<(Option<Method>, Handler)>) {
        let methods = verbs.iter().map(|(method, _)| method.as_ref().map_or("*", Method::as_str));
        let methods: Vec<&str> = methods.collect();
        let allow = format!("OPTIONS,{}", methods.join(","));
        let verb = |(method, handler)| Verb { method, handler, metrics: RouteMetrics::default() };
        let verbs = verbs.into_iter().map(verb).collect();
        let taken = self.entries.insert(path, Entry { path, verbs, allow });
        assert!(taken.is_none(), "two routes claim {path}");
    }

    /// The route of a path with what follows it: the path itself, else the longest
    /// route ending in `/` that it begins with.
    pub(crate) fn find<'p>(&self, path: &'p str) -> Option<(&Entry, &'p str)> {
        if let Some(entry) = self.entries.get(path) {
            return Some((entry, ""));
        }
        let mut end = path.len();
        while let Some(slash) = path[..end].rfind('/') {
            if let Some(entry) = self.entries.get(&path[..=slash]) {
                return Some((entry, &path[slash + 1..]));
            }
            end = slash;
        }
        None
    }

    /// Whether the path becomes a route by a slash at its end.
    pub(crate) fn wants_slash(&self, path: &str) -> bool {
        !path.ends_with('/') && self.entries.contains_key(format!("{path}/").as_str())
    }

    /// All paths with their `Allow`, sorted: for ledgers and help.
    pub fn paths(&self) -> Vec<(&'static str, &str)> {
        #[allow(clippy::iter_over_hash_type, reason = "sorted below")]
        let mut paths: Vec<_> =
            self.entries.values().map(|entry| (entry.path, entry.allow.as_str())).collect();
        paths.sort_unstable();
        paths
    }
}
