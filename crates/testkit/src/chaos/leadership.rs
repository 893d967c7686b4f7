//! Who leads, asked again and again beside everything else: a node that is stopped takes long not to answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::target::{NodePlace, Target};
use crate::clock::Moment;

const ASK_EVERY: Duration = Duration::from_millis(100);
/// What a node said longer ago does not count while another one says something.
const FRESH: Duration = Duration::from_millis(1_000);

#[derive(Debug, Clone, Copy)]
struct Word {
    at: Moment,
    term: u64,
    leader: Option<u64>,
}

/// A leader and since when it was seen to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Reign {
    /// Seen first.
    pub from: Moment,
    /// None: nobody knew one.
    pub leader: Option<u64>,
}

#[derive(Debug, Default)]
struct Seen {
    words: BTreeMap<u64, Word>,
    reigns: Vec<Reign>,
}

/// Watches who leads. Dropped, it stops.
#[derive(Debug)]
pub struct Leadership {
    seen: Arc<Mutex<Seen>>,
    _asking: JoinSet<()>,
}

impl Leadership {
    /// Begins to ask all nodes.
    #[must_use]
    pub fn watch(target: &Arc<dyn Target>, nodes: &[NodePlace]) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let mut asking = JoinSet::new();
        for node in nodes.iter().cloned() {
            let (target, seen) = (target.clone(), seen.clone());
            asking.spawn(async move {
                loop {
                    if let Some((term, leader)) = target.leader(&node).await {
                        note(&seen, node.id, Word { at: Moment::now(), term, leader });
                    }
                    sleep(ASK_EVERY).await;
                }
            });
        }
        Self { seen, _asking: asking }
    }

    /// Who leads now, as far as anybody said.
    #[must_use]
    pub fn leader(&self) -> Option<u64> {
        leader(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who led when.
    #[must_use]
    pub fn reigns(&self) -> Vec<Reign> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).reigns.clone()
    }
}

fn note(seen: &Mutex<Seen>, node: u64, word: Word) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.words.insert(node, word);
    let leader = leader(&seen);
    if seen.reigns.last().is_none_or(|last| last.leader != leader) {
        seen.reigns.push(Reign { from: word.at, leader });
    }
}

/// The one that the highest term names: a deposed leader names itself for as long as it hears of no other.
fn leader(seen: &Seen) -> Option<u64> {
    let now = Moment::now();
    let fresh = seen.words.values().filter(|word| now.since(word.at) < FRESH);
    fresh.max_by_key(|word| (word.term, word.leader.is_some())).and_then(|word| word.leader)
}
