//! Operators on two values.

use bytes::Bytes;

use super::{Machine, Stop};
use crate::script::{
    ast::Binary,
    number::{self, DIGITS_IN_TEXT},
    value::{Origin, Text, Value},
};

impl Machine<'_> {
    /// Whether two values are the same. Where one is an owner that was read and the other is the client's own, the owner is checked.
    pub(super) fn equal(&mut self, left: &Value, right: &Value) -> Result<bool, Stop> {
        Ok(match (left, right) {
            (Value::Nil, Value::Nil) => true,
            (Value::Boolean(left), Value::Boolean(right)) => left == right,
            (Value::Number(left), Value::Number(right)) => left == right,
            (Value::Table(left), Value::Table(right)) => left == right,
            (Value::Builtin(left), Value::Builtin(right)) => left == right,
            (Value::Function(left), Value::Function(right)) => std::rc::Rc::ptr_eq(left, right),
            (Value::Text(left), Value::Text(right)) => {
                self.step_bytes(left.bytes.len().min(right.bytes.len()))?;
                let equal = left.bytes == right.bytes;
                if let (true, (Origin::Key(key), Origin::Client) | (Origin::Client, Origin::Key(key))) =
                    (equal, (left.origin, right.origin))
                {
                    self.keyspace.owner_is_checked(key);
                }
                equal
            }
            _ => false,
        })
    }

    pub(super) fn less(&mut self, line: u32, left: &Value, right: &Value, or_equal: bool) -> Result<Value, Stop> {
        let less = match (left, right) {
            (Value::Number(left), Value::Number(right)) => left < right || or_equal && left == right,
            (Value::Text(left), Value::Text(right)) => {
                self.step_bytes(left.bytes.len().min(right.bytes.len()))?;
                left.bytes < right.bytes || or_equal && left.bytes == right.bytes
            }
            _ => {
                let (left, right) = (left.type_name(), right.type_name());
                let text = if left == right {
                    format!("attempt to compare two {left} values")
                } else {
                    format!("attempt to compare {left} with {right}")
                };
                return Err(self.error(line, text));
            }
        };
        Ok(Value::Boolean(less))
    }

    pub(super) fn operand(&self, line: u32, value: &Value) -> Result<f64, Stop> {
        let name = value.type_name();
        value.number().ok_or_else(|| self.error(line, format_args!("attempt to perform arithmetic on a {name} value")))
    }

    pub(super) fn arithmetic(&self, line: u32, operator: Binary, left: &Value, right: &Value) -> Result<Value, Stop> {
        let (left, right) = (self.operand(line, left)?, self.operand(line, right)?);
        Ok(Value::Number(match operator {
            Binary::Add => left + right,
            Binary::Subtract => left - right,
            Binary::Multiply => left * right,
            Binary::Divide => left / right,
            Binary::Modulo => left - (left / right).floor() * right,
            Binary::Power => left.powf(right),
            _ => return Err(self.not_understood(line, "an operator that is none of numbers")),
        }))
    }

    pub(super) fn concatenate(&mut self, line: u32, left: &Value, right: &Value) -> Result<Value, Stop> {
        let (left, right) = (self.as_text(line, left)?, self.as_text(line, right)?);
        let length = left.bytes.len() + right.bytes.len();
        self.take_memory(length)?;
        self.step_bytes(length)?;
        let bytes = Bytes::from([left.bytes, right.bytes].concat());
        Ok(Value::Text(Text { bytes, origin: left.origin.with(right.origin) }))
    }

    fn as_text(&self, line: u32, value: &Value) -> Result<Text, Stop> {
        match value {
            Value::Text(text) => Ok(text.clone()),
            Value::Number(number) => {
                Ok(Text { bytes: number::text(*number, DIGITS_IN_TEXT).into(), origin: Origin::Client })
            }
            other => Err(self.error(line, format_args!("attempt to concatenate a {} value", other.type_name()))),
        }
    }
}
