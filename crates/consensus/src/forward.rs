//! Commands from this node to the leader: many a message, on one stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use leasehold_failpoints::failpoint;
use leasehold_proto::peer as pb;
use leasehold_state_machine::codec;
use parking_lot::Mutex;
use pb::forwarded_outcome::Result as Wire;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::proposer::{COMMAND_BYTES_MAX, Fate, PENDING_MAX, Proposal, ProposerHandle, Reply};
use crate::runtime::spawn;
use crate::transport::{Purpose, Transport};
use crate::types::Member;

const COMMANDS_PER_MESSAGE_MAX: usize = 1_024;
const MESSAGE_BYTES_MAX: usize = 1 << 20;
const MESSAGES_IN_FLIGHT_MAX: usize = 16;

pub(crate) struct Forwarded {
    pub(crate) command: Bytes,
    pub(crate) reply: oneshot::Sender<Fate>,
}

/// Forwards to whoever leads. Commands go to one leader at a time: the stream to the former one is closed first, and
/// what it still answers is ignored, because its replies are gone with it.
pub(crate) struct Forwarder {
    transport: Arc<Transport>,
    current: Mutex<Option<Current>>,
}

struct Current {
    leader: u64,
    member: Member,
    commands: mpsc::Sender<Forwarded>,
}

impl Forwarder {
    pub(crate) fn new(transport: Arc<Transport>) -> Self {
        Self { transport, current: Mutex::new(None) }
    }

    /// Sends one command to the leader. A reply that is dropped means that the stream broke: the fate is unknown.
    pub(crate) fn forward(&self, leader: u64, member: &Member, command: Bytes) -> oneshot::Receiver<Fate> {
        let (reply, fate) = oneshot::channel();
        let mut current = self.current.lock();
        let usable =
            current.as_ref().is_some_and(|c| c.leader == leader && c.member == *member && !c.commands.is_closed());
        if !usable {
            // Dropping the old sender ends the old stream's task, and with it every reply that it owed.
            *current = None;
            let (commands, receive) = mpsc::channel(PENDING_MAX);
            spawn(run_stream(Arc::clone(&self.transport), leader, member.clone(), receive));
            *current = Some(Current { leader, member: member.clone(), commands });
        }
        if let Some(current) = current.as_ref()
            && let Err(error) = current.commands.try_send(Forwarded { command, reply })
        {
            // Never sent, so it is known to have had no effect. Closed: the stream broke just now, and another is to be tried.
            let (refused, why) = match error {
                mpsc::error::TrySendError::Full(refused) => (refused, Fate::Busy),
                mpsc::error::TrySendError::Closed(refused) => (refused, Fate::NotLeader),
            };
            let _ = refused.reply.send(why);
        }
        fate
    }
}

/// Replies that are owed, by the id on the stream.
pub(crate) type Owed = BTreeMap<u64, oneshot::Sender<Fate>>;

/// One stream to one leader, until it breaks or nobody sends any more.
async fn run_stream(transport: Arc<Transport>, leader: u64, member: Member, mut commands: mpsc::Receiver<Forwarded>) {
    let (send, receive) = mpsc::channel(MESSAGES_IN_FLIGHT_MAX);
    let request = transport.request(leader, &member, ReceiverStream::new(receive));
    let Ok(mut client) = transport.client(&member.peer_address, Purpose::Forward) else { return };
    let mut outcomes = match client.forward(request).await {
        Ok(response) => response.into_inner(),
        Err(status) => {
            tracing::debug!(leader, %status, "no forward stream to the leader");
            // Nothing was sent yet.
            commands.close();
            while let Ok(forwarded) = commands.try_recv() {
                let _ = forwarded.reply.send(Fate::NotLeader);
            }
            return;
        }
    };
    let mut owed = Owed::new();
    let mut next_id = 0;
    let mut buffer = Vec::new();
    loop {
        tokio::select! {
            received = commands.recv_many(&mut buffer, COMMANDS_PER_MESSAGE_MAX) => {
                if received == 0 {
                    return;
                }
                for message in pack(&mut buffer, &mut owed, &mut next_id) {
                    failpoint!("peer_forward::send::before", pass);
                    if send.send(message).await.is_err() {
                        return;
                    }
                }
            }
            answer = outcomes.message() => match answer {
                Ok(Some(message)) => {
                    failpoint!("peer_forward::answer::after", pass);
                    settle(message, &mut owed);
                }
                Ok(None) => return,
                Err(status) => {
                    tracing::debug!(leader, %status, "the forward stream broke");
                    return;
                }
            },
        }
    }
}

/// Packs commands into messages of bounded size. Commands that nobody waits for any more are dropped unsent.
pub(crate) fn pack(buffer: &mut Vec<Forwarded>, owed: &mut Owed, next_id: &mut u64) -> Vec<pb::ForwardRequest> {
    let mut messages = Vec::with_capacity(1);
    let mut message = pb::ForwardRequest::default();
    let mut bytes = 0;
    for forwarded in buffer.drain(..) {
        if forwarded.reply.is_closed() {
            continue;
        }
        if bytes + forwarded.command.len() > MESSAGE_BYTES_MAX && !message.commands.is_empty() {
            messages.push(std::mem::take(&mut message));
            bytes = 0;
        }
        bytes += forwarded.command.len();
        message.commands.push(pb::ForwardedCommand { id: *next_id, command: forwarded.command });
        owed.insert(*next_id, forwarded.reply);
        *next_id += 1;
    }
    if !message.commands.is_empty() {
        messages.push(message);
    }
    messages
}

/// Hands the outcomes to those who wait for them.
pub(crate) fn settle(message: pb::ForwardResponse, owed: &mut Owed) {
    for answer in message.outcomes {
        if let Some(reply) = owed.remove(&answer.id) {
            let _ = reply.send(fate_from_pb(answer.result));
        }
    }
}

/// What the leader said of one command.
pub(crate) fn fate_from_pb(result: Option<Wire>) -> Fate {
    match result {
        Some(Wire::Outcome(bytes)) => match codec::decode(&bytes) {
            Ok(outcome) => Fate::Outcome(outcome),
            Err(error) => {
                tracing::error!(%error, "the leader sent an outcome that does not decode");
                Fate::Unknown
            }
        },
        Some(Wire::NotProposed(refused)) => match refused.reason() {
            pb::not_proposed::Reason::Busy => Fate::Busy,
            pb::not_proposed::Reason::AboveLevel => Fate::AboveLevel,
            pb::not_proposed::Reason::NotLeader | pb::not_proposed::Reason::Unspecified => Fate::NotLeader,
        },
        Some(Wire::FateUnknown(_)) | None => Fate::Unknown,
    }
}

/// Queues what another node forwarded, at the leader. An error is the size of a command that is malformed or too large, in bytes:
/// what cannot be applied must not reach the log, because every node would stop at it.
pub(crate) fn receive(
    message: pb::ForwardRequest,
    level_in_force: impl Fn() -> u32,
    proposer: &ProposerHandle,
    to: &mpsc::UnboundedSender<(u64, Fate)>,
) -> Result<(), usize> {
    for forwarded in message.commands {
        let bytes = forwarded.command.len();
        let command = codec::decode_command(&forwarded.command).ok();
        let command = command.filter(|_| bytes <= COMMAND_BYTES_MAX).ok_or(bytes)?;
        let reply = Reply::Forwarded { id: forwarded.id, to: to.clone() };
        // The sender checked this by what it has applied; this node may have applied less, or know better.
        if command.operation.level() > level_in_force() {
            reply.send(Fate::AboveLevel);
            continue;
        }
        proposer.propose(Proposal { command: forwarded.command, reply });
    }
    Ok(())
}

/// What the leader answers to one forwarded command.
pub(crate) fn fate_to_pb(id: u64, fate: Fate) -> pb::ForwardedOutcome {
    let refused = |reason: pb::not_proposed::Reason| Wire::NotProposed(pb::NotProposed { reason: reason.into() });
    let result = match fate {
        Fate::Outcome(outcome) => Wire::Outcome(Bytes::from(codec::encode(&outcome))),
        Fate::NotLeader => refused(pb::not_proposed::Reason::NotLeader),
        Fate::Busy => refused(pb::not_proposed::Reason::Busy),
        Fate::AboveLevel => refused(pb::not_proposed::Reason::AboveLevel),
        Fate::Unknown => Wire::FateUnknown(true),
    };
    pb::ForwardedOutcome { id, result: Some(result) }
}
