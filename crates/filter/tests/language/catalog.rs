//! The catalog's selectors, with the rows and answers recorded from Consul 1.21.4.

use std::sync::Arc;

use filter::{Filter, Schema, schemas};
use types::catalog::{CheckServiceNode, Node, NodeService, ServiceAddress, ServiceNode};
use types::check::{HealthCheck, Status};
use types::proxy::Upstream;

use crate::rows::{map, texts};

fn node(name: &str, address: &str) -> Node {
    let (node, datacenter) = (name.into(), "dc1".into());
    Node { node, datacenter, address: address.to_owned(), ..Node::default() }
}

fn nodes() -> Vec<Node> {
    vec![
        Node {
            meta: map(&[("consul-network-segment", ""), ("consul-version", "1.21.4")]),
            tagged_addresses: map(&[("lan", "127.0.0.1"), ("wan", "127.0.0.1")]),
            ..node("a1", "127.0.0.1")
        },
        Node { meta: map(&[("os", "linux"), ("gen", "4")]), ..node("f1", "10.7.0.1") },
        Node { meta: map(&[("os", "bsd")]), ..node("f2", "10.7.0.2") },
        node("f3", "10.8.0.3"),
    ]
}

fn service(id: &str, port: i64, tags: &[&str], zone: Option<&str>) -> NodeService {
    NodeService {
        id: id.into(),
        service: "pay".into(),
        port,
        tags: texts(tags),
        meta: zone.and_then(|zone| map(&[("zone", zone)])),
        ..NodeService::default()
    }
}

fn entries() -> Vec<CheckServiceNode> {
    let check = |id: &str, status, output: &str| {
        let (check_id, service_name) = (id.into(), "pay".into());
        let (service_tags, output) = (texts(&["v2"]), output.to_owned());
        let check = HealthCheck {
            check_id,
            service_name,
            service_tags,
            status,
            output,
            ..HealthCheck::default()
        };
        vec![Arc::new(check)]
    };
    let services = [
        service("p1", 8443, &["tls", "v2"], Some("x")),
        service("p2", 8080, &["plain"], Some("y")),
        service("p3", 8081, &[], None),
    ];
    let checks = [
        check("p1c", Status::Passing, "200 OK"),
        check("p2c", Status::Critical, "timeout"),
        Vec::new(),
    ];
    let nodes = nodes().into_iter().skip(1);
    let joined = nodes.zip(services).zip(checks);
    joined
        .map(|((node, service), checks)| CheckServiceNode {
            node: Arc::new(node),
            service: Arc::new(service),
            checks,
        })
        .collect()
}

/// Which of the named rows pass.
fn passing<T>(
    text: &str,
    schema: &'static Schema<T>,
    rows: &[T],
    name: fn(&T) -> &str,
) -> Result<String, String> {
    let filter = Filter::compile(text, schema).map_err(|error| error.0.to_string())?;
    let names: Vec<&str> = rows.iter().filter(|row| filter.matches(row)).map(name).collect();
    Ok(names.join(" "))
}

#[test]
fn nodes_are_filtered_as_recorded() {
    let rows = nodes();
    let cases = [
        ("Node == \"f1\"", "f1"),
        ("Node == f1", "f1"),
        ("Node != f1", "a1 f2 f3"),
        ("Meta.os == linux", "f1"),
        ("Meta.os != linux", "a1 f2 f3"),
        ("gen in Meta", "f1"),
        ("gen not in Meta", "a1 f2 f3"),
        ("Meta contains os", "f1 f2"),
        ("Meta is empty", "f3"),
        ("Meta is not empty", "a1 f1 f2"),
        (r#"Address matches "^10\\.7\\.""#, "f1 f2"),
        ("Address not matches `10`", "a1"),
        ("\".0.3\" in Address", "f3"),
        ("Node == f1 or Node == f3", "f1 f3"),
        ("not (Node == f1 or Node == f3) and Datacenter == dc1", "a1 f2"),
        ("Node == f1 and (Meta.os == bsd)", ""),
        ("TaggedAddresses.lan == `127.0.0.1` and Partition == `` and PeerName == ``", "a1"),
    ];
    for (text, expected) in cases {
        let result = passing(text, &schemas::NODE, &rows, |node| node.node.as_str());
        assert_eq!(result.as_deref(), Ok(expected), "{text}");
    }
    for (text, selector) in [
        ("Colour == red", "Colour"),
        ("Node in Meta.os.deep", "Meta.os.deep"),
        ("CreateIndex == x", "CreateIndex"),
    ] {
        let result = passing(text, &schemas::NODE, &rows, |node| node.node.as_str());
        assert_eq!(result, Err(format!("Selector \"{selector}\" is not valid")));
    }
}

#[test]
fn joined_instances_are_filtered_as_recorded() {
    let join = |entry: &CheckServiceNode| ServiceNode::join(&entry.node, &entry.service);
    let rows: Vec<ServiceNode> = entries().iter().map(join).collect();
    let cases = [
        ("ServicePort == 8080", Ok("p2")),
        ("ServicePort != 8080", Ok("p1 p3")),
        ("tls in ServiceTags", Ok("p1")),
        ("ServiceTags contains plain", Ok("p2")),
        ("ServiceTags is empty", Ok("p3")),
        ("ServiceMeta.zone == x and NodeMeta.os == linux", Ok("p1")),
        ("ServiceEnableTagOverride == false", Ok("p1 p2 p3")),
        ("ServiceWeights.Passing == 1", Ok("p1 p2 p3")),
        ("ServiceName == pay", Ok("p1 p2 p3")),
        ("v2 in ServiceTags", Ok("p1")),
        ("ServiceProxy.Mode == `` and ServiceConnect.Native != true", Ok("p1 p2 p3")),
        (
            "ServiceEnableTagOverride == maybe",
            Err("Failed to coerce value \"maybe\" for selector \"ServiceEnableTagOverride\": \
                 strconv.ParseBool: parsing \"maybe\": invalid syntax"),
        ),
        (
            "ServicePort == eighty",
            Err("Failed to coerce value \"eighty\" for selector \"ServicePort\": \
                 strconv.ParseInt: parsing \"eighty\": invalid syntax"),
        ),
    ];
    for (text, expected) in cases {
        let result = passing(text, &schemas::SERVICE_NODE, &rows, |row| row.service_id.as_str());
        assert_eq!(result.as_deref().map_err(String::as_str), expected, "{text}");
    }
}

#[test]
fn health_entries_are_filtered_as_recorded() {
    let rows = entries();
    let cases = [
        ("Node.Meta.os == linux", "p1"),
        ("Service.Meta.zone == y", "p2"),
        ("Service.Port == 8081 or tls in Service.Tags", "p1 p3"),
        ("Checks.Status == critical", "p2"),
        ("Checks is empty", "p3"),
        ("Service.Port != 8081", "p1 p2"),
    ];
    for (text, expected) in cases {
        let schema = &schemas::CHECK_SERVICE_NODE;
        let result = passing(text, schema, &rows, |entry| entry.service.id.as_str());
        assert_eq!(result.as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn checks_are_filtered_as_recorded() {
    let rows: Vec<HealthCheck> =
        entries().iter().flat_map(|entry| &entry.checks).map(|check| (**check).clone()).collect();
    let cases = [
        ("Status == critical", "p2c"),
        ("CheckID == p1c", "p1c"),
        ("ServiceName == pay and Output contains OK", "p1c"),
        ("ServiceTags contains v2", "p1c p2c"),
        ("ExposedPort == 0", "p1c p2c"),
    ];
    for (text, expected) in cases {
        let result = passing(text, &schemas::HEALTH_CHECK, &rows, |row| row.check_id.as_str());
        assert_eq!(result.as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn every_selector_of_an_instance_can_be_used() {
    let mut row = service("p1", 1, &["a"], Some("x"));
    let lan = ServiceAddress { address: "10.0.0.1".to_owned(), port: 99 };
    row.tagged_addresses = Some([("lan".to_owned(), lan)].into());
    let upstream = Upstream { destination_name: "db".to_owned(), ..Upstream::default() };
    row.proxy.upstreams = vec![upstream];
    let all = [
        "ID == p1 and Service == pay and Address == `` and Port == 1 and Kind == ``",
        "SocketPath == `` and EnableTagOverride == false and a in Tags and PeerName == ``",
        "Meta.zone == x and TaggedAddresses.lan.Port == 99",
        "TaggedAddresses.lan.Address == `10.0.0.1` and wan not in TaggedAddresses",
        "Weights.Passing == 1 and Weights.Warning == 1 and Connect.Native == false",
        "Proxy.Mode == `` and Proxy.DestinationServiceID == ``",
        "Proxy.DestinationServiceName == `` and Proxy.LocalServiceAddress == ``",
        "Proxy.LocalServicePort == 0 and Proxy.LocalServiceSocketPath == ``",
        "Proxy.TransparentProxy.OutboundListenerPort == 0",
        "Proxy.TransparentProxy.DialedDirectly == false and Proxy.MeshGateway.Mode == ``",
        "Proxy.Expose.Checks == false and Proxy.Expose.Paths is empty",
        "Proxy.Upstreams is not empty and Proxy.Upstreams.DestinationName == db",
    ];
    for text in all {
        let filter = Filter::compile(text, &schemas::NODE_SERVICE).unwrap();
        assert!(filter.matches(&row), "{text}");
    }
    for hidden in ["Name", "Datacenter", "CreateIndex", "Proxy.Config", "Namespace", "Locality"] {
        assert!(Filter::compile(&format!("{hidden} == x"), &schemas::NODE_SERVICE).is_err());
    }
}
