//! The ordinary life of locks and leases, one call at a time.

use leasehold_proto::v1;
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_proto::v1::cluster_service_client::ClusterServiceClient;
use tonic::Code;

use crate::server::{Server, acquire, bad_field, granted, release, renewal, request_id, verdict};

fn renew(lease: &str, ttl_ms: u64) -> v1::RenewLease {
    v1::RenewLease { lease: lease.into(), ttl_ms, exact_for_token: 0 }
}

#[tokio::test]
async fn a_lock_goes_from_hand_to_hand_under_growing_tokens() {
    let server = Server::start().await;
    let (first, _) = server.hold("a").await;
    server.release("a", first.token).await;
    let (second, _) = server.hold("a").await;
    assert!(second.token > first.token);

    let again = server.locks().release(release("a", first.token)).await.unwrap().into_inner();
    assert_eq!((again.released, again.reason()), (false, v1::LossReason::Released));
    let got = server.locks().get(v1::GetRequest { name: "a".into(), ..Default::default() }).await.unwrap();
    let lock = got.into_inner().lock.unwrap();
    assert_eq!(lock.namespace, "default");
    assert_eq!(lock.holders[0].token, second.token, "a late release harms nobody");
}

#[tokio::test]
async fn a_try_on_a_held_lock_tells_who_holds_it() {
    let server = Server::start().await;
    let (grant, lease) = server.hold("a").await;
    let answer = server.locks().acquire(acquire("a", None)).await.unwrap().into_inner();
    let Some(Acquired::Held(held)) = answer.result else { panic!("not held: {answer:?}") };
    assert_eq!((held.name.as_str(), held.waiters), ("a", 0));
    assert_eq!((held.holders[0].token, held.holders[0].owner.as_str()), (grant.token, "tester"));
    assert_eq!(held.holders[0].lease, lease);
}

#[tokio::test]
async fn the_same_request_has_one_effect() {
    let server = Server::start().await;
    let mut request = acquire("a", None);
    request.request_id = request_id(1);
    let first = granted(server.locks().acquire(request.clone()).await.unwrap().into_inner());
    request.attempt = 2;
    let second = granted(server.locks().acquire(request.clone()).await.unwrap().into_inner());
    assert_eq!((&first.lease, first.grants[0].token), (&second.lease, second.grants[0].token));

    request.attempt = 1;
    assert_eq!(verdict(server.locks().acquire(request.clone()).await), (Code::Aborted, "SUPERSEDED".into()));
    request.attempt = 3;
    request.owner = "somebody else".into();
    let verdict = verdict(server.locks().acquire(request).await);
    assert_eq!(verdict, (Code::InvalidArgument, "BODY_MISMATCH".into()));
}

#[tokio::test]
async fn several_locks_are_all_or_nothing() {
    let server = Server::start().await;
    let (grant, _) = server.hold("b").await;
    let mut both = acquire("a", None);
    both.locks.push(v1::LockRequest { name: "b".into(), ..Default::default() });
    let answer = server.locks().acquire(both.clone()).await.unwrap().into_inner();
    assert!(matches!(&answer.result, Some(Acquired::Held(held)) if held.name == "b"), "{answer:?}");
    server.release("b", grant.token).await;
    let granted = granted(server.locks().acquire(both).await.unwrap().into_inner());
    assert_eq!(granted.grants.len(), 2);
}

#[tokio::test]
async fn another_locks_token_is_refused() {
    let server = Server::start().await;
    let (grant, _) = server.hold("a").await;
    let verdict = verdict(server.locks().release(release("b", grant.token)).await);
    assert_eq!(verdict, (Code::FailedPrecondition, "WRONG_TOKEN".into()));
    assert_eq!(bad_field(server.locks().release(release("a", 0)).await), "token");
    assert_eq!(server.node.state().lock("default", "a").unwrap().holders.len(), 1);
}

#[tokio::test]
async fn renewals_are_answered_one_by_one() {
    let server = Server::start().await;
    let (_, lease) = server.hold("a").await;
    let leases = vec![renew("00000000000000ff", 0), renew(&lease, 120_000), renew(&lease, 1)];
    let answer = server.locks().renew(renewal(leases)).await.unwrap().into_inner();
    assert!(!answer.leases[0].alive);
    assert!(answer.leases[1].alive);
    assert!((60_001..=120_000).contains(&answer.leases[1].ttl_ms), "{}", answer.leases[1].ttl_ms);
    let error = answer.leases[2].error.as_ref().unwrap();
    assert_eq!((error.code, error.field.as_str()), (Code::InvalidArgument.into(), "leases[2].ttl_ms"));

    let alone = renewal(vec![renew(&lease, 1)]);
    assert_eq!(bad_field(server.locks().renew(alone).await), "leases[0].ttl_ms");
    let unknown = renewal(vec![renew("00000000000000ff", 0)]);
    assert!(!server.locks().renew(unknown).await.unwrap().into_inner().leases[0].alive);
}

#[tokio::test]
async fn closing_a_lease_frees_what_hangs_on_it() {
    let server = Server::start().await;
    let (_, lease) = server.hold("a").await;
    let close = || v1::CloseLeaseRequest { lease: lease.clone() };
    let closed = server.locks().close_lease(close()).await.unwrap().into_inner();
    assert_eq!((closed.closed, closed.grants_ended), (true, 1));
    assert!(!server.locks().close_lease(close()).await.unwrap().into_inner().closed);
    server.hold("a").await;
}

#[tokio::test]
async fn a_free_lock_is_an_ordinary_answer() {
    let server = Server::start().await;
    let request = v1::GetRequest { namespace: "other".into(), name: "nobody's".into(), stale: false };
    let lock = server.locks().get(request).await.unwrap().into_inner().lock.unwrap();
    assert_eq!((lock.namespace.as_str(), lock.name.as_str()), ("other", "nobody's"));
    assert!(lock.holders.is_empty() && lock.waiters.is_empty());
    assert!(lock.revision > 0);
}

#[tokio::test]
async fn pages_follow_each_other_without_gap() {
    let server = Server::start().await;
    for name in ["b/1", "a/1", "b/3", "b/2", "c", "b/4", "b/5"] {
        server.hold(name).await;
    }
    let mut names = Vec::new();
    let mut page_token = String::new();
    let mut pages = 0;
    loop {
        let request = v1::ListRequest { prefix: "b/".into(), page_size: 2, page_token, ..Default::default() };
        let page = server.locks().list(request).await.unwrap().into_inner();
        names.extend(page.locks.into_iter().map(|lock| lock.name));
        pages += 1;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["b/1", "b/2", "b/3", "b/4", "b/5"]);
    assert_eq!(pages, 3);
    let foreign = v1::ListRequest { page_token: "nonsense".into(), ..Default::default() };
    assert_eq!(bad_field(server.locks().list(foreign).await), "page_token");
    let greedy = v1::ListRequest { page_size: 1_001, ..Default::default() };
    assert_eq!(bad_field(server.locks().list(greedy).await), "page_size");
}

#[tokio::test]
async fn the_status_lists_the_members() {
    let server = Server::start().await;
    let mut cluster = ClusterServiceClient::new(server.channel());
    let status = cluster.status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.leader, status.node_id), (Some(1), 1));
    assert_eq!(status.cluster_id.len(), 32);
    assert_eq!(status.nodes.len(), 1);
    assert_eq!(status.nodes[0].address, server.client.to_string());
    assert_eq!(status.nodes[0].role(), v1::Role::Leader);
    assert!(status.nodes[0].up && status.nodes[0].applied > 0);
}
