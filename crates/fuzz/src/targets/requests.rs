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

/// A run of transactions, with sessions for their locks.
pub(super) fn txn(choices: &mut Choices<'_>) -> String {
    run(choices, |choices, lines| {
        if choices.below(6) == 0 {
            lines.push_str(r#"PUT /v1/session/create {"Node":"n1","NodeChecks":[],"Checks":[]}"#);
            return;
        }
        let count = 1 + choices.below(4);
        let ops: Vec<String> = (0..count).map(|_| txn_op(choices)).collect();
        lines.push_str(&format!("PUT /v1/txn [{}]", ops.join(",")));
    })
}

const KV_VERBS: &[&str] = &[
    "set",
    "cas",
    "lock",
    "unlock",
    "get",
    "get-or-empty",
    "get-tree",
    "check-index",
    "check-session",
    "check-not-exists",
    "delete",
    "delete-cas",
    "delete-tree",
    "odd",
];
const ROW_VERBS: &[&str] = &["set", "cas", "get", "delete", "delete-cas", "odd"];

/// The ids of the sessions that a run makes first, and of one that is never there.
const SESSION_IDS: &[&str] = &[
    "00000000-0000-0000-0000-00000000000b",
    "00000000-0000-0000-0000-00000000000c",
    "00000000-0000-0000-0000-0000000000ff",
    "",
];

fn txn_op(choices: &mut Choices<'_>) -> String {
    let index = match *choices.pick(INDEXES) {
        "x" => "1",
        index => index,
    };
    if choices.below(2) == 0 {
        let (verb, key) = (choices.pick(KV_VERBS), choices.pick(&["a", "a/b", "a/c", "b", ""]));
        let session = choices.pick(SESSION_IDS);
        return format!(
            r#"{{"KV":{{"Verb":"{verb}","Key":"{key}","Index":{index},"Session":"{session}","Value":"dg=="}}}}"#
        );
    }
    let (verb, node) = (choices.pick(ROW_VERBS), choices.pick(NODES));
    let modified = format!(r#""ModifyIndex":{index}"#);
    match choices.below(3) {
        0 => {
            let id = choices.pick(NODE_IDS);
            format!(
                r#"{{"Node":{{"Verb":"{verb}","Node":{{"Node":"{node}","ID":"{id}",{modified}}}}}}}"#
            )
        }
        1 => {
            let (id, service) = (choices.pick(SERVICE_IDS), choices.pick(SERVICES));
            format!(
                r#"{{"Service":{{"Verb":"{verb}","Node":"{node}","Service":{{"ID":"{id}","Service":"{service}",{modified}}}}}}}"#
            )
        }
        _ => {
            let (id, status) = (choices.pick(CHECK_IDS), choices.pick(STATUSES));
            let service = choices.pick(SERVICE_IDS);
            format!(
                r#"{{"Check":{{"Verb":"{verb}","Check":{{"Node":"{node}","CheckID":"{id}","Status":"{status}","ServiceID":"{service}",{modified}}}}}}}"#
            )
        }
    }
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
