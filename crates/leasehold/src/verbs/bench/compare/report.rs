//! What a comparison came to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::plot::{Line, Plot};
use super::super::record::{Measure, Record};
use super::super::report::{LatencyJson, latencies, percentiles, rounded};
use super::ratios::{Spread, ratios};
use super::{CompareArgs, Contender};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format, note};

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct CompareJson<'a> {
    workload: &'a str,
    unit: &'a str,
    callers: usize,
    rounds: usize,
    seconds: f64,
    /// Leasehold's throughput over that of each peer.
    ratios: BTreeMap<&'a str, Option<Spread>>,
    systems: BTreeMap<&'a str, SystemJson<'a>>,
}

#[derive(Debug, Serialize)]
struct SystemJson<'a> {
    version: &'a str,
    durability: &'a str,
    operations: &'a str,
    connections: usize,
    trials: Vec<TrialJson>,
    throughput_per_s: Option<Spread>,
    rounds_per_s: Vec<f64>,
    /// Of all rounds together.
    latency_ms: BTreeMap<&'a str, LatencyJson>,
    error_count: u64,
    errors: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
struct TrialJson {
    connections: usize,
    throughput_per_s: f64,
}

/// The throughput of each round.
fn rates(contender: &Contender) -> Vec<f64> {
    contender.rounds.iter().map(|record| rounded(record.throughput())).collect()
}

/// All rounds of a system together.
fn merged(contender: &Contender) -> Record {
    let mut all = Record::default();
    contender.rounds.iter().for_each(|record| all.merge(record));
    all
}

impl<'a> SystemJson<'a> {
    fn of(contender: &'a Contender, all: &Record) -> Self {
        let trial = |(connections, rate): &(usize, f64)| TrialJson {
            connections: *connections,
            throughput_per_s: rounded(*rate),
        };
        Self {
            version: &contender.about.version,
            durability: contender.about.durability,
            operations: contender.about.operations,
            connections: contender.connections,
            trials: contender.trials.iter().map(trial).collect(),
            throughput_per_s: Spread::of(rates(contender)),
            rounds_per_s: rates(contender),
            latency_ms: latencies(all),
            error_count: all.errors().values().sum(),
            errors: all.errors().clone(),
        }
    }
}

/// Prints, and draws.
pub(super) fn print(args: &CompareArgs, contenders: &[Contender]) -> Result<(), Failure> {
    let Some((leasehold, peers)) = contenders.split_first() else {
        return Err(Failure::internal("there is nothing to compare"));
    };
    let ours = rates(leasehold);
    let ratios: BTreeMap<_, _> = peers.iter().map(|peer| (peer.about.name, ratios(&ours, &rates(peer)))).collect();
    let all: Vec<Record> = contenders.iter().map(merged).collect();
    let workload = super::Job {
        work: args.workload,
        callers: args.callers,
        connections: 1,
        locks: args.locks,
        ttl: args.ttl,
        warm_up: args.warm_up,
        length: args.seconds,
        target: args.target,
    }
    .workload();
    match args.output.output {
        Format::Json => {
            let systems = contenders.iter().zip(&all);
            output::json(&CompareJson {
                workload: workload.name(),
                unit: workload.unit(),
                callers: args.callers,
                rounds: args.rounds,
                seconds: args.seconds.as_secs_f64(),
                ratios,
                systems: systems.map(|(one, all)| (one.about.name, SystemJson::of(one, all))).collect(),
            })?;
        }
        Format::Table => table(contenders, &all, &ratios, workload.unit()),
    }
    for (contender, all) in contenders.iter().zip(&all) {
        for (what, count) in all.errors() {
            note(&format!("leasehold: error of {}: {what}, {count} times", contender.about.name));
        }
    }
    if let Some(path) = &args.svg {
        plot(args, contenders, &all, workload.name(), workload.unit()).write(path)?;
        note(&format!("leasehold: drawn into {}", path.display()));
    }
    if let Some((idle, _)) = contenders.iter().zip(&all).find(|(_, all)| all.work() == 0) {
        let message = format!("unavailable: {} did nothing in the measured time", idle.about.name);
        return Err(Failure::new(Exit::Unavailable, message));
    }
    Ok(())
}

fn table(contenders: &[Contender], all: &[Record], ratios: &BTreeMap<&str, Option<Spread>>, unit: &str) {
    let text = |spread: Option<Spread>, digits: usize| {
        spread.map_or_else(String::new, |Spread { median, min, max }| {
            format!("{median:.digits$} ({min:.digits$} to {max:.digits$})")
        })
    };
    let row = |(contender, all): (&Contender, &Record)| {
        let main = [Measure::Held, Measure::Acquire].into_iter().find_map(|measure| all.latencies().get(&measure));
        let at = |quantile: f64| {
            main.map_or_else(String::new, |histogram| {
                #[expect(clippy::cast_precision_loss, reason = "latencies are bounded far below 2^53")]
                let millis = histogram.value_at_quantile(quantile) as f64 / 1_000.0;
                format!("{millis:.3}")
            })
        };
        let ratio = ratios.get(contender.about.name).copied().flatten();
        [
            contender.about.name.to_owned(),
            contender.connections.to_string(),
            text(Spread::of(rates(contender)), 0),
            text(ratio, 2),
            at(0.5),
            at(0.99),
            all.errors().values().sum::<u64>().to_string(),
        ]
    };
    let rate = format!("{}/S", unit.to_uppercase());
    output::table(
        ["SYSTEM", "CONNECTIONS", &rate, "LEASEHOLD IS TIMES", "P50 (ms)", "P99 (ms)", "ERRORS"],
        contenders.iter().zip(all).map(row),
    );
    for contender in contenders {
        let about = &contender.about;
        note(&format!("leasehold: {} {}: {}; {}", about.name, about.version, about.durability, about.operations));
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are few rounds")]
fn plot(args: &CompareArgs, contenders: &[Contender], all: &[Record], workload: &str, unit: &str) -> Plot {
    let by_round = |contender: &Contender| Line {
        name: contender.about.name.to_owned(),
        points: rates(contender).into_iter().enumerate().map(|(round, rate)| (round as f64, rate)).collect(),
    };
    let latencies = contenders.iter().zip(all).flat_map(|(contender, all)| {
        let line = |(measure, histogram): (&Measure, _)| {
            percentiles(&format!("{} {}", contender.about.name, measure.name()), histogram)
        };
        all.latencies().iter().map(line).collect::<Vec<_>>()
    });
    Plot {
        title: format!("leasehold bench compare: {workload}, {} callers", args.callers),
        over: "rounds".to_owned(),
        unit: format!("{unit}/s"),
        throughput: contenders.iter().map(by_round).collect(),
        latencies: latencies.collect(),
    }
}
