//! Who may call, and whose locks a call means.

use leasehold_frontend::{AppIdFrom, DaprListener, DaprOptions, DaprStore, DaprToken, KeyPrefix};
use tonic::Code;

use super::app::{App, Failed, STORE, both, get, healthy, with};
use crate::server::Server;

fn store(name: &str, change: impl FnOnce(&mut DaprStore)) -> DaprStore {
    let mut store = DaprStore { app_id: None, ..DaprStore::open_to_all(name) };
    change(&mut store);
    store
}

fn token(token: &str, app_id: Option<&str>) -> DaprToken {
    DaprToken { token: token.into(), app_id: app_id.map(str::to_owned) }
}

fn unauthenticated<T: std::fmt::Debug>(result: Result<T, Failed>) {
    match result.unwrap_err() {
        Failed::Grpc(status) => {
            assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "invalid api token"));
        }
        Failed::Http(status, body) => assert_eq!((status, body.trim_end()), (401, "invalid api token")),
    }
}

/// Who holds a lock, as its clients see it.
async fn owner(server: &Server, name: &str) -> Option<String> {
    server.get(name).await.holders.first().map(|holder| holder.owner.clone())
}

#[tokio::test]
async fn where_there_are_tokens_one_of_them_is_asked_for() {
    let tokens = vec![token("first-secret", None), token("second-secret", None)];
    let stores = vec![DaprStore::open_to_all(STORE)];
    let server = Server::start_with(with(DaprOptions { stores, tokens, ..DaprOptions::default() })).await;
    for (number, app) in both(&server).into_iter().enumerate() {
        let resource = format!("r{number}");
        for wrong in [None, Some(""), Some("first-secre"), Some("first-secret2"), Some("FIRST-SECRET")] {
            let app = wrong.map_or(app.clone(), |wrong| app.saying("dapr-api-token", wrong));
            unauthenticated(app.try_lock_in(STORE, &resource, "o", 60).await);
            unauthenticated(app.unlock_in(STORE, &resource, "o").await);
            unauthenticated(app.metadata_id().await);
            // Before anything else is looked at.
            unauthenticated(app.try_lock_in("nowhere", "", "", 0).await);
        }
        assert_eq!(owner(&server, &format!("lock||default||{resource}")).await, None);
        assert!(app.saying("dapr-api-token", "second-secret").try_lock(&resource, "o", 60).await);
        assert_eq!(app.saying("dapr-api-token", "first-secret").unlock(&resource, "o").await, 0);
    }
    // Health is everybody's.
    healthy(server.http).await;
    server.hold("native").await;
}

#[tokio::test]
async fn the_app_id_comes_from_where_the_store_says() {
    let stores = vec![
        store("header", |it| it.app_id = Some("fallback".into())),
        store("token", |it| it.app_id_from = AppIdFrom::Token),
        store("fixed", |it| (it.app_id_from, it.app_id) = (AppIdFrom::Fixed, Some("one".into()))),
    ];
    let tokens = vec![token("t-orders", Some("orders")), token("t-billing", Some("billing")), token("t-none", None)];
    let server = Server::start_with(with(DaprOptions { stores, tokens, ..DaprOptions::default() })).await;
    for (number, app) in both(&server).into_iter().enumerate() {
        let r = format!("r{number}");
        let orders = app.saying("dapr-api-token", "t-orders").saying("dapr-app-id", "said");
        let billing = app.saying("dapr-api-token", "t-billing");
        for (app, store, scope) in [
            (&orders, "header", "said"),
            (&billing, "header", "fallback"),
            (&orders, "token", "orders"),
            (&billing, "token", "billing"),
            (&orders, "fixed", "one"),
        ] {
            assert!(app.try_lock_in(store, &r, scope, 60).await.unwrap(), "{store}, {scope}");
            assert_eq!(owner(&server, &format!("lock||{scope}||{r}")).await.as_deref(), Some(scope));
        }
        assert!(!billing.try_lock_in("fixed", &r, "b", 60).await.unwrap(), "both are the same app there");
        assert_eq!(billing.unlock_in("token", &r, "orders").await.unwrap(), 2, "another app's is not found");
        let none = app.saying("dapr-api-token", "t-none").try_lock_in("token", &r, "o", 60).await;
        assert!(none.unwrap_err().expect(Code::Internal, 500, "ERR_TRY_LOCK").contains("token"));
        assert_eq!(orders.metadata_id().await.unwrap(), "said");
    }
}

#[tokio::test]
async fn the_prefix_and_the_namespace_are_the_stores() {
    let stores = vec![
        store("named", |it| it.key_prefix = KeyPrefix::Name),
        store("bare", |it| it.key_prefix = KeyPrefix::None),
        store("text", |it| it.key_prefix = KeyPrefix::Text("shared".into())),
        store("apart", |it| (it.key_prefix, it.namespace) = (KeyPrefix::None, "elsewhere".into())),
    ];
    let server = Server::start_with(with(DaprOptions { stores, ..DaprOptions::default() })).await;
    let [grpc, http] = both(&server);
    for (store, name) in [("named", "lock||named||r"), ("bare", "lock||r"), ("text", "lock||shared||r")] {
        assert!(grpc.try_lock_in(store, "r", store, 60).await.unwrap());
        assert!(!http.try_lock_in(store, "r", store, 60).await.unwrap());
        assert_eq!(owner(&server, name).await.as_deref(), Some(store));
    }
    assert!(http.try_lock_in("apart", "r", "o", 60).await.unwrap(), "another namespace is another lock");
    assert_eq!(server.node.state().lock("elsewhere", "lock||r").unwrap().holders.len(), 1);
}

#[tokio::test]
async fn listeners_of_their_own_serve_dapr_alone_each_for_its_app() {
    let any = || Some("127.0.0.1:0".to_owned());
    let listeners = vec![
        DaprListener { grpc: any(), http: any(), app_id: Some("orders".into()) },
        DaprListener { grpc: any(), http: None, app_id: Some("billing".into()) },
    ];
    let stores = vec![store(STORE, |it| it.app_id_from = AppIdFrom::Listener)];
    let mut server = Server::start_with(with(DaprOptions { stores, listeners, ..DaprOptions::default() })).await;
    let grpc = |at| App::Grpc { at, headers: Vec::new() };
    let http = |at| App::Http { at, headers: Vec::new() };
    let [orders, billing] = server.dapr.as_slice() else { panic!("two listeners: {:?}", server.dapr) };
    let (orders_grpc, orders_http) = (grpc(orders.grpc.unwrap()), http(orders.http.unwrap()));
    let billing_grpc = grpc(billing.grpc.unwrap());
    let orders_port = orders.http.unwrap();
    assert!(orders_grpc.try_lock("r", "o", 60).await);
    assert!(!orders_http.try_lock("r", "o", 60).await, "the same app");
    assert!(billing_grpc.try_lock("r", "b", 60).await, "another app");
    assert_eq!(owner(&server, "lock||orders||r").await.as_deref(), Some("o"));
    assert_eq!(orders_http.metadata_id().await.unwrap(), "orders");
    // The ports for everything are nobody's.
    let nobody = both(&server)[0].try_lock_in(STORE, "r", "o", 60).await;
    assert!(nobody.unwrap_err().expect(Code::Internal, 500, "").contains("listener"));

    healthy(orders_port).await;
    assert_eq!(get(orders_port, "/metrics").await.status, 404, "nothing but Dapr");
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", orders.grpc.unwrap())).unwrap();
    let mut native = leasehold_proto::v1::lock_service_client::LockServiceClient::new(channel.connect_lazy());
    let refused = native.list(leasehold_proto::v1::ListRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    server.stop_frontend().await;
    assert!(tokio::net::TcpStream::connect(orders_port).await.is_err(), "it stops with the node");
}
