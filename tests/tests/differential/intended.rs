//! In what a node answers differently on purpose. Nothing else may differ.

use super::generate::Command;

/// A difference that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    /// A lock is not given to another owner by SET: Redis overwrites.
    ChangesOwner,
    /// The time to live of a held lock can be set, not removed: Redis does that with SET without a time.
    RemovesTtl,
    /// A lock that was taken without a time to live has the longest one there is, by the policy `allow`: at Redis it has none.
    NoTtl,
    /// The time to live is within the limits of the namespace, 100 ms and 24 h.
    TtlRange,
    /// A script that ends in an error has no effect, and its error does not name the line as Redis does.
    ScriptError,
    /// Locks that one command took hang on one lease: their time is set together, by a command that names all of them.
    TakenTogether,
    /// One command takes, or extends, or releases, all for one owner and one time: Redis also mixes.
    Mixed,
}

use Difference::{ChangesOwner, Mixed, NoTtl, RemovesTtl, ScriptError, TakenTogether, TtlRange};

/// Words in a node's error reply by which a refusal is known.
const REFUSALS: [(&str, Difference); 8] = [
    ("is not between 100 and 86400000", TtlRange),
    ("locks that were taken together are extended together", TakenTogether),
    ("SET does not give it to somebody else", ChangesOwner),
    ("its time to live can be set, not removed", RemovesTtl),
    ("is released and then taken again", Mixed),
    ("it may take, or extend, or release, and not mix them", Mixed),
    ("with another owner or time than the locks before it", Mixed),
    ("is extended by another time than the locks before it", Mixed),
];

impl Difference {
    /// Which one these two replies to a command show; None: they must not differ. `without_ttl`: one of its keys may have no time
    /// to live at Redis.
    pub(crate) fn between(command: &Command, redis: &[u8], node: &[u8], without_ttl: bool) -> Option<Self> {
        let (redis_text, node_text) = (String::from_utf8_lossy(redis), String::from_utf8_lossy(node));
        if let Some((_, difference)) = REFUSALS.iter().find(|(words, _)| node_text.contains(words)) {
            return node_text.starts_with("-ERR").then_some(*difference);
        }
        if command.fails && redis_text.starts_with("-ERR") && node_text.starts_with("-ERR") {
            return Some(ScriptError);
        }
        let numbers = redis_text.starts_with(':') && node_text.starts_with(':');
        (command.heeds_time && without_ttl && numbers).then_some(NoTtl)
    }
}
