//! Runs a script: walks over its tree, with bounds on steps, memory and depth.

mod arithmetic;
mod builtins;
mod commands;
mod expressions;
mod result;
mod statements;

use std::collections::HashMap;

use bytes::Bytes;

use super::{
    Sha1,
    ast::Function,
    value::{Table, Value},
};
use crate::{Entry, Evaluated, Refused, Reply, command::distinct, keyspace::Keyspace};

/// Most steps that a run takes: nodes of the tree, and what costs as much.
const STEPS_MAX: u32 = 100_000;
/// Most bytes that a run makes, in strings and tables, and puts into its reply. What it lets go of counts too.
const MEMORY_BYTES_MAX: usize = 4 << 20;
/// How deep calls of functions, blocks and expressions may be inside each other while they run.
const DEPTH_MAX: u32 = 120;
/// What a value costs in a table or variable.
const VALUE_BYTES: usize = size_of::<Value>();
/// Bytes that are compared, searched or copied in a step.
const BYTES_A_STEP: usize = 256;

/// Why a run ends early.
#[derive(Debug)]
pub(super) enum Stop {
    /// With the error that Redis would give: the reply's text.
    Error(String),
    /// What it does is not carried out here.
    Refused(Refused),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// One run of a script.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    sha1: Sha1,
    keyspace: Keyspace<'a>,
    key_indices: HashMap<Bytes, usize>,
    /// All variables of the run. None is given back: their number is bounded by the memory.
    cells: Vec<Value>,
    tables: Vec<Table>,
    steps_left: u32,
    memory_left: usize,
    depth: u32,
}

/// The variables of a call: which cells they are.
#[derive(Debug)]
struct Frame {
    slots: Vec<usize>,
    captured: Vec<usize>,
}

/// `KEYS` among the tables of a run.
const KEYS_TABLE: usize = 0;
/// `ARGV` among the tables of a run.
const ARGV_TABLE: usize = 1;

/// Runs a script over keys that look so. The indices in what it comes to are those in `keys`.
pub(super) fn run(
    sha1: Sha1,
    script: &Function,
    keys: &[Bytes],
    args: &[Bytes],
    entries: &[Entry],
) -> Result<Evaluated, Refused> {
    let (unique, mentions) = distinct(keys);
    // A key that is named twice is the one that was named first.
    let mut first_mentions = vec![0; unique.len()];
    for (mention, key) in mentions.iter().enumerate().rev() {
        first_mentions[*key] = mention;
    }
    let entry_of = |first: &usize| entries[*first].clone();
    let unique_entries: Vec<Entry> = first_mentions.iter().map(entry_of).collect();
    let list = |words: &[Bytes]| Table::new(words.iter().map(|word| Value::text(word.clone())).collect());
    let mut machine = Machine {
        sha1,
        keyspace: Keyspace::new(&unique, &unique_entries),
        key_indices: unique.iter().cloned().zip(0..).collect(),
        cells: Vec::new(),
        tables: vec![list(keys), list(args)],
        steps_left: STEPS_MAX,
        memory_left: MEMORY_BYTES_MAX,
        depth: 0,
    };
    let mut evaluated = match machine.run_main(script) {
        Ok(reply) => machine.keyspace.finish(reply)?,
        Err(Stop::Error(error)) => machine.keyspace.fail(error),
        Err(Stop::Refused(refused)) => return Err(refused),
    };
    evaluated.rename_keys(&first_mentions);
    Ok(evaluated)
}

impl Machine<'_> {
    fn run_main(&mut self, script: &Function) -> Result<Reply, Stop> {
        let results = self.run_function(script, Vec::new(), Vec::new())?;
        let first = results.into_iter().next().unwrap_or(Value::Nil);
        self.reply(&first)
    }

    /// Takes steps off the bound.
    fn step(&mut self, steps: u32) -> Result<(), Stop> {
        match self.steps_left.checked_sub(steps) {
            Some(left) => {
                self.steps_left = left;
                Ok(())
            }
            None => Err(self.refused("steps", format_args!("it takes more than {STEPS_MAX} steps"))),
        }
    }

    /// Takes the steps off the bound that it takes to look at so many bytes.
    fn step_bytes(&mut self, bytes: usize) -> Result<(), Stop> {
        self.step(u32::try_from(bytes / BYTES_A_STEP).unwrap_or(u32::MAX))
    }

    /// Takes memory off the bound, before it is used.
    fn take_memory(&mut self, bytes: usize) -> Result<(), Stop> {
        match self.memory_left.checked_sub(bytes) {
            Some(left) => {
                self.memory_left = left;
                Ok(())
            }
            None => Err(self.refused("memory", format_args!("it makes more than {MEMORY_BYTES_MAX} bytes"))),
        }
    }

    /// Runs a part one level deeper on the stack.
    fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        if self.depth == DEPTH_MAX {
            return Err(self.refused("depth", format_args!("it goes deeper than {DEPTH_MAX} levels")));
        }
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    fn new_table(&mut self, table: Table) -> Result<Value, Stop> {
        self.take_memory(size_of::<Table>() + table.size() * VALUE_BYTES)?;
        self.tables.push(table);
        Ok(Value::Table(self.tables.len() - 1))
    }

    fn new_cell(&mut self, value: Value) -> Result<usize, Stop> {
        self.take_memory(VALUE_BYTES)?;
        self.cells.push(value);
        Ok(self.cells.len() - 1)
    }

    fn refused(&self, kind: &'static str, why: impl std::fmt::Display) -> Stop {
        Stop::Refused(Refused { kind, message: format!("ERR script {} is not carried out: {why}", self.sha1) })
    }

    /// What the script does on this line is not of the subset.
    fn not_understood(&self, line: u32, what: impl std::fmt::Display) -> Stop {
        Stop::Refused(super::not_understood(self.sha1, line, what))
    }

    /// An error of the script's own, as Redis words it.
    fn error(&self, line: u32, text: impl std::fmt::Display) -> Stop {
        self.error_reply(line, &format!("ERR user_script:{line}: {text}"))
    }

    /// An error reply that ends the script, as Redis words it.
    fn error_reply(&self, line: u32, message: &str) -> Stop {
        Stop::Error(format!("{message} script: {}, on @user_script:{line}.", self.sha1))
    }
}
