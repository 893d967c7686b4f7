//! Leasehold as it is compared: three nodes of this very binary.

use std::path::Path;

use leasehold_client::ClientOptions;

use super::super::super::nodes::Nodes;
use super::super::load::{self, Plan};
use super::super::record::Record;
use super::super::schedule::Stop;
use super::super::{connection, own};
use super::{About, Job};
use crate::exit::Failure;

pub(super) struct Leasehold {
    nodes: Nodes,
}

impl Leasehold {
    pub(super) async fn start(folder: &Path) -> Result<Self, Failure> {
        let mut nodes = Nodes::prepare(own::NODES, own::place(Some(folder)))?;
        own::start(&mut nodes).await?;
        Ok(Self { nodes })
    }

    pub(super) async fn measure(&mut self, job: &Job, stop: &Stop) -> Result<Record, Failure> {
        self.nodes.check()?;
        let options = ClientOptions::new(self.nodes.endpoints());
        let plan = Plan {
            workload: job.workload(),
            callers: job.callers,
            held: 0,
            held_for: None,
            connections: job.connections,
            addresses: connection::addresses(&options, job.target).await?,
            unary: false,
            namespace: "default".to_owned(),
            ttl: job.ttl,
            warm_up: job.warm_up,
            length: job.length,
            bound: options.connect_timeout,
            leader_pid: None,
        };
        Ok(load::run(&plan, stop).await?.record)
    }

    pub(super) async fn end(&mut self) {
        self.nodes.end().await;
    }
}

pub(super) fn about() -> About {
    About {
        name: "leasehold",
        version: env!("CARGO_PKG_VERSION").to_owned(),
        durability: "3 nodes, on disk (fdatasync) on a majority before an answer",
        operations: "Acquire with a lease of its own (contended: wait under a session), Release; one stream per connection",
    }
}
