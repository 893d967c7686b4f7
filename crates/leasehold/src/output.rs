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

/// A line of data. A reader that has gone (`| head`) is not an error worth telling.
pub(crate) fn data(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A line for the person at the terminal.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// One JSON value, on a line.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let line = serde_json::to_string(value).map_err(|error| Failure::internal(error.to_string()))?;
    data(&line);
    Ok(())
}

/// Rows under a header, in columns.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row.map(printable));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for line in table.lines() {
        data(line.trim_end());
    }
}

/// Owners and metadata come from strangers: nothing in them may drive the terminal.
fn printable(text: String) -> String {
    if text.chars().any(char::is_control) { text.escape_debug().to_string() } else { text }
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
        assert_eq!(printable("a\u{1b}[2Jb".to_owned()), "a\\u{1b}[2Jb");
        assert_eq!(printable("plain ünïcode".to_owned()), "plain ünïcode");
    }

    #[test]
    fn spans_read_naturally() {
        assert_eq!(span_ms(29_940), "29s 940ms");
        assert_eq!(span_ms(0), "0s");
    }
}
