//! Connections to peers: the one place of a node that dials.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leasehold_platform::net::Dialer;
use leasehold_proto::peer::peer_client::PeerClient;
use leasehold_state_machine::ClusterId;
use parking_lot::Mutex;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::identity::IdentityFile;
use crate::types::Member;

/// Largest message between peers: above the largest batch of entries.
pub(crate) const PEER_MESSAGE_BYTES_MAX: usize = 32 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) const CLUSTER_HEADER: &str = "leasehold-cluster";
pub(crate) const FROM_HEADER: &str = "leasehold-from";
pub(crate) const TO_HEADER: &str = "leasehold-to";

/// What a connection is for: a snapshot must not hold up appends, nor either of them a vote or a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Append,
    /// Heartbeats, votes, read indexes, status.
    Control,
    Snapshot,
    Forward,
}

/// One end of a peer message: a node and the name of its data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerName {
    pub(crate) node: u64,
    pub(crate) incarnation: u64,
}

impl PeerName {
    pub(crate) fn header(self) -> MetadataValue<Ascii> {
        let text = format!("{}-{:016x}", self.node, self.incarnation);
        text.parse().expect("digits and a dash are ASCII")
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (node, incarnation) = text.split_once('-')?;
        Some(Self { node: node.parse().ok()?, incarnation: u64::from_str_radix(incarnation, 16).ok()? })
    }
}

/// Keeps one connection per peer and purpose.
pub(crate) struct Transport {
    identity: Arc<IdentityFile>,
    dialer: Dialer,
    channels: Mutex<BTreeMap<(String, Purpose), Channel>>,
}

pub(crate) type Client = PeerClient<Channel>;

impl Transport {
    pub(crate) fn new(identity: Arc<IdentityFile>, dialer: Dialer) -> Arc<Self> {
        Arc::new(Self { identity, dialer, channels: Mutex::new(BTreeMap::new()) })
    }

    /// A client of the peer at `address`; connects when first used.
    pub(crate) fn client(&self, address: &str, purpose: Purpose) -> Result<Client, Status> {
        let mut channels = self.channels.lock();
        let key = (address.to_owned(), purpose);
        let channel = match channels.get(&key) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self.connect(address)?;
                channels.insert(key, channel.clone());
                channel
            }
        };
        let client = PeerClient::new(channel);
        Ok(client.max_decoding_message_size(PEER_MESSAGE_BYTES_MAX).max_encoding_message_size(PEER_MESSAGE_BYTES_MAX))
    }

    /// Drops a connection that stopped answering, so that the next call dials anew instead of waiting for TCP.
    pub(crate) fn forget(&self, address: &str, purpose: Purpose) {
        self.channels.lock().remove(&(address.to_owned(), purpose));
    }

    /// A request that names the cluster and both ends.
    pub(crate) fn request<T>(&self, target: u64, member: &Member, message: T) -> Request<T> {
        let identity = self.identity.get();
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        let from = PeerName { node: identity.node_id, incarnation: identity.incarnation };
        let to = PeerName { node: target, incarnation: member.incarnation };
        metadata.insert(FROM_HEADER, from.header());
        metadata.insert(TO_HEADER, to.header());
        if let Some(cluster) = identity.cluster {
            metadata.insert(CLUSTER_HEADER, cluster.to_string().parse().expect("hexadecimal digits are ASCII"));
        }
        request
    }

    fn connect(&self, address: &str) -> Result<Channel, Status> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| Status::invalid_argument(format!("peer address {address}: {error}")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(16 << 20);
        Ok(self.dialer.connect_lazy(&endpoint))
    }
}

/// The cluster that a peer message names.
pub(crate) fn cluster_of(metadata: &MetadataMap) -> Result<Option<ClusterId>, Status> {
    let Some(value) = metadata.get(CLUSTER_HEADER) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let id = u128::from_str_radix(text, 16)
        .map_err(|_| Status::invalid_argument(format!("{CLUSTER_HEADER} is not a cluster id")))?;
    Ok(Some(ClusterId(id)))
}

/// One end that a peer message names.
pub(crate) fn peer_of(metadata: &MetadataMap, header: &'static str) -> Result<PeerName, Status> {
    let text = metadata.get(header).and_then(|value| value.to_str().ok()).unwrap_or_default();
    PeerName::parse(text).ok_or_else(|| Status::invalid_argument(format!("{header} is missing or malformed")))
}
