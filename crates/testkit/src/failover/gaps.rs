//! Kills or freezes leaders under a steady load, and measures for how long nobody, and each client, is granted nothing.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::load::Load;
use super::{Stages, Target};
use crate::clock::Moment;
use crate::cluster::{PATIENCE, eventually};
use crate::numbers::Numbers;

/// How a leader ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// kill -9: its host resets its connections.
    Kill,
    /// SIGSTOP: its connections stay open and are silent, as when its machine loses power. It goes on once others serve.
    Freeze,
}

/// What was seen.
#[derive(Debug)]
pub struct Gaps {
    /// The longest time around each end in which no client was granted anything.
    pub service: Numbers,
    /// The same of each client.
    pub client: Numbers,
    stages: Vec<(Stages, Duration)>,
    terms: u64,
    ends: u64,
    failures: u64,
}

impl Gaps {
    /// For a person, in lines.
    #[must_use]
    pub fn text(&self) -> String {
        let line = |what: &str, numbers: &Numbers| {
            format!(
                "  {what:34} p50 {:>7.1} ms   p90 {:>7.1} ms   p99 {:>7.1} ms   longest {:>7.1} ms   of {}\n",
                numbers.at(50),
                numbers.at(90),
                numbers.at(99),
                numbers.at(100),
                numbers.count()
            )
        };
        let mut text = line("gap in service", &self.service) + &line("gap of a client", &self.client);
        let spans = |span: fn(&(Stages, Duration)) -> Duration| Numbers::new(self.stages.iter().map(span).collect());
        if !self.stages.is_empty() {
            text += &line("  until a follower campaigns", &spans(|(stages, _)| stages.noticed));
            text += &line("  until it leads", &spans(|(stages, _)| stages.elected.saturating_sub(stages.noticed)));
            text += &line("  until the next grant", &spans(|(stages, next)| next.saturating_sub(stages.elected)));
        }
        text + &format!("  elections {} for {} ends; attempts that failed {}\n", self.terms, self.ends, self.failures)
    }

    /// For a program.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        json!({
            "service": self.service.json(), "client": self.client.json(), "stages": Stages::json(&self.stages),
            "elections": self.terms, "ends": self.ends, "failed_attempts": self.failures,
        })
    }
}

/// Ends the leader so many times under so many clients.
pub async fn measure<T: Target>(target: &mut T, fault: Fault, ends: u64, clients: usize) -> Result<Gaps> {
    let load = Load::start(target, clients).await?;
    let first_term = target.term().await?;
    let (mut service, mut client, mut stages) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ends {
        let leader = target.settle().await?;
        let begin = Moment::now();
        eventually(PATIENCE, "all clients are served", || async { load.all_served_after(begin).then_some(()) }).await?;
        load.take();
        let at = Moment::now();
        match fault {
            Fault::Kill => target.kill(leader)?,
            Fault::Freeze => target.pause(leader)?,
        }
        // Twice: what was on its way when the leader ended may be answered yet.
        for _ in 0..2 {
            let from = Moment::now();
            eventually(PATIENCE, "all clients are served again", || async {
                load.all_served_after(from).then_some(())
            })
            .await?;
        }
        let grants = load.take();
        match fault {
            Fault::Kill => target.start(leader)?,
            Fault::Freeze => target.resume(leader),
        }
        let mut all: Vec<Moment> = grants.iter().flatten().copied().collect();
        all.sort_unstable();
        let (silence, next) = longest(&all);
        service.push(silence);
        client.extend(grants.iter().map(|grants| longest(grants).0));
        stages.extend(target.stages(leader, at).map(|stages| (stages, next.since(at))));
    }
    target.settle().await?;
    let terms = target.term().await? - first_term;
    let failures = load.failures();
    load.finish().await;
    Ok(Gaps { service: Numbers::new(service), client: Numbers::new(client), stages, terms, ends, failures })
}

/// The longest time between neighbours, and when it ended.
fn longest(moments: &[Moment]) -> (Duration, Moment) {
    let pairs = moments.windows(2).map(|pair| (pair[1].since(pair[0]), pair[1]));
    pairs.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_is_found_with_its_end() {
        let at = |ms: u64| Moment(ms * 1_000_000);
        let moments = [at(1), at(2), at(700), at(705)];
        assert_eq!(longest(&moments), (Duration::from_millis(698), at(700)));
        assert_eq!(longest(&[]), (Duration::ZERO, Moment(0)));
    }
}
