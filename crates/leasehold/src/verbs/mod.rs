//! The client verbs: each connects, does one thing, prints it, and says how to exit.

use std::time::Duration;

use leasehold_client::{Client, LossReason, Mode, Role, Wait};

use crate::cli::{ClusterVerb, DebugVerb, TakeArgs, Verb};
use crate::exit::{Exit, Failure};

mod acquire;
mod cluster;
mod debug;
mod demo;
mod get;
mod lock;
mod locks;
mod ls;
mod release;
mod renew;
mod signals;

pub(crate) async fn run(verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Acquire(args) => acquire::run(args).await,
        Verb::Renew(args) => renew::run(args).await,
        Verb::Release(args) => release::run(args).await,
        Verb::Get(args) => get::run(args).await,
        Verb::Ls(args) => ls::run(args).await,
        Verb::Lock(args) => lock::run(args).await,
        Verb::Cluster(ClusterVerb::Status(args)) => cluster::status(args).await,
        Verb::Demo(args) => demo::run(args).await,
        Verb::Debug(DebugVerb::Log(args)) => debug::log(&args),
        Verb::Serve(_) | Verb::Dev(_) | Verb::Reaper(_) => Err(Failure::internal("this is started elsewhere")),
    }
}

impl TakeArgs {
    fn wait(&self) -> Wait {
        match (self.try_once, self.wait) {
            (true, _) => Wait::Try,
            (false, Some(span)) => Wait::For(span),
            (false, None) => Wait::Forever,
        }
    }

    fn builder(&self, client: &Client, name: &str) -> leasehold_client::LockBuilder {
        let builder = client.lock(name).ttl(self.ttl);
        match &self.owner {
            Some(owner) => builder.owner(owner),
            None => builder,
        }
    }
}

/// The only name; several locks in one request come with a later version.
fn only_name(names: &[String]) -> Result<&str, Failure> {
    match names {
        [name] => Ok(name),
        _ => Err(Failure::usage("several locks come later; name one")),
    }
}

fn whole_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn reason_name(reason: LossReason) -> Option<String> {
    (reason != LossReason::Unspecified).then(|| short_name(reason.as_str_name(), "LOSS_REASON_"))
}

fn mode_name(mode: Mode) -> String {
    short_name(mode.as_str_name(), "MODE_")
}

fn role_name(role: Role) -> String {
    short_name(role.as_str_name(), "ROLE_")
}

fn short_name(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase()
}
