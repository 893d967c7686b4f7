//! What a script returns, as a reply.

use super::{Machine, Stop, VALUE_BYTES};
use crate::{Reply, script::value::Value};

/// How deep tables may be inside each other in a reply.
const REPLY_DEPTH_MAX: u32 = 16;

impl Machine<'_> {
    /// A value as a reply, as Redis converts it.
    pub(super) fn reply(&mut self, value: &Value) -> Result<Reply, Stop> {
        self.reply_at(value, 0)
    }

    fn reply_at(&mut self, value: &Value, depth: u32) -> Result<Reply, Stop> {
        self.step(1)?;
        self.take_memory(VALUE_BYTES)?;
        match value {
            Value::Nil | Value::Boolean(false) => Ok(Reply::Nil),
            Value::Boolean(true) => Ok(Reply::Integer(1)),
            Value::Number(number) => Ok(Reply::Integer(truncated(*number))),
            Value::Text(text) => {
                self.take_memory(text.bytes.len())?;
                Ok(Reply::Bulk(text.bytes.clone()))
            }
            Value::Table(table) => self.table_reply(*table, depth),
            // Redis has nothing for them either.
            Value::Function(_) | Value::Builtin(_) => Ok(Reply::Nil),
        }
    }

    fn table_reply(&mut self, table: usize, depth: u32) -> Result<Reply, Stop> {
        for (field, reply) in [("err", Reply::Error as fn(String) -> Reply), ("ok", Reply::Status)] {
            if let Value::Text(text) = self.tables[table].field(field) {
                self.take_memory(text.bytes.len())?;
                return Ok(reply(String::from_utf8_lossy(&text.bytes).into_owned()));
            }
        }
        if depth == REPLY_DEPTH_MAX {
            return Err(self.refused("depth", format_args!("its reply goes deeper than {REPLY_DEPTH_MAX} levels")));
        }
        let mut items = Vec::new();
        for index in 1.. {
            // A list ends at its first hole.
            match self.tables[table].at(index) {
                Value::Nil => break,
                value => items.push(self.reply_at(&value, depth + 1)?),
            }
        }
        Ok(Reply::Array(items))
    }
}

/// A number without what is behind its point. What is none, or too great, is what C makes of it on common machines.
fn truncated(number: f64) -> i64 {
    let is_in_range = number >= i64::MIN as f64 && number < -(i64::MIN as f64);
    if is_in_range { number as i64 } else { i64::MIN }
}
