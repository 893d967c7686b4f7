//! The way to a state, as one can read it.

use std::fmt::Write;

use super::action::Action;
use super::run::Run;
use super::state::State;
use super::step::step;

/// Each step, and of each entry its outcomes and events.
pub(super) fn script(run: &Run, actions: &[Action]) -> String {
    let mut state = State::first(run);
    let mut text = String::new();
    for (number, action) in (1..).zip(actions) {
        let _ = writeln!(text, "  {number:>2}. [time {}] {action}", state.now);
        let applied = match action {
            Action::Deliver { message, steps } => Some(state.tables.after(run, Some(message), *steps)),
            Action::Tick { steps } => Some(state.tables.after(run, None, *steps)),
            _ => None,
        };
        if let Some(Ok((_, effects))) = applied.as_deref() {
            let outcomes = effects.outcomes.iter().map(|outcome| format!("{outcome:?}"));
            let events = effects.events.iter().map(|event| format!("event {:?}", event.kind));
            outcomes.chain(events).for_each(|line| {
                let _ = writeln!(text, "        {line}");
            });
        }
        let Some(next) = step(run, &state, action) else { continue };
        state = next;
    }
    let _ = writeln!(text, "  then: {:?}", state.tables.picture.locks);
    text
}
