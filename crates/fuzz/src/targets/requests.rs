//! Requests that mean something, made by decision: the same few names come again
//! and again, so that they collide.

use crate::choices::Choices;

const NODES: &[&str] = &["n1", "N1", "n2", "n3", "\u{130}x"];
const NODE_IDS: &[&str] = &[
    "",
    "f0000000-0000-0000-0000-000000000001",
    "F0000000-0000-0000-0000-000000000001",
    "f0000000-0000-0000-0000-000000000002",
];
const SERVICES: &[&str] = &["web", "Web", "db", "web-proxy", "\u{130}"];
const SERVICE_IDS: &[&str] = &["", "web", "WEB", "web-1", "p"];
const CHECK_IDS: &[&str] = &["serfHealth", "c", "C", "d"];
const STATUSES: &[&str] = &["passing", "warning", "critical", "maintenance", "odd", ""];
const KINDS: &[&str] = &[
    "",
    "",
    "",
    "connect-proxy",
    "connect-proxy",
    "mesh-gateway",
    "terminating-gateway",
    "ingress-gateway",
    "api-gateway",
    "odd",
];
const KEYS: &[&str] = &["a", "a/", "a/b", "a/b/c", "A", "b", "%00", "%C3%A9", "a%2Fb", ""];
const INDEXES: &[&str] = &["0", "10", "11", "12", "13", "14", "99", "x"];

/// A run of requests to the catalog.
pub(super) fn catalog(choices: &mut Choices<'_>) -> String {
    run(choices, |choices, lines| match choices.below(4) {
        0 => deregistration(choices, lines),
        _ => registration(choices, lines),
    })
}

/// A run of requests to the KV store.
pub(super) fn kv(choices: &mut Choices<'_>) -> String {
    run(choices, |choices, lines| {
        let key = *choices.pick(KEYS);
        let index = *choices.pick(INDEXES);
        lines.push_str(&match choices.below(9) {
            0 => format!("PUT /v1/kv/{key}?cas={index} {index}"),
            1 => format!("DELETE /v1/kv/{key}"),
            2 => format!("DELETE /v1/kv/{key}?cas={index}"),
            3 => format!("DELETE /v1/kv/{key}?recurse"),
            4 => format!("GET /v1/kv/{key}?keys&separator=/"),
            5 => format!("GET /v1/kv/{key}?recurse&index={index}"),
            6 => format!("PUT /v1/kv/{key}?acquire=f0000000-0000-0000-0000-000000000001 x"),
            _ => format!("PUT /v1/kv/{key}?flags={index} value-{}", choices.below(3)),
        });
    })
}

fn run(choices: &mut Choices<'_>, line: impl Fn(&mut Choices<'_>, &mut String)) -> String {
    let mut lines = String::new();
    while !choices.is_empty() {
        line(choices, &mut lines);
        lines.push('\n');
    }
    lines
}

fn registration(choices: &mut Choices<'_>, out: &mut String) {
    let mut fields = vec![format!("\"Node\":\"{}\"", choices.pick(NODES))];
    fields.push(format!("\"ID\":\"{}\"", choices.pick(NODE_IDS)));
    match choices.below(4) {
        0 => fields.push("\"SkipNodeUpdate\":true".to_owned()),
        octet => fields.push(format!("\"Address\":\"10.0.0.{octet}\"")),
    }
    if choices.below(2) == 0 {
        fields.push(format!("\"Service\":{{{}}}", service(choices)));
    }
    match choices.below(4) {
        0 => fields.push(format!("\"Check\":{{{}}}", check(choices))),
        1 => {
            let checks: Vec<String> =
                (0..choices.below(4)).map(|_| format!("{{{}}}", check(choices))).collect();
            fields.push(format!("\"Checks\":[{}]", checks.join(",")));
        }
        _ => {}
    }
    out.push_str(&format!("PUT /v1/catalog/register {{{}}}", fields.join(",")));
}

fn service(choices: &mut Choices<'_>) -> String {
    let mut fields = vec![
        format!("\"ID\":\"{}\"", choices.pick(SERVICE_IDS)),
        format!("\"Service\":\"{}\"", choices.pick(SERVICES)),
        format!("\"Port\":{}", choices.below(3)),
        format!("\"Kind\":\"{}\"", choices.pick(KINDS)),
    ];
    if choices.below(2) == 0 {
        fields.push(format!(
            "\"Proxy\":{{\"DestinationServiceName\":\"{}\"}}",
            choices.pick(SERVICES)
        ));
    }
    if choices.below(4) == 0 {
        fields.push("\"Connect\":{\"Native\":true}".to_owned());
    }
    if choices.below(4) == 0 {
        fields.push("\"Tags\":[\"b\",\"a\",\"b\"],\"Meta\":{}".to_owned());
    }
    fields.join(",")
}

fn check(choices: &mut Choices<'_>) -> String {
    let mut fields = vec![
        format!("\"CheckID\":\"{}\"", choices.pick(CHECK_IDS)),
        format!("\"Status\":\"{}\"", choices.pick(STATUSES)),
    ];
    if choices.below(2) == 0 {
        fields.push(format!("\"ServiceID\":\"{}\"", choices.pick(SERVICE_IDS)));
    }
    if choices.below(4) == 0 {
        fields.push(format!("\"Node\":\"{}\"", choices.pick(NODES)));
    }
    fields.join(",")
}

fn deregistration(choices: &mut Choices<'_>, out: &mut String) {
    let mut fields = vec![format!("\"Node\":\"{}\"", choices.pick(NODES))];
    match choices.below(4) {
        0 => fields.push(format!("\"ServiceID\":\"{}\"", choices.pick(SERVICE_IDS))),
        1 => fields.push(format!("\"CheckID\":\"{}\"", choices.pick(CHECK_IDS))),
        _ => {}
    }
    out.push_str(&format!("PUT /v1/catalog/deregister {{{}}}", fields.join(",")));
}
