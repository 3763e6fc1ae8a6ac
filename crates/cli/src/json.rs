//! JSON for people: Go's encoding, indented.

use serde::Serialize;

/// One value as indented JSON, as Go's `MarshalIndent` lays it out.
pub(crate) fn indented<T: Serialize + ?Sized>(value: &T, indent: &str) -> String {
    let compact = types::json::encode(value);
    let mut out: Vec<u8> = Vec::with_capacity(compact.len() * 2);
    let mut depth = 0;
    let mut in_text = false;
    let mut escaped = false;
    let break_line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        (0..depth).for_each(|_| out.extend_from_slice(indent.as_bytes()));
    };
    for (position, &byte) in compact.iter().enumerate() {
        if in_text {
            out.push(byte);
            in_text = escaped || byte != b'"';
            escaped = byte == b'\\' && !escaped;
            continue;
        }
        let next = compact.get(position + 1);
        match byte {
            b'"' => {
                in_text = true;
                out.push(byte);
            }
            b'{' | b'[' => {
                out.push(byte);
                depth += 1;
                if !matches!(next, Some(b'}' | b']')) {
                    break_line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth -= 1;
                if !matches!(out.last(), Some(b'{' | b'[')) {
                    break_line(&mut out, depth);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                break_line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_values_are_indented_and_empty_ones_stay_together() {
        let value = serde_json::json!({"a": [1, {"b": "x\"{,:}\\"}], "c": [], "d": {}});
        assert_eq!(
            indented(&value, "  "),
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x\\\"{,:}\\\\\"\n    }\n  ],\n  \"c\": [],\n  \"d\": {}\n}"
        );
        assert_eq!(indented(&Vec::<u8>::new(), "\t"), "[]");
    }
}
