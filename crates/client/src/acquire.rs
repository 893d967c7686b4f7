//! Acquiring: ask until there is an answer that can be counted on.

use std::sync::Arc;
use std::time::Duration;

use leasehold_proto::v1;

use crate::ask::{Ask, Asked};
use crate::clock::Moment;
use crate::error::Error;
use crate::inner::Inner;
use crate::request::{AcquireSpec, FateSender, LeaseSpec, Request};
use crate::types::{Acquired, Deadlock, HeldInfo};

/// How long to ask for a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: "held" is an answer.
    Try,
    /// In the lock's queue, at most so long.
    For(Duration),
    /// In the lock's queue, until granted.
    Forever,
}

/// What an acquire came to.
#[derive(Debug)]
pub(crate) enum Obtained {
    Acquired(Acquired),
    Held(HeldInfo),
    TimedOut,
    Deadlock(Deadlock),
    /// A convert: the grant that was to be converted, or the one that replaced it, has ended.
    Ended(v1::LossReason),
}

/// When a caller gives up, counted from now.
pub(crate) fn give_up_at(inner: &Inner, wait: Wait) -> Option<Moment> {
    match wait {
        Wait::For(span) => Some(inner.clock.now().after(span)),
        Wait::Try | Wait::Forever => None,
    }
}

/// Acquires `spec`, asking again under a new id where a grant has ended before it could be used. `fate` hears what becomes
/// of a convert whose future is dropped.
pub(crate) async fn obtain(
    inner: &Arc<Inner>,
    spec: &AcquireSpec,
    wait: Wait,
    give_up: Option<Moment>,
    fate: Option<&FateSender>,
) -> Result<Obtained, Error> {
    let mut ask = Ask::new(inner, spec, wait, give_up);
    loop {
        let mut request = Request::new(inner, fate.cloned())?;
        let asked = match ask.until_answered(&mut request).await {
            Ok(asked) => asked,
            Err(error) => {
                // Where nothing can have happened there is nothing to cancel.
                if !ask.is_in_doubt() {
                    request.settle();
                }
                return Err(error);
            }
        };
        let obtained = match asked {
            Asked::Granted(granted) => {
                let obtained = ask.confirmed(&request, &granted).await?;
                request.settle();
                obtained
            }
            Asked::GiveUp => return ask.given_up(request).await,
            Asked::Answered(obtained) => {
                request.settle();
                obtained
            }
        };
        match obtained {
            // It had been granted, and that grant has ended: a new id asks for a new one.
            Obtained::Ended(_) if !matches!(spec.lease, LeaseSpec::Convert(_)) => {}
            obtained => return Ok(obtained),
        }
    }
}
