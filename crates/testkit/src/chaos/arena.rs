//! Everything that a run is made of: the nodes, their disks, the network and the clients. Dropped, all of it is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use tokio::sync::mpsc;

use super::abilities::Abilities;
use super::client::{ClientProcess, ClientSettings, PhaseWord, Workload};
use super::fault::Need;
use super::leadership::Leadership;
use super::machine::{Machine, Patience};
use super::net::{Host, Network};
use super::node::{NodeProcess, Wrapping};
use super::target::{NodePlace, StartAs, Target};
use crate::cluster::free_port;
use crate::disk::Disk;

/// Phase words that nobody has looked at yet.
const WORDS_MAX: usize = 64;
/// How long a new one may take to be formed, and to grant: that is not what a run is about.
const START_MAX: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Monotonic clocks of nodes are up to a month apart.
const OFFSET_S_MAX: u64 = 30 * 86_400;

/// What a run is made with.
#[derive(Debug, Clone)]
pub struct ArenaSettings {
    /// Nodes.
    pub nodes: u64,
    /// Client processes.
    pub clients: u32,
    /// Workers of each.
    pub workers: u32,
    /// Locks that all compete for.
    pub locks: u32,
    /// What random choices follow from.
    pub seed: u64,
    /// Where everything is written.
    pub folder: PathBuf,
    /// Size of a node's disk.
    pub disk_bytes: u64,
    /// The cluster begins at the first format level.
    pub first_level: bool,
    /// See [`StartAs::small_logs`].
    pub small_logs: bool,
    /// More words of the nodes' environment.
    pub environment: Vec<(String, String)>,
    /// What clients do.
    pub workload: Workload,
}

/// A running cluster with its clients.
#[derive(Debug)]
pub struct Arena {
    // Dropped in this order: processes before the disks and the network that they use.
    /// The client processes, by number - 1.
    pub clients: Vec<ClientProcess>,
    /// The nodes, by id - 1.
    pub nodes: Vec<NodeProcess>,
    /// Their disks, where disks can be made.
    pub disks: Vec<Disk>,
    /// Who leads.
    pub leadership: Leadership,
    /// The network.
    pub network: Network,
    /// What is under test.
    pub target: Arc<dyn Target>,
    /// What can be done.
    pub abilities: Abilities,
    /// How much of the machine others take.
    pub machine: Machine,
    /// Locks that come into a phase that was aimed at.
    pub phase_words: mpsc::Receiver<PhaseWord>,
}

impl Arena {
    /// Starts the nodes, waits for a leader, starts the clients, and waits for their first grants.
    pub async fn start(target: Arc<dyn Target>, abilities: Abilities, settings: &ArenaSettings) -> Result<Self> {
        let hosts: Vec<Host> =
            (1..=settings.nodes).map(Host::Node).chain((1..=settings.clients).map(Host::Client)).collect();
        let network = if abilities.has(Need::Namespaces) { Network::namespaces(&hosts)? } else { Network::loopback() };
        let mut disks = Vec::new();
        if abilities.has(Need::PowerCuts) {
            for id in 1..=settings.nodes {
                disks.push(Disk::create(&settings.folder, &format!("n{id}"), settings.disk_bytes)?);
            }
        }
        let places = places(settings, &network, &disks)?;
        let mut nodes = Vec::new();
        for place in &places {
            nodes.push(node(place, settings, &network, &abilities)?);
        }
        let (words, phase_words) = mpsc::channel(WORDS_MAX);
        let client_settings = ClientSettings {
            endpoints: places.iter().map(NodePlace::client_address).collect::<Vec<_>>().join(","),
            workers: settings.workers,
            locks: settings.locks,
            seed: settings.seed,
            folder: settings.folder.clone(),
            mode: settings.workload.mode(target.name()),
        };
        let client = |number| {
            ClientProcess::new(number, network.wrapper(Host::Client(number)), client_settings.clone(), words.clone())
        };
        let clients = (1..=settings.clients).map(client).collect();
        let leadership = Leadership::watch(&target, &places);
        let machine = Machine::watch()?;
        let mut arena = Self { clients, nodes, disks, leadership, network, target, abilities, machine, phase_words };
        for id in 1..=settings.nodes {
            arena.start_node(id)?;
        }
        let patience = arena.machine.patience(START_MAX);
        let formed = arena.settled(&patience).await;
        anyhow::ensure!(formed, "the cluster does not form within {:?}", patience.allowed());
        for client in &mut arena.clients {
            client.start()?;
        }
        let patience = arena.machine.patience(START_MAX);
        let least = arena.fresh_grants(1, &patience).await;
        anyhow::ensure!(least > 0, "a client process has no first grant within {:?}", patience.allowed());
        Ok(arena)
    }

    /// One node.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn node(&mut self, id: u64) -> &mut NodeProcess {
        let at = usize::try_from(id).unwrap_or(usize::MAX).wrapping_sub(1);
        self.nodes.get_mut(at).unwrap_or_else(|| panic!("there is no node {id}"))
    }

    /// One client process.
    ///
    /// # Panics
    /// When there is no such client.
    pub fn client(&mut self, number: u32) -> &mut ClientProcess {
        self.clients.get_mut(number as usize - 1).unwrap_or_else(|| panic!("there is no client {number}"))
    }

    /// Starts a node.
    pub fn start_node(&mut self, id: u64) -> Result<()> {
        let target = self.target.clone();
        self.node(id).start(&*target)
    }

    /// Where all nodes live.
    #[must_use]
    pub fn places(&self) -> Vec<NodePlace> {
        self.nodes.iter().map(|node| node.place.clone()).collect()
    }

    /// Says how the clock of a node goes from now on.
    pub fn set_clock(&mut self, id: u64, rate_ppm: i64, wall_offset_s: i64) -> Result<()> {
        let node = self.node(id);
        if let Some(file) = &node.how.clock_file {
            replace(file, &format!("{rate_ppm} {wall_offset_s}\n"))?;
        }
        if let Some((_, file)) = &node.wrapping.fake_time {
            replace(file, &format!("{wall_offset_s:+}\n"))?;
        }
        Ok(())
    }

    /// Another monotonic clock for the next start of a node.
    pub fn draw_monotonic_offset(&mut self, id: u64, draw: u64) {
        let there = self.abilities.has(Need::TimeNamespaces);
        self.node(id).wrapping.monotonic_offset_s = there.then(|| offset(draw));
    }

    /// Waits until all nodes name one leader and have applied the same. False: they did not.
    pub async fn settled(&mut self, patience: &Patience) -> bool {
        let places = self.places();
        while !self.target.is_settled(&places).await {
            if patience.is_over() {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Waits until every client process has had so many more grants. Returns how many the one has had that has had the fewest.
    pub async fn fresh_grants(&mut self, enough: u64, patience: &Patience) -> u64 {
        let before: Vec<u64> = self.clients.iter().map(ClientProcess::granted).collect();
        loop {
            let more = self.clients.iter().zip(&before).map(|(client, before)| client.granted() - before);
            let least = more.min().unwrap_or(0);
            if least >= enough || patience.is_over() {
                return least;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends all nodes in an orderly way. Those that do not end in time are named, and killed.
    pub async fn terminate(&mut self, patience: &Patience) -> Result<Vec<u64>> {
        for node in &mut self.nodes {
            node.signal(Signal::TERM)?;
        }
        let mut late = Vec::new();
        for node in &mut self.nodes {
            while node.runs() && node.ended()?.is_none() {
                if patience.is_over() {
                    late.push(node.place.id);
                    node.kill()?;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(late)
    }
}

fn offset(draw: u64) -> i64 {
    i64::try_from(draw % OFFSET_S_MAX).unwrap_or(0)
}

/// Whoever reads it meanwhile reads the old or the new one.
fn replace(file: &Path, text: &str) -> Result<()> {
    let partial = file.with_extension("partial");
    fs::write(&partial, text)?;
    Ok(fs::rename(partial, file)?)
}

fn places(settings: &ArenaSettings, network: &Network, disks: &[Disk]) -> Result<Vec<NodePlace>> {
    let mut places = Vec::new();
    for id in 1..=settings.nodes {
        let apart = network.namespace(Host::Node(id)).is_some();
        let address = if apart { Host::Node(id).address() } else { "127.0.0.1".to_owned() };
        let port = |usual| if apart { Ok(usual) } else { free_port() };
        let disk = disks.get(usize::try_from(id - 1)?);
        let data_dir = disk.map_or_else(|| settings.folder.join(format!("node-{id}")), |disk| disk.path().join("data"));
        fs::create_dir_all(&data_dir)?;
        places.push(NodePlace {
            id,
            address,
            client_port: port(7_400)?,
            peer_port: port(7_401)?,
            http_port: port(7_402)?,
            data_dir,
            peers: String::new(),
            folder: settings.folder.clone(),
        });
    }
    let peer = |place: &NodePlace| format!("{}={}:{}", place.id, place.address, place.peer_port);
    let peers = places.iter().map(peer).collect::<Vec<_>>().join(",");
    for place in &mut places {
        place.peers.clone_from(&peers);
    }
    Ok(places)
}

fn node(place: &NodePlace, settings: &ArenaSettings, network: &Network, abilities: &Abilities) -> Result<NodeProcess> {
    let file = |what: &str| settings.folder.join(format!("node-{}.{what}", place.id));
    let mut how =
        StartAs { level_max: settings.first_level.then_some(1), small_logs: settings.small_logs, clock_file: None };
    if abilities.has(Need::ClockKnob) {
        let clock = file("clock");
        fs::write(&clock, "0 0\n")?;
        how.clock_file = Some(clock);
    }
    let mut wrapping = Wrapping {
        host: network.wrapper(Host::Node(place.id)),
        environment: settings.environment.clone(),
        ..Wrapping::default()
    };
    if let Some(library) = abilities.fake_time.as_ref().filter(|_| abilities.has(Need::ClockKnob)) {
        let wall = file("wall");
        fs::write(&wall, "+0\n")?;
        wrapping.fake_time = Some((library.clone(), wall));
    }
    if abilities.has(Need::TimeNamespaces) {
        wrapping.monotonic_offset_s = Some(offset(settings.seed.rotate_left(u32::try_from(place.id)? * 13)));
    }
    Ok(NodeProcess::new(place.clone(), how, wrapping))
}
