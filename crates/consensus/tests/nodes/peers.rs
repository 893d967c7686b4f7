//! Who may speak to a node.

use leasehold_consensus::Tuning;
use leasehold_proto::peer::peer_client::PeerClient;
use leasehold_proto::peer::{IdentifyRequest, IdentifyResponse, ReadIndexRequest};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::cluster::Cluster;

/// A stranger that dials a node's peer port.
struct Stranger {
    client: PeerClient<Channel>,
    node: IdentifyResponse,
}

impl Stranger {
    async fn dial(cluster: &Cluster) -> Self {
        let mut client = PeerClient::connect(format!("http://{}", cluster.peers[&1])).await.unwrap();
        let node = client.identify(IdentifyRequest {}).await.unwrap().into_inner();
        Self { client, node }
    }

    /// A call that says that it comes from node 1 with one data folder and is meant for node 1 with another.
    async fn says(&mut self, from: u64, to: u64, cluster: &str) -> Result<(), Status> {
        let mut request = Request::new(ReadIndexRequest {});
        let metadata = request.metadata_mut();
        metadata.insert("leasehold-from", format!("1-{from:016x}").parse().unwrap());
        metadata.insert("leasehold-to", format!("1-{to:016x}").parse().unwrap());
        metadata.insert("leasehold-cluster", cluster.parse().unwrap());
        self.client.read_index(request).await.map(drop)
    }
}

fn refused(answer: Result<(), Status>, why: &str) {
    let status = answer.unwrap_err();
    assert!(status.code() == Code::FailedPrecondition && status.message().contains(why), "{status}");
}

/// A vote, or entries, that were meant for a folder that is gone must not be given to the one that took its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_for_another_folder_are_refused() {
    let cluster = Cluster::start(1, Tuning::default()).await;
    cluster.leader().await;
    let mut stranger = Stranger::dial(&cluster).await;
    let (own, id) = (stranger.node.incarnation, stranger.node.cluster_id.clone().unwrap());
    stranger.says(own, own, &id).await.unwrap();
    refused(stranger.says(own, own ^ 1, &id).await, "wiped or swapped");
}

/// A folder that is not the one in the membership has forgotten what its member promised.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_from_another_folder_are_refused() {
    let cluster = Cluster::start(1, Tuning::default()).await;
    cluster.leader().await;
    let mut stranger = Stranger::dial(&cluster).await;
    let (own, id) = (stranger.node.incarnation, stranger.node.cluster_id.clone().unwrap());
    refused(stranger.says(own ^ 1, own, &id).await, "is known by data folder");
    refused(stranger.says(own, own, "0123456789abcdef").await, "belongs to cluster");
}
