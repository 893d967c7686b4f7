//! Places in a node where a test can have something go wrong: the process ends, a disk fails, a step takes its time.
//!
//! [`failpoint!`] marks a place, [`POINTS`] lists all of them. Without the feature `failpoints` nothing of it is in the
//! binary: the macro checks the name while it compiles, and comes to nothing. With it, `registry` holds what happens where.
//!
//! The crate `fail` does not do here: it has no way to end the process, counts nothing, takes any name without a word, and a pause in it
//! blocks a thread of the async runtime together with every task that waits behind it.

#[cfg(feature = "failpoints")]
mod action;
mod points;
#[cfg(feature = "failpoints")]
pub mod registry;

pub use points::{Kind, POINTS, Point, index_of};

/// Marks a place. What stands there depends on what can go wrong:
///
/// - `failpoint!("log::append::before")?;` may return an [`std::io::Error`];
/// - `if failpoint!("log::sync::before", step)? { … }` may too, or leave the step out;
/// - `if failpoint!("log::flush::before", skip) { … }` may leave it out;
/// - `failpoint!("grant::answer::before", pass);` only passes.
///
/// In all of them the process may end, or wait. Names are checked against [`POINTS`] at compile time.
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {{
        const AT: usize = $crate::index_of($name, $crate::Kind::Fails);
        $crate::registry::fail(AT)
    }};
    ($name:literal, step) => {{
        const AT: usize = $crate::index_of($name, $crate::Kind::Steps);
        $crate::registry::step(AT)
    }};
    ($name:literal, skip) => {{
        const AT: usize = $crate::index_of($name, $crate::Kind::Skips);
        $crate::registry::skip(AT)
    }};
    ($name:literal, pass) => {{
        const AT: usize = $crate::index_of($name, $crate::Kind::Passes);
        $crate::registry::pass(AT);
    }};
}

/// Marks a place where nothing happens: this build has no failpoints.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {{
        const _: usize = $crate::index_of($name, $crate::Kind::Fails);
        ::std::io::Result::Ok(())
    }};
    ($name:literal, step) => {{
        const _: usize = $crate::index_of($name, $crate::Kind::Steps);
        ::std::io::Result::Ok(true)
    }};
    ($name:literal, skip) => {{
        const _: usize = $crate::index_of($name, $crate::Kind::Skips);
        true
    }};
    ($name:literal, pass) => {{
        const _: usize = $crate::index_of($name, $crate::Kind::Passes);
    }};
}
