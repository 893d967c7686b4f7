//! Faults of the processes themselves.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use rand::Rng;
use rand::rngs::StdRng;
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::arena::Arena;
use super::super::fault::Fault;
use super::super::node::ending;
use super::super::shell::run;
use super::{State, Victim};
use crate::clock::Moment;

/// Of so many ticks a starved process runs in one.
const STARVED_ONE_IN: u64 = 10;
/// Connections of a flood.
const FLOOD: usize = 400;
const CONNECT_MAX: Duration = Duration::from_millis(100);
/// Files that a node may open more than it has open.
const FILES_MORE: usize = 1;
/// A node that recovers is killed again after so long, so often.
const AGAIN_MS: (u64, u64) = (5, 400);
const AGAIN_TIMES: (u32, u32) = (1, 2);

pub(super) async fn strike_node(arena: &mut Arena, fault: Fault, id: u64, random: &mut StdRng) -> Result<State> {
    match fault {
        Fault::Kill => arena.node(id).kill()?,
        Fault::KillInRecovery => {
            arena.node(id).kill()?;
            arena.start_node(id)?;
            let again = Moment::now().plus_ms(random.random_range(AGAIN_MS.0..=AGAIN_MS.1));
            return Ok(State::Recovering { again, times: random.random_range(AGAIN_TIMES.0..=AGAIN_TIMES.1) });
        }
        Fault::MonotonicOffset => {
            arena.node(id).kill()?;
            arena.draw_monotonic_offset(id, random.random());
            arena.start_node(id)?;
        }
        Fault::PauseShort | Fault::PauseLong => arena.node(id).signal(Signal::STOP)?,
        Fault::StarvedCpu => {
            arena.node(id).signal(Signal::STOP)?;
            return Ok(State::Strobe(0));
        }
        Fault::FewDescriptors => return take_descriptors(arena, id),
        Fault::ConnectionFlood => {
            return Ok(State::Flood { _idle: flood(&arena.node(id).place.client_address()).await });
        }
        _ => {}
    }
    Ok(State::Plain)
}

pub(super) fn strike_client(arena: &mut Arena, fault: Fault, number: u32) -> Result<State> {
    let client = arena.client(number);
    match fault {
        Fault::Kill => client.kill()?,
        Fault::PauseShort | Fault::PauseLong => client.signal(Signal::STOP)?,
        Fault::StarvedCpu => {
            client.signal(Signal::STOP)?;
            return Ok(State::Strobe(0));
        }
        _ => {}
    }
    Ok(State::Plain)
}

/// Runs in one tick, stands still in the others.
pub(super) fn starve(arena: &mut Arena, victim: Victim, ticks: u64) -> Result<()> {
    let signal = match ticks % STARVED_ONE_IN {
        0 => Signal::CONT,
        1 => Signal::STOP,
        _ => return Ok(()),
    };
    match victim {
        Victim::Node(id) => arena.node(id).signal(signal),
        Victim::Client(number) => arena.client(number).signal(signal),
        Victim::AllNodes => Ok(()),
    }
}

/// Runs again, whatever was done to its process.
pub(super) fn revive_node(arena: &mut Arena, id: u64, notes: &mut Vec<String>) -> Result<()> {
    arena.node(id).signal(Signal::CONT)?;
    if let Some(status) = arena.node(id).ended()? {
        notes.push(format!("it had ended: {}", ending(status)));
    }
    if !arena.node(id).runs() {
        arena.start_node(id)?;
    }
    Ok(())
}

pub(super) fn revive_client(arena: &mut Arena, number: u32) -> Result<()> {
    let client = arena.client(number);
    client.signal(Signal::CONT)?;
    if client.pid().is_none() {
        client.start()?;
    }
    Ok(())
}

fn take_descriptors(arena: &mut Arena, id: u64) -> Result<State> {
    let Some(pid) = arena.node(id).pid() else { return Ok(State::Plain) };
    let open = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let before = files.split_whitespace().nth(3).unwrap_or("1024").to_owned();
    run(&["prlimit", "--pid", &pid.to_string(), &format!("--nofile={}:", open + FILES_MORE)])?;
    Ok(State::Descriptors(before))
}

pub(super) fn give_descriptors(arena: &mut Arena, id: u64, before: &str) -> Result<()> {
    match arena.node(id).pid() {
        Some(pid) => run(&["prlimit", "--pid", &pid.to_string(), &format!("--nofile={before}:")]).map(drop),
        None => Ok(()),
    }
}

async fn flood(address: &str) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..FLOOD {
        match timeout(CONNECT_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => streams.push(stream),
            // It takes no more.
            _ => break,
        }
    }
    streams
}
