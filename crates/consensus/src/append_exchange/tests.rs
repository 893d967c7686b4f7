//! Appends to a real node, from a peer that the tests play.

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold_platform::net::Dialer;
use leasehold_state_machine::{Event, LEVEL_MAX, StateMachine};
use openraft::errors::RPCError;
use openraft::network::{NetStreamAppend, RPCOption, RaftNetworkFactory};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::clock::Clock;
use crate::identity::IdentityFile;
use crate::media::Media;
use crate::network::{Network, PeerLink};
use crate::transport::Transport;
use crate::types::{LeaderId, Member, Vote};
use crate::{ApplyObserver, Node, NodeOptions, Tuning};

const SOON: Duration = Duration::from_secs(20);

struct Deaf;

impl ApplyObserver for Deaf {
    fn applied(&self, _: Arc<[Event]>, _: &StateMachine) {}
    fn reset(&self, _: &StateMachine) {}
}

struct Pair {
    node: Node,
    link: PeerLink,
    _folders: [TempDir; 2],
}

/// A node that forms a cluster of its own, and the way of another one to it.
async fn node_and_link() -> Pair {
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let incarnation = IdentityFile::open(folders[0].path(), 1).unwrap().get().incarnation;
    let options = NodeOptions {
        node_id: 1,
        data_dir: folders[0].path().to_path_buf(),
        peer_address: address.clone(),
        client_address: String::new(),
        peers: BTreeMap::from([(1, address.clone())]),
        bootstrap: true,
        level_max: LEVEL_MAX,
        tuning: Tuning::default(),
        clock: Clock::system(),
        media: Media::files(),
        dialer: Dialer::tcp(),
    };
    let node = Node::start(options, listener, Arc::new(Deaf)).await.unwrap();
    let mut ready = node.applied();
    let founded = ready.wait_for(|_| node.state().cluster().is_some());
    tokio::time::timeout(SOON, founded).await.expect("it is founded").unwrap();
    let other = IdentityFile::open(folders[1].path(), 2).unwrap();
    other.join(node.state().cluster().unwrap()).unwrap();
    let member = Member { peer_address: address, incarnation, ..Member::default() };
    let link = Network::new(Transport::new(Arc::new(other), Dialer::tcp())).new_client(1, &member).await;
    Pair { node, link, _folders: folders }
}

/// As the leader of a later term would send it.
fn append() -> AppendEntriesRequest<TypeConfig> {
    let leader_id = LeaderId { term: 1_000, node_id: 2 };
    let vote = Vote { leader_id, committed: true };
    AppendEntriesRequest { vote, prev_log_id: None, leader_commit: None, entries: Vec::new() }
}

fn option() -> RPCOption {
    RPCOption::new(SOON)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stops_in_the_middle_of_a_stream_is_an_error() {
    let Pair { node, mut link, _folders } = node_and_link().await;
    let requests = stream::once(ready(append())).chain(stream::pending());
    let mut answers = link.stream_append(Box::pin(requests), option()).await.unwrap();
    let first = tokio::time::timeout(SOON, answers.next()).await.expect("an answer");
    assert!(matches!(first, Some(Ok(Ok(_)))), "{first:?}");
    node.shutdown().await;
    let end = tokio::time::timeout(SOON, answers.next()).await.expect("an end");
    assert!(matches!(end, Some(Err(RPCError::Unreachable(_)))), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_requests_are_all_answered_ends_without_an_error() {
    let Pair { node, mut link, _folders } = node_and_link().await;
    let mut answers = link.stream_append(stream::once(ready(append())), option()).await.unwrap();
    let first = tokio::time::timeout(SOON, answers.next()).await.expect("an answer");
    assert!(matches!(first, Some(Ok(Ok(_)))), "{first:?}");
    let end = tokio::time::timeout(SOON, answers.next()).await.expect("an end");
    assert!(end.is_none(), "{end:?}");
    drop(answers);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_requests_of_a_stream_end_when_nobody_reads_its_answers() {
    let Pair { node, mut link, _folders } = node_and_link().await;
    let (held, mut released) = oneshot::channel::<()>();
    let requests = stream::once(ready(append())).chain(stream::pending()).map(move |request| {
        let _ = &held;
        request
    });
    let mut answers = link.stream_append(Box::pin(requests), option()).await.unwrap();
    tokio::time::timeout(SOON, answers.next()).await.expect("an answer");
    assert_eq!(released.try_recv(), Err(TryRecvError::Empty), "they are still to be made");
    drop(answers);
    tokio::time::timeout(SOON, released).await.expect("the connection lets go of them").unwrap_err();
    node.shutdown().await;
}
