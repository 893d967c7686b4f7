//! The tables, entry by entry.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod commands;
mod failures_of_others;
mod found_in_review;
mod log;
mod rows;
