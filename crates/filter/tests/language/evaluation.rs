//! Every operator on every kind of field, and what does not fit.

use crate::rows::{ROW, Row, sample};
use filter::{Filter, LazyFilter, MAX_PATTERNS, Operator};

const CASES: &str = include_str!("../../testdata/evaluate.txt");

#[test]
fn every_line_of_the_golden_file_evaluates_as_it_says() {
    let row = sample();
    let mut count = 0;
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let result = |text: &str| {
            let filter = Filter::compile(text, &ROW).map_err(|error| error.to_string())?;
            assert_eq!(
                LazyFilter::compile(text, &ROW).unwrap().matches(&row),
                Ok(filter.matches(&row))
            );
            Ok(filter.matches(&row).to_string())
        };
        match line.split_once("  !!  ") {
            Some((text, reason)) => {
                let error = format!("Failed to create boolean expression evaluator: {reason}");
                assert_eq!(result(text), Err(error), "{text}");
            }
            None => {
                let (text, expected) = line.split_once("  =>  ").expect("a separator");
                assert_eq!(result(text), Ok(expected.to_owned()), "{text}");
            }
        }
        count += 1;
    }
    assert!(count > 100, "only {count} cases were read");
}

#[test]
fn each_kind_has_its_operators_and_no_others() {
    use Operator::{Equal, In, IsEmpty, IsNotEmpty, Matches, NotEqual, NotIn, NotMatches};
    let text: &[Operator] = &[Equal, NotEqual, In, NotIn, Matches, NotMatches];
    let equality: &[Operator] = &[Equal, NotEqual];
    let membership: &[Operator] = &[In, NotIn, IsEmpty, IsNotEmpty];
    let emptiness: &[Operator] = &[IsEmpty, IsNotEmpty];
    let kinds = [
        ("Text", text),
        ("Made", text),
        ("Signed", equality),
        ("Unsigned", equality),
        ("Flag", equality),
        ("List", membership),
        ("Map", membership),
        ("Map.key", text),
        ("Part", &[]),
        ("Parts", emptiness),
        ("Parts.Name", text),
        ("ByName", membership),
        ("ByName.key", &[]),
        ("ByName.key.Port", equality),
    ];
    for (selector, operators) in kinds {
        for operator in Operator::ALL {
            let expression = match operator {
                Equal => format!("{selector} == 1"),
                NotEqual => format!("{selector} != 1"),
                In => format!("1 in {selector}"),
                NotIn => format!("{selector} not contains 1"),
                IsEmpty => format!("{selector} is empty"),
                IsNotEmpty => format!("{selector} is not empty"),
                Matches => format!("{selector} matches 1"),
                NotMatches => format!("{selector} not matches 1"),
            };
            let result =
                Filter::compile(&expression, &ROW).map(|_| ()).map_err(|e| e.0.to_string());
            let name = operator.name();
            let expected = if operators.contains(&operator) {
                Ok(())
            } else {
                Err(format!("Invalid match operator \"{name}\" for selector \"{selector}\""))
            };
            assert_eq!(result, expected, "{expression}");
        }
    }
}

#[test]
fn a_comparison_holds_for_no_element_of_an_empty_list() {
    let holds = |text: &str| Filter::compile(text, &ROW).unwrap().matches(&Row::default());
    for text in ["Parts.Name == x", "Parts.Name != x", "Parts.Name not matches x", "x in List"] {
        assert!(!holds(text), "{text}");
    }
    for text in ["Parts is empty", "Map is empty", "ByName is empty", "x not in Map"] {
        assert!(holds(text), "{text}");
    }
}

#[test]
fn a_lazy_filter_reports_a_fault_only_when_it_decides() {
    let row = sample();
    let lazy = |text: &str| LazyFilter::compile(text, &ROW).unwrap().matches(&row);
    let fault = "Selector \"Bogus\" is not valid";
    assert_eq!(lazy("Bogus == 1").unwrap_err().to_string(), fault);
    assert_eq!(lazy("not Bogus == 1").unwrap_err().to_string(), fault);
    assert_eq!(lazy("Flag == 1 and Bogus == 1").unwrap_err().to_string(), fault);
    assert_eq!(lazy("Flag == 1 or Bogus == 1"), Ok(true));
    assert_eq!(lazy("Flag == 0 and Bogus == 1"), Ok(false));
    assert!(LazyFilter::compile("Bogus", &ROW).is_err());
}

#[test]
fn the_number_of_regular_expressions_is_bounded() {
    let patterns = |count| vec!["not Text matches `.{1,900}`"; count].join(" and ");
    assert!(Filter::compile(&patterns(MAX_PATTERNS), &ROW).is_ok());
    let error = Filter::compile(&patterns(MAX_PATTERNS + 1), &ROW).unwrap_err();
    assert!(error.to_string().ends_with("65 regular expressions, more than the limit of 64"));
}
