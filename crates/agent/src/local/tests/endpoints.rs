//! The endpoints, called as the HTTP server calls them, against recorded answers of
//! Consul 1.21.4 (`testdata/`).

use std::sync::Arc;

use config::runtime::DefinitionSource;
use http_server::Reply;
use serde_json::{Value, json};
use types::service::ServiceDefinition;

use super::super::{LoadError, Local};
use super::{Endpoints, FakeCatalog, options};

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn answer(result: Result<Reply, contract::CallError>) -> Answer {
    let response = match result {
        Ok(reply) => reply.response,
        Err(error) => http_server::reply::error_response(&error),
    };
    let mut headers: Vec<(String, String)> =
        response.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
    let (content_type, body) = match response.body {
        contract::Body::Empty => ("application/json", Vec::new()),
        contract::Body::Json(bytes) => ("application/json", bytes.to_vec()),
        contract::Body::Bytes { content_type, bytes } => (content_type, bytes.to_vec()),
    };
    headers.push(("content-type".to_owned(), content_type.to_owned()));
    Answer { status: response.status.as_u16(), headers, body }
}

/// Removes what a step tells to leave out: pointers where `*` is any key.
fn drop_at(value: &mut Value, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else { return };
    let Value::Object(object) = value else { return };
    match (*first, rest) {
        ("*", rest) => object.values_mut().for_each(|value| drop_at(value, rest)),
        (key, []) => drop(object.remove(key)),
        (key, rest) => {
            if let Some(value) = object.get_mut(key) {
                drop_at(value, rest);
            }
        }
    }
}

/// Hides what differs from run to run and what is never given.
fn normalise(value: &mut Value, step: &Value) {
    for pointer in step["drop"].as_array().into_iter().flatten() {
        let path: Vec<&str> = pointer.as_str().unwrap().split('/').skip(1).collect();
        drop_at(value, &path);
    }
    if let Some(hash) = value.get_mut("ContentHash") {
        *hash = json!("<hash>");
    }
    if step.get("unordered").is_some() {
        for entry in value.as_array_mut().into_iter().flatten() {
            if let Some(checks) = entry["Checks"].as_array_mut() {
                checks.sort_by_key(|check| check["CheckID"].as_str().map(str::to_owned));
            }
        }
    }
}

fn compare(step: &Value, answer: &Answer) {
    let (what, expect) = (&step["do"], &step["expect"]);
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(json!(answer.status), expect["status"], "{what}: {text}");
    if let Some(wanted) = expect.get("json") {
        let mut got: Value = serde_json::from_slice(&answer.body).unwrap();
        normalise(&mut got, step);
        assert_eq!(&got, wanted, "{what}");
    }
    if let Some(lines) = expect["text"].as_array() {
        let got: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let wanted: Vec<&str> = lines.iter().map(|line| line.as_str().unwrap()).collect();
        assert_eq!(got, wanted, "{what}");
    }
    for (name, value) in expect["headers"].as_object().into_iter().flatten() {
        let header = (name.clone(), value.as_str().unwrap().to_owned());
        assert!(answer.headers.contains(&header), "{what}: {:?} lacks {header:?}", answer.headers);
    }
}

/// Time stands still, so that no check runs by itself in between.
#[tokio::test(start_paused = true)]
async fn the_recorded_dialogue_of_consul_is_repeated() {
    let local = Local::start(options(), Arc::new(FakeCatalog::default())).unwrap();
    let endpoints = Endpoints::new(&local);
    let steps: Vec<Value> =
        serde_json::from_str(include_str!("../testdata/agent-services.json")).unwrap();
    for step in &steps {
        let what = step["do"].as_str().unwrap();
        let body = match (step.get("send"), step["raw"].as_str()) {
            (Some(body), _) => body.to_string(),
            (None, raw) => raw.unwrap_or("").to_owned(),
        };
        // Alias checks follow in tasks of their own.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let Some(until) = what.strip_prefix("until ") else {
            compare(step, &answer(endpoints.call(what, body.into_bytes()).await));
            continue;
        };
        let reply = answer(endpoints.call(until, Vec::new()).await);
        let value: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(value.pointer(step["at"].as_str().unwrap()), step.get("equals"), "{what}");
    }
    local.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_changes_something_finds_that_in_the_catalog_at_once() {
    let catalog = Arc::new(FakeCatalog::default());
    let local = Local::start(options(), catalog.clone()).unwrap();
    let endpoints = Endpoints::new(&local);
    let body = json!({"Name": "web", "Check": {"TTL": "1h"}}).to_string();
    endpoints.call("PUT /v1/agent/service/register", body.into_bytes()).await.unwrap();
    assert!(catalog.service("web").is_some());
    endpoints.call("PUT /v1/agent/check/pass/service:web?note=ok", Vec::new()).await.unwrap();
    assert_eq!(catalog.check("service:web").unwrap().status.as_str(), "passing");
    let body = json!({"ID": "mem", "Name": "memory", "TTL": "1h"}).to_string();
    endpoints.call("PUT /v1/agent/check/register", body.into_bytes()).await.unwrap();
    assert!(catalog.check("mem").is_some());
    endpoints.call("PUT /v1/agent/check/deregister/mem", Vec::new()).await.unwrap();
    assert_eq!(catalog.check("mem"), None);
    endpoints.call("PUT /v1/agent/service/deregister/web", Vec::new()).await.unwrap();
    assert!(catalog.service("web").is_none());
    assert_eq!(catalog.check("service:web"), None);
    local.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_with_the_current_hash_waits_for_another() {
    let local = Local::start(options(), Arc::new(FakeCatalog::default())).unwrap();
    let endpoints = Endpoints::new(&local);
    let register = |port: u16| {
        let body = json!({"Name": "web", "Port": port}).to_string().into_bytes();
        endpoints.call("PUT /v1/agent/service/register", body)
    };
    register(1).await.unwrap();
    let first = answer(endpoints.call("GET /v1/agent/service/web", Vec::new()).await);
    let (_, hash) = first.headers.iter().find(|(n, _)| n == "x-consul-contenthash").unwrap();
    let blocked = format!("GET /v1/agent/service/web?hash={hash}&wait=10s");
    // Nothing changes: the same answer, after the wait, which passes at once here.
    let before = tokio::time::Instant::now();
    let same = answer(endpoints.call(&blocked, Vec::new()).await);
    assert_eq!(same.body, first.body);
    assert!(before.elapsed().as_secs() >= 10);
    let change = async {
        tokio::task::yield_now().await;
        register(2).await
    };
    let before = tokio::time::Instant::now();
    let (changed, _) = tokio::join!(endpoints.call(&blocked, Vec::new()), change);
    assert!(before.elapsed().is_zero());
    let value: Value = serde_json::from_slice(&answer(changed).body).unwrap();
    assert_eq!(value["Port"], 2);
    let gone = answer(endpoints.call("GET /v1/agent/service/web?wait=soon", Vec::new()).await);
    assert_eq!((gone.status, gone.body.as_slice()), (400, &b"Invalid wait time"[..]));
    local.shutdown().await;
}

#[tokio::test]
async fn the_id_of_a_check_has_one_name_alone_and_another_inside_a_service() {
    let local = Local::start(options(), Arc::new(FakeCatalog::default())).unwrap();
    let endpoints = Endpoints::new(&local);
    let cases = [
        ("check/register", json!({"Name": "x", "TTL": "1h", "CheckID": "y"}), "CheckID"),
        ("service/register", json!({"Name": "x", "Check": {"TTL": "1h", "ID": "y"}}), "ID"),
        ("service/register", json!({"Name": "x", "Checks": [{"TTL": "1h", "id": "y"}]}), "id"),
        ("service/register", json!({"Name": "x", "Odd": 1}), "Odd"),
    ];
    for (path, body, field) in cases {
        let call = format!("PUT /v1/agent/{path}");
        let answer = answer(endpoints.call(&call, body.to_string().into_bytes()).await);
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 400, "{text}");
        assert_eq!(text, format!("Request decode failed: json: unknown field {field:?}"));
    }
    local.shutdown().await;
}

#[tokio::test]
async fn filters_are_those_of_consul() {
    let local = Local::start(options(), Arc::new(FakeCatalog::default())).unwrap();
    let endpoints = Endpoints::new(&local);
    let lazy =
        answer(endpoints.call("GET /v1/agent/checks?filter=Nope%20==%201", Vec::new()).await);
    assert_eq!((lazy.status, lazy.body.as_slice()), (200, &b"{}"[..]), "no check was looked at");
    let body = json!({"Name": "own", "Tags": ["mine"], "Check": {"TTL": "1h", "CheckID": "c"}});
    let body = body.to_string().into_bytes();
    endpoints.call("PUT /v1/agent/service/register", body).await.unwrap();
    let cases = [
        ("services?filter=mine%20in%20Tags", 200, "own"),
        ("services?filter=Service%20!=%20own", 200, "{}"),
        (
            "services?filter=Name%20==%20own",
            500,
            "Failed to create boolean expression evaluator: Selector \"Name\" is not valid",
        ),
        ("checks?filter=Status%20==%20critical", 200, "\"c\""),
        ("checks?filter=Nope%20==%201", 500, "Selector \"Nope\" is not valid"),
    ];
    for (query, status, part) in cases {
        let answer = answer(endpoints.call(&format!("GET /v1/agent/{query}"), Vec::new()).await);
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, status, "{query}: {text}");
        assert!(text.contains(part), "{query}: {text}");
        assert!(status == 200 || text == part, "{query}: {text}");
    }
    local.shutdown().await;
}

fn with_services(services: Value) -> DefinitionSource {
    let services: Vec<ServiceDefinition> = serde_json::from_value(services).unwrap();
    DefinitionSource { services, ..DefinitionSource::default() }
}

#[tokio::test]
async fn a_bad_definition_in_a_file_stops_the_start_with_consuls_words() {
    let start = |services: Value| -> LoadError {
        let mut options = options();
        options.rules.scripts.local = false;
        options.definitions = with_services(services);
        Local::start(options, Arc::new(FakeCatalog::default())).err().expect("it is refused")
    };
    let nameless = start(json!([{"ID": "x", "Port": 9}]));
    assert_eq!(nameless.to_string(), "Failed to register service \"\": Service name missing");
    assert_eq!(
        nameless.on_reload(),
        "Failed reloading services: Failed to register service \"\": Service name missing"
    );
    assert_eq!(
        start(json!([{"Name": "x", "Check": {"Args": ["true"], "Interval": "5s"}}])).to_string(),
        "Failed to register service \"x\": Scripts are disabled on this agent; to enable, \
         configure 'enable_script_checks' or 'enable_local_script_checks' to true"
    );
    assert_eq!(
        start(json!([{"Name": "x", "Check": {"OSService": "s", "Interval": "5s"}}])).to_string(),
        "Failed to register service \"x\": not implemented"
    );
}

#[tokio::test]
async fn a_reload_changes_what_is_defined_and_keeps_what_is_known() {
    let mut options = options();
    options.definitions = with_services(json!([
        {"Name": "stays", "Check": {"TTL": "1h"}},
        {"Name": "goes", "Check": {"TTL": "1h"}},
    ]));
    let catalog = Arc::new(FakeCatalog::default());
    let local = Local::start(options, catalog.clone()).unwrap();
    let endpoints = Endpoints::new(&local);
    endpoints.call("PUT /v1/agent/check/pass/service:stays?note=well", Vec::new()).await.unwrap();
    let body = json!({"Name": "dynamic"}).to_string().into_bytes();
    endpoints.call("PUT /v1/agent/service/register", body).await.unwrap();
    catalog.until(|catalog| catalog.service("dynamic").is_some()).await;
    let bad = with_services(json!([{"Port": 5}]));
    let refused = local.reload_definitions(&bad, false, &Default::default()).await;
    assert!(refused.is_err());
    assert_eq!(local.services().len(), 3, "nothing has changed");
    let good = with_services(json!([
        {"Name": "stays", "Tags": ["new"], "Check": {"TTL": "1h"}},
        {"Name": "comes"},
    ]));
    local.reload_definitions(&good, false, &Default::default()).await.unwrap();
    let ids: Vec<String> = local.services().iter().map(|s| s.id.as_str().to_owned()).collect();
    assert_eq!(ids, ["comes", "stays"], "what came through the API was kept nowhere");
    let check = local.check(&"service:stays".into()).unwrap();
    assert_eq!((check.status.as_str(), check.output.as_str()), ("passing", "well"));
    assert_eq!(check.service_tags, ["new"]);
    catalog
        .until(|catalog| catalog.service("comes").is_some() && catalog.service("goes").is_none())
        .await;
    catalog.until(|catalog| catalog.service("dynamic").is_none()).await;
    local.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stays_critical_is_removed() {
    let catalog = Arc::new(FakeCatalog::default());
    let local = Local::start(options(), catalog.clone()).unwrap();
    let endpoints = Endpoints::new(&local);
    let body =
        json!({"Name": "gone", "Check": {"TTL": "1s", "DeregisterCriticalServiceAfter": "1m"}});
    endpoints.call("PUT /v1/agent/service/register", body.to_string().into_bytes()).await.unwrap();
    catalog.until(|catalog| catalog.service("gone").is_some()).await;
    let started = tokio::time::Instant::now();
    catalog.until(|catalog| catalog.service("gone").is_none()).await;
    let passed = started.elapsed().as_secs();
    assert!((60..=91).contains(&passed), "{passed}");
    local.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_behind_the_agents_back_comes_back() {
    use super::super::catalog::Catalog as _;
    let catalog = Arc::new(FakeCatalog::default());
    let local = Local::start(options(), catalog.clone()).unwrap();
    let endpoints = Endpoints::new(&local);
    let body = json!({"Name": "web"}).to_string().into_bytes();
    endpoints.call("PUT /v1/agent/service/register", body).await.unwrap();
    catalog.until(|catalog| catalog.service("web").is_some()).await;
    let request = types::catalog::DeregisterRequest {
        service_id: "web".into(),
        ..types::catalog::DeregisterRequest::default()
    };
    catalog.deregister(request, Default::default()).await.unwrap();
    assert_eq!(catalog.service("web"), None);
    let started = tokio::time::Instant::now();
    catalog.until(|catalog| catalog.service("web").is_some()).await;
    assert!(started.elapsed().as_secs() <= 121);
    local.shutdown().await;
}
