//! Expressions.

use super::{ARGV_TABLE, Frame, KEYS_TABLE, Machine, Stop, VALUE_BYTES, statements::cell};
use crate::script::{
    ast::{Binary, Expression, ExpressionKind, Unary},
    value::{Table, Value},
};

impl Machine<'_> {
    /// The values of several expressions; a call at the end gives all of its results.
    pub(super) fn values(&mut self, expressions: &[Expression], frame: &mut Frame) -> Result<Vec<Value>, Stop> {
        let Some((last, others)) = expressions.split_last() else { return Ok(Vec::new()) };
        let mut values = Vec::with_capacity(expressions.len());
        for expression in others {
            values.push(self.value(expression, frame)?);
        }
        if matches!(last.kind, ExpressionKind::Call(..)) {
            values.extend(self.several(last, frame)?);
        } else {
            values.push(self.value(last, frame)?);
        }
        Ok(values)
    }

    /// All results of a call.
    pub(super) fn several(&mut self, expression: &Expression, frame: &mut Frame) -> Result<Vec<Value>, Stop> {
        let ExpressionKind::Call(function, arguments) = &expression.kind else {
            return Ok(vec![self.value(expression, frame)?]);
        };
        let line = expression.line;
        self.deeper(|machine| {
            machine.step(1)?;
            let function = machine.value(function, frame)?;
            let arguments = machine.values(arguments, frame)?;
            match function {
                Value::Builtin(builtin) => machine.builtin(line, builtin, &arguments),
                Value::Function(closure) => {
                    machine.take_memory(closure.captured.len() * size_of::<usize>())?;
                    machine.run_function(&closure.function, closure.captured.clone(), arguments)
                }
                other => Err(machine.error(line, format_args!("attempt to call a {} value", other.type_name()))),
            }
        })
    }

    /// The one value of an expression.
    pub(super) fn value(&mut self, expression: &Expression, frame: &mut Frame) -> Result<Value, Stop> {
        self.step(1)?;
        match &expression.kind {
            ExpressionKind::Nil => Ok(Value::Nil),
            ExpressionKind::Boolean(boolean) => Ok(Value::Boolean(*boolean)),
            ExpressionKind::Number(number) => Ok(Value::Number(*number)),
            ExpressionKind::Text(text) => Ok(Value::text(text.clone())),
            ExpressionKind::Variable(place) => Ok(self.cells[cell(*place, frame)].clone()),
            ExpressionKind::Keys => Ok(Value::Table(KEYS_TABLE)),
            ExpressionKind::Argv => Ok(Value::Table(ARGV_TABLE)),
            ExpressionKind::Builtin(builtin) => Ok(Value::Builtin(*builtin)),
            ExpressionKind::Function(function) => self.closure(function, frame),
            ExpressionKind::Call(..) => Ok(self.several(expression, frame)?.into_iter().next().unwrap_or(Value::Nil)),
            _ => self.deeper(|machine| machine.compound(expression, frame)),
        }
    }

    /// The value of what has parts.
    fn compound(&mut self, expression: &Expression, frame: &mut Frame) -> Result<Value, Stop> {
        let line = expression.line;
        match &expression.kind {
            ExpressionKind::Table(list, fields) => self.table(line, list, fields, frame),
            ExpressionKind::Index(table, key) => {
                let table = self.value(table, frame)?;
                let key = self.value(key, frame)?;
                self.field(line, &table, &key)
            }
            ExpressionKind::And(left, right) => {
                let left = self.value(left, frame)?;
                if left.is_true() { self.value(right, frame) } else { Ok(left) }
            }
            ExpressionKind::Or(left, right) => {
                let left = self.value(left, frame)?;
                if left.is_true() { Ok(left) } else { self.value(right, frame) }
            }
            ExpressionKind::Unary(operator, operand) => {
                let operand = self.value(operand, frame)?;
                self.unary(line, *operator, &operand)
            }
            ExpressionKind::Binary(operator, left, right) => {
                let left = self.value(left, frame)?;
                let right = self.value(right, frame)?;
                self.binary(line, *operator, &left, &right)
            }
            ExpressionKind::One(one) => self.value(one, frame),
            _ => Err(self.not_understood(line, "an expression without parts where one with parts belongs")),
        }
    }

    fn table(
        &mut self,
        line: u32,
        list: &[Expression],
        fields: &[(Expression, Expression)],
        frame: &mut Frame,
    ) -> Result<Value, Stop> {
        let list = self.values(list, frame)?;
        let table = self.new_table(Table::new(list))?;
        for (key, value) in fields {
            let key = self.value(key, frame)?;
            let value = self.value(value, frame)?;
            self.set_field(line, &table, &key, value)?;
        }
        Ok(table)
    }

    fn field(&mut self, line: u32, table: &Value, key: &Value) -> Result<Value, Stop> {
        if let Value::Text(text) = key {
            self.step_bytes(text.bytes.len())?;
        }
        match table {
            Value::Table(table) => Ok(self.tables[*table].get(key)),
            Value::Text(_) => Err(self.not_understood(line, "a field of a string")),
            other => Err(self.error(line, format_args!("attempt to index a {} value", other.type_name()))),
        }
    }

    pub(super) fn set_field(&mut self, line: u32, table: &Value, key: &Value, value: Value) -> Result<(), Stop> {
        if let Value::Text(text) = key {
            self.step_bytes(text.bytes.len())?;
        }
        let Value::Table(table) = table else {
            return Err(self.error(line, format_args!("attempt to index a {} value", table.type_name())));
        };
        self.take_memory(2 * VALUE_BYTES)?;
        match key {
            Value::Table(_) | Value::Function(_) | Value::Builtin(_) => {
                Err(self.not_understood(line, format_args!("a {} as the index of a table", key.type_name())))
            }
            _ if self.tables[*table].set(key, value) => Ok(()),
            Value::Nil => Err(self.error(line, "table index is nil")),
            _ => Err(self.error(line, "table index is NaN")),
        }
    }

    fn unary(&mut self, line: u32, operator: Unary, operand: &Value) -> Result<Value, Stop> {
        match (operator, operand) {
            (Unary::Not, operand) => Ok(Value::Boolean(!operand.is_true())),
            (Unary::Minus, operand) => Ok(Value::Number(-self.operand(line, operand)?)),
            (Unary::Length, Value::Text(text)) => Ok(Value::Number(text.bytes.len() as f64)),
            (Unary::Length, Value::Table(table)) => Ok(Value::Number(self.tables[*table].len() as f64)),
            (Unary::Length, other) => {
                Err(self.error(line, format_args!("attempt to get length of a {} value", other.type_name())))
            }
        }
    }

    fn binary(&mut self, line: u32, operator: Binary, left: &Value, right: &Value) -> Result<Value, Stop> {
        match operator {
            Binary::Equal => self.equal(left, right).map(Value::Boolean),
            Binary::Unequal => self.equal(left, right).map(|equal| Value::Boolean(!equal)),
            Binary::Less => self.less(line, left, right, false),
            Binary::LessOrEqual => self.less(line, left, right, true),
            Binary::Greater => self.less(line, right, left, false),
            Binary::GreaterOrEqual => self.less(line, right, left, true),
            Binary::Concatenate => self.concatenate(line, left, right),
            _ => self.arithmetic(line, operator, left, right),
        }
    }
}
