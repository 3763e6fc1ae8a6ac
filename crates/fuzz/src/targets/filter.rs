//! The filter language: parse, compile for every schema, look at rows.

use filter::{Expression, Filter, LazyFilter, Schema, schemas};

use super::{assert_says, catalog_rows};

/// What filters are made of.
pub(super) const WORDS: &[&str] = &[
    " and ",
    " or ",
    "not ",
    " == ",
    " != ",
    " in ",
    " not in ",
    " contains ",
    " not contains ",
    " is empty",
    " is not empty",
    " matches ",
    " not matches ",
    "(",
    ")",
    "\"",
    "`",
    ".",
    "Meta",
    "Service",
    "Node",
    "Checks",
    "Tags",
    "Port",
    "Status",
    "ServiceMeta",
    "NodeMeta",
    "Proxy",
    "Upstreams",
    "Weights.Passing",
    "TaggedAddresses",
    "Meta[\"k\"]",
    "`.*`",
    "\"(a*)*$\"",
    "`(x{900}){900}`",
    "`\\pL{200}`",
    "passing",
    "web",
    "Connect.Native",
    "Proxy.MeshGateway.Mode",
    "Definition",
    "/Meta/a~1b",
    "\"\\u00e9\"",
    "Service.Proxy.Expose.Paths",
    "0x1F",
    "1_000",
];

/// Checks one expression.
pub(super) fn check(input: &[u8]) {
    let text = super::text(input);
    if let Err(error) = Expression::parse(&text) {
        assert_says(&error.to_string(), text.len());
    }
    let rows = catalog_rows::instances();
    against(&text, &schemas::CHECK_SERVICE_NODE, rows.iter());
    against(&text, &schemas::NODE, rows.iter().map(|row| &*row.node));
    against(&text, &schemas::NODE_SERVICE, rows.iter().map(|row| &*row.service));
    let checks = rows.iter().flat_map(|row| &row.checks).map(|check| &**check);
    against(&text, &schemas::HEALTH_CHECK, checks);
    against(&text, &schemas::SERVICE_NODE, catalog_rows::joined().iter());
}

fn against<'r, T>(text: &str, schema: &'static Schema<T>, rows: impl Iterator<Item = &'r T>) {
    let lazy = LazyFilter::compile(text, schema);
    let filter = match Filter::compile(text, schema) {
        Ok(filter) => filter,
        Err(error) => {
            assert_says(&error.to_string(), text.len());
            if let Ok(lazy) = lazy {
                for refused in rows.filter_map(|row| lazy.matches(row).err()) {
                    assert_says(&refused.to_string(), text.len());
                }
            }
            return;
        }
    };
    let lazy = lazy.expect("what holds for all rows holds for each");
    for row in rows {
        assert_eq!(lazy.matches(row), Ok(filter.matches(row)), "{text}");
    }
}
