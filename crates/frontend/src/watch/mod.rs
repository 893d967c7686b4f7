//! Watches: every node tells what it applies, in order, to whoever wants to know (DESIGN section 5).
//!
//! Apply appends the events of an entry, shared, to a bounded [`Ring`] and wakes the [`Hub`]'s task; it never waits and does not
//! even know the watchers. The task tells each watcher that is concerned from where on, and each [`Watcher`] then reads from
//! the ring by itself, as fast as its client does. One that falls out of the ring is cut off.

mod filter;
mod hub;
mod interests;
mod ring;
mod watcher;

pub(crate) use self::filter::{Filter, Target};
pub(crate) use self::hub::Hub;
pub(crate) use self::watcher::Watcher;
