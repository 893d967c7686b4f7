//! Three nodes of this very binary, started to be measured: default timing, default durability, data in a temporary folder.

use std::path::Path;
use std::time::Duration;

use leasehold_client::{ClientOptions, Role, StatusResponse, cluster_status};

use super::super::nodes::{Nodes, Place};
use crate::exit::{Exit, Failure};

pub(super) const NODES: u64 = 3;
/// By when they have formed a cluster.
const FORMED_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where they live: below `parent`, or in the folder for temporary files.
pub(super) fn place(parent: Option<&Path>) -> Place<'_> {
    Place { prefix: "leasehold-bench-", parent, flags: &[] }
}

/// Starts all of them, and waits until they have a leader and each other.
pub(super) async fn start(nodes: &mut Nodes) -> Result<(), Failure> {
    for id in nodes.ids() {
        nodes.start(id)?;
    }
    let formed = async {
        loop {
            nodes.check()?;
            if let Ok(status) = status(nodes).await
                && status.leader.is_some()
                && status.nodes.len() == nodes.ids().len()
                && status.nodes.iter().all(|node| node.up)
            {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(FORMED_MAX, formed).await {
        Ok(formed) => formed,
        Err(_) => {
            Err(Failure::new(Exit::Unavailable, format!("unavailable: no cluster was formed within {FORMED_MAX:?}")))
        }
    }
}

async fn status(nodes: &Nodes) -> Result<StatusResponse, Failure> {
    Ok(cluster_status(&ClientOptions::new(nodes.endpoints())).await?)
}

/// The process of the leader.
pub(super) async fn leader_pid(nodes: &Nodes) -> Result<Option<u32>, Failure> {
    let status = status(nodes).await?;
    let leader = status.nodes.iter().find(|node| node.role() == Role::Leader);
    Ok(leader.and_then(|leader| nodes.pid(leader.id)))
}
