//! `leasehold cluster …`.

use leasehold_client::{NodeStatus, StatusResponse, cluster_status};
use serde::Serialize;

use super::role_name;
use crate::cli::StatusArgs;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

pub(super) async fn status(args: StatusArgs) -> Result<Exit, Failure> {
    let status = cluster_status(&args.reach.options()).await?;
    if status.leader.is_none() {
        output::note("leasehold: no leader is known");
    }
    match args.output.output {
        Format::Json => output::json(&StatusJson::from(&status))?,
        Format::Table => output::table(["ID", "ADDRESS", "ROLE", "APPLIED", "UP"], status.nodes.iter().map(row)),
    }
    Ok(Exit::Ok)
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct StatusJson<'a> {
    leader: Option<u64>,
    term: u64,
    nodes: Vec<NodeJson<'a>>,
}

#[derive(Debug, Serialize)]
struct NodeJson<'a> {
    id: u64,
    address: &'a str,
    role: String,
    applied: u64,
    up: bool,
}

impl<'a> From<&'a StatusResponse> for StatusJson<'a> {
    fn from(status: &'a StatusResponse) -> Self {
        let node = |node: &'a NodeStatus| NodeJson {
            id: node.id,
            address: &node.address,
            role: role_name(node.role()),
            applied: node.applied,
            up: node.up,
        };
        Self { leader: status.leader, term: status.term, nodes: status.nodes.iter().map(node).collect() }
    }
}

fn row(node: &NodeStatus) -> [String; 5] {
    let up = if node.up { "yes" } else { "no" };
    [node.id.to_string(), node.address.clone(), role_name(node.role()), node.applied.to_string(), up.to_owned()]
}
