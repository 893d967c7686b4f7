//! Clients that compete for a few locks while leaders and followers are frozen and killed, judged by times on one clock.
//!
//! A client counts on a lock from the answer that granted it until it sends its release, or until the last renewal that was answered, from
//! its send, has lasted its ttl. Two clients never may at once. A granted lock must have a living lease behind it, and a later grant a
//! higher token.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Locker, Target};
use crate::clock::Moment;

/// Time to live of all leases.
pub const TTL: Duration = Duration::from_secs(3);
/// Longer than a freeze, a lease that runs out meanwhile, and an election.
const WAIT_MAX: Duration = Duration::from_secs(12);
const NAMES: u32 = 3;
/// A leader or follower that is frozen longer than a lease lives.
const FREEZE: Duration = Duration::from_millis(4_500);
const BETWEEN_FAULTS_MS: std::ops::Range<u64> = 1_000..4_000;
const EXAMPLES_MAX: usize = 5;

/// One time that a client counted on a lock.
#[derive(Debug, Clone)]
struct Held {
    name: String,
    client: usize,
    token: u64,
    asked: Moment,
    from: Moment,
    until: Moment,
    /// The lease had ended already when the client first renewed it.
    dead: bool,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, client, token, from, until, .. } = self;
        write!(f, "client {client} on {name} under {token} from {from} until {until}")
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    grants: usize,
    faults: BTreeMap<&'static str, u64>,
    overlaps: usize,
    dead: usize,
    disorder: usize,
    examples: Vec<String>,
}

impl Verdict {
    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.overlaps + self.dead + self.disorder == 0
    }

    /// For a person.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { grants, faults, overlaps, dead, disorder, examples } = self;
        let head = format!(
            "  {grants} grants under {faults:?}: {overlaps} times two counted on one lock, {dead} grants with a dead lease, \
             {disorder} tokens out of order\n"
        );
        head + &examples.iter().map(|example| format!("    {example}\n")).collect::<String>()
    }

    /// For a program.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        json!({
            "grants": self.grants, "faults": self.faults, "overlaps": self.overlaps, "dead_grants": self.dead,
            "tokens_out_of_order": self.disorder, "examples": self.examples,
        })
    }

    fn judge(mut all: Vec<Held>, faults: BTreeMap<&'static str, u64>) -> Self {
        let mut verdict = Self { grants: all.len(), faults, ..Self::default() };
        all.sort_by(|a, b| (&a.name, a.from).cmp(&(&b.name, b.from)));
        for (at, held) in all.iter().enumerate() {
            if held.dead {
                verdict.dead += 1;
                verdict.example(format!("dead lease: {held}"));
            }
            let others = all[at + 1..].iter().take_while(|other| other.name == held.name);
            for other in others.clone().filter(|other| other.from < held.until) {
                verdict.overlaps += 1;
                let by = held.until.since(other.from);
                verdict.example(format!("both for {by:.0?}: {held}, and {other}"));
            }
            for other in others.filter(|other| other.asked > held.from && other.token <= held.token) {
                verdict.disorder += 1;
                verdict.example(format!("later and not higher: {held}, and {other}"));
            }
        }
        verdict
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text);
        }
    }
}

/// Lets clients compete for so long.
pub async fn compete<T: Target>(target: &mut T, lasts: Duration, clients: usize, seed: u64) -> Result<Verdict> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let locker = target.locker(client).await?;
        let random = StdRng::seed_from_u64(seed ^ ((client as u64) << 32));
        tasks.spawn(Competitor { locker, client, random, all: all.clone() }.run(stop.clone()));
    }
    let faults = trouble(target, lasts, StdRng::seed_from_u64(seed)).await;
    stop.store(true, Ordering::Relaxed);
    while tasks.join_next().await.is_some() {}
    let all = std::mem::take(&mut *all.lock());
    Ok(Verdict::judge(all, faults?))
}

/// One fault after another.
async fn trouble<T: Target>(
    target: &mut T,
    lasts: Duration,
    mut random: StdRng,
) -> Result<BTreeMap<&'static str, u64>> {
    let mut faults = BTreeMap::new();
    let begin = Moment::now();
    while begin.elapsed() < lasts {
        let leader = target.settle().await?;
        tokio::time::sleep(Duration::from_millis(random.random_range(BETWEEN_FAULTS_MS))).await;
        let follower = leader % 3 + 1;
        let what = match random.random_range(0..4) {
            0 | 1 => {
                target.pause(leader)?;
                tokio::time::sleep(FREEZE).await;
                target.resume(leader);
                "leader frozen"
            }
            2 => {
                target.kill(leader)?;
                tokio::time::sleep(Duration::from_millis(random.random_range(0..1_500))).await;
                target.start(leader)?;
                "leader killed"
            }
            _ => {
                target.pause(follower)?;
                tokio::time::sleep(FREEZE).await;
                target.resume(follower);
                "follower frozen"
            }
        };
        *faults.entry(what).or_default() += 1;
    }
    target.settle().await?;
    Ok(faults)
}

struct Competitor<L> {
    locker: L,
    client: usize,
    random: StdRng,
    all: Arc<Mutex<Vec<Held>>>,
}

impl<L: Locker> Competitor<L> {
    async fn run(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let name = format!("contested-{}", self.random.random_range(0..NAMES));
            // One in six is itself paused while it waits: nobody keeps what it asked under alive.
            let attended = !self.random.random_ratio(1, 6);
            let asked = Moment::now();
            match self.locker.lock(&name, TTL, WAIT_MAX, attended).await {
                Ok(Some(hold)) => self.hold(name, asked, hold).await,
                Ok(None) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn hold(&mut self, name: String, asked: Moment, hold: L::Hold) {
        let from = Moment::now();
        let mut held =
            Held { name, client: self.client, token: L::token(&hold), asked, from, until: from, dead: false };
        let confirmed = self.renew(&hold, TTL).await;
        held.until = confirmed.unwrap_or_else(Moment::now);
        held.dead = confirmed.is_none() && from.elapsed() < TTL / 2;
        if confirmed.is_none() {
            self.all.lock().push(held);
            return;
        }
        let stays = Duration::from_millis(self.random.random_range(0..1_500));
        while from.elapsed() + TTL / 6 < stays {
            tokio::time::sleep(TTL / 6).await;
            let left = held.until.since(Moment::now());
            match self.renew(&hold, left).await {
                Some(until) => held.until = held.until.max(until),
                None => break,
            }
        }
        // One in four is paused while it holds, and neither renews nor releases.
        if self.random.random_ratio(1, 4) {
            self.all.lock().push(held);
            return;
        }
        held.until = held.until.min(Moment::now());
        self.all.lock().push(held);
        let _released = timeout(TTL, self.locker.unlock(hold)).await;
    }

    /// Until when the client may count on it; None: it is lost, or there was no answer in time.
    async fn renew(&mut self, hold: &L::Hold, within: Duration) -> Option<Moment> {
        let sent = Moment::now();
        match timeout(within, self.locker.renew(hold)).await {
            Ok(Ok(true)) => Some(sent.plus_ms(u64::try_from(TTL.as_millis()).unwrap_or(u64::MAX))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(client: usize, token: u64, from: u64, until: u64) -> Held {
        let at = |ms: u64| Moment(ms * 1_000_000);
        Held { name: "a".into(), client, token, asked: at(from), from: at(from), until: at(until), dead: false }
    }

    #[test]
    fn two_that_count_on_one_lock_are_found() {
        let clean = Verdict::judge(vec![held(1, 1, 0, 10), held(2, 2, 10, 20), held(1, 3, 25, 30)], BTreeMap::new());
        assert!(clean.is_clean(), "{clean:?}");
        let both = Verdict::judge(vec![held(2, 2, 9, 20), held(1, 1, 0, 10)], BTreeMap::new());
        assert_eq!((both.overlaps, both.disorder), (1, 0));
        let disorder = Verdict::judge(vec![held(1, 2, 0, 10), held(2, 2, 10, 20)], BTreeMap::new());
        assert_eq!((disorder.overlaps, disorder.disorder), (0, 1));
        let dead = Verdict::judge(vec![Held { dead: true, ..held(1, 1, 0, 10) }], BTreeMap::new());
        assert!(!dead.is_clean());
    }
}
