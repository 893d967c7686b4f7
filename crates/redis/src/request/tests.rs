use bytes::Bytes;

use super::{Decoder, Request};

/// All requests in these bytes, and the error at their end.
fn decode(bytes: &[u8]) -> (Vec<Request>, Option<String>) {
    Decoder::decode_pieces([bytes])
}

fn request(words: &[&str]) -> Request {
    Request { words: words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect() }
}

fn error_of(bytes: &[u8]) -> String {
    let (requests, error) = decode(bytes);
    assert_eq!(requests, []);
    error.expect("an error")
}

#[test]
fn arrays_of_bulk_strings_and_inline_commands_follow_each_other() {
    let (requests, error) =
        decode(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n*0\r\n\r\n*-1\r\n  SET k 'a b' \"c\\x41\\n\"\n");
    assert_eq!(error, None);
    assert_eq!(requests, [request(&["GET", "k"]), request(&["PING"]), request(&["SET", "k", "a b", "cA\n"])]);
}

#[test]
fn a_request_is_the_same_wherever_it_is_cut() {
    let bytes = b"*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$0\r\n\r\nPING 'x y'\r\n*1\r\n$4\r\nQUIT\r\n";
    let whole = decode(bytes);
    assert_eq!(whole.0.len(), 3);
    for at in 0..bytes.len() {
        assert_eq!(Decoder::decode_pieces([&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
    }
    assert_eq!(Decoder::decode_pieces(bytes.chunks(1)), whole);
}

#[test]
fn lengths_beyond_their_bounds_are_refused_as_they_are_declared() {
    assert!(error_of(b"*1025\r\n").starts_with("ERR Protocol error: invalid multibulk length"));
    assert!(error_of(b"*9999999999999999999\r\n").starts_with("ERR Protocol error: invalid multibulk length"));
    assert!(error_of(b"*1\r\n$524289\r\n").starts_with("ERR Protocol error: invalid bulk length: at most 524288"));
    assert!(error_of(b"*1\r\n$-1\r\n").starts_with("ERR Protocol error: invalid bulk length"));
    assert!(error_of(b"*+1\r\n").starts_with("ERR Protocol error: invalid multibulk length"));
    assert!(error_of(b"*00000000000000000000000000000001").contains("too big mbulk count string"));
    assert!(error_of(b"*1\r\n$00000000000000000000000000000001").contains("too big bulk count string"));
    let word = vec![b'x'; Decoder::WORD_BYTES_MAX];
    let mut bytes = b"*3\r\n$524288\r\n".to_vec();
    bytes.extend_from_slice(&word);
    bytes.extend_from_slice(b"\r\n$524288\r\n");
    assert!(error_of(&bytes).contains("at most 1048576 bytes a request"));
    assert!(error_of(&[b'x'; Decoder::INLINE_BYTES_MAX + 1]).contains("too big inline request"));
}

#[test]
fn garbage_is_named() {
    assert_eq!(error_of(b"*1\r\n:5\r\n"), "ERR Protocol error: expected '$', got ':'");
    assert_eq!(error_of(b"*1\r\n\r\n"), "ERR Protocol error: expected '$', got '\\r'");
    assert_eq!(error_of(b"SET 'k\r\n"), "ERR Protocol error: unbalanced quotes in request");
    assert_eq!(error_of(b"SET \"k\"x\r\n"), "ERR Protocol error: unbalanced quotes in request");
    assert!(error_of(b"*1\r\n$1\r\nabc\r\n").contains("no line break after so many bytes"));
    assert!(error_of(&b"a ".repeat(1025).into_iter().chain(*b"\n").collect::<Vec<_>>()).contains("too many words"));
}

#[test]
fn a_browser_is_cut_off_before_its_body_is_looked_at() {
    let (requests, error) = decode(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET k v NX PX 1000\r\n");
    assert_eq!(requests, []);
    assert!(error.expect("an error").contains("not HTTP"));
}

#[test]
fn a_word_of_the_greatest_length_comes_through() {
    let mut bytes = b"*2\r\n$4\r\nECHO\r\n$524288\r\n".to_vec();
    bytes.extend(vec![b'x'; Decoder::WORD_BYTES_MAX]);
    bytes.extend_from_slice(b"\r\n");
    let (requests, error) = Decoder::decode_pieces(bytes.chunks(1000));
    assert_eq!(error, None);
    assert_eq!(requests[0].words[1].len(), Decoder::WORD_BYTES_MAX);
}
