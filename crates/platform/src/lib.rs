//! What nodes and clients have from outside beside clocks and disks: randomness and connections.
//!
//! In a process of its own these are the operating system's. A simulation runs many nodes and clients on one thread, and brings a
//! seeded source of randomness and a network of its own; this crate is where it does.

pub mod net;
pub mod random;
pub mod simulation;
