//! An application that uses Dapr's lock API, over either transport.

use std::net::SocketAddr;

use leasehold_frontend::{DaprOptions, DaprStore, FrontendOptions};
use leasehold_proto::dapr;
use leasehold_proto::dapr::dapr_client::DaprClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::server::{Server, soon};

pub(super) const STORE: &str = "lockstore";

/// One port of Dapr's API, and what the application says with every call.
#[derive(Debug, Clone)]
pub(super) enum App {
    Grpc { at: SocketAddr, headers: Vec<(&'static str, String)> },
    Http { at: SocketAddr, headers: Vec<(&'static str, String)> },
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Failed {
    Grpc(Status),
    /// Status and body.
    Http(u16, String),
}

/// An answer of HTTP.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// The options of a node with the store that everybody may use.
pub(super) fn options() -> FrontendOptions {
    with(DaprOptions { stores: vec![DaprStore::open_to_all(STORE)], ..DaprOptions::default() })
}

pub(super) fn with(dapr: DaprOptions) -> FrontendOptions {
    FrontendOptions { dapr, ..FrontendOptions::default() }
}

/// The same application over both.
pub(super) fn both(server: &Server) -> [App; 2] {
    [App::Grpc { at: server.client, headers: Vec::new() }, App::Http { at: server.http, headers: Vec::new() }]
}

/// Sends text as it stands, and reads all that comes.
pub(super) async fn exchange(at: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, body: body.to_owned() }
}

pub(super) fn post(path: &str, headers: &[(&'static str, String)], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
    format!("{head}{body}").into_bytes()
}

pub(super) async fn get(at: SocketAddr, path: &str) -> Answer {
    exchange(at, format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").as_bytes()).await
}

/// Waits until health is told to be good, as to those who ask before they call.
pub(super) async fn healthy(at: SocketAddr) {
    for path in ["/v1.0/healthz", "/v1.0/healthz/outbound"] {
        // The node looks at itself now and then.
        let answer = soon(async {
            loop {
                let answer = get(at, path).await;
                if answer.status != 500 {
                    return answer;
                }
            }
        });
        let answer = answer.await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{path}");
    }
}

impl App {
    /// With one more header.
    pub(super) fn saying(&self, name: &'static str, value: &str) -> Self {
        let mut app = self.clone();
        let (Self::Grpc { headers, .. } | Self::Http { headers, .. }) = &mut app;
        headers.push((name, value.to_owned()));
        app
    }

    fn request<T>(headers: &[(&'static str, String)], message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in headers {
            request.metadata_mut().append(*name, MetadataValue::try_from(value).unwrap());
        }
        request
    }

    fn client(at: SocketAddr) -> DaprClient<Channel> {
        DaprClient::new(Endpoint::from_shared(format!("http://{at}")).unwrap().connect_lazy())
    }

    pub(super) async fn try_lock_in(
        &self,
        store: &str,
        resource: &str,
        owner: &str,
        seconds: i32,
    ) -> Result<bool, Failed> {
        match self {
            Self::Grpc { at, headers } => {
                let message = dapr::TryLockRequest {
                    store_name: store.into(),
                    resource_id: resource.into(),
                    lock_owner: owner.into(),
                    expiry_in_seconds: seconds,
                };
                let answer = soon(Self::client(*at).try_lock_alpha1(Self::request(headers, message))).await;
                answer.map(|answer| answer.into_inner().success).map_err(Failed::Grpc)
            }
            Self::Http { at, headers } => {
                let (resource, owner) = (json(resource), json(owner));
                let body = format!(r#"{{"resourceId":{resource},"lockOwner":{owner},"expiryInSeconds":{seconds}}}"#);
                let answer = exchange(*at, &post(&format!("/v1.0-alpha1/lock/{store}"), headers, &body)).await;
                match (answer.status, answer.body.as_str()) {
                    (200, r#"{"success":true}"#) => Ok(true),
                    (200, r#"{"success":false}"#) => Ok(false),
                    _ => Err(Failed::Http(answer.status, answer.body)),
                }
            }
        }
    }

    pub(super) async fn unlock_in(&self, store: &str, resource: &str, owner: &str) -> Result<i32, Failed> {
        match self {
            Self::Grpc { at, headers } => {
                let message = dapr::UnlockRequest {
                    store_name: store.into(),
                    resource_id: resource.into(),
                    lock_owner: owner.into(),
                };
                let answer = soon(Self::client(*at).unlock_alpha1(Self::request(headers, message))).await;
                answer.map(|answer| answer.into_inner().status).map_err(Failed::Grpc)
            }
            Self::Http { at, headers } => {
                let body = format!(r#"{{"resourceId":{},"lockOwner":{}}}"#, json(resource), json(owner));
                let answer = exchange(*at, &post(&format!("/v1.0-alpha1/unlock/{store}"), headers, &body)).await;
                let status = answer.body.strip_prefix(r#"{"status":"#).and_then(|rest| rest.strip_suffix('}'));
                match (answer.status, status) {
                    (200, Some(status)) => Ok(status.parse().unwrap()),
                    _ => Err(Failed::Http(answer.status, answer.body)),
                }
            }
        }
    }

    pub(super) async fn try_lock(&self, resource: &str, owner: &str, seconds: i32) -> bool {
        self.try_lock_in(STORE, resource, owner, seconds).await.unwrap()
    }

    pub(super) async fn unlock(&self, resource: &str, owner: &str) -> i32 {
        self.unlock_in(STORE, resource, owner).await.unwrap()
    }

    /// What the node says of itself, as its id.
    pub(super) async fn metadata_id(&self) -> Result<String, Failed> {
        match self {
            Self::Grpc { at, headers } => {
                let request = Self::request(headers, dapr::GetMetadataRequest {});
                let answer = soon(Self::client(*at).get_metadata(request)).await;
                answer.map(|answer| answer.into_inner().id).map_err(Failed::Grpc)
            }
            Self::Http { at, headers } => {
                let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let request =
                    format!("GET /v1.0/metadata HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n");
                let answer = exchange(*at, request.as_bytes()).await;
                let value: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
                let id = value["id"].as_str().filter(|_| answer.status == 200);
                id.map(str::to_owned).ok_or(Failed::Http(answer.status, answer.body))
            }
        }
    }
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

impl Failed {
    /// It must be this one; its message.
    pub(super) fn expect(self, grpc: Code, http: u16, code: &str) -> String {
        match self {
            Self::Grpc(status) => {
                assert_eq!(status.code(), grpc, "{status:?}");
                status.message().to_owned()
            }
            Self::Http(status, body) => {
                let value: serde_json::Value = serde_json::from_str(&body).unwrap();
                let fields: Vec<_> = value.as_object().unwrap().keys().collect();
                assert_eq!(fields, ["errorCode", "message"]);
                assert_eq!((status, value["errorCode"].as_str().unwrap()), (http, code), "{body}");
                value["message"].as_str().unwrap().to_owned()
            }
        }
    }
}
