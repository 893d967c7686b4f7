//! Data goes to stdout, everything else to stderr; only here.

use std::io::Write;
use std::time::Duration;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::exit::Failure;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs: one JSON value a line.
    Json,
}

/// A line of data. A reader that has gone (`| head`) is not an error worth telling: false, and there is no point in going on.
pub(crate) fn data(line: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

/// Data that is lines already.
pub(crate) fn bytes(text: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text).and_then(|()| out.flush());
}

/// A line for the person at the terminal.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// One JSON value, on a line. Says whether anybody reads it.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<bool, Failure> {
    let line = serde_json::to_string(value).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(data(&line))
}

/// Rows under a header, in columns.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    table_without_empty(N, header, rows);
}

/// The same; of the columns after the first `always` only those in which a row has something.
pub(crate) fn table_without_empty<const N: usize>(
    always: usize,
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) {
    let rows: Vec<[String; N]> = rows.into_iter().collect();
    let shown: Vec<usize> = (0..N).filter(|at| *at < always || rows.iter().any(|row| !row[*at].is_empty())).collect();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(shown.iter().map(|at| header[*at]));
    for row in &rows {
        table.add_row(shown.iter().map(|at| printable(&row[*at])));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        data(line.trim_end());
    }
}

/// Owners, metadata and values come from strangers: nothing in them may drive the terminal.
pub(crate) fn printable(text: &str) -> String {
    if text.chars().any(char::is_control) { text.escape_debug().to_string() } else { text.to_owned() }
}

/// A value for people: text where it is that.
pub(crate) fn value_text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("0x{}", hex(value)),
    }
}

/// A value for programs: text, or its bytes in hexadecimal where it is none.
#[derive(Debug, Serialize)]
pub(crate) struct ValueJson {
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_hex: Option<String>,
}

impl From<&[u8]> for ValueJson {
    fn from(value: &[u8]) -> Self {
        match std::str::from_utf8(value) {
            Ok(text) => Self { value: Some(text.to_owned()), value_hex: None },
            Err(_) => Self { value: None, value_hex: Some(hex(value)) },
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A span for people, to the millisecond.
pub(crate) fn span(span: Duration) -> String {
    let millis = Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    humantime::format_duration(millis).to_string()
}

pub(crate) fn span_ms(millis: u64) -> String {
    span(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(printable("plain ünïcode"), "plain ünïcode");
    }

    #[test]
    fn values_are_text_where_they_can_be() {
        let json = |value: &[u8]| serde_json::to_string(&ValueJson::from(value)).unwrap();
        assert_eq!(json(b"10.0.0.7"), r#"{"value":"10.0.0.7"}"#);
        assert_eq!(json(&[0xff, 0x01]), r#"{"value":null,"value_hex":"ff01"}"#);
        assert_eq!((value_text(b"a"), value_text(&[0xff])), ("a".to_owned(), "0xff".to_owned()));
    }

    #[test]
    fn spans_read_naturally() {
        assert_eq!(span_ms(29_940), "29s 940ms");
        assert_eq!(span_ms(0), "0s");
    }
}
