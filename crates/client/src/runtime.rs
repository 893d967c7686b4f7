//! The async runtime of the client, in one place: how tasks are spawned and how they sleep.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

/// Spawns the client's tasks on the runtime that the client was made on, also from a `drop` outside of it, and counts
/// the ones that should be finished before the process ends.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    handle: Handle,
    /// Background work under way: cancels and releases whose caller has gone.
    errands: watch::Sender<usize>,
}

impl Spawner {
    /// Uses the current runtime; panics outside of one, as tokio itself does.
    pub(crate) fn current() -> Self {
        Self { handle: Handle::current(), errands: watch::Sender::new(0) }
    }

    /// Spawns a task that lives as long as the client.
    pub(crate) fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.handle.spawn(task);
    }

    /// Spawns a task that [`Spawner::errands_done`] waits for.
    pub(crate) fn spawn_errand<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let count = Errand::begin(self.errands.clone());
        self.handle.spawn(async move {
            let _count = count;
            task.await;
        });
    }

    /// Waits until no errand is under way.
    pub(crate) async fn errands_done(&self) {
        // The sender is ours: waiting cannot fail.
        let _ = self.errands.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// Counts one errand from its spawn to its end, however it ends.
struct Errand(watch::Sender<usize>);

impl Errand {
    fn begin(errands: watch::Sender<usize>) -> Self {
        errands.send_modify(|count| *count += 1);
        Self(errands)
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Sleeps. Does not count suspend: whoever guards a lease looks at the clock again afterwards.
pub(crate) async fn sleep(span: Duration) {
    tokio::time::sleep(span).await;
}

/// The future's output, or `None` once `span` has passed.
pub(crate) async fn within<F: Future>(span: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(span, future).await.ok()
}
