//! Carries a plan out: strikes when a lock is where the plan wants it, looks after what is on its way, heals.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval};

use super::arena::Arena;
use super::client::PhaseWord;
use super::fault::{Occupies, Role};
use super::node::ending;
use super::plan::{Plan, Step};
use super::say;
use super::strike::{Active, Victim, choose};
use crate::clock::Moment;

const TICK: Duration = Duration::from_millis(5);
/// A step waits so long for somebody to be hit, then it is left out …
const VICTIM_MAX: Duration = Duration::from_millis(2_500);
/// … and so long for a lock to come into its phase, then it strikes all the same.
const AIM_MAX: Duration = Duration::from_millis(1_200);
/// Who is not run for so long between two ticks is on a machine that stands still, and so are all others.
const STALL: Duration = Duration::from_millis(400);
/// A node that ends by itself so often is not started again.
const RESTARTS_MAX: usize = 2;
/// Between two words to whoever watches a long run.
const WORD_EVERY: Duration = Duration::from_secs(60);

/// A fault that was brought and healed.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) step: Step,
    pub(super) victim: Victim,
    pub(super) struck: (Moment, Moment),
    pub(super) healed: Moment,
    pub(super) notes: Vec<String>,
}

/// A step whose time has come.
struct Pending {
    step: Step,
    since: Moment,
    /// When the clients were asked for a word.
    aimed: Option<Moment>,
}

/// What came of a plan.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub(super) done: Vec<Done>,
    pub(super) left_out: Vec<String>,
    /// When the machine stood still.
    pub(super) stalls: Vec<(Moment, Moment)>,
    pub(super) violations: Vec<String>,
}

pub(super) struct Driver<'a> {
    arena: &'a mut Arena,
    started: Moment,
    actives: Vec<Active>,
    pending: Option<Pending>,
    carried: Carried,
}

impl<'a> Driver<'a> {
    pub(super) fn new(arena: &'a mut Arena) -> Self {
        Self { arena, started: Moment::now(), actives: Vec::new(), pending: None, carried: Carried::default() }
    }

    /// Until the plan is over and everything is healed.
    pub(super) async fn carry_out(mut self, plan: &Plan) -> Result<Carried> {
        let mut steps = plan.steps.iter();
        let mut next = steps.next();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut word, mut last) = (Moment::now(), Moment::now());
        loop {
            self.note_stall(last);
            last = Moment::now();
            let heard = tokio::select! {
                heard = self.arena.phase_words.recv() => heard,
                _ = tick.tick() => None,
            };
            let elapsed_ms = u64::try_from(self.started.elapsed().as_millis())?;
            if self.pending.is_none()
                && let Some(step) = next.filter(|step| step.at_ms <= elapsed_ms)
            {
                self.pending = Some(Pending { step: step.clone(), since: Moment::now(), aimed: None });
                next = steps.next();
            }
            self.strike_if_due(heard).await?;
            self.look_after().await?;
            if elapsed_ms >= plan.lasts_ms && next.is_none() && self.pending.is_none() && self.actives.is_empty() {
                return Ok(self.carried);
            }
            if word.elapsed() > WORD_EVERY {
                word = Moment::now();
                self.say_how_far(plan);
            }
        }
    }

    /// Of a long time between two ticks. What we do to others in one is meant to be short.
    fn note_stall(&mut self, last: Moment) {
        let now = Moment::now();
        if now.since(last) > STALL {
            self.carried.stalls.push((last, now));
        }
    }

    fn say_how_far(&self, plan: &Plan) {
        let grants: u64 = self.arena.clients.iter().map(super::client::ClientProcess::granted).sum();
        let (elapsed, lasts) = (self.started.elapsed().as_secs(), plan.lasts_ms / 1_000);
        say(&format!("{elapsed} of {lasts} s: {} faults, {grants} grants", self.carried.done.len()));
    }

    async fn strike_if_due(&mut self, heard: Option<PhaseWord>) -> Result<()> {
        let Some(mut pending) = self.pending.take() else { return Ok(()) };
        let Some(victim) = choose(self.arena, &pending.step, &self.actives) else {
            if pending.since.elapsed() > VICTIM_MAX {
                let (fault, role) = (pending.step.fault, pending.step.role);
                self.carried.left_out.push(format!("{fault} of {role}: nobody to hit at that moment"));
            } else {
                self.pending = Some(pending);
            }
            return Ok(());
        };
        let Some(aimed) = pending.aimed else {
            self.aim(&pending.step, victim);
            pending.aimed = Some(Moment::now());
            self.pending = Some(pending);
            return Ok(());
        };
        let hit = heard.is_some_and(|(client, phase)| {
            phase == pending.step.phase && (pending.step.role != Role::Client || victim == Victim::Client(client))
        });
        if !hit && aimed.elapsed() <= AIM_MAX {
            self.pending = Some(pending);
            return Ok(());
        }
        let step = &pending.step;
        let active = Active::strike(self.arena, step, victim).await?;
        say(&format!(
            "{:>8.3} s  {} of {} ({victim}), aimed at {}{}",
            self.started.elapsed().as_secs_f64(),
            step.fault,
            step.role,
            step.phase,
            active.notes.iter().map(|note| format!(", {note}")).collect::<String>()
        ));
        self.actives.push(active);
        Ok(())
    }

    fn aim(&mut self, step: &Step, victim: Victim) {
        // Words from an aim before are not about this one.
        while self.arena.phase_words.try_recv().is_ok() {}
        match victim {
            Victim::Client(number) => self.arena.client(number).aim(step.phase),
            _ => self.arena.clients.iter_mut().for_each(|client| client.aim(step.phase)),
        }
    }

    async fn look_after(&mut self) -> Result<()> {
        let mut at = 0;
        while at < self.actives.len() {
            self.actives[at].tick(self.arena).await?;
            if !self.actives[at].is_over() {
                at += 1;
                continue;
            }
            let mut active = self.actives.remove(at);
            active.heal(self.arena).await?;
            self.carried.violations.append(&mut active.violations);
            let Active { step, victim, struck, notes, .. } = active;
            self.carried.done.push(Done { step, victim, struck, healed: Moment::now(), notes });
        }
        self.nobody_ended_by_itself()
    }

    /// A process that nobody does anything to has no reason to end.
    fn nobody_ended_by_itself(&mut self) -> Result<()> {
        for id in 1..=self.arena.nodes.len() as u64 {
            let touched = self.actives.iter().any(|active| {
                let mine = active.victim == Victim::Node(id) || active.victim == Victim::AllNodes;
                mine && matches!(active.step.fault.occupies(), Occupies::Process | Occupies::Everything)
            });
            if touched {
                continue;
            }
            if let Some(status) = self.arena.node(id).ended()? {
                let words = self.arena.node(id).words()?;
                let words = tail(&words);
                self.carried.violations.push(format!("node {id} ended by itself: {}:\n{words}", ending(status)));
                if self.carried.violations.len() <= RESTARTS_MAX {
                    self.arena.start_node(id)?;
                }
            }
        }
        for client in &mut self.arena.clients {
            if client.pid().is_some()
                && let Some(status) = client.ended()?
            {
                let number = client.number();
                self.carried.violations.push(format!("client {number} ended by itself: {}", ending(status)));
                client.kill()?;
                client.start()?;
            }
        }
        Ok(())
    }
}

/// The last lines.
pub(super) fn tail(words: &str) -> String {
    const LINES: usize = 15;
    let lines: Vec<&str> = words.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
