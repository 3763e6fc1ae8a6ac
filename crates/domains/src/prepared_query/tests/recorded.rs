//! Definitions and what a real Consul 1.8.7 answered to them, with the same catalog.

use serde::Deserialize;
use serde_json::Value;

use super::*;

#[derive(Deserialize)]
struct Recording {
    catalog: Vec<Value>,
    cases: Vec<Case>,
}

/// A definition: it was refused, or executed and explained.
#[derive(Deserialize)]
struct Case {
    query: Value,
    refused: Option<Refusal>,
    #[serde(default)]
    asked: Vec<Asked>,
}

#[derive(Deserialize)]
struct Refusal {
    text: String,
}

#[derive(Deserialize)]
struct Asked {
    name: String,
    #[serde(default)]
    params: String,
    execute: Value,
    explain: Object,
}

/// Later versions say where the refusal came from.
const LATER: &str = "raft apply failed: ";

#[test]
fn definitions_are_refused_executed_and_explained_as_by_consul() {
    let recording: Recording =
        serde_json::from_str(include_str!("../testdata/consul-1.8.json")).expect("it is sound");
    let mut world = World::new(&["dc1"]);
    for registration in &recording.catalog {
        world.register_in(0, &registration.to_string());
    }
    let mut differences = Vec::new();
    for case in &recording.cases {
        let mut compare = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                let query = &case.query;
                differences
                    .push(format!("{query}\n  {what}\n    ours   {ours}\n    Consul {theirs}"));
            }
        };
        let created = world.create(&case.query.to_string());
        let refusal = created.as_ref().err().map(|text| text.trim_start_matches(LATER).to_owned());
        let expected = case.refused.as_ref().map(|refusal| refusal.text.clone());
        compare("refused", format!("{refusal:?}"), format!("{expected:?}"));
        let Ok(id) = created else { continue };
        for asked in &case.asked {
            let name = &asked.name;
            let (ours, theirs) = executed(&world, asked);
            compare(&format!("execute {name}"), ours, theirs);
            let (ours, theirs) = explained(&world, asked);
            compare(&format!("explain {name}"), ours, theirs);
        }
        world.delete(&id).expect("it is there");
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(recording.cases.len() > 150, "the recording is there");
}

/// What was executed, ours and Consul's, in one form.
fn executed(world: &World, asked: &Asked) -> (String, String) {
    let theirs = match asked.execute.get("text") {
        Some(text) => text.as_str().unwrap_or_default().to_owned(),
        None => asked.execute.to_string(),
    };
    let pair = |name: &str| {
        asked.params.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    };
    let limit = match pair("limit").map(filter::coerce::parse_decimal) {
        Some(Err(error)) => return (format!("Bad limit: {error}"), theirs),
        Some(Ok(limit)) => usize::try_from(limit).unwrap_or(0),
        None => 0,
    };
    let near = pair("near").unwrap_or_default();
    let request = ExecuteRequest {
        id_or_name: asked.name.clone(),
        limit,
        near: near.to_owned(),
        connect: pair("connect") == Some("true"),
        ..ExecuteRequest::default()
    };
    let response = match world.execute(request) {
        Ok((response, _)) => response,
        Err(error) => return (error, theirs),
    };
    let mut nodes = shown(&response);
    let nodes = if !near.is_empty() {
        // The rest is in any order.
        nodes.truncate(1);
        serde_json::json!(nodes)
    } else if limit > 0 || asked.params.contains("limit") {
        serde_json::json!(nodes.len())
    } else {
        nodes.sort();
        serde_json::json!(nodes)
    };
    let ours = serde_json::json!({
        "Service": response.service,
        "DNS": response.dns,
        "Datacenter": response.datacenter,
        "Failovers": response.failovers,
        "Nodes": nodes,
    });
    (ours.to_string(), theirs)
}

/// What was explained: the members of `Service` that say something.
fn explained(world: &World, asked: &Asked) -> (String, String) {
    let theirs = match asked.explain.get("text") {
        Some(text) => text.as_str().unwrap_or_default().to_owned(),
        None => serde_json::json!(asked.explain).to_string(),
    };
    let query = match world.explain(&asked.name) {
        Ok(query) => query,
        Err(error) => return (error, theirs),
    };
    let service = json::encode(&query.service);
    let mut service: Object = serde_json::from_slice(&service).expect("it is JSON");
    if let Some(Value::Object(mut failover)) = service.remove("Failover")
        && let Some(datacenters) = failover.remove("Datacenters")
    {
        service.insert("Datacenters".to_owned(), datacenters);
    }
    service.retain(|_, value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    });
    (serde_json::json!(service).to_string(), theirs)
}
