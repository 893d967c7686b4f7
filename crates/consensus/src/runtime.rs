//! The async runtime of a node, chosen in one place: what openraft runs on, and how tasks are spawned.

use std::future::Future;

use tokio::task::JoinHandle;

/// The runtime that openraft is given. A simulation puts its deterministic one here.
pub type Runtime = openraft_rt_tokio::TokioRuntime;

/// Spawns a task. The only place of the server that does.
pub fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(task)
}

/// Runs blocking file work off the async threads.
pub fn spawn_blocking<F, T>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(work)
}
