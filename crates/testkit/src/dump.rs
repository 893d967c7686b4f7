//! What a node's log says, as `leasehold debug log` prints it: one JSON object an entry.
//!
//! Commands and outcomes are the state machine's own types. That the text stays what it is, is a test here.

use std::io::{self, BufRead};
use std::sync::Arc;

use leasehold_state_machine::{Command, EntryId, LeaderStamp, Outcome};
use serde::{Deserialize, Deserializer};

/// The log of one node.
#[derive(Debug, Clone, Default)]
pub struct NodeLog {
    /// Which node.
    pub node: u64,
    /// In index order. The first ones may be missing: purged behind a snapshot. Logs of one cluster may share them.
    pub entries: Vec<Arc<Entry>>,
    /// The snapshot that they follow, under the id of the last entry that it includes. None: they were replayed from nothing.
    pub snapshot: Option<Entry>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// Log index.
    pub index: u64,
    /// Raft term of the leader under which it lies in the log.
    pub term: u64,
    /// That leader.
    pub leader: u64,
    /// What it is.
    pub kind: Kind,
    /// The stamp of log time.
    #[serde(default)]
    pub at: Option<u64>,
    /// The leader id that made the stamp.
    #[serde(default)]
    pub stamped: Option<LeaderStamp>,
    /// Whether it is known to be committed: the rest has no outcome yet.
    pub committed: bool,
    /// The batch.
    #[serde(default)]
    pub commands: Vec<Command>,
    /// One for each command.
    #[serde(default, deserialize_with = "null_is_nothing")]
    pub outcomes: Vec<Outcome>,
    /// Log time after the entry.
    #[serde(default, deserialize_with = "null_is_nothing")]
    pub now: u64,
    /// State hash after the entry. Empty: the entry lies before the snapshot that the replay began with.
    #[serde(default, deserialize_with = "null_is_nothing")]
    pub hash: String,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A batch of commands with a stamp.
    Normal,
    /// A new leader's first entry.
    Blank,
    /// Who is a member.
    Membership,
    /// No entry: the snapshot that the replay begins with.
    Snapshot,
}

fn null_is_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Entry {
    /// Its place in the log.
    #[must_use]
    pub fn id(&self) -> EntryId {
        EntryId { leader: LeaderStamp { term: self.term, node: self.leader }, index: self.index }
    }

    /// Whether its stamp moves log time.
    #[must_use]
    pub fn is_stamped_by_its_leader(&self) -> bool {
        self.kind == Kind::Normal && self.stamped == Some(self.id().leader)
    }
}

impl NodeLog {
    /// Reads the output of `leasehold debug log`. Entries that it could not replay are left out.
    pub fn read(node: u64, from: impl BufRead) -> io::Result<Self> {
        Self::read_beside(node, from, &[])
    }

    /// The same. What the logs of other nodes have already is not kept twice: of a long run they would not fit into memory.
    pub fn read_beside(node: u64, from: impl BufRead, others: &[Self]) -> io::Result<Self> {
        let (mut entries, mut snapshot) = (Vec::new(), None);
        for line in from.lines() {
            let line = line?;
            let entry: Entry = serde_json::from_str(&line)
                .map_err(|error| io::Error::other(format!("node {node}, `{line}`: {error}")))?;
            if entry.kind == Kind::Snapshot {
                snapshot = Some(entry);
            } else if !entry.hash.is_empty() {
                let known = others.iter().filter_map(|log| log.at(entry.index)).find(|known| ***known == entry);
                entries.push(known.cloned().unwrap_or_else(|| Arc::new(entry)));
            }
        }
        Ok(Self { node, entries, snapshot })
    }

    /// The committed entries.
    pub fn committed(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|entry| &**entry).filter(|entry| entry.committed)
    }

    /// What the node has come to, as far as that is known to be committed: after its last entry, or in a snapshot that no entry follows.
    #[must_use]
    pub fn end(&self) -> Option<&Entry> {
        self.committed().last().into_iter().chain(&self.snapshot).max_by_key(|end| end.index)
    }

    /// The entry of this index.
    #[must_use]
    pub fn at(&self, index: u64) -> Option<&Arc<Entry>> {
        let at = self.entries.binary_search_by_key(&index, |entry| entry.index).ok()?;
        self.entries.get(at)
    }

    /// What one node knows to be committed is so on all that have the same entry: a node that was killed may not have
    /// noted it.
    pub fn share_commits(logs: &mut [Self]) {
        let last = logs.iter().filter_map(|log| log.committed().last()).max_by_key(|entry| entry.index);
        let Some((index, term)) = last.map(|entry| (entry.index, entry.term)) else { return };
        for log in logs {
            // Logs that agree in one entry agree in all before it (Raft, log matching).
            if log.at(index).is_some_and(|entry| entry.term == term) {
                for entry in log.entries.iter_mut().filter(|entry| entry.index <= index && !entry.committed) {
                    Arc::make_mut(entry).committed = true;
                }
            }
        }
    }

    /// Whether it begins with the cluster's first entry, so that it can be replayed from nothing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.entries.first().is_some_and(|entry| entry.index <= 1)
    }
}

#[cfg(test)]
mod tests {
    use leasehold_state_machine::{
        Cancelled, Closed, FencingToken, LeaseId, LeaseRequest, LossReason, Mode, Operation, Released, Renewed,
        ValueSet,
    };

    use super::*;

    /// Written by hand, once: a change of the state machine's types that changes the text fails here, as people and tools
    /// read it.
    const LINE: &str = r#"{"index":7,"term":2,"leader":3,"kind":"normal","at":50,"stamped":{"term":2,"node":3},"committed":true,
"commands":[
 {"principal":null,"not_after":99,"operation":{"Acquire":{"request":{"client":18446744073709551615,"counter":1},"attempt":2,
  "lowest_unanswered":1,"namespace":"app","locks":[{"name":"a","mode":"Exclusive"},{"name":"b","mode":"Shared"},
  {"name":"c","mode":{"Permits":{"permits":2,"limit":3}}}],"owner":"o","metadata":"m",
  "lease":{"Session":{"session":340282366920938463463374607431768211455}},"wait":{"For":{"wait_ms":5}},"actor":"x",
  "lock_delay_ms":10,"value":[118]}}},
 {"principal":null,"not_after":null,"operation":{"Release":{"namespace":"app","locks":[{"name":"a","token":5}],
  "all_or_nothing":true}}},
 {"principal":null,"not_after":null,"operation":{"Renew":{"leases":[{"lease":9,"ttl_ms":null,"exact":null}],
  "all_or_nothing":false}}},
 {"principal":null,"not_after":null,"operation":{"CloseLease":{"lease":9}}},
 {"principal":null,"not_after":null,"operation":{"CancelAcquire":{"request":{"client":1,"counter":1},"attempt":1}}},
 {"principal":null,"not_after":null,"operation":{"SetValue":{"namespace":"app","name":"a","token":5,"version":0,"value":[]}}},
 {"principal":null,"not_after":null,"operation":{"ForceRelease":{"namespace":"app","name":"a","token":5,"reason":"why"}}},
 {"principal":null,"not_after":null,"operation":{"OpenSession":{"session":18446744073709551616,"namespace":"app","ttl_ms":5,
  "owner":"o","metadata":""}}},
 {"principal":null,"not_after":null,"operation":"Tick"}],
"outcomes":[
 {"Granted":{"lease":340282366920938463463374607431768211455,"grants":[{"name":"a","mode":"Exclusive","token":5}],
  "left_ms":4,"confirm":false,"forced":0}},
 {"Released":[{"released":false,"reason":"Forced","still_held":false}]},
 {"Renewed":[{"Alive":{"left_ms":4,"forced":1}},{"Gone":{"reason":null}},"Untouched"]},
 {"Closed":{"closed":true,"grants_ended":1}},
 {"Cancelled":{"Kept":{"token":6,"mode":"Shared"}}},
 {"ValueSet":{"Conflict":{"version":3}}},
 {"ForceReleased":{"released":true,"reason":null,"still_held":false}},
 {"Opened":{"left_ms":5}},
 "Done"],
"now":50,"hash":"00ff"}"#;

    #[test]
    fn the_text_of_the_log_is_what_it_always_was() {
        let line = LINE.replace('\n', "");
        let log = NodeLog::read(1, line.as_bytes()).unwrap();
        let entry = &log.entries[0];
        assert_eq!((entry.index, entry.now, entry.kind), (7, 50, Kind::Normal));
        assert!(entry.is_stamped_by_its_leader());
        let Operation::Acquire(acquire) = &entry.commands[0].operation else { panic!("an acquire") };
        assert_eq!(acquire.lease, LeaseRequest::Session { session: LeaseId(u128::MAX) });
        assert_eq!(acquire.locks[2].mode, Mode::Permits { permits: 2, limit: 3 });
        let released = Released { released: false, reason: Some(LossReason::Forced), still_held: false };
        assert_eq!(entry.outcomes[1], Outcome::Released(vec![released]));
        let Outcome::Renewed(renewed) = &entry.outcomes[2] else { panic!("a renewal") };
        assert_eq!(renewed[2], Renewed::Untouched);
        assert_eq!(entry.outcomes[3], Outcome::Closed(Closed { closed: true, grants_ended: 1 }));
        let kept = Cancelled::Kept { token: FencingToken(6), mode: Mode::Shared };
        assert_eq!(entry.outcomes[4], Outcome::Cancelled(kept));
        assert_eq!(entry.outcomes[5], Outcome::ValueSet(ValueSet::Conflict { version: 3 }));
        // And back: what is written now is what was read.
        let again = serde_json::to_string(&entry.commands).unwrap() + &serde_json::to_string(&entry.outcomes).unwrap();
        let between =
            |from: &str, to: &str| line.split(from).nth(1).and_then(|rest| rest.split(to).next()).unwrap().to_owned();
        let commands = between("\"commands\":", ",\"outcomes\"");
        let outcomes = between("\"outcomes\":", ",\"now\"");
        assert_eq!(again.replace(' ', ""), (commands + &outcomes).replace(' ', ""));
    }

    #[test]
    fn what_one_node_knows_to_be_committed_is_so_on_the_others() {
        let line = |index: u64, committed: bool| {
            format!(
                r#"{{"index":{index},"term":1,"leader":1,"kind":"blank","committed":{committed},"now":0,"hash":"0"}}"#
            )
        };
        let log = |node, lines: &[String]| NodeLog::read(node, lines.join("\n").as_bytes()).unwrap();
        let mut logs =
            [log(1, &[line(1, true), line(2, true), line(3, false)]), log(2, &[line(1, false), line(2, false)])];
        NodeLog::share_commits(&mut logs);
        assert_eq!(logs.map(|log| log.committed().count()), [2, 2]);
    }

    /// Seen in chaos: two of three nodes had just written a snapshot at their last entry, and seemed to have come to nothing.
    #[test]
    fn a_node_has_come_to_its_snapshot_where_no_entry_follows() {
        let line = |index: u64, kind: &str, hash: &str| {
            format!(
                r#"{{"index":{index},"term":1,"leader":1,"kind":"{kind}","committed":true,"outcomes":null,"now":0,"hash":{hash}}}"#
            )
        };
        let log = |lines: &[String]| NodeLog::read(1, lines.join("\n").as_bytes()).unwrap();
        let end = |log: &NodeLog| log.end().map(|end| (end.index, end.hash.clone()));
        let mut lines = vec![line(8, "snapshot", "\"08\""), line(7, "blank", "null"), line(8, "blank", "null")];
        let ended = log(&lines);
        assert_eq!((ended.entries.len(), end(&ended)), (0, Some((8, "08".into()))));
        lines.push(line(9, "blank", "\"09\""));
        let ended = log(&lines);
        assert_eq!((ended.entries.len(), end(&ended)), (1, Some((9, "09".into()))));
        assert_eq!(end(&log(&[])), None);
    }

    #[test]
    fn logs_that_agree_share_their_entries() {
        let line = |index: u64, hash: &str| {
            format!(
                r#"{{"index":{index},"term":1,"leader":1,"kind":"blank","committed":true,"now":0,"hash":"{hash}"}}"#
            )
        };
        let text = |hash| [line(1, "0"), line(2, hash)].join("\n");
        let first = [NodeLog::read(1, text("0").as_bytes()).unwrap()];
        let second = NodeLog::read_beside(2, text("1").as_bytes(), &first).unwrap();
        let same = |index| Arc::ptr_eq(first[0].at(index).unwrap(), second.at(index).unwrap());
        assert_eq!((same(1), same(2)), (true, false));
        assert_eq!(second.at(2).unwrap().hash, "1");
    }
}
