//! What holds of the client programs of `tests/clients` must be like.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// One hold, as a program told it. Times are CLOCK_MONOTONIC, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) worker: String,
    /// Index of the node that it went through.
    pub(crate) node: u64,
    pub(crate) lock: String,
    pub(crate) owner: String,
    /// After the answer of the acquire.
    pub(crate) entered: u64,
    /// Owner, fencing token and metadata that the native API has shown, by `seen`.
    pub(crate) holder: Option<(String, u64, String)>,
    pub(crate) seen: u64,
    /// The send of the acquire + the ttl: after that it may be another's.
    pub(crate) until: u64,
    /// Before the send of the release, or `until` if that came first.
    pub(crate) left: u64,
}

impl FromStr for Hold {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line)?;
        let text = |value: &Value, name: &str| Some(value.get(name)?.as_str()?.to_owned());
        let number = |name: &str| value.get(name).and_then(Value::as_u64).with_context(|| format!("it has no {name}"));
        let holder = match value.get("holder") {
            None | Some(Value::Null) => None,
            Some(holder) => {
                let token = text(holder, "token").context("a holder has a token")?.parse()?;
                let owner = text(holder, "owner").context("a holder has an owner")?;
                Some((owner, token, text(holder, "metadata").unwrap_or_default()))
            }
        };
        Ok(Self {
            worker: text(&value, "worker").context("it has no worker")?,
            node: number("node")?,
            lock: text(&value, "lock").context("it has no lock")?,
            owner: text(&value, "owner").context("it has no owner")?,
            entered: number("entered")?,
            holder,
            seen: number("seen")?,
            until: number("until")?,
            left: number("left")?,
        })
    }
}

/// Holds of one lock do not overlap, are the holders that the native API shows, under tokens that strictly increase, and
/// came through every node.
pub(crate) fn judge(holds: &[Hold], nodes: usize) -> Result<()> {
    let mut locks: BTreeMap<&str, Vec<&Hold>> = BTreeMap::new();
    for hold in holds {
        locks.entry(&hold.lock).or_default().push(hold);
    }
    let mut shown = 0;
    for holds in locks.values_mut() {
        holds.sort_by_key(|hold| hold.entered);
        let mut greatest = 0;
        for (number, hold) in holds.iter().enumerate() {
            // Whoever entered at or after the end of its own lease holds nothing.
            let before = holds[..number].iter().filter(|before| before.entered < before.until);
            if let Some(other) = before.filter(|_| hold.entered < hold.until).find(|before| before.left > hold.entered)
            {
                anyhow::bail!("two hold one lock at once:\n{other:?}\n{hold:?}");
            }
            // Late looks may show a later holder; a node that was just killed shows nobody.
            let Some((owner, token, metadata)) = hold.holder.as_ref().filter(|_| hold.seen < hold.until) else {
                continue;
            };
            ensure!(*owner == hold.owner, "the native API shows another holder: {hold:?}");
            ensure!(*token > greatest, "token {token} is granted after {greatest}: {hold:?}");
            ensure!(metadata.starts_with("redis "), "the grant does not say which door it came through: {hold:?}");
            greatest = *token;
            shown += 1;
        }
    }
    ensure!(shown * 2 > holds.len(), "the native API has shown the holder of {shown} of {} holds only", holds.len());
    let through: BTreeSet<u64> = holds.iter().map(|hold| hold.node).collect();
    ensure!(through.len() == nodes, "holds came through nodes {through:?} of {nodes} only");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(entered: u64, left: u64, token: u64) -> Hold {
        let line = format!(
            r#"{{"worker":"w","node":0,"lock":"a","owner":"o","entered":{entered},"seen":{entered},"until":{},"left":{left},
                "holder":{{"owner":"o","token":"{token}","metadata":"redis 127.0.0.1:1"}}}}"#,
            entered + 100
        );
        line.parse().unwrap()
    }

    #[test]
    fn overlapping_holds_are_found() {
        judge(&[hold(20, 30, 2), hold(10, 20, 1)], 1).unwrap();
        assert!(judge(&[hold(20, 30, 2), hold(10, 21, 1)], 1).is_err());
        // One in between hides nothing.
        assert!(judge(&[hold(10, 40, 1), hold(20, 21, 2), hold(30, 31, 3)], 1).is_err());
    }

    #[test]
    fn tokens_that_do_not_increase_are_found() {
        assert!(judge(&[hold(10, 20, 2), hold(30, 40, 2)], 1).is_err());
        assert!(judge(&[hold(10, 20, 2), hold(30, 40, 1)], 1).is_err());
    }

    #[test]
    fn another_holder_another_door_and_nobody_are_found() {
        let with = |holder: Option<(&str, &str)>| {
            let holder = holder.map(|(owner, metadata)| (owner.to_owned(), 1, metadata.to_owned()));
            judge(&[Hold { holder, ..hold(10, 20, 1) }], 1)
        };
        with(Some(("o", "redis x"))).unwrap();
        assert!(with(Some(("p", "redis x"))).is_err());
        assert!(with(Some(("o", "dapr-grpc"))).is_err());
        assert!(with(None).is_err());
        assert!(judge(&[hold(10, 20, 1)], 2).is_err(), "a node that nobody came through");
    }
}
