//! What holds for every text and every expression.

use crate::rows::{self, ROW, Row, map, texts};
use filter::{Expression, Filter, LazyFilter, Match, Operator, Selector};
use proptest::prelude::*;

/// Texts made of what the language is made of: they get further than random ones.
fn token_soup() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "not", "and", "or", "in", "is", "empty", "contains", "matches", "==", "!=", "(", ")", "[",
        "]", ".", "\"", "`", "\\", "Text", "Map", "Signed", "0", "-", "7", "é", "\n", " ", " ",
        " ",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

fn comparison() -> impl Strategy<Value = Expression> {
    let name = prop::sample::select(vec!["Text", "List", "Map", "in", "x_1"]);
    let path = (name, prop::collection::vec(any::<String>(), 0..3));
    let operator = prop::sample::select(Operator::ALL.to_vec());
    (path, operator, any::<String>()).prop_map(|((first, rest), operator, value)| {
        let mut path = vec![first.to_owned()];
        path.extend(rest);
        let no_value = matches!(operator, Operator::IsEmpty | Operator::IsNotEmpty);
        let value = if no_value { String::new() } else { value };
        Expression::Match(Match { selector: Selector(path), operator, value })
    })
}

/// Trees of any shape over the given leaves.
fn tree(leaf: impl Strategy<Value = Expression> + 'static) -> impl Strategy<Value = Expression> {
    leaf.prop_recursive(5, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expression::Any),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expression::All),
            inner.prop_map(|term| Expression::Not(Box::new(term))),
        ]
    })
}

/// Comparisons that fit the row type, over few values so that both answers occur.
fn fitting_comparison() -> impl Strategy<Value = Expression> {
    use Operator::{Equal, In, IsEmpty, IsNotEmpty, NotEqual, NotIn};
    let shape = prop::sample::select(vec![
        ("Text", vec![Equal, NotEqual, In, NotIn]),
        ("Map.a", vec![Equal, NotEqual, In, NotIn]),
        ("List", vec![In, NotIn, IsEmpty, IsNotEmpty]),
        ("Map", vec![In, NotIn, IsEmpty, IsNotEmpty]),
        ("Parts.Name", vec![Equal, NotEqual, In, NotIn]),
    ]);
    let value = prop::sample::select(vec!["", "a", "b", "ab"]);
    (shape, any::<prop::sample::Index>(), value).prop_map(|((path, operators), index, value)| {
        let selector = Selector(path.split('.').map(str::to_owned).collect());
        let value = value.to_owned();
        Expression::Match(Match { selector, operator: *index.get(&operators), value })
    })
}

fn row() -> impl Strategy<Value = Row> {
    let word = || prop::sample::select(vec!["", "a", "b", "ab"]);
    let words = || prop::collection::vec(word(), 0..3);
    let pairs = prop::option::of(prop::collection::vec((word(), word()), 0..3));
    (word(), words(), pairs, words()).prop_map(|(text, list, pairs, names)| Row {
        text: text.to_owned(),
        list: texts(&list),
        map: pairs.and_then(|pairs| map(&pairs)),
        parts: names
            .into_iter()
            .map(|name| rows::Part { name: name.to_owned(), ..Default::default() }.into())
            .collect(),
        ..Row::default()
    })
}

/// The meaning of an expression, told as plainly as can be.
fn model(expression: &Expression, row: &Row) -> bool {
    match expression {
        Expression::Any(terms) => terms.iter().any(|term| model(term, row)),
        Expression::All(terms) => terms.iter().all(|term| model(term, row)),
        Expression::Not(inner) => !model(inner, row),
        Expression::Match(comparison) => model_of_comparison(comparison, row),
    }
}

fn model_of_comparison(comparison: &Match, row: &Row) -> bool {
    let value = &comparison.value;
    let text = |field: &String| match comparison.operator {
        Operator::Equal => field == value,
        Operator::NotEqual => field != value,
        Operator::In => field.contains(value),
        _ => !field.contains(value),
    };
    let group = |empty: bool, contains: bool| match comparison.operator {
        Operator::In => contains,
        Operator::NotIn => !contains,
        Operator::IsEmpty => empty,
        _ => !empty,
    };
    let pairs = row.map.clone().unwrap_or_default();
    match comparison.selector.to_string().as_str() {
        "Text" => text(&row.text),
        "List" => group(row.list.is_empty(), row.list.contains(value)),
        "Map" => group(pairs.is_empty(), pairs.contains_key(value)),
        "Map.a" => match pairs.get("a") {
            Some(field) => text(field),
            None => matches!(comparison.operator, Operator::NotEqual | Operator::NotIn),
        },
        _ => row.parts.iter().any(|part| text(&part.name)),
    }
}

fn survives(text: &str) -> Result<(), TestCaseError> {
    if let Ok(tree) = Expression::parse(text) {
        prop_assert_eq!(Expression::parse(&tree.to_string()), Ok(tree));
    }
    let row = rows::sample();
    let strict = Filter::compile(text, &ROW);
    match LazyFilter::compile(text, &ROW) {
        Ok(lazy) => {
            let answer = lazy.matches(&row);
            if let Ok(strict) = strict {
                prop_assert_eq!(answer, Ok(strict.matches(&row)));
            }
        }
        Err(error) => prop_assert_eq!(strict.map(|_| ()), Err(error)),
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        survives(&text)?;
    }

    #[test]
    fn no_sequence_of_tokens_makes_the_parser_panic(text in token_soup()) {
        survives(&text)?;
    }

    #[test]
    fn no_pattern_makes_the_translation_panic(pattern in any::<String>()) {
        let quoted = pattern.replace('`', "");
        survives(&format!("Text matches `{quoted}`"))?;
    }

    #[test]
    fn what_is_printed_parses_to_the_same_tree(tree in tree(comparison())) {
        prop_assert_eq!(Expression::parse(&tree.to_string()), Ok(tree));
    }

    #[test]
    fn a_filter_answers_as_the_model_does(tree in tree(fitting_comparison()), row in row()) {
        let filter = Filter::compile(&tree.to_string(), &ROW).unwrap();
        prop_assert_eq!(filter.matches(&row), model(&tree, &row), "{}", tree);
    }
}
