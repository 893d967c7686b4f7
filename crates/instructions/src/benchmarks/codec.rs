//! From commands to the bytes of an entry, and back.

use std::hint::black_box;

use bytes::Bytes;
use leasehold_state_machine::{Command, FencingToken, LogTime, codec};

use super::counted;
use super::log::{LEADER, command, encoded, lock, unlock};

const ENTRIES: u64 = 16;
const COMMANDS_PER_ENTRY: u64 = 256;
const AT: LogTime = LogTime(123_456);
const TTL_MS: u64 = 30_000;

/// Half of them take a lock, half of them release one.
fn commands() -> Vec<Command> {
    let one = |caller| match caller % 2 {
        0 => command(AT, lock(caller, 1_000 + caller, TTL_MS)),
        _ => command(AT, unlock(caller, FencingToken((1 << 50) + caller))),
    };
    (0..COMMANDS_PER_ENTRY).map(one).collect()
}

fn encoded_commands() -> Vec<Bytes> {
    commands().into_iter().map(|command| encoded(command.operation)).collect()
}

/// As the node does that takes the call.
pub(super) fn encode_command() -> u64 {
    let commands = commands();
    for _ in 0..ENTRIES {
        counted(|| commands.iter().for_each(|command| drop(black_box(codec::encode_command(black_box(command))))));
    }
    ENTRIES * COMMANDS_PER_ENTRY
}

/// As the leader does.
pub(super) fn encode_batch() -> u64 {
    let commands = encoded_commands();
    for _ in 0..ENTRIES {
        counted(|| drop(black_box(codec::encode_batch(AT, LEADER, black_box(&commands)))));
    }
    ENTRIES * COMMANDS_PER_ENTRY
}

/// As every node does before it applies an entry.
pub(super) fn decode_batch() -> u64 {
    let bytes = codec::encode_batch(AT, LEADER, &encoded_commands());
    for _ in 0..ENTRIES {
        let batch = counted(|| black_box(codec::decode_batch(black_box(&bytes))));
        assert_eq!(batch.map(|batch| batch.commands.len() as u64), Ok(COMMANDS_PER_ENTRY));
    }
    ENTRIES * COMMANDS_PER_ENTRY
}
