//! The tables, entry by entry.

mod failures_of_others;
mod log;
