//! `leasehold cluster …`.

use leasehold_client::{NodeStatus, StatusResponse, cluster_status};
use serde_json::{Value, json};

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
        Format::Json => output::json(&status_json(&status)),
        Format::Table => output::table(["ID", "ADDRESS", "ROLE", "APPLIED", "UP"], status.nodes.iter().map(row)),
    }
    Ok(Exit::Ok)
}

fn status_json(status: &StatusResponse) -> Value {
    let node = |node: &NodeStatus| {
        json!({
            "id": node.id,
            "address": node.address,
            "role": role_name(node.role()),
            "applied": node.applied,
            "up": node.up,
        })
    };
    json!({
        "leader": status.leader,
        "term": status.term,
        "nodes": status.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

fn row(node: &NodeStatus) -> [String; 5] {
    let up = if node.up { "yes" } else { "no" };
    [node.id.to_string(), node.address.clone(), role_name(node.role()), node.applied.to_string(), up.to_owned()]
}
