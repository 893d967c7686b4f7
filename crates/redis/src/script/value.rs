//! Values of a running script.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use bytes::Bytes;

use super::{
    ast::{Builtin, Function},
    number,
};

/// A value. Tables and functions are shared: what is here is which one it is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Nil,
    Boolean(bool),
    Number(f64),
    Text(Text),
    /// By its number among the tables of the run.
    Table(usize),
    Function(Rc<Closure>),
    Builtin(Builtin),
}

/// A string, and where it is from.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) bytes: Bytes,
    pub(super) origin: Origin,
}

/// Where a string is from: an owner counts as compared only with what was not itself read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The script, or what was sent along with it.
    Client,
    /// The value of a key, or a part of it.
    Key(usize),
    /// Made of what was read from keys.
    Derived,
}

impl Origin {
    /// Of what is made of something from here.
    pub(super) fn derived(self) -> Self {
        if self == Self::Client { Self::Client } else { Self::Derived }
    }

    /// Of what is made of both.
    pub(super) fn with(self, other: Self) -> Self {
        if other == Self::Client { self.derived() } else { Self::Derived }
    }
}

/// A function with the variables that it captured, by their numbers among the cells of the run.
#[derive(Debug)]
pub(super) struct Closure {
    pub(super) function: Arc<Function>,
    pub(super) captured: Vec<usize>,
}

impl Value {
    /// A string that is the client's own.
    pub(super) fn text(bytes: impl Into<Bytes>) -> Self {
        Self::Text(Text { bytes: bytes.into(), origin: Origin::Client })
    }

    pub(super) fn is_true(&self) -> bool {
        !matches!(self, Self::Nil | Self::Boolean(false))
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Boolean(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Table(_) => "table",
            Self::Function(_) | Self::Builtin(_) => "function",
        }
    }

    /// As a number, where it is one or looks like one.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => number::parse(&text.bytes),
            _ => None,
        }
    }
}

/// A table: its list, and everything else.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// From index 1 on; the last one is never nil.
    list: Vec<Value>,
    rest: BTreeMap<Key, Value>,
}

/// What a field of a table is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Boolean(bool),
    /// The bits of a number; negative and positive zero are the same.
    Number(u64),
    Text(Bytes),
}

impl Key {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(boolean) => Some(Self::Boolean(*boolean)),
            Value::Number(number) if number.is_nan() => None,
            Value::Number(number) => Some(Self::Number((number + 0.0).to_bits())),
            Value::Text(text) => Some(Self::Text(text.bytes.clone())),
            _ => None,
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Boolean(boolean) => Value::Boolean(*boolean),
            Self::Number(bits) => Value::Number(f64::from_bits(*bits)),
            Self::Text(text) => Value::Text(Text { bytes: text.clone(), origin: Origin::Derived }),
        }
    }
}

impl Table {
    pub(super) fn new(list: Vec<Value>) -> Self {
        let mut table = Self { list, rest: BTreeMap::new() };
        table.trim();
        table
    }

    fn trim(&mut self) {
        while matches!(self.list.last(), Some(Value::Nil)) {
            self.list.pop();
        }
    }

    /// The border that `#` tells.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The value with this number; the first is 1.
    pub(super) fn at(&self, index: usize) -> Value {
        index.checked_sub(1).and_then(|index| self.list.get(index)).cloned().unwrap_or(Value::Nil)
    }

    pub(super) fn get(&self, key: &Value) -> Value {
        match list_index(key) {
            Some(index) if index <= self.list.len() => self.at(index),
            _ => Key::of(key).and_then(|key| self.rest.get(&key)).cloned().unwrap_or(Value::Nil),
        }
    }

    pub(super) fn field(&self, name: &'static str) -> Value {
        self.rest.get(&Key::Text(Bytes::from_static(name.as_bytes()))).cloned().unwrap_or(Value::Nil)
    }

    /// False where the key is none that a table can have.
    #[must_use]
    pub(super) fn set(&mut self, key: &Value, value: Value) -> bool {
        if let Some(index) = list_index(key)
            && index <= self.list.len() + 1
        {
            if index <= self.list.len() {
                self.list[index - 1] = value;
                self.trim();
            } else if !matches!(value, Value::Nil) {
                self.rest.remove(&Key::Number((index as f64).to_bits()));
                self.list.push(value);
                self.take_followers();
            } else {
                self.rest.remove(&Key::Number((index as f64).to_bits()));
            }
            return true;
        }
        let Some(key) = Key::of(key) else { return false };
        match value {
            Value::Nil => self.rest.remove(&key),
            value => self.rest.insert(key, value),
        };
        true
    }

    /// Takes what follows the list without a gap into it.
    fn take_followers(&mut self) {
        while !self.rest.is_empty()
            && let Some(next) = self.rest.remove(&Key::Number(((self.list.len() + 1) as f64).to_bits()))
        {
            self.list.push(next);
        }
    }

    /// Puts a value before the one with this number; false where there is no such place.
    #[must_use]
    pub(super) fn insert(&mut self, index: usize, value: Value) -> bool {
        if index == 0 || index > self.list.len() + 1 {
            return false;
        }
        self.list.insert(index - 1, value);
        self.trim();
        self.take_followers();
        true
    }

    /// All pairs: those of the list first.
    pub(super) fn pairs(&self) -> Vec<(Value, Value)> {
        let list =
            self.list.iter().enumerate().map(|(index, value)| (Value::Number((index + 1) as f64), value.clone()));
        let list = list.filter(|(_, value)| !matches!(value, Value::Nil));
        list.chain(self.rest.iter().map(|(key, value)| (key.value(), value.clone()))).collect()
    }

    /// How many values it has.
    pub(super) fn size(&self) -> usize {
        self.list.len() + self.rest.len()
    }
}

/// The place in a list that a key names, from 1 on.
fn list_index(key: &Value) -> Option<usize> {
    match key {
        Value::Number(number) if *number >= 1.0 && *number <= 1e9 && number.fract() == 0.0 => Some(*number as usize),
        _ => None,
    }
}
