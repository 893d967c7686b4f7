//! Rows as checkpoints and snapshots hold them: refused, or they make a machine that is the same written and read again and that
//! can be applied to.

use std::collections::BTreeMap;

use leasehold_state_machine::{
    Batch, EntryId, FencingToken, HEADER_KEY, LeaderStamp, LogTime, RestoreError, StateMachine, codec, decode_head,
};

use super::apply;
use crate::draw::Draw;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// One row after the other: length of the key (one byte), of the value (two), key, value.
pub fn run(data: &[u8]) -> bool {
    let mut draw = Draw::new(data);
    let mut rows = Rows::new();
    while !draw.is_empty() {
        let (key, value) = (usize::from(draw.byte()), usize::from(u16::from_le_bytes([draw.byte(), draw.byte()])));
        let key = draw.take(key).to_vec();
        rows.insert(key, draw.take(value).to_vec());
    }
    if let Some(header) = rows.get(HEADER_KEY) {
        // Alone, as nodes look at it to see whether they can read the rest.
        let _ = decode_head(header);
    }
    let Some(mut machine) = restore(&mut rows) else { return false };
    assert_eq!(machine.rows(), rows.clone().into_iter().collect::<Vec<_>>(), "what was read is written otherwise");
    let expected = machine.state_hash();
    let mut again = StateMachine::from_rows(rows).expect("the same rows");
    assert_eq!(again.state_hash(), expected);
    use_up(machine);
    true
}

/// Reads rows. Their hash is put right first: damage that the hash finds is refused anyhow.
fn restore(rows: &mut Rows) -> Option<StateMachine> {
    match StateMachine::from_rows(rows.clone()) {
        Ok(machine) => Some(machine),
        Err(RestoreError::Hash { computed, recorded }) => {
            // The hash stands last in the header row.
            let header = rows.get_mut(HEADER_KEY)?;
            let (old, new) = (codec::encode(&recorded), codec::encode(&computed));
            if !header.ends_with(&old[1..]) {
                return None;
            }
            header.truncate(header.len() - (old.len() - 1));
            header.extend_from_slice(&new[1..]);
            StateMachine::from_rows(rows.clone()).ok()
        }
        Err(_) => None,
    }
}

/// Lets everything in it run out.
fn use_up(mut machine: StateMachine) {
    let Some(index) = machine.applied().map_or(0, |entry| entry.index).checked_add(1) else { return };
    let leader = LeaderStamp { term: 1, node: 1 };
    for index in index..index.saturating_add(8) {
        let Some(deadline) = machine.earliest_deadline() else { break };
        let batch = Batch { at: LogTime(deadline.0.saturating_add(1)), stamped_by: leader, commands: Vec::new() };
        machine.apply(EntryId { leader, index }, &batch);
    }
    let rows = machine.rows();
    let mut again = StateMachine::from_rows(rows).expect("rows of a running machine restore");
    assert_eq!(again.state_hash(), machine.state_hash());
    let _ = machine.check_token("n", "a", FencingToken(1));
}

pub fn seeds() -> Vec<Vec<u8>> {
    machines().into_iter().map(|mut machine| join(machine.rows())).collect()
}

/// States that the seeds of `apply` end in.
pub fn machines() -> Vec<StateMachine> {
    let mut machines = Vec::new();
    for log in apply::seeds_of_draws() {
        for length in [100, 300, 800] {
            let mut machine = StateMachine::new();
            for (index, entry) in apply::drawn(&log[..length]).iter().enumerate() {
                let id = EntryId { leader: entry.batch.stamped_by, index: index as u64 + 1 };
                machine.apply(id, &entry.batch);
            }
            machines.push(machine);
        }
    }
    machines
}

fn join(rows: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    let mut joined = Vec::new();
    for (key, value) in rows {
        joined.push(u8::try_from(key.len()).expect("keys of drawn logs are short"));
        joined.extend_from_slice(&u16::try_from(value.len()).expect("so are rows").to_le_bytes());
        joined.extend_from_slice(&key);
        joined.extend_from_slice(&value);
    }
    joined
}
