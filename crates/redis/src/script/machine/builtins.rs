//! Functions that every script has.

use super::{Machine, Stop, VALUE_BYTES};
use crate::script::{
    ast::Builtin,
    number::{self, DIGITS_IN_TEXT},
    value::{Origin, Table, Text, Value},
};

impl Machine<'_> {
    pub(super) fn builtin(&mut self, line: u32, builtin: Builtin, arguments: &[Value]) -> Result<Vec<Value>, Stop> {
        let value = match builtin {
            Builtin::Call => self.call(line, arguments)?,
            Builtin::ProtectedCall => self.protected_call(line, arguments)?,
            Builtin::StatusReply => self.single_field("ok", arguments)?,
            Builtin::ErrorReply => self.single_field("err", arguments)?,
            Builtin::ToNumber => self.number_of(line, arguments)?,
            Builtin::ToString => self.string_of(line, self.argument(line, "tostring", arguments)?)?,
            Builtin::Type => Value::text(self.argument(line, "type", arguments)?.type_name()),
            Builtin::Unpack => return self.unpack(line, arguments),
            Builtin::Sub => self.sub(line, arguments)?,
            Builtin::Len => Value::Number(self.text_argument(line, "len", arguments, 0)?.bytes.len() as f64),
            Builtin::Lower => self.mapped(line, "lower", arguments, <[u8]>::to_ascii_lowercase)?,
            Builtin::Upper => self.mapped(line, "upper", arguments, <[u8]>::to_ascii_uppercase)?,
            Builtin::Format => self.format(line, arguments)?,
            Builtin::Insert => {
                self.insert(line, arguments)?;
                return Ok(Vec::new());
            }
            Builtin::Min => self.extreme(line, "min", arguments, f64::min)?,
            Builtin::Max => self.extreme(line, "max", arguments, f64::max)?,
            Builtin::Floor => Value::Number(self.number_argument(line, "floor", arguments, 0)?.floor()),
        };
        Ok(vec![value])
    }

    fn argument<'v>(&self, line: u32, function: &str, arguments: &'v [Value]) -> Result<&'v Value, Stop> {
        let missing = || self.error(line, format_args!("bad argument #1 to '{function}' (value expected)"));
        arguments.first().ok_or_else(missing)
    }

    fn bad_argument(&self, line: u32, function: &str, arguments: &[Value], index: usize, expected: &str) -> Stop {
        let got = arguments.get(index).map_or("no value", Value::type_name);
        let number = index + 1;
        self.error(line, format_args!("bad argument #{number} to '{function}' ({expected} expected, got {got})"))
    }

    fn number_argument(&self, line: u32, function: &str, arguments: &[Value], index: usize) -> Result<f64, Stop> {
        let number = arguments.get(index).and_then(Value::number);
        number.ok_or_else(|| self.bad_argument(line, function, arguments, index, "number"))
    }

    fn text_argument(&self, line: u32, function: &str, arguments: &[Value], index: usize) -> Result<Text, Stop> {
        match arguments.get(index) {
            Some(Value::Text(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(text_of(*number)),
            _ => Err(self.bad_argument(line, function, arguments, index, "string")),
        }
    }

    fn table_argument(&self, line: u32, function: &str, arguments: &[Value]) -> Result<usize, Stop> {
        match arguments.first() {
            Some(Value::Table(table)) => Ok(*table),
            _ => Err(self.bad_argument(line, function, arguments, 0, "table")),
        }
    }

    /// `redis.status_reply` and `redis.error_reply`.
    fn single_field(&mut self, field: &'static str, arguments: &[Value]) -> Result<Value, Stop> {
        let [Value::Text(text)] = arguments else {
            // Redis gives this error as a value.
            return self.table_of("err", Value::text("ERR wrong number or type of arguments"));
        };
        let mut text = text.clone();
        if field == "err" {
            // A code comes first; a text of one word is none.
            let bytes = text.bytes.strip_prefix(b"-").unwrap_or(&text.bytes);
            let prefix = if bytes.contains(&b' ') { &b""[..] } else { b"ERR " };
            self.take_memory(prefix.len() + bytes.len())?;
            text.bytes = [prefix, bytes].concat().into();
        }
        self.table_of(field, Value::Text(text))
    }

    /// A table with one named field.
    pub(super) fn table_of(&mut self, field: &'static str, value: Value) -> Result<Value, Stop> {
        let table = self.new_table(Table::default())?;
        self.set_field(0, &table, &Value::text(field), value)?;
        Ok(table)
    }

    fn number_of(&self, line: u32, arguments: &[Value]) -> Result<Value, Stop> {
        let value = self.argument(line, "tonumber", arguments)?;
        match arguments.get(1) {
            None | Some(Value::Nil) => {}
            Some(Value::Number(10.0)) => {}
            Some(_) => return Err(self.not_understood(line, "'tonumber' with another base than 10")),
        }
        Ok(value.number().map_or(Value::Nil, Value::Number))
    }

    fn string_of(&self, line: u32, value: &Value) -> Result<Value, Stop> {
        match value {
            Value::Text(text) => Ok(Value::Text(text.clone())),
            Value::Number(number) => Ok(Value::Text(text_of(*number))),
            Value::Nil => Ok(Value::text("nil")),
            Value::Boolean(true) => Ok(Value::text("true")),
            Value::Boolean(false) => Ok(Value::text("false")),
            other => Err(self.not_understood(line, format_args!("'tostring' of a {}", other.type_name()))),
        }
    }

    fn unpack(&mut self, line: u32, arguments: &[Value]) -> Result<Vec<Value>, Stop> {
        let table = self.table_argument(line, "unpack", arguments)?;
        let from = if arguments.len() > 1 { self.number_argument(line, "unpack", arguments, 1)? } else { 1.0 };
        let length = self.tables[table].len();
        let to = if arguments.len() > 2 { self.number_argument(line, "unpack", arguments, 2)? } else { length as f64 };
        let mut values = Vec::new();
        let mut index = from.floor();
        while index <= to {
            self.step(1)?;
            self.take_memory(VALUE_BYTES)?;
            values.push(self.tables[table].get(&Value::Number(index)));
            index += 1.0;
        }
        Ok(values)
    }

    fn sub(&mut self, line: u32, arguments: &[Value]) -> Result<Value, Stop> {
        let text = self.text_argument(line, "sub", arguments, 0)?;
        let from = self.number_argument(line, "sub", arguments, 1)?;
        let to = if arguments.len() > 2 { self.number_argument(line, "sub", arguments, 2)? } else { -1.0 };
        let length = text.bytes.len() as f64;
        let place = |index: f64| if index < 0.0 { (length + index + 1.0).max(0.0) } else { index };
        let (from, to) = (place(from.trunc()).max(1.0), place(to.trunc()).min(length));
        let bytes = if from <= to { text.bytes.slice(from as usize - 1..to as usize) } else { Default::default() };
        Ok(Value::Text(Text { bytes, origin: text.origin.derived() }))
    }

    fn mapped(
        &mut self,
        line: u32,
        function: &str,
        arguments: &[Value],
        map: fn(&[u8]) -> Vec<u8>,
    ) -> Result<Value, Stop> {
        let text = self.text_argument(line, function, arguments, 0)?;
        self.take_memory(text.bytes.len())?;
        self.step_bytes(text.bytes.len())?;
        Ok(Value::Text(Text { bytes: map(&text.bytes).into(), origin: text.origin.derived() }))
    }

    /// `%s`, `%d` and `%%`.
    fn format(&mut self, line: u32, arguments: &[Value]) -> Result<Value, Stop> {
        let format = self.text_argument(line, "format", arguments, 0)?;
        self.step_bytes(format.bytes.len())?;
        let mut origin = format.origin.derived();
        let (mut out, mut next) = (Vec::new(), 1);
        let mut bytes = format.bytes.iter();
        while let Some(byte) = bytes.next() {
            self.take_memory(1)?;
            if *byte != b'%' {
                out.push(*byte);
                continue;
            }
            match bytes.next() {
                Some(b'%') => {
                    out.push(b'%');
                    continue;
                }
                Some(b's') if next >= arguments.len() => {
                    return Err(self.error(line, format_args!("bad argument #{} to 'format' (no value)", next + 1)));
                }
                Some(b's') => {
                    let text = self.text_argument(line, "format", arguments, next)?;
                    self.take_memory(text.bytes.len())?;
                    self.step_bytes(text.bytes.len())?;
                    origin = origin.with(text.origin);
                    out.extend_from_slice(&text.bytes);
                }
                Some(b'd' | b'i') => {
                    let number = self.number_argument(line, "format", arguments, next)?;
                    let digits = (number as i64).to_string();
                    self.take_memory(digits.len())?;
                    out.extend_from_slice(digits.as_bytes());
                }
                _ => return Err(self.not_understood(line, "'string.format' with more than %s, %d and %%")),
            }
            next += 1;
        }
        Ok(Value::Text(Text { bytes: out.into(), origin }))
    }

    fn insert(&mut self, line: u32, arguments: &[Value]) -> Result<(), Stop> {
        let table = self.table_argument(line, "insert", arguments)?;
        self.take_memory(VALUE_BYTES)?;
        let length = self.tables[table].len();
        let (index, value) = match arguments {
            [_, value] => (length + 1, value),
            [_, _, value] => (self.number_argument(line, "insert", arguments, 1)?.floor() as usize, value),
            _ => return Err(self.error(line, "wrong number of arguments to 'insert'")),
        };
        self.step_bytes((length.saturating_sub(index)) * VALUE_BYTES)?;
        if self.tables[table].insert(index, value.clone()) {
            return Ok(());
        }
        Err(self.not_understood(line, "'table.insert' at a place outside of the list"))
    }

    fn extreme(
        &self,
        line: u32,
        function: &str,
        arguments: &[Value],
        choose: fn(f64, f64) -> f64,
    ) -> Result<Value, Stop> {
        let mut chosen = self.number_argument(line, function, arguments, 0)?;
        for index in 1..arguments.len() {
            chosen = choose(chosen, self.number_argument(line, function, arguments, index)?);
        }
        Ok(Value::Number(chosen))
    }
}

fn text_of(number: f64) -> Text {
    Text { bytes: number::text(number, DIGITS_IN_TEXT).into(), origin: Origin::Client }
}
