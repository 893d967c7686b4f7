//! The tables, entry by entry.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod commands;
mod failures_of_others;
mod failures_of_others_sessions;
mod found_in_review;
mod found_in_review_sessions;
mod log;
mod rows;
mod spoken;
