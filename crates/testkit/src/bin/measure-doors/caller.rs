//! One caller: a connection through one door, and a lock of its own that it takes and gives back.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use leasehold_client::{Acquisition, Client, ClientOptions, Wait};
use leasehold_proto::dapr::dapr_client::DaprClient;
use leasehold_proto::dapr::unlock_response::Status;
use leasehold_proto::dapr::{TryLockRequest, UnlockRequest};
use leasehold_testkit::clients::RespConnection;
use leasehold_testkit::clock::Moment;
use serde_json::json;
use tonic::transport::{Channel, Endpoint};

use crate::http::HttpConnection;

const STORE: &str = "lockstore";
/// Nothing runs out while it is measured.
const TTL_S: i32 = 60;
const TTL_MS: &str = "60000";
/// What lock libraries send in this or another form.
const RELEASE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

/// A way to a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Door {
    /// The native `Connect` stream.
    Native,
    /// Dapr's `TryLockAlpha1` and `UnlockAlpha1`.
    DaprGrpc,
    /// The same over HTTP.
    DaprHttp,
    /// `SET NX PX`, and `EVALSHA` of a script that compares and deletes.
    Redis,
    /// The same at a real redis-server.
    RedisServer,
}

impl Door {
    pub(crate) const ALL: [Self; 5] = [Self::Native, Self::DaprGrpc, Self::DaprHttp, Self::Redis, Self::RedisServer];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native stream",
            Self::DaprGrpc => "Dapr gRPC",
            Self::DaprHttp => "Dapr HTTP",
            Self::Redis => "Redis door",
            Self::RedisServer => "redis-server",
        }
    }
}

/// Where the doors are.
pub(crate) struct Addresses {
    pub(crate) client: String,
    pub(crate) http: String,
    pub(crate) redis_door: String,
    pub(crate) redis: Option<String>,
}

pub(crate) struct Caller {
    name: String,
    owner: String,
    connection: Connection,
}

/// Each caller has one of its own.
enum Connection {
    Native(Client),
    DaprGrpc(DaprClient<Channel>),
    DaprHttp(HttpConnection),
    Redis { connection: RespConnection, release: String },
}

impl Caller {
    pub(crate) async fn connect(door: Door, addresses: &Addresses, number: usize) -> Result<Self> {
        let connection = match door {
            Door::Native => Connection::Native(Client::connect(ClientOptions::new([addresses.client.clone()])).await?),
            Door::DaprGrpc => {
                let endpoint = Endpoint::from_shared(format!("http://{}", addresses.client))?;
                Connection::DaprGrpc(DaprClient::new(endpoint.connect().await?))
            }
            Door::DaprHttp => Connection::DaprHttp(HttpConnection::connect(&addresses.http).await?),
            Door::Redis => redis(&addresses.redis_door).await?,
            Door::RedisServer => redis(addresses.redis.as_deref().context("there is a redis-server")?).await?,
        };
        let name = format!("measured-{}-{number}", door.name().replace(' ', "-").to_lowercase());
        Ok(Self { name, owner: format!("caller-{number}"), connection })
    }

    /// Takes the lock and gives it back. The time from the send of the acquire to its grant.
    pub(crate) async fn cycle(&mut self) -> Result<Duration> {
        let (name, owner) = (&self.name, &self.owner);
        let start = Moment::now();
        match &mut self.connection {
            Connection::Native(client) => {
                let acquired = client.lock(name).own_lease().acquire_raw(Wait::Try).await?;
                let span = start.elapsed();
                let Acquisition::Acquired(acquired) = acquired else { bail!("{name} is nobody else's") };
                ensure!(client.release(name, acquired.token).await?.released, "{name} was held");
                Ok(span)
            }
            Connection::DaprGrpc(dapr) => {
                let (store_name, resource_id, lock_owner) = (STORE.to_owned(), name.clone(), owner.clone());
                let request = TryLockRequest { store_name, resource_id, lock_owner, expiry_in_seconds: TTL_S };
                let locked = dapr.try_lock_alpha1(request).await?.into_inner().success;
                let span = start.elapsed();
                ensure!(locked, "{name} is nobody else's");
                let (store_name, resource_id, lock_owner) = (STORE.to_owned(), name.clone(), owner.clone());
                let request = UnlockRequest { store_name, resource_id, lock_owner };
                let unlocked = dapr.unlock_alpha1(request).await?.into_inner().status();
                ensure!(unlocked == Status::Success, "{name} was held: {unlocked:?}");
                Ok(span)
            }
            Connection::DaprHttp(http) => {
                let body = json!({"resourceId": name, "lockOwner": owner, "expiryInSeconds": TTL_S});
                let answer = http.post(&format!("/v1.0-alpha1/lock/{STORE}"), &body.to_string()).await?;
                let span = start.elapsed();
                ensure!(answer == json!({"success": true}), "{name} is nobody else's: {answer}");
                let body = json!({"resourceId": name, "lockOwner": owner});
                let answer = http.post(&format!("/v1.0-alpha1/unlock/{STORE}"), &body.to_string()).await?;
                ensure!(answer == json!({"status": 0}), "{name} was held: {answer}");
                Ok(span)
            }
            Connection::Redis { connection, release } => {
                let locked = connection.call(&["SET", name, owner, "NX", "PX", TTL_MS]).await?;
                let span = start.elapsed();
                ensure!(locked == b"+OK\r\n", "{name} is nobody else's: {}", String::from_utf8_lossy(&locked));
                let released = connection.call(&["EVALSHA", release, "1", name, owner]).await?;
                ensure!(released == b":1\r\n", "{name} was held: {}", String::from_utf8_lossy(&released));
                Ok(span)
            }
        }
    }
}

async fn redis(address: &str) -> Result<Connection> {
    let mut connection = RespConnection::connect(address).await?;
    let name = String::from_utf8(connection.call(&["SCRIPT", "LOAD", RELEASE]).await?)?;
    let release = name.lines().nth(1).with_context(|| format!("SCRIPT LOAD says {name:?}"))?.to_owned();
    Ok(Connection::Redis { connection, release })
}
