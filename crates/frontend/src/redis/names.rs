//! Keys as lock names, values as owners, and back.

use bytes::Bytes;

/// What the owner of a binary value begins with.
const BINARY: &str = "hex:";
/// How much of a key an error shows.
const SHOWN_BYTES_MAX: usize = 64;

/// The lock that a key stands for; or what is wrong with the key.
pub(super) fn lock_name(key: &[u8]) -> Result<&str, String> {
    match std::str::from_utf8(key) {
        Ok(name) if !name.chars().any(char::is_control) => Ok(name),
        _ => {
            let shown = key[..key.len().min(SHOWN_BYTES_MAX)].escape_ascii();
            let more = if key.len() > SHOWN_BYTES_MAX { "…" } else { "" };
            Err(format!("'{shown}{more}' is not UTF-8 without control characters, as the name of a lock must be"))
        }
    }
}

/// The owner that a value stands for. No two values have the same; one that is no printable text, or looks like what those become,
/// is written in hexadecimal digits.
pub(super) fn owner(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if !text.is_empty() && !text.starts_with(BINARY) && !text.chars().any(char::is_control) => {
            text.to_owned()
        }
        _ => value.iter().fold(BINARY.to_owned(), |mut owner, byte| {
            for digit in [byte >> 4, byte & 15] {
                owner.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
            }
            owner
        }),
    }
}

/// The value that a lock has under an owner.
pub(super) fn value(owner: &str) -> Bytes {
    owner.strip_prefix(BINARY).and_then(from_hex).unwrap_or_else(|| Bytes::copy_from_slice(owner.as_bytes()))
}

/// Lower case only, as [`owner`] writes it: the owner of another door that only looks so stays what it is.
fn from_hex(digits: &str) -> Option<Bytes> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = pair { Some(digit(*high)? << 4 | digit(*low)?) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back_and_printable_text_stays_as_it_is() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [b"worker-7".as_slice(), "Zoë".as_bytes(), b"", b"hex:", b"hex:00", b"a\nb", b"\xff\x00", &all] {
            assert_eq!(value(&owner(bytes)), bytes);
        }
        assert_eq!(owner(b"worker-7"), "worker-7");
        assert_eq!(owner(b"\x00\xff"), "hex:00ff");
        assert_eq!(owner(b""), "hex:");
    }

    #[test]
    fn no_two_values_have_the_same_owner() {
        assert_ne!(owner(b"hex:00ff"), owner(b"\x00\xff"));
        assert_eq!(value("hex:AB"), "hex:AB", "not one of ours");
        assert_eq!(value("hex:abc"), "hex:abc");
    }

    #[test]
    fn a_bad_key_is_named_and_cut() {
        assert_eq!(lock_name("jobs/é".as_bytes()), Ok("jobs/é"));
        assert!(lock_name(b"a\xff").unwrap_err().contains("'a\\xff'"));
        assert!(lock_name(b"a\nb").unwrap_err().contains("'a\\nb'"));
        assert!(lock_name(&[0; 1000]).unwrap_err().len() < 400);
    }
}
