//! Every state of a world, searched by stateright.

use std::sync::Arc;

use stateright::{Checker, HasDiscoveries, Model, Path, Property};

use super::action::{self, Action};
use super::coverage::Seen;
use super::narrate;
use super::rule::{Flaw, Rule};
use super::run::Run;
use super::state::State;
use super::step::step;
use super::world::World;
use crate::clock::Moment;

/// What came of a world.
#[derive(Debug)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// States that were reached, each as often as it was.
    pub states: usize,
    /// States that differ.
    pub unique_states: usize,
    /// Steps on the longest of the shortest ways to a state.
    pub depth: usize,
    /// How long it took.
    pub seconds: f64,
    /// A broken rule, with the shortest way there that was found.
    pub broken: Option<(Flaw, String)>,
    /// What the world was to show and has not.
    pub not_shown: Vec<Seen>,
}

/// Shared, so that the report gets at what was seen.
struct Search(Arc<Run>);

const RULES: &str = "no rule is broken";

impl Model for Search {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::first(&self.0)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        action::actions(&self.0.world, state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        step(&self.0, state, &action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        // stateright's own "eventually" only looks at ways that end, and takes ways that meet for one.
        vec![
            Property::always(RULES, |_, state: &State| state.flaw.is_none()),
            Property::always(Rule::TimeFreesEverything.name(), |search: &Self, state: &State| {
                state.tables.stuck(&search.0.world).is_none()
            }),
        ]
    }
}

/// Searches a world to its end, or to the first broken rule.
#[must_use]
pub fn check(world: World, threads: usize) -> Report {
    let started = Moment::now();
    let run = Arc::new(Run::new(world));
    let search = Search(Arc::clone(&run));
    let checker = search.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let broken = checker.discoveries().into_iter().next().map(|(_, path)| flaw_of(&run, path));
    let world = &run.world;
    Report {
        name: world.name,
        states: checker.state_count(),
        unique_states: checker.unique_state_count(),
        depth: checker.max_depth(),
        seconds: started.elapsed().as_secs_f64(),
        broken,
        not_shown: world.shows.iter().copied().filter(|seen| !run.coverage.has(*seen)).collect(),
    }
}

fn flaw_of(run: &Run, path: Path<State, Action>) -> (Flaw, String) {
    let last = path.last_state().clone();
    let flaw = last.flaw.clone().unwrap_or_else(|| Flaw {
        rule: Rule::TimeFreesEverything,
        what: last.tables.stuck(&run.world).unwrap_or_default().to_owned(),
    });
    let script = narrate::script(run, &path.into_actions());
    (flaw, script)
}

impl Report {
    /// Whether everything holds and was shown.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.broken.is_none() && self.not_shown.is_empty()
    }

    /// One line of numbers, and what is wrong.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { name, states, unique_states, depth, seconds, .. } = self;
        let mut text = format!(
            "{name:28} states {states:>10}  unique {unique_states:>9}  depth {depth:>3}  seconds {seconds:>7.1}"
        );
        if let Some((flaw, script)) = &self.broken {
            text += &format!("\n  BROKEN: {}: {}\n{script}", flaw.rule.name(), flaw.what);
        }
        if !self.not_shown.is_empty() {
            text += &format!("\n  NOT SHOWN: {:?}", self.not_shown);
        }
        text
    }
}
