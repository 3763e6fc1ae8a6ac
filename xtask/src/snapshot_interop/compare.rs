//! Whether two versions say the same.

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

/// Members whose value tells of a version or of a run, not of what was restored.
const APART: &[&str] = &["LastContact", "KnownLeader"];

/// Compares what both values have: members that only one has are not compared, and
/// nothing, an empty list, an empty object and an empty text are the same.
pub(crate) fn agrees(expected: &Value, found: &Value) -> anyhow::Result<()> {
    match (expected, found) {
        (expected, found) if is_empty(expected) && is_empty(found) => Ok(()),
        (Value::Object(expected), Value::Object(found)) => {
            for (name, expected) in expected {
                if let Some(found) = found.get(name).filter(|_| !APART.contains(&name.as_str())) {
                    agrees(expected, found).with_context(|| format!("member {name}"))?;
                }
            }
            Ok(())
        }
        (Value::Array(expected), Value::Array(found)) => {
            ensure!(expected.len() == found.len(), "{expected:?} are not {found:?}");
            for (number, (expected, found)) in expected.iter().zip(found).enumerate() {
                agrees(expected, found).with_context(|| format!("number {number}"))?;
            }
            Ok(())
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => Ok(()),
        (expected, found) if expected == found => Ok(()),
        (expected, found) => bail!("{expected} is not {found}"),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(members) => members.values().all(is_empty),
        Value::String(text) => text.is_empty(),
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_only_one_version_knows_is_not_compared_and_all_else_is() {
        let real = json!([{"Node": "n", "Meta": null, "Ports": [1, 2], "Old": 1}]);
        let same = json!([{"Node": "n", "Meta": {}, "Ports": [1, 2.0], "New": 2}]);
        agrees(&real, &same).expect("they say the same");
        for other in [
            json!([{"Node": "m", "Meta": {}, "Ports": [1, 2]}]),
            json!([{"Node": "n", "Meta": {"a": "b"}, "Ports": [1, 2]}]),
            json!([{"Node": "n", "Meta": {}, "Ports": [1]}]),
            json!([]),
        ] {
            agrees(&real, &other).expect_err("they do not");
        }
    }
}
