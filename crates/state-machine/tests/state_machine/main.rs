//! The tables, entry by entry.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod against_reference;
mod commands;
mod failures_of_others;
mod found_in_review;
mod log;
mod reference;
mod rows;
