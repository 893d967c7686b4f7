//! The client verbs: each connects, does one thing, prints it, and says how to exit.

use std::time::Duration;

use leasehold_client::{EventType, LossReason, Mode, Role};

use crate::cli::{ClusterVerb, DebugVerb, SessionVerb, Verb};
use crate::exit::{Exit, Failure};

mod acquire;
mod acquisition;
mod bench;
mod check;
mod cluster;
mod convert;
mod debug;
mod demo;
mod elect;
mod force_release;
mod get;
mod lock;
mod locks;
mod ls;
mod manual;
mod nodes;
mod observe;
mod release;
mod renew;
mod session;
mod set_value;
mod signals;
mod watch;

pub(crate) use acquire::AcquireArgs;
pub(crate) use bench::BenchVerb;
pub(crate) use check::CheckArgs;
pub(crate) use cluster::{RaiseLevelArgs, StatusArgs};
pub(crate) use convert::ConvertArgs;
pub(crate) use debug::DebugLogArgs;
pub(crate) use demo::DemoArgs;
pub(crate) use elect::ElectArgs;
pub(crate) use force_release::ForceReleaseArgs;
pub(crate) use get::GetArgs;
pub(crate) use lock::LockArgs;
pub(crate) use ls::LsArgs;
pub(crate) use manual::{CompletionsArgs, ManArgs};
pub(crate) use observe::ObserveArgs;
pub(crate) use release::ReleaseArgs;
pub(crate) use renew::RenewArgs;
pub(crate) use session::{KeepAliveArgs, SessionArgs, SessionLsArgs, SessionOpenArgs};
pub(crate) use set_value::SetValueArgs;
pub(crate) use watch::WatchArgs;

/// How long cancels and releases are waited for before the process ends.
const SETTLE_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn run(verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Acquire(args) => acquire::run(args).await,
        Verb::Convert(args) => convert::run(args).await,
        Verb::Renew(args) => renew::run(args).await,
        Verb::Release(args) => release::run(args).await,
        Verb::ForceRelease(args) => force_release::run(args).await,
        Verb::Get(args) => get::run(args).await,
        Verb::Ls(args) => ls::run(args).await,
        Verb::Check(args) => check::run(args).await,
        Verb::SetValue(args) => set_value::run(args).await,
        Verb::Watch(args) => watch::run(args).await,
        Verb::Lock(args) => lock::run(args).await,
        Verb::Elect(args) => elect::run(args).await,
        Verb::Observe(args) => observe::run(args).await,
        Verb::Session(SessionVerb::Open(args)) => session::open(args).await,
        Verb::Session(SessionVerb::KeepAlive(args)) => session::keep_alive(args).await,
        Verb::Session(SessionVerb::Close(args)) => session::close(args).await,
        Verb::Session(SessionVerb::Ls(args)) => session::ls(args).await,
        Verb::Session(SessionVerb::Get(args)) => session::get(args).await,
        Verb::Cluster(ClusterVerb::Status(args)) => cluster::status(args).await,
        Verb::Cluster(ClusterVerb::RaiseLevel(args)) => cluster::raise_level(args).await,
        Verb::Demo(args) => demo::run(args).await,
        Verb::Bench(verb) => bench::run(verb).await,
        Verb::Debug(DebugVerb::Log(args)) => debug::log(&args),
        Verb::Completions(args) => manual::completions(&args),
        Verb::Man(args) => manual::man(&args),
        Verb::Serve(_) | Verb::Dev(_) | Verb::Reaper(_) | Verb::Launch(_) => {
            Err(Failure::internal("this is started elsewhere"))
        }
    }
}

fn whole_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Absent where it says nothing.
fn some_text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn reason_name(reason: LossReason) -> Option<String> {
    (reason != LossReason::Unspecified).then(|| short_name(reason.as_str_name(), "LOSS_REASON_"))
}

/// `: lease closed`, for a sentence; nothing where it is not remembered.
fn because(reason: Option<LossReason>) -> String {
    let reason = reason.and_then(reason_name);
    reason.map_or(String::new(), |reason| format!(": {}", reason.replace('_', " ")))
}

fn mode_name(mode: Mode) -> String {
    short_name(mode.as_str_name(), "MODE_")
}

fn role_name(role: Role) -> String {
    short_name(role.as_str_name(), "ROLE_")
}

fn event_name(event: EventType) -> String {
    short_name(event.as_str_name(), "EVENT_TYPE_")
}

fn short_name(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase()
}
