//! Commands that a script calls.

use bytes::Bytes;

use super::{Machine, Stop};
use crate::{
    Reply,
    command::Spec,
    operation::{Call, Operation, Problem},
    script::{
        number::{self, DIGITS_IN_ARGUMENT},
        value::{Origin, Table, Text, Value},
    },
    text::shown,
};

impl Machine<'_> {
    /// `redis.call`: an error ends the script.
    pub(super) fn call(&mut self, line: u32, arguments: &[Value]) -> Result<Value, Stop> {
        self.command(line, arguments)?.map_err(|message| self.error_reply(line, &message))
    }

    /// `redis.pcall`: an error is a value.
    pub(super) fn protected_call(&mut self, line: u32, arguments: &[Value]) -> Result<Value, Stop> {
        match self.command(line, arguments)? {
            Ok(value) => Ok(value),
            Err(message) => {
                self.take_memory(message.len())?;
                self.table_of("err", Value::text(message))
            }
        }
    }

    /// What a command answers; the inner error is that of the command itself.
    fn command(&mut self, line: u32, arguments: &[Value]) -> Result<Result<Value, String>, Stop> {
        let mut words = Vec::with_capacity(arguments.len());
        let mut own_words = true;
        for argument in arguments {
            self.step(1)?;
            words.push(match argument {
                Value::Text(text) => {
                    own_words &= text.origin == Origin::Client;
                    text.bytes.clone()
                }
                Value::Number(number) => number::text(*number, DIGITS_IN_ARGUMENT).into(),
                _ => return Ok(Err("ERR Lua redis lib command arguments must be strings or integers".into())),
            });
        }
        let Some((name, args)) = words.split_first() else {
            return Ok(Err("ERR Please specify at least one argument for this redis lib call".into()));
        };
        let Some(spec) = Spec::find(name).filter(|spec| spec.has_keys()) else {
            let what = format!("the command '{}', which a script cannot call here", shown(name));
            return Err(self.not_understood(line, what));
        };
        if !spec.takes(words.len()) {
            return Ok(Err("ERR Wrong number of args calling Redis command from script".into()));
        }
        let call = match Call::parse(spec.name, args) {
            Ok(call) => call,
            Err(problem @ Problem::Wrong(_)) => return Ok(Err(problem.into_message())),
            Err(Problem::Unsupported(what)) => return Err(self.not_understood(line, what)),
        };
        let keys = self.declared(line, &call.keys)?;
        match self.keyspace.execute(&call.operation, &keys, own_words)? {
            Reply::Error(message) => Ok(Err(message)),
            reply => self.converted(reply, &call.operation, &keys).map(Ok),
        }
    }

    /// The indices of keys that came with the script: only those have been looked at.
    fn declared(&mut self, line: u32, keys: &[Bytes]) -> Result<Vec<usize>, Stop> {
        let mut indices = Vec::with_capacity(keys.len());
        for key in keys {
            self.step_bytes(key.len())?;
            let Some(index) = self.key_indices.get(key) else {
                let key = shown(key);
                let what = format!("on line {line} it uses the key '{key}', which is not in KEYS");
                return Err(self.refused("undeclared_key", what));
            };
            indices.push(*index);
        }
        Ok(indices)
    }

    /// A reply as a value; what was read from a key remembers which.
    fn converted(&mut self, reply: Reply, operation: &Operation, keys: &[usize]) -> Result<Value, Stop> {
        let text = |bytes: Bytes, key: Option<&usize>| {
            let empty_part = bytes.is_empty() && matches!(operation, Operation::GetRange { .. });
            let origin = match key {
                // Nothing of an owner says nothing of who it is.
                Some(key) if !empty_part => Origin::Key(*key),
                _ => Origin::Derived,
            };
            Value::Text(Text { bytes, origin })
        };
        match reply {
            Reply::Nil => Ok(Value::Boolean(false)),
            Reply::Integer(number) => Ok(Value::Number(number as f64)),
            Reply::Bulk(bytes) => Ok(text(bytes, keys.first())),
            Reply::Status(status) => self.table_of("ok", Value::text(status)),
            Reply::Array(items) => {
                let mut values = Vec::with_capacity(items.len());
                for (item, key) in items.into_iter().zip(keys) {
                    self.step(1)?;
                    values.push(match item {
                        Reply::Bulk(bytes) => text(bytes, Some(key)),
                        _ => Value::Boolean(false),
                    });
                }
                self.new_table(Table::new(values))
            }
            Reply::Error(_) | Reply::Map(_) => Ok(Value::Nil),
        }
    }
}
