//! One seed from start to verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use leasehold_consensus::debug::dump_log_on;
use leasehold_platform::simulation::Simulation;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::clock;
use super::disk::{Loss, SimDisk};
use super::faults::SimFault;
use super::host::{client_name, data_dir, node_name};
use super::links::{Link, Pair, ordered};
use super::world::{NODES, World};
use crate::chaos::phase::{Phase, Phases};
use crate::checker::{Bounds, Ending, Evidence, Report, check, check_progress};
use crate::clock::Moment;
use crate::dump::NodeLog;
use crate::history::History;

/// After the faults everything has to work again within so long: clients get grants, let go of what they hold, and the nodes agree.
const HEAL_MAX: Duration = Duration::from_secs(30);
/// Grants that show that it does.
const GRANTS_AFTER_HEAL: u64 = 20;
/// Steps between two faults, on average: drawn for each seed, so that some are calm enough for long queues and others are not.
const FAULT_EVERY_STEPS: std::ops::Range<u64> = 300..2_500;
/// A fault hits what a lock goes through within this of its beginning, in ms.
const HIT_MS: u64 = 20;
/// Longest way of a message while the network is slow, in ms: drawn below this.
const SLOW_MS_MAX: u64 = 200;
/// How many times as long a sync of a slow disk takes.
const SLOW_DISK_TIMES: std::ops::Range<u32> = 10..100;
/// So long before half of all crashes the same disks become slow: a crash between syncs of a few ms finds hardly anything unsynced.
const SLOW_BEFORE_CRASH_STEPS: std::ops::Range<u64> = 20..600;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct SimOptions {
    /// What everything follows from.
    pub seed: u64,
    /// Steps of one millisecond with faults; healing comes after them.
    pub steps: u64,
    /// Concurrent clients.
    pub clients: u32,
    /// How far clocks may be from true time, in parts per million. Twice as much lies between two of them: above half of the
    /// product's bound C4 breaks, which shows that the check can fail.
    pub clock_ppm: u32,
    /// Disks report syncs that they did not do: what was acknowledged is lost, which shows that that is noticed.
    pub lying_disks: bool,
    /// Faults that do not come about where they are drawn: until then all is as with them. What is found with a fault and not without
    /// it is what the fault is there for.
    pub without: BTreeSet<SimFault>,
}

impl SimOptions {
    /// Half of the product's `drift_max`, so that two clocks are never further apart than that.
    pub const CLOCK_PPM: u32 = 500;

    /// The usual clients, clocks and disks.
    #[must_use]
    pub fn new(seed: u64, steps: u64) -> Self {
        Self { seed, steps, clients: 6, clock_ppm: Self::CLOCK_PPM, lying_disks: false, without: BTreeSet::new() }
    }
}

/// What a node was when it was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It led.
    Leader,
    /// It followed, or stood for election.
    Follower,
    /// All nodes, or the network between them.
    Cluster,
    /// A client.
    Client,
}

/// One fault that was brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hit {
    /// What.
    pub fault: SimFault,
    /// Whom it hit.
    pub role: Role,
}

impl Hit {
    /// All that can be.
    pub fn all() -> impl Iterator<Item = Self> {
        SimFault::ALL.into_iter().flat_map(|fault| fault.roles().iter().map(move |role| Self { fault, role: *role }))
    }
}

/// What came of a seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SimOutcome {
    /// The seed.
    pub seed: u64,
    /// What did not hold.
    pub violations: Vec<String>,
    /// Digest of everything that happened: equal for two runs of one seed.
    pub digest: u64,
    /// Faults that were brought about.
    pub hits: Vec<Hit>,
    /// What locks were in the middle of when they were.
    pub cells: Vec<(Hit, Phase)>,
    /// Steps in all.
    pub steps: u64,
    /// Calls that clients made.
    pub calls: usize,
    /// Grants that they were told of.
    pub grants: u64,
    /// The last log index.
    pub entries: u64,
    /// Syncs of all disks.
    pub syncs: u64,
}

/// A fault that was drawn and has yet to come about.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    at: u64,
    fault: SimFault,
    node: u64,
    client: u32,
    wide: bool,
    steps: u64,
}

/// A fault in force.
struct Active {
    fault: SimFault,
    node: u64,
    client: u32,
    /// For a client: all nodes, not only `node`. For links: whether messages are lost, not held.
    wide: bool,
    until: u64,
    record: usize,
}

struct Run<'a> {
    world: World<'a>,
    without: BTreeSet<SimFault>,
    random: StdRng,
    step: u64,
    fault_every: u64,
    next_fault: u64,
    drawn: Vec<Drawn>,
    active: Vec<Active>,
    hits: Vec<Hit>,
}

/// Simulates one seed. Everything that happened is written to `trace`, where one is given.
pub fn run(options: &SimOptions, trace: Option<&Path>) -> Result<SimOutcome> {
    let _simulation = Simulation::begin(options.seed);
    clock::set(Duration::ZERO);
    let folder = temporary_folder()?;
    let mut random = StdRng::seed_from_u64(options.seed);
    let world = World::new(options, folder.path(), &mut random);
    let fault_every = random.random_range(FAULT_EVERY_STEPS);
    let next_fault = random.random_range(300..1_500);
    let mut run = Run {
        world,
        without: options.without.clone(),
        random,
        step: 0,
        fault_every,
        next_fault,
        drawn: Vec::new(),
        active: Vec::new(),
        hits: Vec::new(),
    };
    run.faults(options.steps)?;
    let ending = run.heal()?;
    let (history, nodes) = run.finish(folder.path())?;
    let calls = history.records.len();
    let cells = run.cells(&history);
    run.judge(history, nodes, &ending);
    let all = run.world.stage.trace();
    if let Some(path) = trace {
        std::fs::write(path, &all).with_context(|| path.display().to_string())?;
    }
    let mut digest = DefaultHasher::new();
    all.hash(&mut digest);
    let last = run.world.nodes.keys().filter_map(|id| run.world.stage.node(*id)).map(|node| *node.applied().borrow());
    Ok(SimOutcome {
        seed: options.seed,
        violations: run.world.stage.violations(),
        digest: digest.finish(),
        hits: std::mem::take(&mut run.hits),
        cells,
        steps: run.step,
        calls,
        grants: run.world.granted(),
        entries: last.max().unwrap_or(0),
        syncs: run.world.nodes.values().map(|place| place.disk.syncs()).sum(),
    })
}

/// In memory where the machine has such a folder: a sync of a real disk would be the slowest thing in a simulation.
fn temporary_folder() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("leasehold-sim-");
    Ok(if memory.is_dir() { builder.tempdir_in(memory).or_else(|_| builder.tempdir())? } else { builder.tempdir()? })
}

impl Run<'_> {
    fn step(&mut self) -> Result<()> {
        self.world.sim.step().map_err(|error| anyhow::anyhow!("the simulation ended: {error}"))?;
        self.step += 1;
        clock::set(self.world.sim.elapsed());
        for id in self.world.ended_nodes() {
            // Its disk failed, or (and then that was told already) it could not run.
            let until = self.step + self.random.random_range(50..1_000);
            self.world.crash_node(id, Loss::Power, until);
        }
        self.world.revive(self.step);
        Ok(())
    }

    fn faults(&mut self, steps: u64) -> Result<()> {
        while self.step < steps {
            if self.active.iter().any(|active| active.until <= self.step) {
                self.end_faults(|active, step| active.until <= step);
            }
            if self.step >= self.next_fault {
                self.draw_fault();
                self.next_fault = self.step + self.random.random_range(1..self.fault_every * 2);
            }
            let drawn = std::mem::take(&mut self.drawn);
            let (due, later): (Vec<_>, Vec<_>) = drawn.into_iter().partition(|drawn| drawn.at <= self.step);
            self.drawn = later;
            due.into_iter().for_each(|drawn| self.bring_about(drawn));
            self.step()?;
        }
        Ok(())
    }

    /// A leader half of the time, where there is one.
    fn pick_node(&mut self) -> u64 {
        let leader = self.world.stage.leaders().first().copied();
        match leader.filter(|_| self.random.random()) {
            Some(leader) => leader,
            None => self.random.random_range(1..=NODES),
        }
    }

    /// Draws a fault. It comes about at once, or after a time in which disks are slow.
    fn draw_fault(&mut self) {
        let fault = SimFault::draw(&mut self.random);
        let node = self.pick_node();
        let steps = fault.steps(&mut self.random);
        let client = self.world.clients.keys().copied().choose(&mut self.random).unwrap_or(0);
        let wide = self.random.random();
        let mut drawn = Drawn { at: self.step, fault, node, client, wide, steps };
        if fault.is_crash() && self.random.random() {
            drawn.at += self.random.random_range(SLOW_BEFORE_CRASH_STEPS);
            let steps = drawn.at - self.step;
            for node in if fault.roles() == [Role::Cluster] { 1..=NODES } else { node..=node } {
                self.bring_about(Drawn { at: self.step, fault: SimFault::SlowDisk, node, steps, ..drawn });
            }
        }
        self.drawn.push(drawn);
    }

    fn bring_about(&mut self, drawn: Drawn) {
        if self.without.contains(&drawn.fault) {
            self.world.stage.note(format_args!("{} of node {} is left out", drawn.fault, drawn.node));
        } else {
            self.begin_fault(drawn);
        }
    }

    fn begin_fault(&mut self, Drawn { fault, node, client, wide, steps, .. }: Drawn) {
        let until = self.step + steps;
        let role = if self.world.stage.leaders().first() == Some(&node) { Role::Leader } else { Role::Follower };
        let role = if fault.roles().contains(&role) { role } else { fault.roles()[0] };
        self.world.stage.note(format_args!("{fault} begins: node {node}, client {client}, wide {wide}, until {until}"));
        let record = self.world.recorder.fault_begins(&fault.to_string(), (role != Role::Cluster).then_some(node));
        self.active.push(Active { fault, node, client, wide, until, record });
        self.hits.push(Hit { fault, role });
        let all = 1..=NODES;
        match fault {
            SimFault::Kill => self.world.crash_node(node, Loss::Process, until),
            SimFault::PowerCut => {
                self.apply_links();
                self.world.crash_node(node, Loss::Power, until);
            }
            SimFault::KillAll => all.for_each(|id| self.world.crash_node(id, Loss::Process, until)),
            SimFault::PowerCutAll => {
                self.apply_links();
                for id in all {
                    // They come back one after the other.
                    let until = until + self.random.random_range(0..300);
                    self.world.crash_node(id, Loss::Power, until);
                }
            }
            SimFault::Loss => self.world.sim.set_fail_rate(self.random.random_range(0.001..0.03)),
            SimFault::Slow => {
                let longest = Duration::from_millis(self.random.random_range(20..SLOW_MS_MAX));
                self.world.sim.set_max_message_latency(longest);
            }
            SimFault::SlowDisk => {
                let times = self.random.random_range(SLOW_DISK_TIMES);
                self.world.nodes[&node].disk.slow_down(times);
            }
            SimFault::FailingDisk => self.world.nodes[&node].disk.fail(true),
            SimFault::ClientKill => self.world.crash_client(client, until),
            SimFault::Isolate
            | SimFault::Delay
            | SimFault::Deaf
            | SimFault::Mute
            | SimFault::Bridge
            | SimFault::ClientCut => self.apply_links(),
        }
    }

    fn end_faults(&mut self, over: impl Fn(&Active, u64) -> bool) {
        let step = self.step;
        let (ended, active): (Vec<Active>, Vec<Active>) =
            std::mem::take(&mut self.active).into_iter().partition(|active| over(active, step));
        self.active = active;
        let goes_on: BTreeSet<SimFault> = self.active.iter().map(|active| active.fault).collect();
        for active in ended {
            self.world.stage.note(format_args!("{} ends: node {}", active.fault, active.node));
            self.world.recorder.fault_ends(active.record);
            match active.fault {
                SimFault::Loss if !goes_on.contains(&SimFault::Loss) => self.world.sim.set_fail_rate(0.0),
                SimFault::Slow if !goes_on.contains(&SimFault::Slow) => {
                    self.world.sim.set_max_message_latency(self.world.latency);
                }
                SimFault::SlowDisk => self.world.nodes[&active.node].disk.slow_down(1),
                SimFault::FailingDisk => self.world.nodes[&active.node].disk.fail(false),
                _ => {}
            }
        }
        self.apply_links();
    }

    /// Makes the links what the faults in force say; the worst counts.
    fn apply_links(&mut self) {
        let mut wanted: BTreeMap<Pair, Link> = BTreeMap::new();
        let clients: Vec<String> = self.world.clients.keys().map(|number| client_name(*number)).collect();
        let mut want = |a: &str, b: &str, link: Link| {
            let (pair, link) = ordered(a, b, link);
            let known = wanted.entry(pair).or_insert(link);
            *known = match (*known, link) {
                (Link::OneWay, Link::OtherWay) | (Link::OtherWay, Link::OneWay) => Link::Cut,
                (known, link) => known.max(link),
            };
        };
        for active in &self.active {
            let node = node_name(active.node);
            let others: Vec<String> = (1..=NODES).filter(|id| *id != active.node).map(node_name).collect();
            match active.fault {
                // Its peers do not hear that it is gone.
                SimFault::PowerCut => others.iter().chain(&clients).for_each(|other| want(&node, other, Link::Cut)),
                SimFault::PowerCutAll => {
                    for id in 1..=NODES {
                        let others = (id + 1..=NODES).map(node_name);
                        others.chain(clients.iter().cloned()).for_each(|other| want(&node_name(id), &other, Link::Cut));
                    }
                }
                SimFault::Isolate => others.iter().for_each(|other| want(&node, other, Link::Cut)),
                SimFault::Delay => {
                    // As if it stood still: the clients, too, wait for it, in half of the cases.
                    let clients = clients.iter().filter(|_| active.wide);
                    others.iter().chain(clients).for_each(|other| want(&node, other, Link::Held));
                }
                SimFault::Deaf => others.iter().for_each(|other| want(other, &node, Link::OneWay)),
                SimFault::Mute => others.iter().for_each(|other| want(&node, other, Link::OneWay)),
                SimFault::Bridge => {
                    if let [a, b] = &others[..] {
                        want(a, b, if active.wide { Link::Cut } else { Link::Held });
                    }
                }
                SimFault::ClientCut => {
                    let client = client_name(active.client);
                    for id in (1..=NODES).filter(|id| active.wide || *id == active.node) {
                        want(&client, &node_name(id), Link::Held);
                    }
                }
                _ => {}
            }
        }
        self.world.set_links(wanted);
    }

    /// Ends all faults; then clients get grants again, let go, and the nodes agree, or `HEAL_MAX` is over (C13).
    fn heal(&mut self) -> Result<Ending> {
        self.world.stage.note(format_args!("the faults end"));
        self.end_faults(|_, _| true);
        for drawn in std::mem::take(&mut self.drawn) {
            self.world.stage.note(format_args!("{} comes too late", drawn.fault));
        }
        for place in self.world.nodes.values_mut() {
            place.down_until = place.down_until.map(|until| until.min(self.step + 1));
        }
        for place in self.world.clients.values_mut() {
            place.down_until = place.down_until.map(|until| until.min(self.step + 1));
        }
        let (healed, granted) = (Moment::now(), self.world.granted());
        self.until(healed, "clients get grants again", |world| world.granted() >= granted + GRANTS_AFTER_HEAL)?;
        let ending = |world: &World<'_>| Ending {
            healed,
            settled: Moment::now(),
            within: HEAL_MAX,
            fresh_grants: world.granted() - granted,
            nodes: world.node_ends(),
        };
        self.world.stop.cancel();
        self.until(healed, "clients let go", |world| world.clients_done())?;
        self.until(healed, "one leads and all agree", |world| {
            let mut report = Report::default();
            check_progress(&ending(world), &mut report);
            report.violations().is_empty()
        })?;
        Ok(ending(&self.world))
    }

    /// Goes on until this is done; when the time for healing is over, a little longer than it, so that this is seen.
    fn until(&mut self, healed: Moment, what: &str, mut done: impl FnMut(&mut World<'_>) -> bool) -> Result<()> {
        while !done(&mut self.world) {
            if healed.elapsed() > HEAL_MAX {
                self.world.stage.note(format_args!("not within {HEAL_MAX:?} of the faults' end: {what}"));
                return Ok(());
            }
            self.step()?;
        }
        Ok(())
    }

    /// What clients saw, and what the logs say.
    fn finish(&mut self, folder: &Path) -> Result<(History, Vec<NodeLog>)> {
        for wire in &self.world.wires {
            wire.take().into_iter().for_each(|record| self.world.recorder.push(record));
        }
        let history = self.world.recorder.take();
        let mut text = Vec::new();
        history.write(&mut text)?;
        self.world.stage.note(format_args!("{}", String::from_utf8_lossy(&text)));
        // A folder is one process's: the nodes end first.
        let disks: Vec<SimDisk> = self.world.nodes.values().map(|place| place.disk.clone()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let _entered = runtime.enter();
        let mut logs = Vec::new();
        for (id, place) in &self.world.nodes {
            let archive = place.disk.archive(&disks);
            let empty = folder.join(format!("archive-{id}"));
            copy_plain_files(&data_dir(folder, *id), &empty)?;
            let mut dump = Vec::new();
            match dump_log_on(&archive.media(), &empty, &mut dump) {
                Ok(()) => logs.push(NodeLog::read(*id, dump.as_slice())?),
                Err(error) => self.world.stage.violation(format!("the log of node {id} cannot be replayed: {error}")),
            }
        }
        NodeLog::share_commits(&mut logs);
        Ok((history, logs))
    }

    /// Which phases of locks every fault hit. Faults are recorded in the order of the hits.
    fn cells(&self, history: &History) -> Vec<(Hit, Phase)> {
        let phases = Phases::of(&history.records);
        let mut cells = Vec::new();
        for (hit, fault) in self.hits.iter().zip(&history.faults) {
            let until = fault.begin.plus_ms(HIT_MS);
            let hit_phases = Phase::ALL.into_iter().filter(|phase| phases.hit(*phase, fault.begin, until, |_| true));
            cells.extend(hit_phases.map(|phase| (*hit, phase)));
        }
        cells
    }

    fn judge(&mut self, mut history: History, nodes: Vec<NodeLog>, ending: &Ending) {
        for (hit, fault) in self.hits.iter().zip(&mut history.faults) {
            fault.end = fault.end.map(|end| end.plus_ms(hit.fault.noticed_after_ms()));
        }
        // What the nodes came to while they ran is what their logs come to.
        for log in &nodes {
            for entry in log.committed() {
                if let Some((hash, _)) = self.world.stage.state_after(entry.index)
                    && format!("{hash:032x}") != entry.hash
                {
                    self.world.stage.violation(format!(
                        "C1: node {}'s log comes to {} after index {}, a running node had {hash:032x}",
                        log.node, entry.hash, entry.index
                    ));
                    break;
                }
            }
        }
        let mut report = check(&Evidence { history, nodes, bounds: Bounds::default() });
        check_progress(ending, &mut report);
        for violation in report.violations() {
            self.world.stage.violation(violation.to_string());
        }
    }
}

/// The folder of a log without its node's lock.
fn copy_plain_files(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to.join("log").join("wal"))?;
    std::fs::copy(from.join("log").join("format"), to.join("log").join("format"))?;
    Ok(())
}
