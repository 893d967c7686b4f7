//! `leasehold lock NAME… -- CMD`: run a command while holding locks.

use std::ffi::OsString;
use std::time::Duration;

use leasehold_client::{Client, Error, LockSetBuilder, LockSpec, MultiGuard, SessionId, TryAcquire, Wait};

use super::acquisition::in_the_way;
use super::locks::{held_text, why_text};
use super::signals::{self, Signals};
use super::{SETTLE_MAX, because};
use crate::cli::{ClientArgs, SelfArgs, TakeArgs};
use crate::exit::{Exit, Failure};
use crate::output::{note, printable};

mod environment;
mod supervise;
mod terminal;

use supervise::{Ending, Subject, supervise};

/// Why a cluster refuses what only a higher format level knows.
const LEVEL_TOO_LOW: &str = "LEVEL_TOO_LOW";

#[derive(Debug, clap::Args)]
pub(crate) struct LockArgs {
    /// The lock; or several, all or nothing
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    take: TakeArgs,
    #[command(flatten)]
    client: ClientArgs,
    /// The command and its arguments; no shell is involved
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// Locks to be taken, and the command to be run under them.
pub(super) struct Campaign {
    /// What is held, in words.
    pub(super) title: String,
    pub(super) locks: Vec<LockSpec>,
    pub(super) wait: Wait,
    pub(super) ttl: Duration,
    /// Somebody else's, instead of one of our own.
    pub(super) session: Option<SessionId>,
    pub(super) actor: Option<String>,
    pub(super) lock_delay: Option<Duration>,
    pub(super) who: SelfArgs,
    pub(super) client: ClientArgs,
    pub(super) command: Vec<OsString>,
}

pub(super) async fn run(args: LockArgs) -> Result<Exit, Failure> {
    let LockArgs { names, take, client, command } = args;
    let campaign = Campaign {
        title: names.join(", "),
        locks: take.specs(&names),
        wait: take.wait.wait(),
        ttl: take.ttl(),
        session: take.session,
        actor: take.actor,
        lock_delay: take.lock_delay,
        who: take.who,
        client,
        command,
    };
    run_under(campaign).await
}

/// Takes the locks, runs the command, and gives them back.
pub(super) async fn run_under(mut campaign: Campaign) -> Result<Exit, Failure> {
    campaign.title = printable(&campaign.title);
    // Before anything else: from here on no signal ends this process behind the lock's back.
    let mut signals = Signals::listen()?;
    let mut options = campaign.client.options();
    options.session_ttl = campaign.ttl;
    if let Some(owner) = &campaign.who.owner {
        options.owner.clone_from(owner);
    }
    let client = tokio::select! {
        client = Client::connect(options) => client?,
        signal = signals.next() => return Ok(Exit::Of(signals::exit_code(signal))),
    };
    let exit = tokio::select! {
        taken = take(&client, &mut campaign) => Ok(taken),
        // The wait is given up with its future.
        signal = signals.next() => Err(signal),
    };
    let exit = match exit {
        Ok(Ok(Some(guard))) => hold(&campaign, guard, &mut signals).await,
        Ok(Ok(None)) => Ok(Exit::NotAcquired),
        Ok(Err(error)) => Err(error.into()),
        Err(signal) => Ok(Exit::Of(signals::exit_code(signal))),
    };
    // The queue, and whoever is next, should know before we go.
    client.shutdown(SETTLE_MAX).await;
    exit
}

/// The locks; `None` if somebody else has one.
async fn take(client: &Client, campaign: &mut Campaign) -> Result<Option<MultiGuard>, Error> {
    let locks = campaign.locks.clone();
    if let Some(id) = campaign.session {
        let session = client.attach_session(id).await?;
        campaign.ttl = session.ttl();
        let asking = session.locks(locks);
        let asking = match &campaign.actor {
            Some(actor) => asking.actor(actor.as_str()),
            None => asking,
        };
        return ask(client, campaign, asking).await;
    }
    match ask(client, campaign, client.locks(locks.clone())).await {
        // The cluster is being upgraded: it has no sessions yet, but what it had before is enough for most.
        Err(Error::Refused { reason, .. }) if reason == LEVEL_TOO_LOW => {
            ask(client, campaign, client.locks(locks).own_lease().ttl(campaign.ttl)).await
        }
        taken => taken,
    }
}

/// Asks as the command line says.
async fn ask<L>(
    client: &Client,
    campaign: &Campaign,
    mut asking: LockSetBuilder<L>,
) -> Result<Option<MultiGuard>, Error> {
    if let Some(owner) = &campaign.who.owner {
        asking = asking.owner(owner);
    }
    if let Some(metadata) = &campaign.who.metadata {
        asking = asking.metadata(metadata);
    }
    if let Some(value) = &campaign.who.value {
        asking = asking.value(value.as_bytes());
    }
    if let Some(delay) = campaign.lock_delay {
        asking = asking.lock_delay(delay);
    }
    match campaign.wait {
        Wait::Try => match asking.try_acquire().await? {
            TryAcquire::Acquired(guard) => Ok(Some(guard)),
            TryAcquire::Held(held) => {
                note(&format!("leasehold: {}", held_text(&held)));
                Ok(None)
            }
        },
        Wait::For(span) => {
            let guard = asking.acquire_timeout(span).await?;
            if guard.is_none() {
                let names: Vec<String> = campaign.locks.iter().map(|lock| lock.name.clone()).collect();
                let held = in_the_way(client, &names).await;
                note(&format!("leasehold: not acquired within {}: {}", crate::output::span(span), held_text(&held)));
            }
            Ok(guard)
        }
        Wait::Forever => asking.acquire().await.map(Some),
    }
}

/// Runs the command under the locks, then releases them.
async fn hold(campaign: &Campaign, guard: MultiGuard, signals: &mut Signals) -> Result<Exit, Failure> {
    let environment = environment::of(&guard, &campaign.client);
    let subject = Subject { title: &campaign.title, guard: &guard, ttl: campaign.ttl };
    let ending = supervise(&campaign.command, &environment, &subject, signals).await?;
    match ending {
        Ending::Lost(why) => {
            note(&format!("leasehold: {} was lost: {why}", campaign.title));
            Ok(Exit::Lost)
        }
        Ending::Exited(code) => {
            // What the command did last was done while the locks were still held, or it was not.
            if let Some(loss) = guard.loss() {
                note(&format!("leasehold: {} was lost: {}", campaign.title, why_text(&loss)));
                return Ok(Exit::Lost);
            }
            let held = release(&campaign.title, guard).await;
            Ok(if held { Exit::Of(code) } else { Exit::Lost })
        }
    }
}

/// Says whether all were held until now; that it cannot be known is told, and is not a loss.
async fn release(title: &str, guard: MultiGuard) -> bool {
    match guard.release().await {
        Ok(locks) => {
            let lost = locks.iter().filter(|lock| !lock.released);
            let held = lost.clone().count() == 0;
            for lock in lost {
                let (name, why) = (printable(&lock.name), because(lock.reason));
                note(&format!("leasehold: {name} was lost before it was released{why}"));
            }
            held
        }
        Err(error) => {
            note(&format!("leasehold: {title} was not released, it runs out by itself: {error}"));
            true
        }
    }
}
