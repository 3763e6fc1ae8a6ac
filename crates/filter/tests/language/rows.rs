//! A type with a field of every kind, and its selectors as another crate would write them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use filter::{Field, ListOf, MapOf, Schema, StructOf};

#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) text: String,
    pub(crate) made: u8,
    pub(crate) signed: i64,
    pub(crate) unsigned: u64,
    pub(crate) flag: bool,
    pub(crate) list: Vec<String>,
    pub(crate) map: Option<BTreeMap<String, String>>,
    pub(crate) part: Part,
    pub(crate) parts: Vec<Arc<Part>>,
    pub(crate) by_name: Option<BTreeMap<String, Part>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) port: i64,
    pub(crate) tags: Vec<String>,
    pub(crate) meta: Option<BTreeMap<String, String>>,
}

pub(crate) static ROW: Schema<Row> = Schema {
    fields: &[
        Field::text("Text", |row| &row.text),
        Field::made_text("Made", |row| Cow::Owned(format!("made-{}", row.made))),
        Field::signed("Signed", |row| row.signed),
        Field::unsigned("Unsigned", |row| row.unsigned),
        Field::flag("Flag", |row| row.flag),
        Field::text_list("List", |row| &row.list),
        Field::text_map("Map", |row| row.map.as_ref()),
        Field::nested("Part", &StructOf { get: |row: &Row| &row.part, schema: &PART }),
        Field::nested(
            "Parts",
            &ListOf {
                get: |row: &Row| row.parts.as_slice(),
                element: |part: &Arc<Part>| &**part,
                schema: &PART,
            },
        ),
        Field::nested("ByName", &MapOf { get: |row: &Row| row.by_name.as_ref(), schema: &PART }),
    ],
};

pub(crate) static PART: Schema<Part> = Schema {
    fields: &[
        Field::text("Name", |part| &part.name),
        Field::signed("Port", |part| part.port),
        Field::text_list("Tags", |part| &part.tags),
        Field::text_map("Meta", |part| part.meta.as_ref()),
    ],
};

pub(crate) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    Some(pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect())
}

pub(crate) fn sample() -> Row {
    let part =
        |name: &str, port, meta| Part { name: name.to_owned(), port, tags: texts(&[name]), meta };
    Row {
        text: "web-1".to_owned(),
        made: 7,
        signed: -5,
        unsigned: 8080,
        flag: true,
        list: texts(&["v1", "tls"]),
        map: map(&[("os", "linux"), ("odd key", "x"), ("empty", "")]),
        part: part("inner", 1, map(&[("a", "b")])),
        parts: vec![
            Arc::new(part("one", 10, None)),
            Arc::new(part("two", 20, map(&[("zone", "x")]))),
        ],
        by_name: Some(BTreeMap::from([("lan".to_owned(), part("lan-part", 443, None))])),
    }
}
