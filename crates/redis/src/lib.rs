//! The part of Redis that lock libraries speak: frames, commands, and the small Lua programs that they send as scripts.
//!
//! This crate knows no node, no clock and no socket. It says what a command *means*: from what the keys look like
//! ([`Entry`]) it computes the reply and the one [`Effect`] that the command has. Whoever calls it carries the effect out by
//! one replicated command, and evaluates again when what it looked at has moved meanwhile. So nothing is ever half executed.

mod command;
mod effect;
mod entry;
mod keyspace;
mod operation;
mod reply;
mod request;
mod script;
mod text;

pub use command::{ClientCommand, Command, Hello, KeyCommand, ScriptCommand, parse};
pub use effect::{Effect, Evaluated, Refused};
pub use entry::{Entry, Holding};
pub use reply::{Protocol, Reply};
pub use request::{Decoder, ProtocolError, Request};
pub use script::{Script, Sha1, sha1};
