//! What is done to the hosts of a simulation, drawn from its seed.

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::run::Role;

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SimFault {
    /// A process is killed and started again: its peers' connections are reset.
    Kill,
    /// A host loses its power: what was not synced is lost in part, its peers hear nothing.
    PowerCut,
    /// All nodes are killed at once.
    KillAll,
    /// All nodes lose their power at once.
    PowerCutAll,
    /// One node is cut off, what is sent is lost.
    Isolate,
    /// One node is cut off, what is sent arrives when that ends (as TCP sends it again, or after a pause).
    Delay,
    /// One node does not hear the others, they hear it.
    Deaf,
    /// One node is not heard by the others, it hears them.
    Mute,
    /// Two nodes do not reach each other, the third reaches both.
    Bridge,
    /// Messages are lost at random.
    Loss,
    /// Messages take long, and so arrive in another order on other connections.
    Slow,
    /// Syncs take many times as long.
    SlowDisk,
    /// Syncs fail: the node has to stop, and is started again.
    FailingDisk,
    /// A client is cut off from one node, or from all.
    ClientCut,
    /// A client's process is killed; another one begins in its place.
    ClientKill,
}

impl SimFault {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Kill,
        Self::PowerCut,
        Self::KillAll,
        Self::PowerCutAll,
        Self::Isolate,
        Self::Delay,
        Self::Deaf,
        Self::Mute,
        Self::Bridge,
        Self::Loss,
        Self::Slow,
        Self::SlowDisk,
        Self::FailingDisk,
        Self::ClientCut,
        Self::ClientKill,
    ];

    /// Whom it can hit.
    #[must_use]
    pub fn roles(self) -> &'static [Role] {
        match self {
            Self::KillAll | Self::PowerCutAll | Self::Loss | Self::Slow => &[Role::Cluster],
            Self::ClientCut | Self::ClientKill => &[Role::Client],
            _ => &[Role::Leader, Role::Follower],
        }
    }

    /// Whether processes or machines end by it.
    pub(super) fn is_crash(self) -> bool {
        matches!(self, Self::Kill | Self::PowerCut | Self::KillAll | Self::PowerCutAll)
    }

    /// For how long, in ms, a stream may stand still after a fault that loses messages without an end of their connection: the
    /// simulated TCP does not send them again, so a keep-alive has to notice. Nodes send one each second and wait two for an
    /// answer, clients each five and wait three.
    pub(super) fn noticed_after_ms(self) -> u64 {
        match self {
            Self::Isolate | Self::Deaf | Self::Mute | Self::Bridge => 3_000,
            Self::PowerCut | Self::PowerCutAll | Self::Loss | Self::ClientCut => 8_000,
            Self::Kill
            | Self::KillAll
            | Self::Delay
            | Self::Slow
            | Self::SlowDisk
            | Self::FailingDisk
            | Self::ClientKill => 0,
        }
    }

    /// How often it is drawn, beside the others.
    fn weight(self) -> u32 {
        match self {
            Self::Kill | Self::PowerCut | Self::Isolate | Self::Delay => 6,
            Self::Deaf | Self::Mute | Self::Bridge | Self::Slow | Self::SlowDisk | Self::ClientCut => 3,
            Self::KillAll | Self::PowerCutAll | Self::Loss | Self::FailingDisk | Self::ClientKill => 2,
        }
    }

    /// Draws one.
    pub(super) fn draw(random: &mut StdRng) -> Self {
        let total: u32 = Self::ALL.into_iter().map(Self::weight).sum();
        let mut at = random.random_range(0..total);
        for fault in Self::ALL {
            if at < fault.weight() {
                return fault;
            }
            at -= fault.weight();
        }
        Self::Kill
    }

    /// How long it lasts, in steps.
    pub(super) fn steps(self, random: &mut StdRng) -> u64 {
        match self {
            // Longer and shorter than leases.
            Self::Isolate | Self::Delay | Self::Deaf | Self::Mute | Self::Bridge => random.random_range(100..3_000),
            Self::Kill | Self::PowerCut | Self::KillAll | Self::PowerCutAll => random.random_range(20..1_500),
            Self::Loss | Self::Slow | Self::SlowDisk | Self::ClientCut => random.random_range(300..3_000),
            Self::FailingDisk | Self::ClientKill => random.random_range(50..1_000),
        }
    }
}

impl FromStr for SimFault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(|fault| fault.to_string()).join(", ");
        Self::ALL
            .into_iter()
            .find(|fault| fault.to_string() == name)
            .ok_or_else(|| format!("no fault is named {name:?}: {}", known()))
    }
}

impl fmt::Display for SimFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Kill => "kill",
            Self::PowerCut => "power-cut",
            Self::KillAll => "kill-all",
            Self::PowerCutAll => "power-cut-all",
            Self::Isolate => "isolate",
            Self::Delay => "delay",
            Self::Deaf => "deaf",
            Self::Mute => "mute",
            Self::Bridge => "bridge",
            Self::Loss => "loss",
            Self::Slow => "slow",
            Self::SlowDisk => "slow-disk",
            Self::FailingDisk => "failing-disk",
            Self::ClientCut => "client-cut",
            Self::ClientKill => "client-kill",
        };
        f.pad(name)
    }
}
