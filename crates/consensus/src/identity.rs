//! Who a data folder belongs to: node id, the folder's random incarnation, and the cluster it joined.

use std::io;
use std::path::{Path, PathBuf};

use leasehold_failpoints::failpoint;
use leasehold_platform::random;
use leasehold_state_machine::storage::files::{self, RecordError};
use leasehold_state_machine::{ClusterId, codec};
use parking_lot::Mutex;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::StartError;

const FILE: &str = "identity";
const MAGIC: [u8; 8] = *b"LHIDENT\n";
const VERSION: u8 = 1;

/// What the identity file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The node that the folder was made for: another one must not use its vote and log.
    pub(crate) node_id: u64,
    /// Random name of the folder, recorded in the membership: a wiped folder comes back with another one.
    pub(crate) incarnation: u64,
    /// The cluster that the node belongs to: from its founding, or from the first leader that spoke to it.
    pub(crate) cluster: Option<ClusterId>,
}

/// The identity of this node, in memory and on disk.
pub(crate) struct IdentityFile {
    path: PathBuf,
    current: Mutex<Identity>,
}

impl IdentityFile {
    /// Reads the identity of a data folder, or gives a new folder one.
    pub(crate) fn open(data_dir: &Path, node_id: u64) -> Result<Self, StartError> {
        let path = data_dir.join(FILE);
        let data = |text: String| StartError::Data(text);
        let identity = match files::read_record(&path, MAGIC, VERSION).map_err(|error| data(error.to_string()))? {
            Some(payload) => codec::decode(&payload).map_err(|error| {
                data(format!("{}: {error}. Replace this node: its data folder cannot be used", path.display()))
            })?,
            None => {
                let occupied = ["log", "snapshots"].iter().any(|name| data_dir.join(name).exists());
                if occupied {
                    return Err(data(format!(
                        "{} is missing, but the data folder has a log: it was damaged or copied in part. Restore the file, \
                         or empty the folder and replace this node in the cluster",
                        path.display()
                    )));
                }
                let identity = Identity { node_id, incarnation: random::rng().random(), cluster: None };
                let io = |error: io::Error| data(format!("{}: {error}", path.display()));
                failpoint!("identity::create::before").map_err(io)?;
                write(&path, &identity).map_err(|error| data(format!("{}: {error}", path.display())))?;
                failpoint!("identity::create::after").map_err(io)?;
                identity
            }
        };
        if identity.node_id != node_id {
            return Err(StartError::Identity(format!(
                "data folder {} belongs to node {}, not to node {node_id}. Start node {} on it, or give node {node_id} its own",
                data_dir.display(),
                identity.node_id,
                identity.node_id
            )));
        }
        Ok(Self { path, current: Mutex::new(identity) })
    }

    pub(crate) fn get(&self) -> Identity {
        *self.current.lock()
    }

    /// Records the cluster, durably, unless one is recorded. Returns the one in force.
    pub(crate) fn join(&self, cluster: ClusterId) -> Result<ClusterId, RecordError> {
        let mut current = self.current.lock();
        if let Some(known) = current.cluster {
            return Ok(known);
        }
        let joined = Identity { cluster: Some(cluster), ..*current };
        let io = |source| RecordError::Io { path: self.path.clone(), source };
        failpoint!("identity::join::before").map_err(io)?;
        write(&self.path, &joined)?;
        *current = joined;
        failpoint!("identity::join::after").map_err(io)?;
        tracing::info!(%cluster, "joined a cluster");
        Ok(cluster)
    }
}

fn write(path: &Path, identity: &Identity) -> Result<(), RecordError> {
    files::write_record(path, MAGIC, VERSION, &codec::encode(identity))
}
