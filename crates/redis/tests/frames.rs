//! Whatever comes over a connection: the decoder and the parser take it or refuse it, and never panic.

use bytes::Bytes;
use leasehold_redis::{Decoder, Request, parse};
use proptest::{collection::vec, prelude::*};

fn encode(words: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend(format!("${}\r\n", word.len()).into_bytes());
        out.extend(word);
        out.extend(b"\r\n");
    }
    out
}

/// Bytes that look like frames often enough to get far.
fn nearly_frames() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => Just(b"\r\n".to_vec()),
        2 => Just(b"*".to_vec()),
        3 => Just(b"$".to_vec()),
        2 => Just(b"\"".to_vec()),
        1 => Just(b"'".to_vec()),
        1 => Just(b"\\x4".to_vec()),
        2 => Just(b" ".to_vec()),
        4 => (-2_i64..8).prop_map(|number| number.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        2 => Just(b"$3\r\nGET\r\n".to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ];
    vec(part, 0..60).prop_map(|parts| parts.concat())
}

/// Words of commands, in any order.
fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let known = [
        "HELLO",
        "AUTH",
        "SETNAME",
        "SELECT",
        "CLIENT",
        "SETINFO",
        "lib-name",
        "INFO",
        "COMMAND",
        "DOCS",
        "SET",
        "NX",
        "XX",
        "EX",
        "PX",
        "GET",
        "KEEPTTL",
        "DEL",
        "EXISTS",
        "EXPIRE",
        "PEXPIRE",
        "GT",
        "LT",
        "MSET",
        "MSETNX",
        "GETRANGE",
        "EVAL",
        "EVALSHA",
        "SCRIPT",
        "LOAD",
        "FLUSH",
        "0",
        "1",
        "2",
        "3",
        "-1",
        "9223372036854775807",
        "k",
    ];
    let word = prop_oneof![
        8 => proptest::sample::select(known.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..50),
    ];
    vec(word, 1..9)
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_alike_wherever_they_are_cut(
        bytes in prop_oneof![nearly_frames(), vec(any::<u8>(), 0..300)],
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole = Decoder::decode_pieces([&bytes[..]]);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
        prop_assert_eq!(Decoder::decode_pieces(pieces), whole.clone());
        prop_assert_eq!(Decoder::decode_pieces(bytes.chunks(1)), whole);
    }

    #[test]
    fn requests_come_out_as_they_went_in(requests in vec(vec(vec(any::<u8>(), 0..40), 1..6), 0..5), cut in 1_usize..64) {
        let bytes: Vec<u8> = requests.iter().flat_map(|words| encode(words)).collect();
        let (decoded, error) = Decoder::decode_pieces(bytes.chunks(cut));
        prop_assert_eq!(error, None);
        let expected: Vec<_> = requests
            .into_iter()
            .map(|words| Request { words: words.into_iter().map(Bytes::from).collect() })
            .collect();
        prop_assert_eq!(decoded, expected);
    }

    #[test]
    fn any_words_are_understood_or_refused(words in prop_oneof![words(), vec(vec(any::<u8>(), 0..20), 0..5)]) {
        if let Ok(command) = parse(&Request { words: words.into_iter().map(Bytes::from).collect() }) {
            prop_assert!(!command.name().is_empty());
        }
    }
}
