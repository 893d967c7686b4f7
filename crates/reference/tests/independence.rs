//! The model is worth something only as long as it is a second reading: it knows the types of the state machine, and calls
//! none of its logic.
#![allow(clippy::unwrap_used)]

/// What would be the state machine's own judgement.
const FOREIGN: &[&str] = &["StateMachine", ".compatible(", ".level()", "from_rows", "storage::", "codec::"];

#[test]
fn model_calls_no_logic_of_the_state_machine() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut lines = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            lines += 1;
            for foreign in FOREIGN {
                assert!(!line.contains(foreign), "{} has `{foreign}`: {line}", path.display());
            }
        }
    }
    assert!(lines > 1_000, "{lines} lines are not the whole model");
}
