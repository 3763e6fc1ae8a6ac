//! Trees to code: names are resolved, and conversions put in where types differ.

use std::fmt;

use super::evaluate::{Code, Conversion};
use super::parse::{Node, Operator, Tree};

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Text,
    Int,
    Float,
}

/// The name in complaints.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Bool => "TypeBool",
            Type::Text => "TypeString",
            Type::Int => "TypeInt",
            Type::Float => "TypeFloat",
        })
    }
}

impl Type {
    /// The other name in complaints.
    fn printable(self) -> &'static str {
        match self {
            Type::Bool => "type bool",
            Type::Text => "type string",
            Type::Int => "type int",
            Type::Float => "type float",
        }
    }
}

/// What a template can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    /// `name.full`
    NameFull,
    /// `name.prefix`
    NamePrefix,
    /// `name.suffix`
    NameSuffix,
    /// `agent.segment`
    AgentSegment,
}

impl Variable {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "name.full" => Variable::NameFull,
            "name.prefix" => Variable::NamePrefix,
            "name.suffix" => Variable::NameSuffix,
            "agent.segment" => Variable::AgentSegment,
            _ => return None,
        })
    }
}

/// The one function.
const MATCH: &str = "match";

/// Checks a whole text, which gives a text.
pub(super) fn check(tree: Tree) -> Result<Code, String> {
    check_names(&tree)?;
    match tree.node {
        // A text without anything to fill in.
        Node::Text(text) => Ok(Code::Text(text)),
        _ => Ok(typed(tree)?.0),
    }
}

/// Whether all names are known: this is told before anything about types.
fn check_names(tree: &Tree) -> Result<(), String> {
    let place = tree.place;
    match &tree.node {
        Node::Text(_) | Node::Int(_) | Node::Float(_) | Node::Bool(_) => Ok(()),
        Node::Variable(name) => match Variable::named(name) {
            Some(_) => Ok(()),
            None => Err(format!("{place}: unknown variable accessed: {name}")),
        },
        Node::Call(name, arguments) => {
            arguments.iter().try_for_each(check_names)?;
            match arguments.len() {
                _ if name != MATCH => Err(format!("{place}: unknown function called: {name}")),
                1 => Ok(()),
                given => Err(format!("{place}: {name}: expected 1 arguments, got {given}")),
            }
        }
        Node::Index(of, key) => check_names(of).and_then(|()| check_names(key)),
        Node::Binary(_, left, right) => check_names(left).and_then(|()| check_names(right)),
        Node::Choice(parts) => parts.iter().try_for_each(check_names),
        Node::Concat(parts) => parts.iter().try_for_each(check_names),
    }
}

type Typed = (Code, Type);

fn typed(tree: Tree) -> Result<Typed, String> {
    let place = tree.place;
    let at = |reason: String| format!("at column {}, line {}: {reason}", place.column, place.line);
    Ok(match tree.node {
        Node::Text(text) => (Code::Text(text), Type::Text),
        Node::Int(number) => (Code::Int(number), Type::Int),
        Node::Float(number) => (Code::Float(number), Type::Float),
        Node::Bool(truth) => (Code::Bool(truth), Type::Bool),
        Node::Variable(name) => match Variable::named(&name) {
            Some(variable) => (Code::Variable(variable), Type::Text),
            None => return Err(at(format!("unknown variable accessed: {name}"))),
        },
        Node::Call(name, arguments) => {
            let Some(argument) = arguments.into_iter().next() else {
                return Err(at(format!("{name}: expected 1 arguments, got 0")));
            };
            let (code, found) = typed(argument)?;
            let wanted = Type::Int;
            let group = convert(code, found, wanted).map_err(|_| {
                let (wanted, found) = (wanted.printable(), found.printable());
                at(format!("{name}: argument 1 should be {wanted}, got {found}"))
            })?;
            (Code::Match(Box::new(group)), Type::Text)
        }
        Node::Index(of, key) => {
            let of = typed(*of)?.1;
            typed(*key)?;
            return Err(at(format!("invalid index operation into non-indexable type: {of}")));
        }
        Node::Binary(operator, left, right) => {
            let operands = [typed(*left)?, typed(*right)?];
            binary(operator, operands).map_err(at)?
        }
        Node::Choice(parts) => {
            let [condition, chosen, other] = *parts;
            choice(typed(condition)?, typed(chosen)?, typed(other)?).map_err(at)?
        }
        Node::Concat(parts) => {
            let mut texts = Vec::with_capacity(parts.len());
            for part in parts {
                let (code, found) = typed(part)?;
                // Everything can be shown as text.
                texts.push(convert(code, found, Type::Text).unwrap_or_else(|code| code));
            }
            (Code::Concat(texts), Type::Text)
        }
    })
}

/// The code with a conversion, or as it was if there is none.
fn convert(code: Code, found: Type, wanted: Type) -> Result<Code, Code> {
    if found == wanted {
        return Ok(code);
    }
    match Conversion::between(found, wanted) {
        Some(conversion) => Ok(Code::Convert(conversion, Box::new(code))),
        None => Err(code),
    }
}

fn binary(operator: Operator, operands: [Typed; 2]) -> Result<Typed, String> {
    let types = [operands[0].1, operands[1].1];
    let any_float = types.contains(&Type::Float);
    let number = if any_float { Type::Float } else { Type::Int };
    let (wanted, result) = match operator {
        Operator::And | Operator::Or => (Type::Bool, Type::Bool),
        // The first operand decides what is compared.
        Operator::Equal | Operator::NotEqual => (types[0], Type::Bool),
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            (number, Type::Bool)
        }
        _ => (number, number),
    };
    let mut converted = Vec::with_capacity(2);
    for (at, (code, found)) in operands.into_iter().enumerate() {
        let code = convert(code, found, wanted).map_err(|_| match operator {
            Operator::And | Operator::Or => {
                format!("logical operators require boolean operands, not {found}")
            }
            _ => format!("operand {} should be {wanted}, got {found}", at + 1),
        })?;
        converted.push(code);
    }
    if operator == Operator::Modulo && any_float {
        return Err("modulo cannot be used with floats".to_owned());
    }
    let operands = converted.try_into().expect("two operands stay two");
    Ok((Code::Binary(operator, Box::new(operands)), result))
}

/// Both values must be of one type; a text becomes what the other is.
fn choice(condition: Typed, chosen: Typed, other: Typed) -> Result<Typed, String> {
    let truth = convert(condition.0, condition.1, Type::Bool)
        .map_err(|_| format!("condition must be type bool, not {}", condition.1.printable()))?;
    let result = if chosen.1 == Type::Text { other.1 } else { chosen.1 };
    let mismatch = |_| {
        let (chosen, other) = (chosen.1.printable(), other.1.printable());
        format!("true and false expression types must match; have {chosen} and {other}")
    };
    let chosen_code = convert(chosen.0, chosen.1, result).map_err(mismatch)?;
    let other_code = convert(other.0, other.1, result).map_err(mismatch)?;
    Ok((Code::Choice(Box::new([truth, chosen_code, other_code])), result))
}
