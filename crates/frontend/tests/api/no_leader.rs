//! A node without quorum answers, within the caller's time, and says that nothing was done.

use std::time::Duration;

use leasehold_frontend::FrontendOptions;
use leasehold_proto::v1;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::server::{Server, acquire, release, soon, verdict};

fn within<T>(message: T, time: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request
}

fn check<T: std::fmt::Debug>(result: Result<T, Status>) {
    let status = result.unwrap_err();
    assert!(status.get_details_retry_info().is_some(), "it says when to try again: {status:?}");
    assert_eq!(verdict::<()>(Err(status)), (Code::Unavailable, "NO_LEADER".into()));
}

#[tokio::test]
async fn writes_and_reads_are_unavailable_within_the_callers_time() {
    let server = Server::start_without_quorum(FrontendOptions::default()).await;
    // Long enough for an answer in time on a busy machine: after it the client library makes up its own.
    let time = Duration::from_secs(3);
    let to_release = release("a", 1);
    let get = v1::GetRequest { name: "a".into(), ..Default::default() };
    let mut locks = [(); 5].map(|()| server.locks());
    let [one, two, three, four, five] = &mut locks;
    let (tried, waited, released, got, listed) = soon(Box::pin(async {
        tokio::join!(
            one.acquire(within(acquire("a", None), time)),
            two.acquire(within(acquire("a", Some(30_000)), time)),
            three.release(within(to_release, time)),
            four.get(within(get, time)),
            five.list(within(v1::ListRequest::default(), time)),
        )
    }))
    .await;
    check(tried);
    check(waited);
    check(released);
    check(got);
    check(listed);
}

#[tokio::test]
async fn calls_without_deadline_are_bounded_too() {
    let options = FrontendOptions { call_default: Duration::from_millis(300), ..FrontendOptions::default() };
    let server = Server::start_without_quorum(options).await;
    check(soon(server.locks().acquire(acquire("a", Some(30_000)))).await);
}

#[tokio::test]
async fn stale_reads_are_still_answered() {
    let server = Server::start_without_quorum(FrontendOptions::default()).await;
    let get = v1::GetRequest { name: "a".into(), stale: true, ..Default::default() };
    let lock = soon(server.locks().get(get)).await.unwrap().into_inner().lock.unwrap();
    assert!(lock.holders.is_empty());
}
