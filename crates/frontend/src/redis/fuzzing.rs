//! What the Redis door makes of keys and values.

use super::names;

/// A key, or a value. Every value comes back from the owner that it stands for; what is an owner already stays one.
pub(crate) fn names(bytes: &[u8]) -> bool {
    let owner = names::owner(bytes);
    assert_eq!(names::value(&owner), bytes);
    assert!(!owner.is_empty() && !owner.chars().any(char::is_control));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let value = names::value(text);
        assert_eq!(names::value(&names::owner(&value)), value);
    }
    match names::lock_name(bytes) {
        Ok(name) => {
            assert_eq!(name.as_bytes(), bytes);
            true
        }
        Err(problem) => {
            assert!(!problem.chars().any(char::is_control), "{problem:?} goes over the wire");
            false
        }
    }
}
