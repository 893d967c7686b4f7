//! An entry is applied: a message arrives, or time passes.

use std::sync::Arc;

use super::coverage::Seen;
use super::message::Message;
use super::rule::Rule;
use super::run::Run;
use super::state::State;
use super::{answers, events, rules};

/// Applies an entry that moves time by so many steps and carries this message, or nothing.
pub(super) fn of_entry(run: &Run, state: &mut State, message: Option<&Message>, steps: u8) {
    let old = Arc::clone(&state.tables);
    let applied = old.after(run, message, steps);
    let (tables, effects) = match &*applied {
        Ok(applied) => applied,
        Err(panic) => return state.break_rule(Rule::MachineStands, || panic.clone()),
    };
    state.tables = Arc::clone(tables);
    let moved = steps > 0;
    state.now += steps;
    events::of_entry(run, state, &old.picture, &effects.events);
    if let (Some(message), Some(outcome)) = (message, effects.outcomes.first()) {
        answers::of_message(run, state, &old, message, steps, outcome);
    }
    if state.tables.picture.due {
        run.coverage.add(Seen::DueItemLeft);
    }
    if moved {
        let now = state.now;
        for client in &mut state.clients {
            Arc::make_mut(client).settle_times(now);
        }
    }
    rules::of_machine(run, state, &old.picture, &effects.events);
}
