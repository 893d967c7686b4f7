//! The hosts of one simulation, and what can be done to them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use leasehold_client::CancellationToken;
use leasehold_consensus::{Node, Tuning};
use rand::Rng;
use rand::rngs::StdRng;
use turmoil::Sim;

use super::clock::HostClock;
use super::disk::{DiskOptions, Loss, SimDisk};
use super::host::{ClientHost, NodeHost, client_name, endpoint, node_name};
use super::links::{Link, Links, Pair};
use super::run::SimOptions;
use super::stage::Stage;
use crate::checker::NodeEnd;
use crate::history::Recorder;
use crate::workload::{Wire, WorkloadOptions};

pub(super) const NODES: u64 = 3;
const TICK: Duration = Duration::from_millis(1);
/// No stream fills up: turmoil does not slow a sender down.
const TCP_CAPACITY: usize = 1 << 20;
/// Longest way of a message, in ms, while nothing is wrong: drawn below this.
const LATENCY_MS_MAX: u64 = 12;
/// How many locks clients compete for: in some seeds they mostly wait, in others they mostly hold.
const LOCKS: RangeInclusive<u32> = 3..=10;

/// One node as its world sees it.
pub(super) struct NodePlace {
    pub(super) disk: SimDisk,
    /// Down until this step.
    pub(super) down_until: Option<u64>,
}

/// One client as its world sees it.
pub(super) struct ClientPlace {
    /// Worker number and record of the process that runs now.
    now: Arc<Mutex<(u32, Arc<Wire>)>>,
    lives: u32,
    pub(super) down_until: Option<u64>,
}

/// The simulation and everything in it.
pub(super) struct World<'a> {
    pub(super) sim: Sim<'a>,
    pub(super) stage: Stage,
    pub(super) recorder: Recorder,
    pub(super) nodes: BTreeMap<u64, NodePlace>,
    pub(super) clients: BTreeMap<u32, ClientPlace>,
    pub(super) wires: Vec<Arc<Wire>>,
    pub(super) stop: CancellationToken,
    links: Links,
    pub(super) latency: Duration,
}

impl World<'_> {
    /// Three nodes and their clients, all drawn from the seed.
    pub(super) fn new(options: &SimOptions, folder: &Path, random: &mut StdRng) -> Self {
        let latency = Duration::from_millis(random.random_range(1..LATENCY_MS_MAX));
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(options.seed)
            .epoch(SystemTime::UNIX_EPOCH)
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(3_600))
            .tcp_capacity(TCP_CAPACITY)
            .max_message_latency(latency)
            .enable_random_order();
        let mut world = World {
            sim: builder.build(),
            stage: Stage::default(),
            recorder: Recorder::new(),
            nodes: BTreeMap::new(),
            clients: BTreeMap::new(),
            wires: Vec::new(),
            stop: CancellationToken::new(),
            links: Links::default(),
            latency,
        };
        let tuning = tuning(random);
        world.stage.note(format_args!("latency {latency:?} {tuning:?}"));
        for id in 1..=NODES {
            world.add_node(id, folder, &tuning, options, random);
        }
        let mut workload = WorkloadOptions::new(options.seed);
        workload.locks = random.random_range(LOCKS);
        for number in 0..options.clients {
            world.add_client(number, options, &workload, random);
        }
        world
    }

    fn add_node(&mut self, id: u64, folder: &Path, tuning: &Tuning, options: &SimOptions, random: &mut StdRng) {
        let longest = Duration::from_micros(random.random_range(300..8_000));
        let disk = SimDisk::new(
            DiskOptions { sync: (Duration::from_micros(200), longest), lies: options.lying_disks },
            random.random(),
        );
        let host = NodeHost {
            id,
            nodes: NODES,
            folder: folder.to_owned(),
            disk: disk.clone(),
            clock: clock(options.clock_ppm, random),
            tuning: tuning.clone(),
            stage: self.stage.clone(),
        };
        self.sim.host(node_name(id), move || host.clone().run());
        self.nodes.insert(id, NodePlace { disk, down_until: None });
    }

    fn add_client(&mut self, number: u32, options: &SimOptions, workload: &WorkloadOptions, random: &mut StdRng) {
        let host = ClientHost {
            number,
            endpoints: (1..=NODES).map(endpoint).collect(),
            clock: clock(options.clock_ppm, random),
            workload: workload.clone(),
            recorder: self.recorder.clone(),
            stop: self.stop.clone(),
            stage: self.stage.clone(),
        };
        let wire = Arc::new(Wire::new(number));
        self.wires.push(Arc::clone(&wire));
        let now = Arc::new(Mutex::new((number, wire)));
        let place = ClientPlace { now: Arc::clone(&now), lives: 1, down_until: None };
        self.sim.host(client_name(number), move || {
            let (worker, wire) = now.lock().unwrap_or_else(PoisonError::into_inner).clone();
            host.clone().run(worker, wire)
        });
        self.clients.insert(number, place);
    }

    /// A node's process ends, as the kind of loss says.
    pub(super) fn crash_node(&mut self, id: u64, loss: Loss, until: u64) {
        let Some(place) = self.nodes.get_mut(&id) else { return };
        place.down_until = Some(place.down_until.map_or(until, |known| known.max(until)));
        self.stage.ended(id);
        self.sim.crash(node_name(id));
        place.disk.crash(loss);
    }

    /// Nodes and clients whose time has come are started again.
    pub(super) fn revive(&mut self, step: u64) {
        for (id, place) in &mut self.nodes {
            if place.down_until.is_some_and(|until| until <= step) {
                place.down_until = None;
                self.sim.bounce(node_name(*id));
            }
        }
        for (number, place) in &mut self.clients {
            if place.down_until.is_some_and(|until| until <= step) {
                place.down_until = None;
                self.sim.bounce(client_name(*number));
            }
        }
    }

    /// A client's process ends; another one takes its place.
    pub(super) fn crash_client(&mut self, number: u32, until: u64) {
        let clients = u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
        let Some(place) = self.clients.get_mut(&number) else { return };
        place.down_until = Some(until);
        self.sim.crash(client_name(number));
        let worker = number + clients * place.lives;
        place.lives += 1;
        let wire = Arc::new(Wire::new(worker));
        self.wires.push(Arc::clone(&wire));
        *place.now.lock().unwrap_or_else(PoisonError::into_inner) = (worker, wire);
    }

    /// Nodes that are not down on purpose and have ended all the same.
    pub(super) fn ended_nodes(&mut self) -> Vec<u64> {
        let up: Vec<u64> =
            self.nodes.iter().filter(|(_, place)| place.down_until.is_none()).map(|(id, _)| *id).collect();
        up.into_iter().filter(|id| !self.sim.is_host_running(node_name(*id))).collect()
    }

    pub(super) fn clients_done(&mut self) -> bool {
        let numbers: Vec<u32> = self.clients.keys().copied().collect();
        numbers.into_iter().all(|number| !self.sim.is_host_running(client_name(number)))
    }

    pub(super) fn set_links(&mut self, wanted: BTreeMap<Pair, Link>) {
        self.links.set(&self.sim, wanted);
    }

    /// Grants that clients were told of so far.
    pub(super) fn granted(&self) -> u64 {
        self.wires.iter().map(|wire| wire.granted()).sum()
    }

    /// What every node says of itself now; one that is down knows no leader.
    pub(super) fn node_ends(&self) -> BTreeMap<u64, NodeEnd> {
        self.nodes
            .keys()
            .map(|id| (*id, self.stage.node(*id).map(|node| node_end(&node)).unwrap_or_default()))
            .collect()
    }
}

fn node_end(node: &Node) -> NodeEnd {
    let leader = *node.leader().borrow();
    let state = node.state();
    NodeEnd {
        leader,
        applied: state.applied().map_or(0, |entry| entry.index),
        hash: Some(format!("{:032x}", state.look_at_hash())),
    }
}

fn clock(ppm: u32, random: &mut StdRng) -> HostClock {
    let ppm = i32::try_from(ppm).unwrap_or(i32::MAX);
    let offset = Duration::from_millis(random.random_range(0..1_000_000_000));
    HostClock { offset, fast_ppm: random.random_range(-ppm..=ppm) }
}

/// Small enough that checkpoints, snapshots and purges come often.
fn tuning(random: &mut StdRng) -> Tuning {
    Tuning {
        snapshot_entries: random.random_range(100..2_000),
        keep_entries: random.random_range(10..300),
        checkpoint_interval: Duration::from_millis(random.random_range(50..400)),
        ..Tuning::default()
    }
}
