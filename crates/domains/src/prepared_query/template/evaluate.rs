//! Code to text.

use filter::coerce;

use super::check::{Type, Variable};
use super::parse::Operator;

/// A checked expression: every operand has the type that its operator wants.
#[derive(Clone, Debug)]
pub(super) enum Code {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Variable(Variable),
    /// The group of this number.
    Match(Box<Code>),
    Convert(Conversion, Box<Code>),
    Binary(Operator, Box<[Code; 2]>),
    Choice(Box<[Code; 3]>),
    Concat(Vec<Code>),
}

/// From one type to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conversion {
    BoolToText,
    FloatToInt,
    FloatToText,
    IntToFloat,
    IntToText,
    TextToBool,
    TextToFloat,
    TextToInt,
}

impl Conversion {
    pub(super) fn between(from: Type, to: Type) -> Option<Self> {
        Some(match (from, to) {
            (Type::Bool, Type::Text) => Conversion::BoolToText,
            (Type::Float, Type::Int) => Conversion::FloatToInt,
            (Type::Float, Type::Text) => Conversion::FloatToText,
            (Type::Int, Type::Float) => Conversion::IntToFloat,
            (Type::Int, Type::Text) => Conversion::IntToText,
            (Type::Text, Type::Bool) => Conversion::TextToBool,
            (Type::Text, Type::Float) => Conversion::TextToFloat,
            (Type::Text, Type::Int) => Conversion::TextToInt,
            _ => return None,
        })
    }
}

/// What a template is filled in with.
pub(super) struct Scope<'s> {
    /// The name that was asked for.
    pub(super) full: &'s str,
    /// The name of the template.
    pub(super) prefix: &'s str,
    /// What the first has beyond the second.
    pub(super) suffix: &'s str,
    /// The network segment of the agent that asks.
    pub(super) segment: &'s str,
    /// The groups of the regular expression, none if it does not match.
    pub(super) groups: Vec<Option<&'s str>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl Code {
    /// Appends the text that it gives, as far as there is room for `bytes_max` in all.
    pub(super) fn append(
        &self,
        scope: &Scope<'_>,
        out: &mut String,
        bytes_max: usize,
    ) -> Result<(), String> {
        let text: &str = match self {
            Code::Text(text) => text,
            Code::Variable(variable) => scope.variable(*variable),
            Code::Concat(parts) => {
                return parts.iter().try_for_each(|part| part.append(scope, out, bytes_max));
            }
            computed => match computed.value(scope, bytes_max)? {
                Value::Text(text) => return push(out, &text, bytes_max),
                other => return push(out, &other.into_text(), bytes_max),
            },
        };
        push(out, text, bytes_max)
    }

    fn value(&self, scope: &Scope<'_>, bytes_max: usize) -> Result<Value, String> {
        let value = |code: &Code| code.value(scope, bytes_max);
        Ok(match self {
            Code::Text(text) => Value::Text(text.clone()),
            Code::Int(number) => Value::Int(*number),
            Code::Float(number) => Value::Float(*number),
            Code::Bool(truth) => Value::Bool(*truth),
            Code::Variable(variable) => Value::Text(scope.variable(*variable).to_owned()),
            Code::Match(group) => {
                let group = usize::try_from(value(group)?.into_int()).ok();
                let matched = group.and_then(|group| *scope.groups.get(group)?);
                Value::Text(matched.unwrap_or_default().to_owned())
            }
            Code::Convert(conversion, code) => value(code)?.converted(*conversion)?,
            Code::Binary(operator, operands) => {
                combine(*operator, value(&operands[0])?, value(&operands[1])?)?
            }
            Code::Choice(parts) => {
                // Both values are computed, and both may fail.
                let [truth, chosen, other] = [&parts[0], &parts[1], &parts[2]].map(value);
                let (truth, chosen, other) = (truth?, chosen?, other?);
                if truth == Value::Bool(true) { chosen } else { other }
            }
            Code::Concat(_) => {
                let mut text = String::new();
                self.append(scope, &mut text, bytes_max)?;
                Value::Text(text)
            }
        })
    }
}

fn push(out: &mut String, text: &str, bytes_max: usize) -> Result<(), String> {
    if out.len() + text.len() > bytes_max {
        return Err(format!("the text that comes out is longer than {bytes_max} bytes"));
    }
    out.push_str(text);
    Ok(())
}

impl Scope<'_> {
    fn variable(&self, variable: Variable) -> &str {
        match variable {
            Variable::NameFull => self.full,
            Variable::NamePrefix => self.prefix,
            Variable::NameSuffix => self.suffix,
            Variable::AgentSegment => self.segment,
        }
    }
}

impl Value {
    fn into_text(self) -> String {
        match self {
            Value::Text(text) => text,
            Value::Int(number) => number.to_string(),
            Value::Float(number) => coerce::format_float(number),
            Value::Bool(truth) => truth.to_string(),
        }
    }

    fn into_int(self) -> i64 {
        match self {
            Value::Int(number) => number,
            other => unreachable!("the check put a conversion to a number before {other:?}"),
        }
    }

    fn converted(self, conversion: Conversion) -> Result<Value, String> {
        Ok(match (conversion, self) {
            (Conversion::FloatToInt, Value::Float(number)) => Value::Int(number as i64),
            (Conversion::IntToFloat, Value::Int(number)) => Value::Float(number as f64),
            (Conversion::TextToBool, Value::Text(text)) => Value::Bool(
                coerce::parse_bool(&text).map_err(|e| format!("__builtin_StringToBool: {e}"))?,
            ),
            (Conversion::TextToFloat, Value::Text(text)) => Value::Float(
                coerce::parse_float(&text).map_err(|e| format!("__builtin_StringToFloat: {e}"))?,
            ),
            (Conversion::TextToInt, Value::Text(text)) => Value::Int(
                coerce::parse_signed(&text).map_err(|e| format!("__builtin_StringToInt: {e}"))?,
            ),
            (_, value) => Value::Text(value.into_text()),
        })
    }
}

fn combine(operator: Operator, left: Value, right: Value) -> Result<Value, String> {
    use std::cmp::Ordering;
    let ordered = match operator {
        Operator::And => {
            return Ok(Value::Bool(left == Value::Bool(true) && right == Value::Bool(true)));
        }
        Operator::Or => {
            return Ok(Value::Bool(left == Value::Bool(true) || right == Value::Bool(true)));
        }
        Operator::Equal => return Ok(Value::Bool(left == right)),
        Operator::NotEqual => return Ok(Value::Bool(left != right)),
        _ => match (&left, &right) {
            (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
            (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
            other => unreachable!("the check lets {operator:?} have numbers only, not {other:?}"),
        },
    };
    Ok(match operator {
        Operator::Less => Value::Bool(ordered == Some(Ordering::Less)),
        Operator::LessOrEqual => Value::Bool(ordered.is_some_and(Ordering::is_le)),
        Operator::Greater => Value::Bool(ordered == Some(Ordering::Greater)),
        Operator::GreaterOrEqual => Value::Bool(ordered.is_some_and(Ordering::is_ge)),
        _ => match (left, right) {
            (Value::Int(left), Value::Int(right)) => {
                Value::Int(compute_int(operator, left, right)?)
            }
            (Value::Float(left), Value::Float(right)) => Value::Float(match operator {
                Operator::Add => left + right,
                Operator::Subtract => left - right,
                Operator::Multiply => left * right,
                _ => left / right,
            }),
            other => unreachable!("compared above: {other:?}"),
        },
    })
}

/// Go's integers wrap around.
fn compute_int(operator: Operator, left: i64, right: i64) -> Result<i64, String> {
    Ok(match operator {
        Operator::Add => left.wrapping_add(right),
        Operator::Subtract => left.wrapping_sub(right),
        Operator::Multiply => left.wrapping_mul(right),
        _ if right == 0 => return Err("__builtin_IntMath: divide by zero".to_owned()),
        Operator::Divide => left.wrapping_div(right),
        _ => left.wrapping_rem(right),
    })
}
