//! Statements, and calls of the script's own functions.

use super::{Frame, Machine, Stop, VALUE_BYTES};
use crate::script::{
    ast::{Block, Expression, Function, Place, Statement, StatementKind, Target, Walk},
    value::{Closure, Value},
};

/// What comes behind a statement.
pub(super) enum Flow {
    Next,
    Break,
    Return(Vec<Value>),
}

impl Machine<'_> {
    /// Runs a function; its results.
    pub(super) fn run_function(
        &mut self,
        function: &Function,
        captured: Vec<usize>,
        arguments: Vec<Value>,
    ) -> Result<Vec<Value>, Stop> {
        self.take_memory(function.slots * size_of::<usize>())?;
        let mut frame = Frame { slots: vec![0; function.slots], captured };
        let mut arguments = arguments.into_iter();
        for slot in 0..function.parameters {
            let argument = arguments.next().unwrap_or(Value::Nil);
            frame.slots[slot] = self.new_cell(argument)?;
        }
        match self.deeper(|machine| machine.block(&function.body, &mut frame))? {
            Flow::Return(results) => Ok(results),
            Flow::Next | Flow::Break => Ok(Vec::new()),
        }
    }

    fn block(&mut self, block: &Block, frame: &mut Frame) -> Result<Flow, Stop> {
        for statement in &block.statements {
            match self.statement(statement, frame)? {
                Flow::Next => {}
                ends => return Ok(ends),
            }
        }
        Ok(Flow::Next)
    }

    /// A block inside another.
    fn inner_block(&mut self, block: &Block, frame: &mut Frame) -> Result<Flow, Stop> {
        self.deeper(|machine| machine.block(block, frame))
    }

    fn statement(&mut self, statement: &Statement, frame: &mut Frame) -> Result<Flow, Stop> {
        self.step(1)?;
        let line = statement.line;
        match &statement.kind {
            StatementKind::Local { slots, values } => {
                let mut values = self.values(values, frame)?.into_iter();
                for slot in slots {
                    frame.slots[*slot] = self.new_cell(values.next().unwrap_or(Value::Nil))?;
                }
            }
            StatementKind::LocalFunction { slot, function } => {
                frame.slots[*slot] = self.new_cell(Value::Nil)?;
                let closure = self.closure(function, frame)?;
                self.cells[frame.slots[*slot]] = closure;
            }
            StatementKind::Assign { targets, values } => self.assign(line, targets, values, frame)?,
            StatementKind::Call(call) => {
                self.several(call, frame)?;
            }
            StatementKind::Do(body) => return self.inner_block(body, frame),
            StatementKind::While { condition, body } => {
                while self.value(condition, frame)?.is_true() {
                    match self.inner_block(body, frame)? {
                        Flow::Next => self.step(1)?,
                        Flow::Break => break,
                        returns => return Ok(returns),
                    }
                }
            }
            StatementKind::If { arms, otherwise } => {
                for (condition, body) in arms {
                    if self.value(condition, frame)?.is_true() {
                        return self.inner_block(body, frame);
                    }
                }
                return self.inner_block(otherwise, frame);
            }
            StatementKind::Count { slot, from, to, step, body } => {
                let from = self.bound("initial value", from, frame)?;
                let to = self.bound("limit", to, frame)?;
                let step = step.as_ref().map_or(Ok(1.0), |step| self.bound("step", step, frame))?;
                return self.count(*slot, (from, to, step), body, frame);
            }
            StatementKind::Each { slots, over, walk, body } => {
                return self.each(slots, over, *walk, body, frame);
            }
            StatementKind::Return(values) => return self.values(values, frame).map(Flow::Return),
            StatementKind::Break => return Ok(Flow::Break),
        }
        Ok(Flow::Next)
    }

    fn assign(&mut self, line: u32, targets: &[Target], values: &[Expression], frame: &mut Frame) -> Result<(), Stop> {
        let mut values = self.values(values, frame)?.into_iter();
        for target in targets {
            let value = values.next().unwrap_or(Value::Nil);
            match target {
                Target::Variable(place) => {
                    let cell = cell(*place, frame);
                    self.cells[cell] = value;
                }
                Target::Field(table, key) => {
                    let table = self.value(table, frame)?;
                    let key = self.value(key, frame)?;
                    self.set_field(line, &table, &key, value)?;
                }
            }
        }
        Ok(())
    }

    /// One of the three numbers of a loop that counts.
    fn bound(&mut self, which: &str, expression: &Expression, frame: &mut Frame) -> Result<f64, Stop> {
        let value = self.value(expression, frame)?;
        value.number().ok_or_else(|| self.error(expression.line, format_args!("'for' {which} must be a number")))
    }

    fn count(
        &mut self,
        slot: usize,
        (from, to, step): (f64, f64, f64),
        body: &Block,
        frame: &mut Frame,
    ) -> Result<Flow, Stop> {
        let mut number = from;
        while if step > 0.0 { number <= to } else { number >= to } {
            self.step(1)?;
            frame.slots[slot] = self.new_cell(Value::Number(number))?;
            match self.inner_block(body, frame)? {
                Flow::Next => {}
                Flow::Break => break,
                returns => return Ok(returns),
            }
            number += step;
        }
        Ok(Flow::Next)
    }

    fn each(
        &mut self,
        slots: &[usize],
        over: &Expression,
        walk: Walk,
        body: &Block,
        frame: &mut Frame,
    ) -> Result<Flow, Stop> {
        let value = self.value(over, frame)?;
        let Value::Table(table) = value else {
            let function = if walk == Walk::List { "ipairs" } else { "pairs" };
            let got = value.type_name();
            return Err(
                self.error(over.line, format_args!("bad argument #1 to '{function}' (table expected, got {got})"))
            );
        };
        let pairs = if walk == Walk::All {
            self.take_memory(2 * self.tables[table].size() * VALUE_BYTES)?;
            Some(self.tables[table].pairs())
        } else {
            None
        };
        for index in 0.. {
            self.step(1)?;
            let pair = match &pairs {
                Some(pairs) => pairs.get(index).cloned(),
                // The list may change while it is walked over.
                None => match self.tables[table].at(index + 1) {
                    Value::Nil => None,
                    value => Some((Value::Number((index + 1) as f64), value)),
                },
            };
            let Some((key, value)) = pair else { break };
            for (slot, value) in slots.iter().zip([key, value].into_iter().chain(std::iter::repeat(Value::Nil))) {
                frame.slots[*slot] = self.new_cell(value)?;
            }
            match self.inner_block(body, frame)? {
                Flow::Next => {}
                Flow::Break => break,
                returns => return Ok(returns),
            }
        }
        Ok(Flow::Next)
    }

    /// A function with what it captures where it is written.
    pub(super) fn closure(&mut self, function: &std::sync::Arc<Function>, frame: &Frame) -> Result<Value, Stop> {
        self.take_memory(size_of::<Closure>() + function.captures.len() * size_of::<usize>())?;
        let captured = function.captures.iter().map(|place| cell(*place, frame)).collect();
        Ok(Value::Function(Closure { function: function.clone(), captured }.into()))
    }
}

/// The cell of a variable.
pub(super) fn cell(place: Place, frame: &Frame) -> usize {
    match place {
        Place::Slot(slot) => frame.slots[slot],
        Place::Captured(captured) => frame.captured[captured],
    }
}
