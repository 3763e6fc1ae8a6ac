//! The grammar: what parses, to which tree, and what is said of the rest.

use filter::{Expression, MAX_DEPTH, MAX_LENGTH, ParseError};

const CASES: &str = include_str!("../../testdata/grammar.txt");

#[test]
fn every_line_of_the_golden_file_parses_as_it_says() {
    let mut count = 0;
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let line = line.strip_suffix("  (recorded)").unwrap_or(line);
        let (text, expected) = match line.split_once("  !!  ") {
            Some((text, error)) => (text, Err(error.to_owned())),
            None => {
                let (text, tree) = line.split_once("  =>  ").expect("a separator");
                (text, Ok(tree.to_owned()))
            }
        };
        let parsed = Expression::parse(text);
        let printed = parsed.as_ref().map(ToString::to_string).map_err(ToString::to_string);
        assert_eq!(printed, expected, "{text}");
        if let Ok(tree) = parsed {
            assert_eq!(Expression::parse(&tree.to_string()), Ok(tree), "printed: {text}");
        }
        count += 1;
    }
    assert!(count > 50, "only {count} cases were read");
}

#[test]
fn any_white_space_separates_words() {
    let tree = Expression::parse("a == 1 and b is empty").unwrap();
    assert_eq!(Expression::parse("\t a\r\n==\n1\tand\r\n\nb  is\tempty \n"), Ok(tree));
}

#[test]
fn places_count_lines_and_characters() {
    let place = |text: &str| Expression::parse(text).unwrap_err().to_string();
    assert!(place("a == 1\nor ?").starts_with("2:4 (10): "));
    assert!(place("a ==\n").starts_with("2:1 (5): "));
    assert!(place("`éé` in ?").starts_with("1:9 (10): "));
}

#[test]
fn length_is_bounded_and_a_long_chain_is_not_deep() {
    let chain = vec!["a == 1"; 5000].join(" or ");
    let Expression::Any(terms) = Expression::parse(&chain).unwrap() else { panic!("a chain") };
    assert_eq!(terms.len(), 5000);
    let long = format!("a == `{}`", "x".repeat(MAX_LENGTH));
    assert_eq!(Expression::parse(&long), Err(ParseError::TooLong { length: MAX_LENGTH + 7 }));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}a == 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Expression::parse(&nested(MAX_DEPTH - 1)).is_ok());
    for text in [
        nested(MAX_DEPTH),
        nested(20_000),
        "(".repeat(60_000),
        "not ".repeat(15_000),
        "not (".repeat(12_000),
        "(a == 1 and ".repeat(5_000),
    ] {
        let error = Expression::parse(&text).unwrap_err();
        assert!(matches!(error, ParseError::TooDeep { .. }), "{error}");
    }
}

#[test]
fn unclosed_parentheses_take_no_more_than_one_pass() {
    let text = format!("{}a == 1", "(".repeat(MAX_DEPTH - 1));
    let error = Expression::parse(&text).unwrap_err().to_string();
    assert_eq!(error, "1:262 (261): rule \"grouping\": Unmatched parentheses");
}
