//! What is kept on disk, and what comes back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use config::runtime::DefinitionSource;
use serde_json::{Value, json};
use types::SecretId;
use types::check::CheckDefinition;
use types::service::ServiceDefinition;

use super::super::Local;
use super::{FakeCatalog, options};

fn start(dir: &Path, definitions: DefinitionSource) -> Local {
    let mut options = options();
    options.data_dir = Some(dir.to_owned());
    options.definitions = definitions;
    Local::start(options, Arc::new(FakeCatalog::default())).expect("all definitions are valid")
}

fn service(value: Value) -> ServiceDefinition {
    serde_json::from_value(value).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// `sha256sum` of `web`.
const WEB: &str = "4b5e57f6eb2f42b9039b3d1e13929295f231749c510cbe341cd68036d9af97e2";

#[tokio::test]
async fn a_service_of_the_api_is_written_as_consul_does_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let token = SecretId::from("secret");
    let local = start(dir.path(), DefinitionSource::default());
    let web = service(json!({"Name": "web", "Port": 80, "Tags": ["t"],
        "Check": {"CheckID": "c", "TTL": "1h", "Status": "passing", "Notes": "n"},
        "Connect": {"SidecarService": {}}}));
    local.register_service(&web, false, &token).await.unwrap();
    local.set_service_maintenance(&"web".into(), true, "oil", &token).await.unwrap();
    local.shutdown().await;
    let path = dir.path().join("services").join(WEB);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let file = read(&path);
    assert_eq!(file["Token"], "secret");
    assert_eq!(file["Source"], "remote");
    assert_eq!(file["Service"]["Service"], "web");
    assert_eq!(names(&dir.path().join("services")).len(), 2);
    let checks: Vec<Value> = names(&dir.path().join("checks"))
        .iter()
        .map(|name| read(&dir.path().join("checks").join(name)))
        .collect();
    let ttl = checks.iter().find(|file| file["Check"]["CheckID"] == "c").unwrap();
    assert_eq!(ttl["ChkType"]["TTL"], 3_600_000_000_000_i64);
    assert_eq!(ttl["Check"]["Notes"], "n");
    let maintenance = checks.iter().find(|file| file["Check"]["Type"] == "maintenance").unwrap();
    assert_eq!(maintenance["ChkType"], Value::Null);

    let before = local.services();
    let again = start(dir.path(), DefinitionSource::default());
    assert_eq!(again.services(), before);
    let check = again.check(&"c".into()).unwrap();
    assert_eq!(check.status.as_str(), "critical", "nobody told it anything");
    assert_eq!(check.service_tags, ["t"]);
    assert_eq!(again.check(&"_service_maintenance:web".into()).unwrap().notes, "oil");
    again.deregister_service(&"web".into(), &token).await.unwrap();
    again.shutdown().await;
    assert_eq!(names(&dir.path().join("services")), [""; 0]);
    assert_eq!(names(&dir.path().join("checks")), [""; 0]);
    assert!(again.services().is_empty(), "the sidecar went with it");
}

#[tokio::test]
async fn the_status_of_a_ttl_check_survives_a_restart_within_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let token = SecretId::default();
    let local = start(dir.path(), DefinitionSource::default());
    for (name, ttl) in [("long", "1h"), ("short", "1s")] {
        let check: CheckDefinition =
            serde_json::from_value(json!({"Name": name, "TTL": ttl})).unwrap();
        local.register_check(&check, &token).await.unwrap();
        let passing = types::check::Status::Passing;
        local.update_ttl(&name.into(), passing, "well", &token).await.unwrap();
    }
    local.shutdown().await;
    let states = dir.path().join("checks/state");
    for name in names(&states) {
        let mut state = read(&states.join(&name));
        assert_eq!((&state["Status"], &state["Output"]), (&json!("passing"), &json!("well")));
        if state["CheckID"] == "short" {
            state["Expires"] = json!(1);
            fs::write(states.join(&name), state.to_string()).unwrap();
        }
    }
    let again = start(dir.path(), DefinitionSource::default());
    let shown = |id: &str| {
        let check = again.check(&id.into()).unwrap();
        (check.status.to_string(), check.output.clone())
    };
    assert_eq!(shown("long"), ("passing".to_owned(), "well".to_owned()));
    assert_eq!(shown("short"), ("critical".to_owned(), String::new()));
    again.shutdown().await;
}

#[tokio::test]
async fn files_of_the_configuration_win_over_what_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    let token = SecretId::default();
    let local = start(dir.path(), DefinitionSource::default());
    local
        .register_service(&service(json!({"Name": "web", "Port": 1})), false, &token)
        .await
        .unwrap();
    local.shutdown().await;
    let definitions = DefinitionSource {
        services: vec![service(json!({"Name": "web", "Port": 2}))],
        ..DefinitionSource::default()
    };
    let again = start(dir.path(), definitions);
    assert_eq!(again.service(&"web".into()).unwrap().port, 2);
    assert_eq!(names(&dir.path().join("services")), [""; 0]);
    again.shutdown().await;
}

#[tokio::test]
async fn unfinished_and_broken_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let services = dir.path().join("services");
    fs::create_dir_all(&services).unwrap();
    fs::write(services.join("x.tmp"), r#"{"Service":{"ID":"x","Service":"x"}}"#).unwrap();
    fs::write(services.join("y"), "{").unwrap();
    fs::write(services.join("z"), r#"{"Service":{"ID":"z","Service":"z","Unknown":1}}"#).unwrap();
    let local = start(dir.path(), DefinitionSource::default());
    let ids: Vec<String> = local.services().iter().map(|s| s.id.as_str().to_owned()).collect();
    assert_eq!(ids, ["z"]);
    assert_eq!(names(&services), ["x.tmp", "y", "z"]);
    local.shutdown().await;
}

#[tokio::test]
async fn a_check_of_a_service_that_is_gone_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let token = SecretId::default();
    let local = start(dir.path(), DefinitionSource::default());
    let web = service(json!({"Name": "web", "Check": {"TTL": "1h"}}));
    local.register_service(&web, false, &token).await.unwrap();
    local.shutdown().await;
    fs::remove_file(dir.path().join("services").join(WEB)).unwrap();
    let again = start(dir.path(), DefinitionSource::default());
    assert!(again.checks().is_empty());
    again.shutdown().await;
    assert_eq!(names(&dir.path().join("checks")), [""; 0]);
}
