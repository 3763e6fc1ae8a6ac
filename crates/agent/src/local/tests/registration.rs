//! What a registration is refused for, and what is filled in.

use acl::Authorizer;
use checks::status::definition::Origin;
use serde_json::json;
use types::SecretId;
use types::check::CheckDefinition;
use types::json::{Unknown, decode};
use types::service::ServiceDefinition;

use super::super::register::{Asking, Plan, plan_check, plan_service};
use super::super::state::State;
use super::{node, rules};

fn plan(state: &State, definition: &serde_json::Value) -> Result<Plan, String> {
    let definition: ServiceDefinition =
        decode(definition.to_string().as_bytes(), Unknown::Deny).map_err(|e| e.to_string())?;
    let token = SecretId::from("t");
    let who = Authorizer::allow_all();
    let asking = Asking { origin: Origin::Api, token: &token, who: &who };
    plan_service(&rules(), state, &definition, asking).map_err(|error| error.text().to_owned())
}

fn put(state: &mut State, plan: Plan) {
    plan.services.into_iter().for_each(|service| state.put_service(service));
    plan.checks.into_iter().for_each(|check| state.put_check(check));
}

fn refused(definition: serde_json::Value, expect: &str) {
    let error = plan(&State::new(node()), &definition).expect_err("it is refused");
    assert_eq!(error, expect, "{definition}");
}

#[test]
fn services_are_refused_in_the_words_and_the_order_of_consul() {
    refused(json!({"Port": 80}), "Missing service name");
    refused(json!({"Name": "x", "Address": "::"}), "Invalid service address");
    refused(
        json!({"Name": "x", "Address": "[::]", "Weights": {"Passing": 0}}),
        "Invalid service address",
    );
    refused(
        json!({"Name": "x", "Weights": {"Passing": 0, "Warning": 70000}}),
        "Invalid Weights: Passing must be greater than 0",
    );
    refused(
        json!({"Name": "x", "Weights": {"Passing": 1, "Warning": -1}}),
        "Invalid Weights: Warning must be greater or equal than 0",
    );
    refused(
        json!({"Name": "x", "Weights": {"Passing": 1, "Warning": 65536}, "Meta": {"": "v"}}),
        "Invalid Weights: DNS Weight must be between 0 and 65535",
    );
    refused(
        json!({"Name": "x", "Meta": {"consul-x": "v"}}),
        "Invalid Service Meta: Couldn't load metadata pair ('consul-x', 'v'): Key prefix \
         'consul-' is reserved for internal use",
    );
    refused(
        json!({"Name": "x", "Kind": "connect-proxy"}),
        "Validation failed: 2 errors occurred:\n\t* Port or SocketPath must be set for a \
         connect-proxy\n\t* Proxy.DestinationServiceName must be non-empty for Connect proxy \
         services\n\n",
    );
    refused(
        json!({"Name": "x", "Connect": {"SidecarService": {"ID": "y"}}}),
        "Validation failed: 1 error occurred:\n\t* A SidecarService cannot specify an ID as this \
         is managed by the agent\n\n",
    );
    refused(
        json!({"Name": "x", "Checks": [{"TTL": "1s", "Interval": "1s"}], "Check": {"TTL": "1s"}}),
        "Invalid check: Interval and TTL cannot both be specified",
    );
    refused(
        json!({"Name": "x", "Check": {"TTL": "1s", "Status": "odd"}}),
        "Status for checks must 'passing', 'warning', 'critical'",
    );
    refused(
        json!({"Name": "x", "Connect": {"SidecarService": {"Check": {"HTTP": "http://x"}}}}),
        "Invalid check in sidecar_service: Interval must be > 0 for Script, HTTP, H2PING, TCP, \
         UDP or OSService checks",
    );
    refused(
        json!({"Name": "x", "TaggedAddresses": {"lan_ipv4": {"Address": "::1"}}}),
        "Service tagged address \"lan_ipv4\" must be a valid ipv4 address",
    );
    refused(
        json!({"Name": "x", "Check": {"Args": ["true"], "Interval": "1s"}}),
        "Scripts are disabled on this agent from remote calls; to enable, configure \
         'enable_script_checks' to true",
    );
    refused(
        json!({"Name": "x", "Port": "eighty"}),
        "json: cannot unmarshal string into Go struct field .Alias.Port of type int",
    );
}

#[test]
fn a_refused_permission_comes_after_the_mistakes() {
    let state = State::new(node());
    let definition = ServiceDefinition { name: "x".into(), ..ServiceDefinition::default() };
    let (token, who) = (SecretId::default(), Authorizer::deny_all());
    let asking = Asking { origin: Origin::Api, token: &token, who: &who };
    let error =
        plan_service(&rules(), &state, &definition, asking).expect_err("nothing is allowed");
    assert!(error.text().starts_with("Permission denied"), "{error}");
    assert!(error.text().contains("'service:write' on \"x\""), "{error}");
}

#[test]
fn a_service_gets_its_defaults() {
    let state = State::new(node());
    let plan = plan(&state, &json!({"Name": "web", "Address": "10.0.0.1", "Port": 80})).unwrap();
    let service = &plan.services[0].service;
    assert_eq!(service.id, "web");
    assert_eq!(service.weights, Some(types::catalog::Weights { passing: 1, warning: 1 }));
    assert_eq!(service.meta, None);
    let addresses = service.tagged_addresses.as_ref().unwrap();
    assert_eq!(addresses.keys().collect::<Vec<_>>(), ["lan_ipv4", "wan_ipv4"]);
    assert_eq!(
        (addresses["lan_ipv4"].address.as_str(), addresses["lan_ipv4"].port),
        ("10.0.0.1", 80)
    );
    assert_eq!(plan.services[0].token, "t");
}

#[test]
fn the_checks_of_a_service_are_numbered_when_there_are_several() {
    let state = State::new(node());
    let ids = |definition: serde_json::Value| -> Vec<String> {
        let plan = plan(&state, &definition).unwrap();
        plan.checks.iter().map(|local| local.check.check_id.as_str().to_owned()).collect()
    };
    assert_eq!(ids(json!({"Name": "a", "Check": {"TTL": "1s"}})), ["service:a"]);
    assert_eq!(
        ids(
            json!({"Name": "a", "Check": {"TTL": "1s"}, "Checks": [{"TTL": "2s", "CheckID": "own"}, {"TTL": "3s"}]})
        ),
        ["service:a:1", "own", "service:a:3"]
    );
    assert_eq!(ids(json!({"Name": "a", "Check": {}})), [""; 0]);
}

#[test]
fn a_sidecar_inherits_and_takes_the_lowest_free_port_once() {
    let mut state = State::new(node());
    let meshed = |name: &str| {
        json!({"Name": name, "Port": 81, "Tags": ["t"], "Address": "10.0.0.1",
               "Connect": {"SidecarService": {}}})
    };
    let planned = plan(&state, &meshed("a")).unwrap();
    let sidecar = &planned.services[1].service;
    assert_eq!(sidecar.id, "a-sidecar-proxy");
    assert_eq!(sidecar.kind, "connect-proxy");
    assert_eq!((sidecar.port, sidecar.address.as_str()), (21000, "10.0.0.1"));
    assert_eq!(sidecar.tags, ["t"]);
    assert_eq!(sidecar.proxy.destination_service_id, "a");
    assert_eq!(sidecar.proxy.local_service_port, 81);
    assert!(planned.services[1].is_sidecar && !planned.services[0].is_sidecar);
    let checks: Vec<(&str, &str)> = planned
        .checks
        .iter()
        .map(|local| (local.check.check_id.as_str(), local.check.name.as_str()))
        .collect();
    assert_eq!(
        checks,
        [
            ("service:a-sidecar-proxy:1", "Connect Sidecar Listening"),
            ("service:a-sidecar-proxy:2", "Connect Sidecar Aliasing a")
        ]
    );
    assert_eq!(planned.checks[0].definition.as_ref().unwrap().tcp, "10.0.0.1:21000");
    put(&mut state, planned);
    let again = plan(&state, &meshed("a")).unwrap();
    assert_eq!(again.services[1].service.port, 21000);
    let other = plan(&state, &meshed("b")).unwrap();
    assert_eq!(other.services[1].service.port, 21001);
}

#[test]
fn a_sidecar_without_a_port_left_is_refused() {
    let mut rules = rules();
    rules.sidecar_ports.max = rules.sidecar_ports.min;
    let mut state = State::new(node());
    let (token, who) = (SecretId::default(), Authorizer::allow_all());
    let asking = Asking { origin: Origin::Api, token: &token, who: &who };
    let definition = |name: &str| -> ServiceDefinition {
        serde_json::from_value(json!({"Name": name, "Connect": {"SidecarService": {}}, "Port": 1}))
            .unwrap()
    };
    let first = plan_service(&rules, &state, &definition("a"), asking).unwrap();
    put(&mut state, first);
    let error = plan_service(&rules, &state, &definition("b"), asking).unwrap_err();
    assert_eq!(
        error.text(),
        "Invalid SidecarService: no port provided for sidecar_service and none left in the \
         configured range [21000, 21000]"
    );
    rules.sidecar_ports = Default::default();
    let error = plan_service(&rules, &state, &definition("b"), asking).unwrap_err();
    assert_eq!(
        error.text(),
        "Invalid SidecarService: no port provided for sidecar_service and auto-assignment \
         disabled in config"
    );
}

#[test]
fn a_known_check_keeps_its_status_when_it_is_registered_again() {
    let mut state = State::new(node());
    let definition = json!({"Name": "a", "Check": {"TTL": "1s", "Status": "passing"}});
    let planned = plan(&state, &definition).unwrap();
    put(&mut state, planned);
    let again = json!({"Name": "a", "Check": {"TTL": "1s", "Status": "critical", "Notes": "n"}});
    let planned = plan(&state, &again).unwrap();
    put(&mut state, planned);
    let check = &state.check(&"service:a".into()).unwrap().check;
    assert_eq!((check.status.as_str(), check.notes.as_str()), ("passing", "n"));
}

fn check(origin: Origin, definition: serde_json::Value) -> Result<Plan, String> {
    let definition: CheckDefinition =
        decode(definition.to_string().as_bytes(), Unknown::Deny).map_err(|e| e.to_string())?;
    let (token, who) = (SecretId::default(), Authorizer::allow_all());
    let asking = Asking { origin, token: &token, who: &who };
    plan_check(&rules(), &State::new(node()), &definition, asking)
        .map_err(|error| error.text().to_owned())
}

#[test]
fn checks_are_refused_in_the_words_and_the_order_of_consul() {
    let cases = [
        (json!({"TTL": "1h", "Status": "odd"}), "Missing check name"),
        (json!({"Name": "x", "TTL": "1h", "Status": "odd"}), "Bad check status"),
        (
            json!({"Name": "x", "ServiceID": "absent"}),
            "Invalid check: TTL must be > 0 for TTL checks",
        ),
        (
            json!({"Name": "x", "TTL": "1h", "ServiceID": "absent"}),
            "ServiceID \"absent\" does not exist",
        ),
    ];
    for (definition, expect) in cases {
        assert_eq!(check(Origin::Api, definition.clone()).unwrap_err(), expect, "{definition}");
    }
}

#[test]
fn a_check_of_a_file_has_no_type_and_may_run_scripts() {
    let definition = json!({"Name": "x", "Args": ["true"], "Interval": "1s"});
    assert!(check(Origin::Api, definition.clone()).is_err());
    let plan = check(Origin::File, definition).unwrap();
    let check = &plan.checks[0].check;
    assert_eq!(
        (check.kind.as_str(), check.interval.as_str(), check.timeout.as_str()),
        ("", "1s", "0s")
    );
}
