//! `leasehold bench`: load against a cluster, and the same work against others. docs/bench.md tells what the numbers mean.
//!
//! The driver shares the machine with what it measures, so it is lean: it speaks the generated stubs, one task owns a connection,
//! and all of the connection's callers are small state machines in it (`lane.rs`, `caller.rs`).

use std::future::Future;

use super::nodes::Nodes;
use super::signals::{self, Signals};
use crate::exit::{Exit, Failure};
use crate::output::note;

mod caller;
mod compare;
mod connection;
mod cpu;
mod expirer;
mod holder;
mod keeper;
mod lane;
mod load;
mod options;
mod own;
mod plot;
mod record;
mod report;
mod schedule;
mod session_batch;
mod unary;
mod worker;

pub(crate) use options::BenchVerb;

use load::{Plan, Workload};
use options::LoadArgs;
use schedule::Stop;

pub(super) async fn run(verb: BenchVerb) -> Result<Exit, Failure> {
    if let BenchVerb::Compare(args) = verb {
        return Box::pin(compare::run(args)).await;
    }
    let Some((workload, load)) = verb.workload() else {
        return Err(Failure::internal("this workload is not known"));
    };
    let connections = if matches!(workload, Workload::Sessions { .. }) {
        load.connections
    } else {
        load.connections.min(load.callers)
    };
    options::check(&workload, load, connections)?;
    let stop = Stop::default();
    if !load.start {
        return until_signalled(&stop, measure(workload, load, connections, None, &stop)).await;
    }
    let mut nodes = Nodes::prepare(own::NODES, own::place(None))?;
    let ended = until_signalled(&stop, async {
        own::start(&mut nodes).await?;
        measure(workload, load, connections, Some(&nodes), &stop).await
    })
    .await;
    nodes.end().await;
    ended
}

/// One run, reported.
async fn measure(
    workload: Workload,
    load: &LoadArgs,
    connections: usize,
    nodes: Option<&Nodes>,
    stop: &Stop,
) -> Result<Exit, Failure> {
    let mut options = load.client.options();
    let mut leader_pid = None;
    if let Some(nodes) = nodes {
        options.endpoints = nodes.endpoints();
        leader_pid = own::leader_pid(nodes).await?;
    }
    options.validate()?;
    let addresses = connection::addresses(&options, load.target).await?;
    let plan = Plan {
        ttl: load.ttl(&workload),
        workload,
        callers: load.callers,
        held: load.held,
        held_for: load.held_for,
        connections,
        addresses,
        unary: load.unary,
        namespace: load.client.namespace.clone(),
        warm_up: load.warm_up,
        length: load.seconds,
        bound: load.client.reach.timeout,
        leader_pid,
    };
    let outcome = load::run(&plan, stop).await?;
    if stop.is_asked() {
        return Ok(Exit::Ok);
    }
    report::print(&plan, &outcome, load.output.output)?;
    if let Some(path) = &load.svg {
        report::plot(&plan, &outcome.record).write(path)?;
        note(&format!("leasehold: drawn into {}", path.display()));
    }
    if outcome.record.work() == 0 {
        return Err(Failure::new(Exit::Unavailable, "unavailable: nothing was done in the measured time"));
    }
    Ok(Exit::Ok)
}

/// The first signal lets the work end early and clean up after itself; the second one drops it.
async fn until_signalled(stop: &Stop, work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let mut work = Box::pin(work);
    let first = tokio::select! {
        ended = &mut work => return ended,
        signal = signals.next() => signal,
    };
    note("leasehold: ending early; once more ends at once");
    stop.ask();
    let code = Exit::Of(signals::exit_code(first));
    tokio::select! {
        ended = &mut work => {
            if let Err(failure) = ended {
                note(&format!("leasehold: {}", failure.message));
            }
            Ok(code)
        }
        _ = signals.next() => Ok(code),
    }
}
