//! What comes over a connection: decoded alike wherever it is cut, understood or refused, evaluated, answered.

use bytes::{Bytes, BytesMut};
use leasehold_redis::{Command, Decoder, Entry, Holding, Protocol, Reply, parse};

/// However it is said, a line of a reply is one line.
fn encode(reply: &Reply) {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut out = BytesMut::new();
        reply.encode(protocol, &mut out);
        assert!(out.ends_with(b"\r\n"));
        if matches!(reply, Reply::Error(_) | Reply::Status(_)) {
            assert_eq!(out.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count(), 2);
        }
    }
}

/// The first byte says where to cut.
pub fn run(data: &[u8]) -> bool {
    let Some((cut, bytes)) = data.split_first() else { return false };
    let whole = Decoder::decode_pieces([bytes]);
    assert_eq!(Decoder::decode_pieces(bytes.chunks(usize::from(*cut) + 1)), whole);
    let understood = !whole.0.is_empty();
    for request in whole.0 {
        match parse(&request) {
            Err(reply) => encode(&reply),
            Ok(Command::Keys(command)) => {
                let held = Holding { owner: Bytes::from_static(b"v"), left_ms: 1000 };
                for entry in [Entry::Absent, Entry::Held(held), Entry::Delayed { left_ms: 5 }, Entry::Foreign] {
                    let entries = vec![entry; command.keys().len()];
                    if let Ok(evaluated) = command.evaluate(&entries) {
                        encode(&evaluated.reply);
                    }
                }
            }
            Ok(Command::CommandTable(reply)) => encode(&reply),
            Ok(command) => assert!(!command.name().is_empty()),
        }
    }
    understood
}

pub fn seeds() -> Vec<Vec<u8>> {
    let lines: [&[&[u8]]; 6] = [
        &[b"SET", b"lock", b"me", b"NX", b"PX", b"30000"],
        &[b"GET", b"lock"],
        &[b"DEL", b"lock", b"other"],
        &[
            b"EVAL",
            b"if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) end",
            b"1",
            b"k",
            b"v",
        ],
        &[b"HELLO", b"3", b"AUTH", b"user", b"secret", b"SETNAME", b"me"],
        &[b"PEXPIRE", b"lock", b"500"],
    ];
    let seed = |words: &&[&[u8]]| {
        let mut seed = vec![3];
        seed.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in *words {
            seed.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            seed.extend_from_slice(word);
            seed.extend_from_slice(b"\r\n");
        }
        seed
    };
    lines.iter().map(seed).chain([b"\x01PING\r\n".to_vec()]).collect()
}
