//! Bytes of batches, commands and outcomes: refused, or what is understood is written and understood alike.

use leasehold_state_machine::{Command, Outcome, codec};

use super::apply;

pub fn run(data: &[u8]) -> bool {
    let batch = codec::decode_batch(data);
    if let Ok(batch) = &batch {
        let commands: Vec<_> = batch.commands.iter().map(codec::encode_command).collect();
        let bytes = codec::encode_batch(batch.at, batch.stamped_by, &commands);
        assert_eq!(codec::decode_batch(&bytes).as_ref(), Ok(batch));
    }
    let command = codec::decode_command(data);
    if let Ok(command) = &command {
        assert_eq!(codec::decode::<Command>(&codec::encode(command)).as_ref(), Ok(command));
        assert!(command.operation.level() >= 1);
    }
    let outcome = codec::decode::<Outcome>(data);
    if let Ok(outcome) = &outcome {
        assert_eq!(codec::decode::<Outcome>(&codec::encode(outcome)).as_ref(), Ok(outcome));
    }
    batch.is_ok() || command.is_ok() || outcome.is_ok()
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for entry in apply::entries_of_seeds() {
        let commands: Vec<_> = entry.batch.commands.iter().map(codec::encode_command).collect();
        seeds.push(codec::encode_batch(entry.batch.at, entry.batch.stamped_by, &commands).to_vec());
        seeds.extend(commands.iter().map(|bytes| bytes.to_vec()));
        seeds.extend(entry.effects.outcomes.iter().map(codec::encode));
    }
    seeds
}
