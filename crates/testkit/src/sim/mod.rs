//! Deterministic simulation of whole nodes: the real frontend, consensus and state machine, and real clients, on one thread
//! with simulated network, disks and clocks. One seed is one run, the same every time.
//!
//! What is real: everything from the client's guard to the state machine, tonic and HTTP/2, openraft, the group commit and the mark of
//! the log store, checkpoints and snapshots. What is simulated: TCP (turmoil), the files of the write-ahead log and of the checkpoint
//! ([`disk`](self)), clocks, randomness. Identity and snapshot files are real files in a temporary folder.

mod clock;
mod disk;
mod faults;
mod host;
mod links;
mod net;
mod run;
mod stage;
mod world;

pub(crate) use clock::elapsed;
pub use faults::SimFault;
pub use run::{Hit, Role, SimOptions, SimOutcome, run};
