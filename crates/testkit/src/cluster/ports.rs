//! Ports for nodes that are started and started again.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};
use rand::Rng;

/// Below what Linux gives to outgoing connections: while a node is down nobody gets its port by chance.
const RANGE: std::ops::Range<u16> = 12_000..32_000;
const TRIES_MAX: usize = 1_000;

static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port of loopback that nobody listens on, and that this process has not given out before.
pub fn free_port() -> Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    for _ in 0..TRIES_MAX {
        let port = rand::rng().random_range(RANGE);
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("no free port among {RANGE:?} after {TRIES_MAX} tries")
}
