use prost::Message as _;
use serde_json::json;

use super::*;

/// An instance that has something in every field.
fn full() -> catalog::CheckServiceNode {
    let text = include_bytes!("../../testdata/instance.json");
    serde_json::from_slice(text).expect("it is a row")
}

#[test]
fn every_field_of_an_instance_comes_back() {
    let row = full();
    let shown = serde_json::to_value(&row).expect("it is shown");
    assert!(!has_default(&shown), "the test leaves out a field: {shown:#}");
    let bytes = to_message(&row).encode_to_vec();
    let message = messages::CheckServiceNode::decode(&*bytes).expect("it was written here");
    assert_eq!(of_message(message), row);
}

/// Whether something is empty that the conversion could have lost unseen. What is `null` or
/// empty within free-form configuration stands there on purpose.
fn has_default(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty() || values.iter().any(has_default),
        Value::Object(fields) => {
            let free = ["Config", "Arguments"];
            fields.is_empty()
                || fields
                    .iter()
                    .any(|(name, value)| !free.contains(&name.as_str()) && has_default(value))
        }
    }
}

#[test]
fn what_is_empty_comes_back_as_nothing() {
    let mut row = catalog::CheckServiceNode::default();
    let node = Arc::make_mut(&mut row.node);
    (node.meta, node.tagged_addresses) = (Some(BTreeMap::new()), Some(BTreeMap::new()));
    let back = of_message(to_message(&row));
    assert_eq!((back.node.meta.as_ref(), back.node.tagged_addresses.as_ref()), (None, None));
    assert_eq!(of_message(messages::CheckServiceNode::default()), Default::default());
}

#[test]
fn an_instance_that_is_gone_is_told_by_what_it_was_known_by() {
    let row = full();
    let back = of_message(identity_to_message(&row));
    assert_eq!(back.node.node, row.node.node);
    assert_eq!((&back.service.id, &back.service.service), (&row.service.id, &row.service.service));
    assert!(back.checks.is_empty() && back.service.tags.is_empty());
}

#[test]
fn numbers_beyond_the_range_of_a_message_are_cut() {
    let mut row = full();
    Arc::make_mut(&mut row.service).port = 1 << 40;
    assert_eq!(of_message(to_message(&row)).service.port, i64::from(i32::MAX));
}

#[test]
fn what_is_nested_too_deeply_is_cut_off() {
    let mut deep = json!(1);
    for _ in 0..500 {
        deep = json!([deep]);
    }
    let message = opaque::to_message(&[("deep".to_owned(), deep)].into());
    let mut depth = 0;
    let mut value = opaque::of_message(message).remove("deep").expect("it is there");
    while let Some(inner) = value.get(0) {
        (value, depth) = (inner.clone(), depth + 1);
    }
    assert!((50..=101).contains(&depth), "{depth}");
}
