//! What the fuzz targets of this crate do with an input (`tests/fuzz`), and inputs made from real data.
//!
//! There for tests and for builds with `--cfg fuzzing` alone: nothing of it is in the product.

use bytes::Bytes;
use leasehold_proto::peer as pb;
use leasehold_state_machine::{ClusterId, Outcome, codec};
use openraft::entry::EntryPayload;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, VoteRequest, VoteResponse};
use prost::Message;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

use crate::identity::Identity;
use crate::log_store::fuzzing as log_store;
use crate::transport::{CLUSTER_HEADER, FROM_HEADER, PeerName, TO_HEADER, cluster_of, peer_of};
use crate::types::{BatchBytes, Entry, LeaderId, LogId, Member, Membership, Vote};
use crate::{applier, convert, divergence, forward};

/// Name, what is done with an input (whether it was understood), and seeds.
pub type Target = (&'static str, fn(&[u8]) -> bool, fn() -> Vec<Vec<u8>>);

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    ("log_records", log_store::run_records, log_store::seeds_of_records),
    ("log_marks", log_store::run_marks, log_store::seeds_of_marks),
    ("log_files", log_store::run_files, log_store::seeds_of_files),
    ("memberships", memberships, seeds_of_memberships),
    ("identities", identities, seeds_of_identities),
    ("peer_messages", peer_messages, seeds_of_peer_messages),
    ("peer_headers", peer_headers, seeds_of_peer_headers),
];

const LEADER: LeaderId = LeaderId { term: 3, node_id: 1 };

fn log_id(index: u64) -> LogId {
    LogId { leader_id: LEADER, index }
}

fn vote() -> Vote {
    Vote { leader_id: LEADER, committed: true }
}

fn membership() -> Membership {
    let member = |id: u64| Member {
        peer_address: format!("node-{id}:7401"),
        client_address: format!("node-{id}:7400"),
        incarnation: id << 40,
        level_max: 2,
    };
    let nodes = (1..=3).map(|id| (id, member(id))).collect::<std::collections::BTreeMap<_, _>>();
    Membership::new(vec![[1, 2, 3].into()], nodes).expect("all voters are there")
}

/// One entry of each kind.
pub(crate) fn entries() -> Vec<Entry> {
    let batch = codec::encode_batch(leasehold_state_machine::LogTime(5), crate::types::stamp(LEADER), &[]);
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Normal(BatchBytes(batch)),
        EntryPayload::Membership(membership()),
        EntryPayload::Normal(BatchBytes(Bytes::from(vec![7; 100]))),
    ];
    payloads.into_iter().zip(1..).map(|(payload, index)| Entry { log_id: log_id(index), payload }).collect()
}

/// A membership, as entries, the header row and snapshots hold it.
fn memberships(data: &[u8]) -> bool {
    let id = leasehold_state_machine::EntryId::default();
    let Ok(stored) = applier::stored_membership(Some((id, data))) else { return false };
    let membership = stored.membership();
    let again = codec::decode::<Membership>(&codec::encode(membership));
    assert_eq!(again.as_ref(), Ok(membership));
    let voters = membership.voter_ids().count();
    assert!(voters <= membership.nodes().count(), "a voter is no member: {membership:?}");
    true
}

fn seeds_of_memberships() -> Vec<Vec<u8>> {
    let joint = Membership::new(vec![[1, 2].into(), [2, 3].into()], membership_nodes()).expect("all voters are there");
    vec![codec::encode(&membership()), codec::encode(&joint)]
}

fn membership_nodes() -> std::collections::BTreeMap<u64, Member> {
    membership().nodes().map(|(id, member)| (*id, member.clone())).collect()
}

/// The payload of the identity file.
fn identities(data: &[u8]) -> bool {
    let Ok(identity) = codec::decode::<Identity>(data) else { return false };
    assert_eq!(codec::decode::<Identity>(&codec::encode(&identity)), Ok(identity));
    true
}

fn seeds_of_identities() -> Vec<Vec<u8>> {
    let identity = |cluster| codec::encode(&Identity { node_id: 2, incarnation: 77, cluster });
    vec![identity(None), identity(Some(ClusterId(1 << 100)))]
}

/// A message between nodes; its first byte says which. What is understood means the same, written and read again.
fn peer_messages(data: &[u8]) -> bool {
    let Some((kind, bytes)) = data.split_first() else { return false };
    match kind % 9 {
        0 => append(bytes),
        1 => append_answer(bytes),
        2 => vote_request(bytes),
        3 => vote_answer(bytes),
        4 => forwarded(bytes),
        5 => outcomes(bytes),
        6 => snapshot_part(bytes),
        7 => transfer(bytes),
        _ => state_hashes(bytes),
    }
}

fn append(bytes: &[u8]) -> bool {
    let Some(Ok(request)) = pb::AppendRequest::decode(bytes).ok().map(convert::append_from_pb) else { return false };
    for entry in &request.entries {
        if let EntryPayload::Normal(batch) = &entry.payload {
            let _ = codec::decode_batch(&batch.0);
        }
    }
    let text = format!("{request:?}");
    let again = convert::append_from_pb(convert::append_to_pb(request));
    assert_eq!(again.map(|request| format!("{request:?}")), Ok(text));
    true
}

fn append_answer(bytes: &[u8]) -> bool {
    let answer = pb::AppendResponse::decode(bytes).ok().map(convert::append_result_from_pb);
    let Some(Ok(answer)) = answer else { return false };
    let text = format!("{answer:?}");
    let again = convert::append_result_from_pb(convert::append_result_to_pb(answer));
    assert_eq!(again.map(|answer| format!("{answer:?}")), Ok(text));
    true
}

fn vote_request(bytes: &[u8]) -> bool {
    let Ok(message) = pb::VoteRequest::decode(bytes) else { return false };
    let pre_vote = message.pre_vote;
    let Ok(request) = convert::vote_request_from_pb(message) else { return false };
    let again = convert::vote_request_from_pb(convert::vote_request_to_pb(&request, pre_vote));
    assert_eq!(again, Ok(request));
    true
}

fn vote_answer(bytes: &[u8]) -> bool {
    let Some(Ok(answer)) = pb::VoteResponse::decode(bytes).ok().map(convert::vote_response_from_pb) else {
        return false;
    };
    assert_eq!(convert::vote_response_from_pb(convert::vote_response_to_pb(&answer)), Ok(answer));
    true
}

fn forwarded(bytes: &[u8]) -> bool {
    let Ok(message) = pb::ForwardRequest::decode(bytes) else { return false };
    let decoded = |forwarded: &pb::ForwardedCommand| codec::decode_command(&forwarded.command).is_ok();
    !message.commands.is_empty() && message.commands.iter().all(decoded)
}

fn outcomes(bytes: &[u8]) -> bool {
    let Ok(message) = pb::ForwardResponse::decode(bytes) else { return false };
    let understood = !message.outcomes.is_empty();
    for answer in message.outcomes {
        let fate = forward::fate_from_pb(answer.result);
        assert_eq!(forward::fate_from_pb(forward::fate_to_pb(answer.id, fate.clone()).result), fate);
    }
    understood
}

fn snapshot_part(bytes: &[u8]) -> bool {
    match pb::SnapshotChunk::decode(bytes).ok().and_then(|chunk| chunk.part) {
        Some(pb::snapshot_chunk::Part::Head(head)) => convert::vote_from_pb(head.vote).is_ok(),
        Some(pb::snapshot_chunk::Part::Data(_)) => true,
        None => false,
    }
}

fn transfer(bytes: &[u8]) -> bool {
    let Ok(message) = pb::TransferLeaderRequest::decode(bytes) else { return false };
    convert::vote_from_pb(message.from).is_ok() && message.last.map(convert::log_id_from_pb).transpose().is_ok()
}

fn state_hashes(bytes: &[u8]) -> bool {
    let Ok(message) = pb::StateHashesResponse::decode(bytes) else { return false };
    let told = message.hashes.len();
    divergence::from_pb(message).len() <= told
}

fn seeds_of_peer_messages() -> Vec<Vec<u8>> {
    let append = AppendEntriesRequest {
        vote: vote(),
        prev_log_id: Some(log_id(0)),
        entries: entries(),
        leader_commit: Some(log_id(2)),
    };
    let mut request = VoteRequest::new(vote(), Some(log_id(9)));
    request.leadership_transfer = true;
    let command = leasehold_state_machine::Command {
        principal: None,
        not_after: None,
        operation: leasehold_state_machine::Operation::Tick,
    };
    let command = pb::ForwardedCommand { id: 1, command: codec::encode_command(&command) };
    let outcome = forward::fate_to_pb(1, crate::proposer::Fate::Outcome(Outcome::Done));
    let busy = forward::fate_to_pb(2, crate::proposer::Fate::Busy);
    let head = pb::snapshot_chunk::Part::Head(pb::SnapshotHead { vote: Some(convert::vote_to_pb(vote())) });
    let data = pb::snapshot_chunk::Part::Data(Bytes::from_static(b"LHSNAPSH"));
    let from = Some(convert::vote_to_pb(vote()));
    let last = Some(convert::log_id_to_pb(log_id(3)));
    let hash = pb::StateHash { index: 64, high: 1, low: 2 };
    let mut seeds = vec![
        (0, convert::append_to_pb(append).encode_to_vec()),
        (2, convert::vote_request_to_pb(&request, true).encode_to_vec()),
        (3, convert::vote_response_to_pb(&VoteResponse::new(vote(), Some(log_id(1)), true)).encode_to_vec()),
        (4, pb::ForwardRequest { commands: vec![command] }.encode_to_vec()),
        (5, pb::ForwardResponse { outcomes: vec![outcome, busy] }.encode_to_vec()),
        (6, pb::SnapshotChunk { part: Some(head) }.encode_to_vec()),
        (6, pb::SnapshotChunk { part: Some(data) }.encode_to_vec()),
        (7, pb::TransferLeaderRequest { from, to: 2, last }.encode_to_vec()),
        (8, pb::StateHashesResponse { hashes: vec![hash] }.encode_to_vec()),
    ];
    let answers =
        [Ok(Some(log_id(4))), Err(StreamAppendError::Conflict(log_id(4))), Err(StreamAppendError::HigherVote(vote()))];
    seeds.extend(answers.into_iter().map(|answer| (1, convert::append_result_to_pb(answer).encode_to_vec())));
    seeds.into_iter().map(|(kind, bytes)| [vec![kind], bytes].concat()).collect()
}

/// The headers of a peer message: sender, receiver, cluster, one a line.
fn peer_headers(data: &[u8]) -> bool {
    let mut metadata = MetadataMap::new();
    for (header, value) in [FROM_HEADER, TO_HEADER, CLUSTER_HEADER].into_iter().zip(data.split(|byte| *byte == b'\n')) {
        let Ok(value) = MetadataValue::<Ascii>::try_from(value) else { return false };
        metadata.insert(header, value);
    }
    let ends = (peer_of(&metadata, FROM_HEADER), peer_of(&metadata, TO_HEADER));
    let cluster = cluster_of(&metadata);
    let (Ok(from), Ok(to), Ok(cluster)) = (&ends.0, &ends.1, &cluster) else { return false };
    for name in [from, to] {
        let header = name.header();
        assert_eq!(header.to_str().ok().and_then(PeerName::parse), Some(*name));
    }
    if let Some(cluster) = cluster {
        let value = cluster.to_string().parse().expect("hexadecimal digits are ASCII");
        metadata.insert(CLUSTER_HEADER, value);
        assert!(matches!(cluster_of(&metadata), Ok(Some(again)) if again == *cluster));
    }
    true
}

fn seeds_of_peer_headers() -> Vec<Vec<u8>> {
    let [from, to] = [(1, 77), (u64::MAX, u64::MAX)].map(|(node, incarnation)| PeerName { node, incarnation }.header());
    let seed = [from.as_bytes(), to.as_bytes(), ClusterId(1 << 90).to_string().as_bytes()].join(&b'\n');
    vec![seed, [from.as_bytes(), to.as_bytes()].join(&b'\n')]
}

#[cfg(test)]
#[path = "../../../tests/fuzz/src/replay.rs"]
mod replay;

#[test]
fn kept_inputs_of_the_fuzz_targets_do_no_harm() {
    let fuzz_dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz");
    replay::replay(&fuzz_dir, TARGETS);
}
