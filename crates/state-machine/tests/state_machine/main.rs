//! The tables, entry by entry.

mod against_reference;
mod failures_of_others;
mod log;
mod reference;
