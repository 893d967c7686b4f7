//! `leasehold cluster …`.

use leasehold_client::{NodeStatus, StatusResponse, cluster_status};
use serde::Serialize;

use super::role_name;
use crate::cli::{OutputArgs, ReachArgs};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RaiseLevelArgs {
    /// To this level (default: as high as all members go)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    level: Option<u32>,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn status(args: StatusArgs) -> Result<Exit, Failure> {
    let status = cluster_status(&args.reach.options()).await?;
    if status.leader.is_none() {
        output::note("leasehold: no leader is known");
    }
    match args.output.output {
        Format::Json => {
            output::json(&StatusJson::from(&status))?;
        }
        Format::Table => {
            output::table(
                ["ID", "ADDRESS", "ROLE", "APPLIED", "UP", "LEVEL MAX", "TABLES"],
                status.nodes.iter().map(row),
            );
            output::note(&format!("leasehold: format level {}", status.level));
        }
    }
    Ok(Exit::Ok)
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct LevelJson {
    level: u32,
    level_before: u32,
}

pub(super) async fn raise_level(args: RaiseLevelArgs) -> Result<Exit, Failure> {
    let raised = leasehold_client::raise_level(&args.reach.options(), args.level).await?;
    let (level, level_before) = (raised.level, raised.level_before);
    match args.output.output {
        Format::Json => {
            output::json(&LevelJson { level, level_before })?;
        }
        Format::Table => output::table(["LEVEL", "BEFORE"], [[level.to_string(), level_before.to_string()]]),
    }
    Ok(Exit::Ok)
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct StatusJson<'a> {
    leader: Option<u64>,
    term: u64,
    level: u32,
    cluster_id: &'a str,
    version: &'a str,
    nodes: Vec<NodeJson<'a>>,
}

#[derive(Debug, Serialize)]
struct NodeJson<'a> {
    id: u64,
    address: &'a str,
    role: String,
    applied: u64,
    up: bool,
    /// Absent where it cannot be asked.
    level_max: Option<u32>,
    /// The last log index after which its tables were found equal to those of the node that answers.
    agreed_at: Option<u64>,
    /// The log index after which they differed. Absent where they did not.
    differs_at: Option<u64>,
}

impl<'a> From<&'a StatusResponse> for StatusJson<'a> {
    fn from(status: &'a StatusResponse) -> Self {
        let node = |node: &'a NodeStatus| NodeJson {
            id: node.id,
            address: &node.address,
            role: role_name(node.role()),
            applied: node.applied,
            up: node.up,
            level_max: (node.level_max != 0).then_some(node.level_max),
            agreed_at: node.agreed_at,
            differs_at: node.differs_at,
        };
        Self {
            leader: status.leader,
            term: status.term,
            level: status.level,
            cluster_id: &status.cluster_id,
            version: &status.version,
            nodes: status.nodes.iter().map(node).collect(),
        }
    }
}

/// How its tables compare with those of the node that answers.
fn tables(node: &NodeStatus) -> String {
    match (node.differs_at, node.agreed_at) {
        (Some(index), _) => format!("DIFFER at {index}"),
        (None, Some(index)) => format!("same at {index}"),
        (None, None) => "-".to_owned(),
    }
}

fn row(node: &NodeStatus) -> [String; 7] {
    let up = if node.up { "yes" } else { "no" };
    let level_max = if node.level_max == 0 { "-".to_owned() } else { node.level_max.to_string() };
    let (id, applied) = (node.id.to_string(), node.applied.to_string());
    [id, node.address.clone(), role_name(node.role()), applied, up.to_owned(), level_max, tables(node)]
}
