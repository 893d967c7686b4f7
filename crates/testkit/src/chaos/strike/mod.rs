//! Brings faults about, watches over them, and takes them back.

mod clocks;
mod files;
mod links;
mod process;
mod restarts;

use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::net::TcpStream;

use super::arena::Arena;
use super::fault::{Fault, Occupies, Role};
use super::machine::Patience;
use super::net::Host;
use super::node::ending;
use super::plan::Step;
use crate::clock::Moment;
use files::Refusal;
use restarts::Rolling;

/// Whom a fault is brought on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// A node, by id.
    Node(u64),
    /// A client process, by number.
    Client(u32),
    /// All nodes.
    AllNodes,
}

impl Victim {
    /// Its host, if it is one.
    #[must_use]
    pub fn host(self) -> Option<Host> {
        match self {
            Self::Node(id) => Some(Host::Node(id)),
            Self::Client(number) => Some(Host::Client(number)),
            Self::AllNodes => None,
        }
    }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host() {
            Some(host) => host.fmt(f),
            None => f.write_str("all nodes"),
        }
    }
}

/// What a fault that is on its way keeps in mind.
#[derive(Debug)]
enum State {
    Plain,
    /// Killed again at this moment, so many times more.
    Recovering {
        again: Moment,
        times: u32,
    },
    Refusal(Refusal),
    Rolling(Rolling),
    /// So many ticks so far.
    Strobe(u64),
    /// Held open, nothing more.
    Flood {
        _idle: Vec<TcpStream>,
    },
    /// How many files it could open before.
    Descriptors(String),
}

/// A fault that was brought and is not healed yet.
#[derive(Debug)]
pub struct Active {
    /// What was planned.
    pub step: Step,
    /// Whom it hit.
    pub victim: Victim,
    /// When it began to strike, and when it had.
    pub struck: (Moment, Moment),
    /// What became of it, in words.
    pub notes: Vec<String>,
    /// What must not have happened.
    pub violations: Vec<String>,
    state: State,
    patience: Patience,
}

impl Active {
    /// Brings it about, now.
    pub async fn strike(arena: &mut Arena, step: &Step, victim: Victim) -> Result<Self> {
        let from = Moment::now();
        let mut active = Self {
            step: step.clone(),
            victim,
            struck: (from, from),
            notes: Vec::new(),
            violations: Vec::new(),
            state: State::Plain,
            patience: arena.machine.patience(Duration::from_millis(step.lasts_ms + EXTENSION_MS)),
        };
        let mut random = StdRng::seed_from_u64(step.draw);
        active.begin(arena, &mut random).await?;
        active.struck.1 = Moment::now();
        Ok(active)
    }

    async fn begin(&mut self, arena: &mut Arena, random: &mut StdRng) -> Result<()> {
        match (self.step.fault.occupies(), self.victim) {
            (Occupies::Links, victim) => match victim.host() {
                Some(host) => links::strike(arena, self.step.fault, host, random, &mut self.notes).await,
                None => Ok(()),
            },
            (Occupies::Clocks, Victim::Node(id)) => clocks::strike(arena, self.step.fault, id, random, &mut self.notes),
            (_, victim) => self.begin_process(arena, victim, random).await,
        }
    }

    async fn begin_process(&mut self, arena: &mut Arena, victim: Victim, random: &mut StdRng) -> Result<()> {
        self.state = match (self.step.fault, victim) {
            (Fault::Kill, Victim::AllNodes) => {
                for node in &mut arena.nodes {
                    node.kill()?;
                }
                State::Plain
            }
            (Fault::PowerCut, victim) => files::cut_power(arena, victim)?,
            (Fault::RollingRestart | Fault::LevelRaise, _) => State::Rolling(Rolling::default()),
            (Fault::Wiped | Fault::Swapped | Fault::Damaged, Victim::Node(id)) => {
                State::Refusal(Refusal::provoke(arena, self.step.fault, id, random)?)
            }
            (Fault::DiskFull, Victim::Node(id)) => files::fill(arena, id)?,
            (Fault::FsyncFails | Fault::FsyncSlow, Victim::Node(id)) => {
                files::fsync(arena, self.step.fault, id, random, &mut self.notes).await?
            }
            (fault, Victim::Node(id)) => process::strike_node(arena, fault, id, random).await?,
            (fault, Victim::Client(number)) => process::strike_client(arena, fault, number)?,
            (_, Victim::AllNodes) => State::Plain,
        };
        Ok(())
    }

    /// Looks after it: called again and again while it lasts.
    pub async fn tick(&mut self, arena: &mut Arena) -> Result<()> {
        match &mut self.state {
            State::Plain | State::Flood { .. } | State::Descriptors(_) => Ok(()),
            State::Recovering { again, times } => {
                if let (Victim::Node(id), true) = (self.victim, *times > 0 && Moment::now() >= *again) {
                    *times -= 1;
                    arena.node(id).kill()?;
                    arena.start_node(id)?;
                }
                Ok(())
            }
            State::Refusal(refusal) => refusal.tick(arena).await,
            State::Rolling(rolling) => rolling.tick(arena, self.step.fault == Fault::LevelRaise).await,
            State::Strobe(ticks) => {
                *ticks += 1;
                let (fault, ticks) = (self.step.fault, *ticks);
                match (fault, self.victim) {
                    (Fault::WallStrobe, Victim::Node(id)) => clocks::strobe(arena, id, ticks),
                    (_, victim) => process::starve(arena, victim, ticks),
                }
            }
        }
    }

    /// Whether its time has come to be healed. What nodes must do first, they have at most so long to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let elapsed_ms = self.struck.0.elapsed().as_millis();
        let lasted = elapsed_ms >= u128::from(self.step.lasts_ms);
        match &self.state {
            State::Refusal(refusal) => (lasted && refusal.is_decided()) || self.patience.is_over(),
            State::Rolling(rolling) => (lasted && rolling.is_done()) || self.patience.is_over(),
            _ => lasted,
        }
    }

    /// Takes it back.
    pub async fn heal(&mut self, arena: &mut Arena) -> Result<()> {
        let state = std::mem::replace(&mut self.state, State::Plain);
        match (state, self.victim) {
            (State::Refusal(refusal), _) => refusal.heal(arena, &mut self.notes, &mut self.violations).await?,
            (State::Rolling(rolling), _) => {
                rolling
                    .heal(arena, self.step.fault == Fault::LevelRaise, &mut self.notes, &mut self.violations)
                    .await?;
            }
            (State::Descriptors(before), Victim::Node(id)) => process::give_descriptors(arena, id, &before)?,
            _ => {}
        }
        if self.step.fault == Fault::PowerCut {
            files::restore_power(arena, self.victim)?;
        }
        match (self.step.fault.occupies(), self.victim) {
            (Occupies::Links, _) => arena.network.heal(),
            (Occupies::Clocks, Victim::Node(id)) => arena.set_clock(id, 0, 0),
            (_, Victim::Node(id)) => {
                if self.step.fault == Fault::DiskFull {
                    files::make_room(arena, id)?;
                }
                if matches!(self.step.fault, Fault::FsyncFails | Fault::FsyncSlow) {
                    files::fsync_again(arena, id).await;
                }
                if matches!(self.step.fault, Fault::FsyncFails | Fault::DiskFull) {
                    // It may be about to stop because of it, for as long as an orderly end takes.
                    let ended = arena.node(id).ended()?.map_or("it had not ended yet".to_owned(), node_ended);
                    self.notes.push(ended);
                    arena.node(id).kill()?;
                }
                process::revive_node(arena, id, &mut self.notes)
            }
            (_, Victim::Client(number)) => process::revive_client(arena, number),
            (_, Victim::AllNodes) => {
                for id in 1..=arena.nodes.len() as u64 {
                    process::revive_node(arena, id, &mut self.notes)?;
                }
                Ok(())
            }
        }
    }
}

fn node_ended(status: ExitStatus) -> String {
    format!("it had ended: {}", ending(status))
}

/// How much longer than planned a fault lasts whose victim has something to do first.
const EXTENSION_MS: u64 = 15_000;

/// Whom a step hits now; None when there is nobody for it at the moment.
pub fn choose(arena: &Arena, step: &Step, actives: &[Active]) -> Option<Victim> {
    let occupies = step.fault.occupies();
    let clash = actives.iter().any(|active| {
        let other = active.step.fault.occupies();
        // Ways and clocks are healed all at once, so one fault at a time has them.
        other == Occupies::Everything
            || occupies == Occupies::Everything
            || (occupies == other && matches!(occupies, Occupies::Links | Occupies::Clocks))
    });
    if clash {
        return None;
    }
    let taken = |victim: Victim| {
        actives.iter().any(|active| active.step.fault.occupies() == Occupies::Process && meets(active.victim, victim))
    };
    let free = |victim: Victim| occupies != Occupies::Process || !taken(victim);
    let leader = arena.leadership.leader();
    match step.role {
        Role::All => Some(Victim::AllNodes).filter(|victim| free(*victim)),
        Role::Leader => leader.map(Victim::Node).filter(|victim| free(*victim)),
        Role::Follower => {
            let leader = leader?;
            let followers = arena.nodes.iter().filter(|node| node.place.id != leader && node.runs());
            pick(followers.map(|node| Victim::Node(node.place.id)).filter(|victim| free(*victim)).collect(), step.draw)
        }
        Role::Client => {
            let clients = arena.clients.iter().map(|client| Victim::Client(client.number()));
            pick(clients.filter(|victim| free(*victim)).collect(), step.draw)
        }
    }
}

fn meets(one: Victim, other: Victim) -> bool {
    let all = |a, b| a == Victim::AllNodes && !matches!(b, Victim::Client(_));
    one == other || all(one, other) || all(other, one)
}

fn pick(victims: Vec<Victim>, draw: u64) -> Option<Victim> {
    let mut random = StdRng::seed_from_u64(draw);
    (!victims.is_empty()).then(|| victims[random.random_range(0..victims.len())])
}
