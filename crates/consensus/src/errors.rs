//! What can go wrong with a call to a node, and with the node.

use std::time::Duration;

use crate::OptionsError;

/// A command came to nothing that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// No leader could be reached in time. The command has had and will have no effect.
    #[error("no leader; nothing was done")]
    NoLeader {
        /// When to try again.
        retry_after: Duration,
    },
    /// Too many commands wait already. The command has had and will have no effect.
    #[error("this node has {pending} commands pending, its limit; nothing was done")]
    Busy {
        /// Pending commands.
        pending: usize,
    },
    /// The command was sent and no outcome came back in time: it may have happened, or happen yet. The same request may
    /// be sent again anywhere.
    #[error("no outcome within the deadline; it may have happened")]
    FateUnknown,
    /// The command is larger than a log entry may be.
    #[error("the request is {bytes} bytes long, at most {max} are allowed")]
    TooLarge {
        /// Encoded size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The operation needs a higher format level than the cluster has. Nothing was done.
    #[error(
        "this needs format level {needed}, the cluster is at {level}: raise it once every node supports it; nothing was done"
    )]
    Level {
        /// The level that the operation needs.
        needed: u32,
        /// The level in force.
        level: u32,
    },
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

/// A linearizable read could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed a read index in time.
    #[error("no leader confirmed the read in time")]
    NoLeader {
        /// When to try again.
        retry_after: Duration,
    },
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

/// Why a node does not start. The text names the file or the option and the way out.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A bad option.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The data folder cannot be used.
    #[error("{0}")]
    Data(String),
    /// The cluster knows this node id by another data folder.
    #[error("{0}")]
    Identity(String),
    /// The data folder holds what needs a higher format level than this node supports. Nothing was changed in it.
    #[error("{0}")]
    Level(String),
    /// The tables in the data folder were found to differ from the cluster's.
    #[error("{0}")]
    Diverged(String),
    /// openraft refused to start.
    #[error("raft does not start: {0}")]
    Raft(String),
}

/// Why a node stopped by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// [`crate::Node::shutdown`].
    Shutdown,
    /// Storage failed (a failed fsync stops the node), or raft panicked.
    Fatal(String),
    /// The cluster knows this node id by another data folder.
    Identity(String),
    /// The cluster has a higher format level than this node supports. It stopped before it would have diverged.
    Level(String),
    /// The tables of this node differ from those of its cluster. It must not serve with them again.
    Diverged(String),
}
