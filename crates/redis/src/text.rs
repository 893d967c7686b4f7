//! Words of clients in messages and in lower case: bounded, and harmless to print.

/// Most bytes of a word that a message shows.
const SHOWN_BYTES_MAX: usize = 128;

/// A word as a message shows it: printable, and cut where it is long.
pub(crate) fn shown(word: &[u8]) -> String {
    let cut = &word[..word.len().min(SHOWN_BYTES_MAX)];
    cut.iter().map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '?' }).collect()
}

/// A word in lower case. What is longer than any name that is known is cut: it is none of them either way.
pub(crate) fn lower(word: &[u8]) -> String {
    shown(word).to_ascii_lowercase()
}
