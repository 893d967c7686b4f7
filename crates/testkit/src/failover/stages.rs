//! Where the time of a failover goes, by what the surviving nodes logged.

use std::time::Duration;

use serde_json::json;

use crate::clock::Moment;
use crate::numbers::Numbers;

/// A follower's word that it campaigns: it saw the leader's process gone, or waited in vain (openraft's own, when its level is shown).
const NOTICED: [&str; 2] = ["the leader's process is gone", "trigger pre-vote"];
/// A node's word of the leader that it knows.
const KNOWN: &str = "leader known to this node changed";
const DAY_US: u64 = 24 * 3600 * 1_000_000;
/// What lies further back belongs to an earlier end.
const LATEST: Duration = Duration::from_secs(60);

/// Times after the end of a leader.
#[derive(Debug, Clone, Copy)]
pub struct Stages {
    /// Until the first survivor campaigns.
    pub noticed: Duration,
    /// Until the next leader knows that it leads.
    pub elected: Duration,
}

impl Stages {
    /// From all that the survivors, by id, have logged.
    #[must_use]
    pub fn read(words: &[(u64, String)], ended: Moment) -> Option<Self> {
        let end_us = ended.time_of_day_us();
        let after = |line: &str| {
            let since = (time_of_day_us(line)? + DAY_US - end_us) % DAY_US;
            let since = Duration::from_micros(since);
            (since < LATEST).then_some(since)
        };
        let said = |text: &str, word: &str| {
            let lines = text.lines().filter(|line| line.contains(word)).filter_map(&after);
            lines.min()
        };
        let noticed = words.iter().flat_map(|(_, text)| NOTICED.iter().filter_map(|word| said(text, word))).min()?;
        let elected = words.iter().filter_map(|(node, text)| {
            let itself = format!("leader={node}");
            let of_itself = |line: &&str| line.contains(KNOWN) && line.split(' ').any(|word| word == itself);
            let lines = text.lines().filter(of_itself).filter_map(&after);
            lines.min()
        });
        Some(Self { noticed, elected: elected.min()? })
    }

    /// Of many ends, for a program: what each stage took.
    #[must_use]
    pub fn json(of: &[(Self, Duration)]) -> serde_json::Value {
        let numbers = |span: fn(&(Self, Duration)) -> Duration| Numbers::new(of.iter().map(span).collect()).json();
        json!({
            "until_noticed": numbers(|(stages, _)| stages.noticed),
            "election": numbers(|(stages, _)| stages.elected.saturating_sub(stages.noticed)),
            "until_next_grant": numbers(|(stages, granted)| granted.saturating_sub(stages.elected)),
        })
    }
}

/// Of a log line that begins with an RFC 3339 time of UTC.
fn time_of_day_us(line: &str) -> Option<u64> {
    let time = line.split_once('T')?.1.split_once('Z')?.0;
    let mut parts = time.split([':', '.']);
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = hours.parse::<u64>().ok()? * 3600 + minutes.parse::<u64>().ok()? * 60 + seconds.parse::<u64>().ok()?;
    let micros = format!("{:0<6.6}", parts.next().unwrap_or("0"));
    Some(whole * 1_000_000 + micros.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_log_lines_are_read() {
        assert_eq!(time_of_day_us("2026-11-25T01:02:03.000450Z  INFO x"), Some(3_723_000_450));
        assert_eq!(time_of_day_us("2026-11-25T00:00:01.5Z"), Some(1_500_000));
        assert_eq!(time_of_day_us("no time"), None);
    }
}
