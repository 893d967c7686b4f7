use bytes::{Bytes, BytesMut};
use redis_protocol::{
    resp2::{decode::decode_bytes_mut, types::BytesFrame},
    resp3,
};

use super::{Protocol, Reply};

fn encoded(reply: &Reply, protocol: Protocol) -> String {
    let mut out = BytesMut::new();
    reply.encode(protocol, &mut out);
    String::from_utf8(out.to_vec()).expect("text")
}

fn example() -> Reply {
    let pair = |key: &str, value| (Reply::text(key), value);
    Reply::Array(vec![
        Reply::ok(),
        Reply::Error("ERR two\r\nlines".into()),
        Reply::Integer(-7),
        Reply::Bulk(Bytes::from_static(b"a\r\nb")),
        Reply::Nil,
        Reply::Map(vec![pair("z", Reply::Integer(1)), pair("a", Reply::Array(vec![]))]),
    ])
}

#[test]
fn resp2_has_bulk_nulls_and_flat_maps_in_their_order() {
    let expected =
        "*6\r\n+OK\r\n-ERR two  lines\r\n:-7\r\n$4\r\na\r\nb\r\n$-1\r\n*4\r\n$1\r\nz\r\n:1\r\n$1\r\na\r\n*0\r\n";
    assert_eq!(encoded(&example(), Protocol::Resp2), expected);
}

#[test]
fn resp3_has_nulls_and_maps_in_their_order() {
    let expected =
        "*6\r\n+OK\r\n-ERR two  lines\r\n:-7\r\n$4\r\na\r\nb\r\n_\r\n%2\r\n$1\r\nz\r\n:1\r\n$1\r\na\r\n*0\r\n";
    assert_eq!(encoded(&example(), Protocol::Resp3), expected);
}

#[test]
fn the_library_reads_what_is_written() {
    let mut resp2 = BytesMut::from(encoded(&example(), Protocol::Resp2).as_str());
    let (frame, _, _) = decode_bytes_mut(&mut resp2).expect("RESP2").expect("whole");
    assert!(matches!(frame, BytesFrame::Array(items) if items.len() == 6));
    let mut resp3 = BytesMut::from(encoded(&example(), Protocol::Resp3).as_str());
    let frame = resp3::decode::complete::decode_bytes_mut(&mut resp3).expect("RESP3").expect("whole").0;
    assert!(matches!(frame, resp3::types::BytesFrame::Array { data, .. } if data.len() == 6));
    assert!(resp2.is_empty() && resp3.is_empty());
}
