//! openraft's types to and from the peer protocol.

use bytes::Bytes;
use leasehold_proto::peer as pb;
use leasehold_state_machine::codec;
use openraft::entry::EntryPayload;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, VoteRequest, VoteResponse};

use crate::types::{BatchBytes, Entry, LeaderId, LogId, TypeConfig, Vote, decode_membership};

/// A peer sent something that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed peer message: {0}")]
pub(crate) struct Malformed(pub(crate) String);

fn missing(field: &str) -> Malformed {
    Malformed(format!("{field} is missing"))
}

pub(crate) fn log_id_to_pb(id: LogId) -> pb::LogId {
    pb::LogId { leader: Some(leader_to_pb(id.leader_id)), index: id.index }
}

pub(crate) fn log_id_from_pb(id: pb::LogId) -> Result<LogId, Malformed> {
    Ok(LogId { leader_id: leader_from_pb(id.leader)?, index: id.index })
}

pub(crate) fn vote_to_pb(vote: Vote) -> pb::Vote {
    pb::Vote { leader: Some(leader_to_pb(vote.leader_id)), committed: vote.committed }
}

pub(crate) fn vote_from_pb(vote: Option<pb::Vote>) -> Result<Vote, Malformed> {
    let vote = vote.ok_or_else(|| missing("vote"))?;
    Ok(Vote { leader_id: leader_from_pb(vote.leader)?, committed: vote.committed })
}

fn leader_to_pb(id: LeaderId) -> pb::LeaderId {
    pb::LeaderId { term: id.term, node: id.node_id }
}

fn leader_from_pb(id: Option<pb::LeaderId>) -> Result<LeaderId, Malformed> {
    let id = id.ok_or_else(|| missing("leader"))?;
    Ok(LeaderId { term: id.term, node_id: id.node })
}

fn entry_to_pb(entry: Entry) -> pb::Entry {
    let payload = match entry.payload {
        EntryPayload::Blank => pb::entry::Payload::Blank(true),
        EntryPayload::Normal(batch) => pb::entry::Payload::Batch(batch.0),
        EntryPayload::Membership(membership) => pb::entry::Payload::Membership(Bytes::from(codec::encode(&membership))),
    };
    pb::Entry { id: Some(log_id_to_pb(entry.log_id)), payload: Some(payload) }
}

fn entry_from_pb(entry: pb::Entry) -> Result<Entry, Malformed> {
    let log_id = log_id_from_pb(entry.id.ok_or_else(|| missing("entry.id"))?)?;
    let payload = match entry.payload.ok_or_else(|| missing("entry.payload"))? {
        pb::entry::Payload::Blank(_) => EntryPayload::Blank,
        pb::entry::Payload::Batch(bytes) => EntryPayload::Normal(BatchBytes(bytes)),
        pb::entry::Payload::Membership(bytes) => {
            let membership = decode_membership(&bytes);
            EntryPayload::Membership(membership.map_err(|error| Malformed(format!("membership: {error}")))?)
        }
    };
    Ok(Entry { log_id, payload })
}

pub(crate) fn append_to_pb(request: AppendEntriesRequest<TypeConfig>) -> pb::AppendRequest {
    pb::AppendRequest {
        vote: Some(vote_to_pb(request.vote)),
        prev: request.prev_log_id.map(log_id_to_pb),
        entries: request.entries.into_iter().map(entry_to_pb).collect(),
        leader_commit: request.leader_commit.map(log_id_to_pb),
    }
}

pub(crate) fn append_from_pb(request: pb::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, Malformed> {
    Ok(AppendEntriesRequest {
        vote: vote_from_pb(request.vote)?,
        prev_log_id: request.prev.map(log_id_from_pb).transpose()?,
        entries: request.entries.into_iter().map(entry_from_pb).collect::<Result<_, _>>()?,
        leader_commit: request.leader_commit.map(log_id_from_pb).transpose()?,
    })
}

/// What a follower says to one append: the last durable log id, or why not.
pub(crate) type AppendResult = openraft::raft::StreamAppendResult<TypeConfig>;

pub(crate) fn append_result_to_pb(result: AppendResult) -> pb::AppendResponse {
    use pb::append_response::Result as R;
    let result = match result {
        Ok(last) => R::Matched(pb::Matched { last: last.map(log_id_to_pb) }),
        Err(StreamAppendError::Conflict(id)) => R::Conflict(log_id_to_pb(id)),
        Err(StreamAppendError::HigherVote(vote)) => R::HigherVote(vote_to_pb(vote)),
    };
    pb::AppendResponse { result: Some(result) }
}

pub(crate) fn append_result_from_pb(response: pb::AppendResponse) -> Result<AppendResult, Malformed> {
    use pb::append_response::Result as R;
    Ok(match response.result.ok_or_else(|| missing("result"))? {
        R::Matched(matched) => Ok(matched.last.map(log_id_from_pb).transpose()?),
        R::Conflict(id) => Err(StreamAppendError::Conflict(log_id_from_pb(id)?)),
        R::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote_from_pb(Some(vote))?)),
    })
}

pub(crate) fn vote_request_to_pb(request: &VoteRequest<TypeConfig>, pre_vote: bool) -> pb::VoteRequest {
    pb::VoteRequest {
        vote: Some(vote_to_pb(request.vote)),
        last: request.last_log_id.map(log_id_to_pb),
        leadership_transfer: request.leadership_transfer,
        pre_vote,
    }
}

pub(crate) fn vote_request_from_pb(request: pb::VoteRequest) -> Result<VoteRequest<TypeConfig>, Malformed> {
    let mut vote = VoteRequest::new(vote_from_pb(request.vote)?, request.last.map(log_id_from_pb).transpose()?);
    vote.leadership_transfer = request.leadership_transfer;
    Ok(vote)
}

pub(crate) fn vote_response_to_pb(response: &VoteResponse<TypeConfig>) -> pb::VoteResponse {
    pb::VoteResponse {
        vote: Some(vote_to_pb(response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.map(log_id_to_pb),
    }
}

pub(crate) fn vote_response_from_pb(response: pb::VoteResponse) -> Result<VoteResponse<TypeConfig>, Malformed> {
    let last = response.last.map(log_id_from_pb).transpose()?;
    Ok(VoteResponse::new(vote_from_pb(response.vote)?, last, response.granted))
}
