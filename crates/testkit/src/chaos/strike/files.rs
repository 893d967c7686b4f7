//! Faults of what lies on disk.

use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tokio::time::timeout;

use super::super::arena::Arena;
use super::super::fault::Fault;
use super::super::node::{copy_folder, empty_folder, ending, flush};
use super::{State, Victim};
use crate::damage::{Damage, Part};
use crate::disk::Disk;
use crate::failpoints::Failpoints;

/// A node that answers does so within this.
const ANSWER_MAX: Duration = Duration::from_millis(100);
/// What a slow fsync takes longer.
const SLOW: &str = "delay(250ms)";

/// A node was started with data that it must refuse, or recover from.
#[derive(Debug)]
pub(super) struct Refusal {
    node: u64,
    what: String,
    /// Its own data, as they were.
    aside: PathBuf,
    /// It must be refused; otherwise it may also recover.
    must: bool,
    /// How it ended.
    ended: Option<ExitStatus>,
    /// It answers: it took the data.
    up: bool,
}

impl Refusal {
    pub(super) fn provoke(arena: &mut Arena, fault: Fault, id: u64, random: &mut StdRng) -> Result<Self> {
        arena.node(id).kill()?;
        let data = arena.node(id).place.data_dir.clone();
        let aside = arena.node(id).aside("aside");
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        copy_folder(&data, &aside)?;
        let mut refusal = Self { node: id, what: fault.to_string(), aside, must: true, ended: None, up: false };
        match fault {
            Fault::Wiped => empty_folder(&data)?,
            Fault::Swapped => {
                let others: Vec<u64> = (1..=arena.nodes.len() as u64).filter(|other| *other != id).collect();
                let other = *others.choose(random).context("there are other nodes")?;
                empty_folder(&data)?;
                // The other one runs on, so this copy may be torn; whose it is stands in it all the same.
                copy_folder(&arena.node(other).place.data_dir.clone(), &data)?;
                refusal.what = format!("the folder of node {other}");
            }
            _ => {
                let parts: Vec<Part> = Part::ALL.into_iter().filter(|part| part.file(&data).is_some()).collect();
                let part = *parts.choose(random).context("there is something to damage")?;
                let damage = *Damage::ALL.choose(random).context("there are kinds of damage")?;
                // A file that is empty still cannot be damaged.
                match damage.inflict(&data, part, random.random()) {
                    Ok(file) => refusal.what = format!("{damage:?} in {}", file.strip_prefix(&data)?.display()),
                    Err(error) => refusal.what = format!("nothing to damage: {error:#}"),
                }
                refusal.must = false;
            }
        }
        flush(&data)?;
        arena.start_node(id)?;
        Ok(refusal)
    }

    pub(super) async fn tick(&mut self, arena: &mut Arena) -> Result<()> {
        if self.ended.is_none() {
            self.ended = arena.node(self.node).ended()?;
        }
        if !self.must && !self.is_decided() {
            // A busy machine takes long to look at a log: only what answers has taken it.
            let (target, place) = (arena.target.clone(), arena.node(self.node).place.clone());
            self.up = timeout(ANSWER_MAX, target.leader(&place)).await.is_ok_and(|word| word.is_some());
        }
        Ok(())
    }

    pub(super) fn is_decided(&self) -> bool {
        self.ended.is_some() || self.up
    }

    /// Gives the node its own data back, unless it has recovered.
    pub(super) async fn heal(
        mut self,
        arena: &mut Arena,
        notes: &mut Vec<String>,
        bad: &mut Vec<String>,
    ) -> Result<()> {
        self.tick(arena).await?;
        let (target, node) = (arena.target.clone(), arena.node(self.node));
        let words = node.words()?;
        match self.ended {
            Some(status) if target.has_refused(status, &words) => {
                notes.push(format!("{}: refused, {}", self.what, ending(status)));
            }
            Some(status) => {
                bad.push(format!("node {}: {}: {}:\n{words}", self.node, self.what, ending(status)));
            }
            None if self.must => bad.push(format!("node {}: {}: it was not refused", self.node, self.what)),
            None if self.up => {
                notes.push(format!("{}: it recovered", self.what));
                return Ok(());
            }
            None => notes.push(format!("{}: neither refused nor up in time", self.what)),
        }
        node.kill()?;
        empty_folder(&node.place.data_dir)?;
        copy_folder(&self.aside, &node.place.data_dir)?;
        flush(&node.place.data_dir)?;
        fs::remove_dir_all(&self.aside)?;
        Ok(())
    }
}

fn disk(arena: &mut Arena, id: u64) -> Result<&mut Disk> {
    let at = usize::try_from(id - 1)?;
    arena.disks.get_mut(at).with_context(|| format!("node {id} has no disk of its own"))
}

/// From here on nothing reaches the disks; the processes die of it, or by us.
pub(super) fn cut_power(arena: &mut Arena, victim: Victim) -> Result<State> {
    for id in nodes(arena, victim) {
        disk(arena, id)?.cut()?;
        arena.node(id).kill()?;
    }
    Ok(State::Plain)
}

/// The disks are there again, with what had been flushed.
pub(super) fn restore_power(arena: &mut Arena, victim: Victim) -> Result<()> {
    for id in nodes(arena, victim) {
        disk(arena, id)?.restore()?;
    }
    Ok(())
}

fn nodes(arena: &Arena, victim: Victim) -> Vec<u64> {
    match victim {
        Victim::Node(id) => vec![id],
        Victim::AllNodes => (1..=arena.nodes.len() as u64).collect(),
        Victim::Client(_) => Vec::new(),
    }
}

pub(super) fn fill(arena: &mut Arena, id: u64) -> Result<State> {
    disk(arena, id)?.fill(0)?;
    Ok(State::Plain)
}

pub(super) fn make_room(arena: &mut Arena, id: u64) -> Result<()> {
    disk(arena, id)?.make_room()
}

/// Whether a failpoint is where an fsync is about to happen.
fn is_sync(name: &str) -> bool {
    name.ends_with("sync::before") || name.ends_with("flush::before")
}

fn failpoints(arena: &mut Arena, id: u64) -> Failpoints {
    let place = &arena.node(id).place;
    Failpoints::at(format!("{}:{}", place.address, place.http_port))
}

pub(super) async fn fsync(
    arena: &mut Arena,
    fault: Fault,
    id: u64,
    random: &mut StdRng,
    notes: &mut Vec<String>,
) -> Result<State> {
    let points = failpoints(arena, id);
    // A node that is busy dying answers nothing.
    let Ok(all) = points.list().await else {
        notes.push("the node did not answer".into());
        return Ok(State::Plain);
    };
    let syncs: Vec<&str> = all.iter().map(|point| &*point.name).filter(|name| is_sync(name)).collect();
    if let Some(name) = syncs.choose(random) {
        let action = if fault == Fault::FsyncFails { "error(EIO)" } else { SLOW };
        notes.push(format!("{name}={action}"));
        if let Err(error) = points.set(name, action).await {
            notes.push(format!("not taken: {error:#}"));
        }
    }
    Ok(State::Plain)
}

pub(super) async fn fsync_again(arena: &mut Arena, id: u64) {
    // A node that has died has forgotten it.
    let _ = failpoints(arena, id).clear().await;
}
