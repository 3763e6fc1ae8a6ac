//! The language: what it gives, and what it refuses.

use proptest::prelude::*;
use types::prepared_query::{QueryFailover, QueryTemplate, ServiceQuery};

use super::*;

fn query(name: &str, regexp: &str, text: &str) -> PreparedQuery {
    PreparedQuery {
        name: name.to_owned(),
        template: QueryTemplate {
            kind: NAME_PREFIX_MATCH.to_owned(),
            regexp: regexp.to_owned(),
            remove_empty_tags: false,
        },
        service: ServiceQuery { near: text.to_owned(), ..ServiceQuery::default() },
        ..PreparedQuery::default()
    }
}

/// What a text gives for a name, or why it does not.
fn fill(query: &PreparedQuery, name: &str) -> Result<String, TemplateError> {
    Ok(Template::compile(query)?.render(query, name, "")?.service.near)
}

/// The file has one case on each line: a text, `=>` and what it gives for the name
/// `web-db`, or `!!` and the complaint. `\n` is a new line.
#[test]
fn texts_are_filled_in_as_the_table_says() {
    let table = include_str!("../testdata/templates.txt");
    let mut differences = Vec::new();
    let mut cases = 0;
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (separator, text, expected) = match (line.split_once(" => "), line.split_once(" !! ")) {
            (Some((text, expected)), _) => (" => ", text, expected),
            (None, Some((text, expected))) => (" !! ", text, expected),
            (None, None) => panic!("{line:?} is no case"),
        };
        cases += 1;
        let text = text.replace("\\n", "\n");
        let query = query("web-", "^(\\w+)-(\\w*)$", &text);
        let (sign, ours) = match fill(&query, "web-db") {
            Ok(filled) => (" => ", filled),
            Err(
                TemplateError::Format { reason, .. } | TemplateError::Evaluation { reason, .. },
            ) => (" !! ", reason),
            Err(other) => (" !! ", other.to_string()),
        };
        if (sign, ours.as_str()) != (separator, expected) {
            differences.push(format!("{line}\n  is now{sign}{ours}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(cases > 60);
}

#[test]
fn every_text_of_a_service_is_filled_in_and_named_in_complaints() {
    let texts = |text: &str| ServiceQuery {
        service: text.into(),
        sameness_group: text.to_owned(),
        failover: QueryFailover {
            datacenters: Some(vec![text.into()]),
            targets: Some(vec![types::prepared_query::QueryFailoverTarget {
                peer: text.to_owned(),
                datacenter: text.into(),
            }]),
            ..QueryFailover::default()
        },
        ignore_check_ids: Some(vec![text.to_owned()]),
        near: text.to_owned(),
        tags: Some(vec!["plain".to_owned(), text.to_owned()]),
        node_meta: Some([("k".to_owned(), text.to_owned())].into()),
        service_meta: Some([("l".to_owned(), text.to_owned())].into()),
        peer: text.to_owned(),
        ..ServiceQuery::default()
    };
    let with = |service| PreparedQuery { service, ..query("web-", "", "") };
    let query = with(texts("<${name.suffix}>"));
    let rendered = Template::compile(&query).unwrap().render(&query, "web-db", "").unwrap();
    assert_eq!(rendered.service, texts("<db>"));
    // What comes out in place of one broken text names that text alone.
    let mut fields = Vec::new();
    let mut broken = texts("fine");
    for at in 0.. {
        let mut place = 0;
        let result = fields::visit(&mut broken, &mut |_, _| {
            let text = if place == at { "${x}" } else { "fine" };
            place += 1;
            Ok(Some(text.to_owned()))
        });
        result.unwrap();
        if at == place {
            break;
        }
        let error = Template::compile(&with(broken.clone())).unwrap_err();
        let TemplateError::Evaluation { field, .. } = error else { panic!("{error}") };
        fields.push(field.trim_start_matches("Service.").to_owned());
    }
    let expected = "Service SamenessGroup Failover.Datacenters[0] Failover.Targets[0].Peer \
                    Failover.Targets[0].Datacenter IgnoreCheckIDs[0] Near Tags[0] Tags[1] \
                    NodeMeta[k] ServiceMeta[l] Peer";
    assert_eq!(fields.join(" "), expected);
}

#[test]
fn what_would_take_much_is_refused() {
    let refused = |text: &str| fill(&query("web-", "", text), "web-x").unwrap_err().to_string();
    let deep = format!("${{{}1{}}}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(refused(&deep).ends_with("more than 100 levels of expressions"));
    let long = format!("${{1{}}}", "+1".repeat(5_000));
    assert!(refused(&long).ends_with("more than 100 levels of expressions"));
    let wide = "${name.full}".repeat(1_000);
    let huge = "x".repeat(10_000);
    let error = fill(&query("", "", &wide), &huge).unwrap_err().to_string();
    assert!(error.ends_with("longer than 262144 bytes"), "{}", &error[error.len() - 80..]);
    let bad = query("web-", "((a{1000}){1000}){1000}", "");
    assert!(matches!(Template::compile(&bad), Err(TemplateError::Regexp(_))));
}

/// A sum, product and so on of small numbers, as text and as a number.
fn arithmetic() -> impl Strategy<Value = (String, Option<i64>)> {
    let leaf = (0..20_i64).prop_map(|number| (number.to_string(), Some(number)));
    leaf.prop_recursive(5, 40, 2, |inner| {
        (inner.clone(), prop::sample::select(vec!['+', '-', '*', '/', '%']), inner).prop_map(
            |((left_text, left), operator, (right_text, right))| {
                let number = left.zip(right).and_then(|(left, right)| match operator {
                    '+' => Some(left.wrapping_add(right)),
                    '-' => Some(left.wrapping_sub(right)),
                    '*' => Some(left.wrapping_mul(right)),
                    '/' => left.checked_div(right),
                    _ => left.checked_rem(right),
                });
                (format!("({left_text} {operator} {right_text})"), number)
            },
        )
    })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        text in "([a-z$\"\\\\ ]|\\$\\{|[0-9.+*/%<>=!&|?:(),{}\\[\\]-]|name\\.full|match|true|é){0,40}",
        name in "\\PC{0,12}",
        regexp in "[a-z()|*+?.\\[\\]{}0-9^$\\\\-]{0,12}",
    ) {
        let query = query("", &regexp, &text);
        match fill(&query, &name) {
            Ok(filled) => prop_assert!(filled.len() <= TEXT_BYTES_MAX),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn text_without_a_dollar_means_itself(text in "[^$]{0,40}", name in "\\PC{0,12}") {
        prop_assert_eq!(fill(&query("", "", &text), &name), Ok(text));
    }

    #[test]
    fn escaped_text_means_itself(text in "\\PC{0,40}", name in "\\PC{0,12}") {
        let escaped = text.replace('$', "$$");
        prop_assert_eq!(fill(&query("", "", &escaped), &name), Ok(text));
    }

    #[test]
    fn quoted_text_means_itself(text in "[^\\x00-\\x1f]{0,40}") {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$");
        prop_assert_eq!(fill(&query("", "", &format!("${{\"{quoted}\"}}")), ""), Ok(text));
    }

    #[test]
    fn numbers_are_computed_as_by_a_model((text, number) in arithmetic()) {
        let filled = fill(&query("", "", &format!("${{{text}}}")), "").ok();
        prop_assert_eq!(filled, number.map(|number| number.to_string()));
    }

    #[test]
    fn a_suffix_is_what_is_left_of_the_name(prefix in "[a-z-]{0,6}", rest in "\\PC{0,12}") {
        let query = query(&prefix, "", "${name.prefix}|${name.suffix}|${name.full}");
        let filled = fill(&query, &format!("{prefix}{rest}"));
        prop_assert_eq!(filled, Ok(format!("{prefix}|{rest}|{prefix}{rest}")));
    }
}
