//! What `leasehold debug log` prints, as the checker reads it.

use leasehold_state_machine::EntryId;

use crate::dump::NodeLog;
use crate::replay::Target;

pub const TARGETS: &[Target] = &[("dumps", run, seeds)];

fn run(data: &[u8]) -> bool {
    let Ok(log) = NodeLog::read(1, data) else { return false };
    let ids: Vec<EntryId> = log.entries.iter().map(|entry| entry.id()).collect();
    let committed = log.committed().count();
    let mut logs = [log.clone(), log];
    NodeLog::share_commits(&mut logs);
    for log in &logs {
        assert!(log.committed().count() >= committed, "what is committed stays so");
        assert!(log.entries.iter().map(|entry| entry.id()).eq(ids.iter().copied()));
        let _ = log.is_whole();
        let _ = log.entries.iter().filter(|entry| entry.is_stamped_by_its_leader()).count();
    }
    !ids.is_empty()
}

fn seeds() -> Vec<Vec<u8>> {
    crate::state_machine::lines_of_dumps()
}
