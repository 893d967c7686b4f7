//! Nodes that are restarted one after another, as an operator does it.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use tokio::time::timeout;

use super::super::arena::Arena;
use super::super::node::ending;

/// A node that answers does so within this.
const ANSWER_MAX: Duration = Duration::from_millis(150);
/// How long raising the level may take once all nodes run.
const RAISE_MAX: Duration = Duration::from_secs(15);

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Rolling {
    /// Nodes that have been restarted and answer.
    done: u64,
    stage: Stage,
    endings: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Next,
    Ending,
    Starting,
    Done,
}

impl Rolling {
    pub(super) async fn tick(&mut self, arena: &mut Arena, raise: bool) -> Result<()> {
        let id = self.done + 1;
        if id > arena.nodes.len() as u64 {
            self.stage = Stage::Done;
            return Ok(());
        }
        match self.stage {
            Stage::Next => {
                arena.node(id).signal(Signal::TERM)?;
                self.stage = Stage::Ending;
            }
            Stage::Ending => {
                let ended = arena.node(id).ended()?;
                if let Some(status) = ended.filter(|status| !arena.target.ended_in_order(*status)) {
                    self.endings.push(format!("node {id} did not end in an orderly way: {}", ending(status)));
                }
                if !arena.node(id).runs() {
                    if raise {
                        arena.node(id).how.level_max = None;
                    }
                    arena.start_node(id)?;
                    self.stage = Stage::Starting;
                }
            }
            Stage::Starting => {
                let (target, place) = (arena.target.clone(), arena.node(id).place.clone());
                // It is in when it knows a leader.
                if let Ok(Some((_, Some(_)))) = timeout(ANSWER_MAX, target.leader(&place)).await {
                    self.done = id;
                    self.stage = Stage::Next;
                }
            }
            Stage::Done => {}
        }
        Ok(())
    }

    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    pub(super) async fn heal(
        self,
        arena: &mut Arena,
        raise: bool,
        notes: &mut Vec<String>,
        violations: &mut Vec<String>,
    ) -> Result<()> {
        violations.extend(self.endings);
        notes.push(format!("{} restarted", self.done));
        for id in 1..=arena.nodes.len() as u64 {
            arena.node(id).how.level_max = if raise { None } else { arena.node(id).how.level_max };
        }
        if raise {
            let (places, patience) = (arena.places(), arena.machine.patience(RAISE_MAX));
            let mut result = arena.target.raise_level(&places).await;
            while result.is_err() && !patience.is_over() {
                tokio::time::sleep(ANSWER_MAX).await;
                result = arena.target.raise_level(&places).await;
            }
            match result {
                Ok(()) => notes.push("level raised".into()),
                Err(error) => {
                    violations.push(format!("the level was not raised within {:?}: {error:#}", patience.allowed()))
                }
            }
        }
        Ok(())
    }
}
