//! What a node is started with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use leasehold_platform::net::Dialer;
use leasehold_state_machine::{LEVEL_FIRST, LEVEL_MAX};

use crate::clock::Clock;
use crate::media::Media;

/// Everything that a node needs to start. Addresses are `HOST:PORT`.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// This node. Ids are never reused.
    pub node_id: u64,
    /// Folder of the log, the checkpoint, the snapshots and the identity. Belongs to this node alone.
    pub data_dir: PathBuf,
    /// Where peers reach this node. Must be among `peers` under `node_id`.
    pub peer_address: String,
    /// Where clients reach this node (shown in the cluster status).
    pub client_address: String,
    /// All members of a new cluster with their peer addresses, this node included.
    pub peers: BTreeMap<u64, String>,
    /// Form a new cluster once all peers say that they are new.
    pub bootstrap: bool,
    /// The highest format level that this node claims to support, at most [`LEVEL_MAX`]. Lower ones are for tests and for
    /// rehearsing upgrades.
    pub level_max: u32,
    /// Timing and sizes.
    pub tuning: Tuning,
    /// Real time.
    pub clock: Clock,
    /// What log and checkpoint are kept on.
    pub media: Media,
    /// How peers are reached.
    pub dialer: Dialer,
}

/// Timing and sizes of a node. The defaults suit a local network and one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// How often a leader without other messages shows that it lives.
    pub heartbeat: Duration,
    /// A follower without word from a leader stands for election after a random time between this …
    pub election_min: Duration,
    /// … and this.
    pub election_max: Duration,
    /// Entries between two snapshots.
    pub snapshot_entries: u64,
    /// Entries kept behind a snapshot, for followers that lag a little.
    pub keep_entries: u64,
    /// Time between two checkpoints. They come up to 5 s apart where one takes more than a twentieth of this.
    pub checkpoint_interval: Duration,
    /// Bound on the drift between a client's clock and a leader's, in parts per million.
    pub drift_max_ppm: u32,
    /// How long a follower or a node without leader holds a call before it answers UNAVAILABLE, at most.
    pub leader_wait_max: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(400),
            snapshot_entries: 50_000,
            keep_entries: 10_000,
            checkpoint_interval: Duration::from_millis(300),
            drift_max_ppm: 1_000,
            leader_wait_max: Duration::from_secs(5),
        }
    }
}

/// An option that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct OptionsError {
    /// Name of the option.
    pub field: &'static str,
    /// What is wrong, with the limit.
    pub problem: String,
}

impl NodeOptions {
    /// Checks the options against each other.
    pub fn validate(&self) -> Result<(), OptionsError> {
        let refuse = |field, problem: String| Err(OptionsError { field, problem });
        if self.node_id == 0 {
            return refuse("node-id", "must be at least 1".into());
        }
        match self.peers.get(&self.node_id) {
            None => return refuse("peers", format!("does not list this node, {}", self.node_id)),
            Some(own) if *own != self.peer_address => {
                return refuse("peers", format!("lists this node at {own}, peer-listen says {}", self.peer_address));
            }
            Some(_) => {}
        }
        if !(LEVEL_FIRST..=LEVEL_MAX).contains(&self.level_max) {
            return refuse("level-max", format!("{} is not between {LEVEL_FIRST} and {LEVEL_MAX}", self.level_max));
        }
        let tuning = &self.tuning;
        if tuning.heartbeat < Duration::from_millis(5) {
            return refuse("heartbeat", format!("{:?} is below the lowest of 5 ms", tuning.heartbeat));
        }
        if tuning.election_min < tuning.heartbeat * 2 {
            return refuse("election-min", format!("{:?} is below two heartbeats", tuning.election_min));
        }
        if tuning.election_max <= tuning.election_min {
            return refuse("election-max", format!("{:?} is not above election-min", tuning.election_max));
        }
        if tuning.drift_max_ppm > 100_000 {
            return refuse("drift-max-ppm", format!("{} is above 100000 (10 %)", tuning.drift_max_ppm));
        }
        Ok(())
    }
}
