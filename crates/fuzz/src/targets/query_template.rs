//! The language of prepared query templates: compile, fill in for several names.

use domains::prepared_query::template::{TEXT_BYTES_MAX, Template};
use types::prepared_query::{NAME_PREFIX_MATCH, PreparedQuery, QueryTemplate, ServiceQuery};

use super::assert_says;

/// What templates are made of.
pub(super) const WORDS: &[&str] = &[
    "\n",
    "${",
    "}",
    "$$",
    "\"",
    "\\",
    "name.full",
    "name.prefix",
    "name.suffix",
    "agent.segment",
    "match(1)",
    "match(",
    ")",
    "(",
    "[0]",
    " ? ",
    " : ",
    " == ",
    " != ",
    " <= ",
    " && ",
    " || ",
    "!",
    "-",
    " + ",
    " * ",
    " / ",
    " % ",
    "0",
    "1",
    "1.5",
    "9223372036854775807",
    "true",
    "\"x\"",
    ",",
    "^([a-z]+)-(.*)$",
    "(a*)*",
    "(x{100}){100}",
    "\u{e9}",
    "a.*.b",
];

/// Checks an input: the name of a template, its regular expression and a text, one on each
/// line; the text goes on to the end.
pub(super) fn check(input: &[u8]) {
    let input = super::text(input);
    let mut lines = input.splitn(3, '\n');
    let (name, regexp) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let text = lines.next().unwrap_or("");
    let query = PreparedQuery {
        name: name.to_owned(),
        template: QueryTemplate {
            kind: NAME_PREFIX_MATCH.to_owned(),
            regexp: regexp.to_owned(),
            remove_empty_tags: true,
        },
        service: ServiceQuery {
            service: text.into(),
            tags: Some(vec![text.to_owned(), "plain".to_owned()]),
            ..ServiceQuery::default()
        },
        ..PreparedQuery::default()
    };
    let template = match Template::compile(&query) {
        Ok(template) => template,
        Err(error) => return assert_says(&error.to_string(), input.len()),
    };
    for asked in [name, "", "web-db", &format!("{name}{text}")] {
        match template.render(&query, asked, "segment") {
            Ok(rendered) => {
                let service = rendered.service;
                let tags = service.tags.unwrap_or_default();
                let bytes =
                    service.service.as_str().len() + tags.iter().map(String::len).sum::<usize>();
                let plain = 2 * text.len() + "plain".len();
                assert!(bytes <= TEXT_BYTES_MAX + plain, "{bytes} bytes came out");
                assert!(tags.iter().all(|tag| !tag.is_empty()), "an empty tag stayed");
            }
            Err(error) => assert_says(&error.to_string(), input.len()),
        }
    }
}
