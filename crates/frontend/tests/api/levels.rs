//! Format levels as clients see them.

use leasehold_proto::v1;
use leasehold_proto::v1::cluster_service_client::ClusterServiceClient;
use leasehold_state_machine::{LEVEL_FIRST, LEVEL_MAX};
use tonic::Code;

use crate::server::{Server, Setup, acquire, open_session, renewal, under, verdict};

async fn status(server: &Server) -> v1::StatusResponse {
    ClusterServiceClient::new(server.channel()).status(v1::StatusRequest {}).await.unwrap().into_inner()
}

async fn raise(server: &Server, level: u32) -> Result<v1::RaiseLevelResponse, tonic::Status> {
    let mut cluster = ClusterServiceClient::new(server.channel());
    cluster.raise_level(v1::RaiseLevelRequest { level }).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn what_the_level_lacks_is_refused_by_name_until_it_is_raised() {
    let server = Setup { level_max: LEVEL_FIRST, ..Setup::default() }.start().await;
    let told = status(&server).await;
    assert_eq!((told.level, told.nodes[0].level_max), (LEVEL_FIRST, LEVEL_FIRST));
    let before = server.node.state().applied();
    let too_low = (Code::FailedPrecondition, "LEVEL_TOO_LOW".to_owned());
    let refused = server.locks().open_session(open_session(1)).await.unwrap_err();
    assert!(refused.message().contains("level 2") && refused.message().contains("at 1"), "{refused:?}");
    assert_eq!(verdict::<()>(Err(refused)), too_low);
    assert_eq!(verdict(server.locks().acquire(under(1, "a", v1::Mode::Shared, None)).await), too_low);
    let delayed = v1::AcquireRequest { lock_delay_ms: 5, ..acquire("a", None) };
    assert_eq!(verdict(server.locks().acquire(delayed).await), too_low);
    assert_eq!(server.node.state().applied(), before, "nothing reached the log");

    // What level 1 knows goes on, also beside what it does not.
    let (grant, lease) = server.hold("a").await;
    let exact = v1::RenewLease { lease: lease.clone(), ttl_ms: 5_000, exact_for_token: grant.token };
    let plain = v1::RenewLease { lease, ttl_ms: 0, exact_for_token: 0 };
    let (mut one, mut other) = (server.locks(), server.locks());
    let (exact, plain) = tokio::join!(one.renew(renewal(vec![exact])), other.renew(renewal(vec![plain])));
    assert_eq!(verdict(exact), too_low);
    assert!(plain.unwrap().into_inner().leases[0].alive);

    let unsupported = raise(&server, 2).await.unwrap_err();
    assert!(unsupported.message().contains("node 1 (up to 1)"), "{unsupported:?}");
    assert_eq!(verdict::<()>(Err(unsupported)), (Code::FailedPrecondition, "LEVEL_UNSUPPORTED".into()));

    let folder = server.shut_down().await;
    let server = Setup { folder, ..Setup::default() }.start().await;
    let told = status(&server).await;
    assert_eq!((told.level, told.nodes[0].level_max), (LEVEL_FIRST, LEVEL_MAX), "an upgrade alone raises nothing");
    let raised = raise(&server, 0).await.unwrap();
    assert_eq!((raised.level, raised.level_before), (LEVEL_MAX, LEVEL_FIRST));
    server.locks().open_session(open_session(1)).await.unwrap();
    assert_eq!(server.get("a").await.holders[0].token, grant.token);
    assert_eq!(verdict(raise(&server, 1).await), (Code::FailedPrecondition, "LEVEL_LOWER".into()));
}
