//! `leasehold lock NAME -- CMD`: run a command while holding a lock.

use std::time::Duration;

use leasehold_client::{Client, Error, Guard, TryAcquire, Wait};

use super::locks::held_text;
use super::only_name;
use super::signals::{self, Signals};
use crate::cli::LockArgs;
use crate::exit::{Exit, Failure};
use crate::output::note;

mod supervise;
mod terminal;

use supervise::{Ending, supervise};

/// How long cancels and releases are waited for before the process ends.
const SETTLE_MAX: Duration = Duration::from_secs(2);

pub(super) async fn run(args: LockArgs) -> Result<Exit, Failure> {
    let name = only_name(&args.names)?;
    // Before anything else: from here on no signal ends this process behind the lock's back.
    let mut signals = Signals::listen()?;
    let client = tokio::select! {
        client = Client::connect(args.client.options()) => client?,
        signal = signals.next() => return Ok(Exit::Of(signals::exit_code(signal))),
    };
    let taken = tokio::select! {
        taken = take(&client, &args, name) => Some(taken),
        signal = signals.next() => {
            // The wait was given up with its future; the queue should know before we go.
            client.settle(SETTLE_MAX).await;
            return Ok(Exit::Of(signals::exit_code(signal)));
        }
    };
    let guard = match taken {
        Some(Ok(Some(guard))) => guard,
        Some(Ok(None)) | None => return Ok(Exit::NotAcquired),
        Some(Err(error)) => {
            client.settle(SETTLE_MAX).await;
            return Err(error.into());
        }
    };
    let exit = hold(&args, guard, &mut signals).await;
    client.settle(SETTLE_MAX).await;
    exit
}

/// The lock; `None` if somebody else has it.
async fn take(client: &Client, args: &LockArgs, name: &str) -> Result<Option<Guard>, Error> {
    let builder = args.take.builder(client, name);
    match args.take.wait() {
        Wait::Try => match builder.try_acquire().await? {
            TryAcquire::Acquired(guard) => Ok(Some(guard)),
            TryAcquire::Held(held) => {
                note(&format!("leasehold: {}", held_text(name, held.holders.first(), held.waiters)));
                Ok(None)
            }
        },
        Wait::For(span) => {
            let guard = builder.acquire_timeout(span).await?;
            if guard.is_none() {
                note(&format!("leasehold: {name} was not acquired within {}", crate::output::span(span)));
            }
            Ok(guard)
        }
        Wait::Forever => builder.acquire().await.map(Some),
    }
}

/// Runs the command under the lock, then releases it.
async fn hold(args: &LockArgs, guard: Guard, signals: &mut Signals) -> Result<Exit, Failure> {
    let ending = supervise(&args.command, &guard, args.take.ttl, signals).await?;
    match ending {
        Ending::Lost(why) => {
            note(&format!("leasehold: {} was lost: {why}", guard.name()));
            Ok(Exit::Lost)
        }
        Ending::Exited(code) => {
            // What the command did last was done while the lock was still held, or it was not.
            if guard.is_held() && release(guard).await { Ok(Exit::Of(code)) } else { Ok(Exit::Lost) }
        }
    }
}

/// Says whether the lock was held until now; that it cannot be known is told, and is not a loss.
async fn release(guard: Guard) -> bool {
    let name = guard.name().to_owned();
    match guard.release().await {
        Ok(answer) if answer.released => true,
        Ok(_) => {
            note(&format!("leasehold: {name} was lost before it was released"));
            false
        }
        Err(error) => {
            note(&format!("leasehold: {name} was not released, it runs out by itself: {error}"));
            true
        }
    }
}
