//! What can be done to a cluster and its clients: the rows of TESTING.md's matrix, and on whom each makes sense.

use std::fmt;
use std::str::FromStr;

use anyhow::bail;
use serde::{Deserialize, Serialize};

/// One row of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "`Fault::words` says what each one does")]
pub enum Fault {
    Kill,
    KillInRecovery,
    PauseShort,
    PauseLong,
    CutFromPeers,
    Isolated,
    OneWayIn,
    OneWayOut,
    Bridge,
    OneNodeOnly,
    Loss,
    Resets,
    Delay,
    Duplicates,
    Reorder,
    SlowLink,
    WallClock,
    WallStrobe,
    MonotonicOffset,
    ClockRate,
    Wiped,
    Swapped,
    Damaged,
    DiskFull,
    FewDescriptors,
    StarvedCpu,
    ConnectionFlood,
    PowerCut,
    FsyncFails,
    FsyncSlow,
    RollingRestart,
    LevelRaise,
}

/// On whom a fault is brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The node that leads at that moment.
    Leader,
    /// A node that follows at that moment.
    Follower,
    /// A client process.
    Client,
    /// All nodes at once, or one after another.
    All,
}

/// What a machine must have for a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// Network namespaces and packet filters.
    Namespaces,
    /// Packets sent twice by the packet filter.
    Duplication,
    /// Address translation in the packet filter, for a proxy on the way.
    Translation,
    /// A rate limit on an interface.
    RateLimit,
    /// Several queues of an interface, each with a rate.
    RateClasses,
    /// The library that fakes the wall clock.
    FakeTime,
    /// Monotonic clocks of processes apart.
    TimeNamespaces,
    /// Small file systems of our own.
    Mounts,
    /// `prlimit`.
    ProcessLimits,
    /// File systems that can lose what was not flushed.
    PowerCuts,
    /// A binary with failpoints.
    Failpoints,
    /// A binary whose clock can be set for tests.
    ClockKnob,
    /// A format level that an operator raises.
    FormatLevels,
    /// A folder that is known by whose it is and what must be in it, or refused.
    KnownFolder,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::Kill,
        Self::KillInRecovery,
        Self::PauseShort,
        Self::PauseLong,
        Self::CutFromPeers,
        Self::Isolated,
        Self::OneWayIn,
        Self::OneWayOut,
        Self::Bridge,
        Self::OneNodeOnly,
        Self::Loss,
        Self::Resets,
        Self::Delay,
        Self::Duplicates,
        Self::Reorder,
        Self::SlowLink,
        Self::WallClock,
        Self::WallStrobe,
        Self::MonotonicOffset,
        Self::ClockRate,
        Self::Wiped,
        Self::Swapped,
        Self::Damaged,
        Self::DiskFull,
        Self::FewDescriptors,
        Self::StarvedCpu,
        Self::ConnectionFlood,
        Self::PowerCut,
        Self::FsyncFails,
        Self::FsyncSlow,
        Self::RollingRestart,
        Self::LevelRaise,
    ];

    /// What it does, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Kill => "kill -9, started again later",
            Self::KillInRecovery => "kill -9, and again while it recovers",
            Self::PauseShort => "SIGSTOP for less than a ttl",
            Self::PauseLong => "SIGSTOP for longer than a ttl",
            Self::CutFromPeers => "no packets between it and the other nodes; clients reach it",
            Self::Isolated => "no packets to or from anybody",
            Self::OneWayIn => "it hears nothing from the other nodes, they hear it",
            Self::OneWayOut => "the other nodes do not hear it, it hears them",
            Self::Bridge => "no packets between it and one other node; the third one reaches both",
            Self::OneNodeOnly => "the client reaches one node only",
            Self::Loss => "a share of all packets to it is lost",
            Self::Resets => "its connections are reset in mid-call, again and again",
            Self::Delay => "what is sent to it comes late, by a varying time",
            Self::Duplicates => "every packet to it comes twice",
            Self::Reorder => "a share of the packets that it sends is late, and overtaken by later ones",
            Self::SlowLink => "what it sends is limited to a few kilobytes a second",
            Self::WallClock => "its wall clock jumps by an hour",
            Self::WallStrobe => "its wall clock jumps forth and back, many times a second",
            Self::MonotonicOffset => "started again with a monotonic clock that is days apart",
            Self::ClockRate => "its clock runs fast or slow by the drift bound",
            Self::Wiped => "its folder is emptied: it must be refused",
            Self::Swapped => "it gets another node's folder: it must be refused",
            Self::Damaged => "a file is torn, flipped or zeroed while it is down: refused by name, or recovered",
            Self::DiskFull => "its file system is full",
            Self::FewDescriptors => "it may open no more files",
            Self::StarvedCpu => "it runs a tenth of the time, in slices",
            Self::ConnectionFlood => "hundreds of idle connections to its client port",
            Self::PowerCut => "killed, and everything that was not flushed is gone",
            Self::FsyncFails => "fsync fails: it must stop",
            Self::FsyncSlow => "every fsync takes long",
            Self::RollingRestart => "the nodes are restarted one after another",
            Self::LevelRaise => "the nodes are restarted with a higher format level, which is then raised",
        }
    }

    /// On whom it is brought. The other cells of the matrix make no sense, see [`Fault::makes_no_sense`].
    #[must_use]
    pub fn roles(self) -> Vec<Role> {
        [Role::Leader, Role::Follower, Role::Client, Role::All]
            .into_iter()
            .filter(|role| self.makes_no_sense(*role).is_none())
            .collect()
    }

    /// Why a cell of the matrix is empty; None where it is not.
    #[must_use]
    pub fn makes_no_sense(self, role: Role) -> Option<&'static str> {
        match (self, role) {
            (Self::Kill | Self::PowerCut, Role::All) => None,
            (Self::RollingRestart | Self::LevelRaise, Role::All) => None,
            (Self::RollingRestart | Self::LevelRaise, _) => Some("it concerns every node in turn"),
            (_, Role::All) => Some("what is brought on one node at a time overlaps in the second half of a run"),
            (Self::OneNodeOnly, Role::Client) => None,
            (Self::OneNodeOnly, _) => Some("it is about a client's way to the nodes"),
            (
                Self::Kill
                | Self::PauseShort
                | Self::PauseLong
                | Self::Isolated
                | Self::Loss
                | Self::Resets
                | Self::Delay
                | Self::Duplicates
                | Self::Reorder
                | Self::SlowLink
                | Self::StarvedCpu,
                Role::Client,
            ) => None,
            (Self::KillInRecovery, Role::Client) => Some("a client has nothing to recover"),
            (Self::CutFromPeers | Self::OneWayIn | Self::OneWayOut | Self::Bridge, Role::Client) => {
                Some("a client has no peers; see one-node-only and isolated")
            }
            (Self::WallClock | Self::WallStrobe | Self::MonotonicOffset | Self::ClockRate, Role::Client) => {
                Some("the histories are kept on the clients' clock, so that one is not touched")
            }
            (
                Self::Wiped
                | Self::Swapped
                | Self::Damaged
                | Self::DiskFull
                | Self::PowerCut
                | Self::FsyncFails
                | Self::FsyncSlow,
                Role::Client,
            ) => Some("a client keeps nothing on disk"),
            (Self::FewDescriptors | Self::ConnectionFlood, Role::Client) => Some("nobody connects to a client"),
            (_, Role::Leader | Role::Follower) => None,
        }
    }

    /// What the machine must have for it.
    #[must_use]
    pub fn needs(self) -> &'static [Need] {
        match self {
            Self::Kill
            | Self::KillInRecovery
            | Self::PauseShort
            | Self::PauseLong
            | Self::StarvedCpu
            | Self::ConnectionFlood
            | Self::RollingRestart => &[],
            Self::Wiped | Self::Swapped | Self::Damaged => &[Need::KnownFolder],
            Self::LevelRaise => &[Need::FormatLevels],
            Self::CutFromPeers
            | Self::Isolated
            | Self::OneWayIn
            | Self::OneWayOut
            | Self::Bridge
            | Self::OneNodeOnly
            | Self::Loss
            | Self::Resets => &[Need::Namespaces],
            Self::Delay => &[Need::Namespaces, Need::Translation],
            Self::Duplicates => &[Need::Namespaces, Need::Duplication],
            Self::Reorder => &[Need::Namespaces, Need::RateClasses],
            Self::SlowLink => &[Need::Namespaces, Need::RateLimit],
            Self::WallClock | Self::WallStrobe => &[Need::FakeTime, Need::ClockKnob],
            Self::MonotonicOffset => &[Need::TimeNamespaces],
            Self::ClockRate => &[Need::ClockKnob],
            Self::DiskFull => &[Need::Mounts],
            Self::FewDescriptors => &[Need::ProcessLimits],
            Self::PowerCut => &[Need::PowerCuts],
            Self::FsyncFails | Self::FsyncSlow => &[Need::Failpoints],
        }
    }

    /// What a second fault must not touch while it lasts.
    #[must_use]
    pub fn occupies(self) -> Occupies {
        match self {
            _ if self.needs().contains(&Need::Namespaces) => Occupies::Links,
            Self::WallClock | Self::WallStrobe | Self::ClockRate => Occupies::Clocks,
            Self::RollingRestart | Self::LevelRaise => Occupies::Everything,
            Self::ConnectionFlood => Occupies::Ports,
            _ => Occupies::Process,
        }
    }

    /// Whether it is over at the moment it strikes: only what was under way then counts as hit.
    #[must_use]
    pub fn is_instant(self) -> bool {
        matches!(self, Self::Kill | Self::KillInRecovery | Self::PowerCut)
    }
}

/// What of a cluster a fault takes for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupies {
    /// The process of its victim.
    Process,
    /// The ways between all.
    Links,
    /// The clocks of all nodes.
    Clocks,
    /// The ports of its victim.
    Ports,
    /// All of it: nothing overlaps.
    Everything,
}

impl Need {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Namespaces,
        Self::Duplication,
        Self::Translation,
        Self::RateLimit,
        Self::RateClasses,
        Self::FakeTime,
        Self::TimeNamespaces,
        Self::Mounts,
        Self::ProcessLimits,
        Self::PowerCuts,
        Self::Failpoints,
        Self::ClockKnob,
        Self::FormatLevels,
        Self::KnownFolder,
    ];

    /// Whether it is the target that has it, and not the machine: what one target alone has cannot be compared.
    #[must_use]
    pub fn is_of_the_target(self) -> bool {
        matches!(self, Self::Failpoints | Self::ClockKnob | Self::FormatLevels | Self::KnownFolder)
    }

    /// What is missing where it is not there.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Namespaces => "root, `ip`, `nsenter` and `nft`, for network namespaces",
            Self::Duplication => "the packet filter's `dup` statement",
            Self::Translation => "the packet filter's `dnat` statement",
            Self::RateLimit => "`tc` with tbf",
            Self::RateClasses => "`tc` with htb",
            Self::FakeTime => "libfaketime (Debian package faketime)",
            Self::TimeNamespaces => "root and `unshare --time`",
            Self::Mounts => "root and `mount -t tmpfs`",
            Self::ProcessLimits => "`prlimit`",
            Self::PowerCuts => "loop-mounted ext4 that can be shut down without a flush",
            Self::Failpoints => "a binary built with failpoints",
            Self::ClockKnob => "a target whose clock can be set",
            Self::FormatLevels => "a target with format levels",
            Self::KnownFolder => "a target that refuses a folder that is damaged or another node's",
        }
    }
}

fn name_of(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&name_of(self))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&name_of(self))
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Self::ALL.into_iter().find(|fault| fault.to_string() == text) {
            Some(fault) => Ok(fault),
            None => bail!("{text:?} is no fault: {}", Self::ALL.map(|fault| fault.to_string()).join(", ")),
        }
    }
}
