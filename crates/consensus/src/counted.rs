//! What the instruction counts (`crates/instructions`) go through in this crate: the queue of the proposer, its entries, and both ends
//! of forwarding, without a node around them.
//!
//! There for builds with the feature `counted` alone: nothing of it is in the product.

use bytes::Bytes;
use futures_util::FutureExt as _;
use leasehold_proto::peer as pb;
use leasehold_state_machine::{LEVEL_MAX, LeaderStamp, LogTime, Outcome, codec};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};

use crate::forward::{self, Forwarded, Owed};
use crate::proposer::{self, COMMANDS_PER_ENTRY_MAX, Fate, Proposal, ProposerHandle, Reply};

/// The leader's part: a proposer's queue, and the answers to one other node.
pub struct Leader {
    handle: ProposerHandle,
    proposals: mpsc::Receiver<Proposal>,
    waiting: Vec<Proposal>,
    in_entry: Vec<Reply>,
    callers: Vec<oneshot::Receiver<Fate>>,
    to: mpsc::UnboundedSender<(u64, Fate)>,
    fates: mpsc::UnboundedReceiver<(u64, Fate)>,
}

impl Default for Leader {
    fn default() -> Self {
        Self::new()
    }
}

impl Leader {
    /// Nothing waits.
    #[must_use]
    pub fn new() -> Self {
        let (handle, proposals) = proposer::queue();
        let (to, fates) = mpsc::unbounded_channel();
        Self { handle, proposals, waiting: Vec::new(), in_entry: Vec::new(), callers: Vec::new(), to, fates }
    }

    /// As calls on this node do: each queues its command, and waits.
    pub fn propose(&mut self, commands: &[Bytes]) {
        for command in commands {
            let (reply, caller) = oneshot::channel();
            self.callers.push(caller);
            self.handle.propose(Proposal { command: command.clone(), reply: Reply::Local(reply) });
        }
    }

    /// As the proposer does: what is queued becomes the bytes of an entry.
    pub fn entry(&mut self, at: LogTime, leader: LeaderStamp) -> Bytes {
        self.take_queued();
        let (commands, replies) = proposer::take_batch(&mut self.waiting);
        self.in_entry = replies;
        codec::encode_batch(at, leader, &commands)
    }

    /// How many commands are in the last entry. Nobody waits for them any more.
    pub fn in_entry(&mut self) -> usize {
        self.callers.clear();
        std::mem::take(&mut self.in_entry).len()
    }

    /// What another node forwarded, from bytes into the queue.
    ///
    /// # Panics
    /// When the message is malformed.
    pub fn receive(&mut self, message: Vec<u8>) {
        let message = pb::ForwardRequest::decode(Bytes::from(message)).expect("a message that was just encoded");
        forward::receive(message, || LEVEL_MAX, &self.handle, &self.to).expect("commands that were just encoded");
    }

    /// What is queued comes to these outcomes.
    pub fn outcomes(&mut self, outcomes: Vec<Outcome>) {
        self.take_queued();
        for (proposal, outcome) in self.waiting.drain(..).zip(outcomes) {
            proposal.reply.send(Fate::Outcome(outcome));
        }
    }

    /// The outcomes of what was forwarded, as bytes.
    pub fn answer(&mut self) -> Vec<u8> {
        let mut settled = Vec::new();
        let _ = self.fates.recv_many(&mut settled, COMMANDS_PER_ENTRY_MAX).now_or_never();
        let outcomes = settled.drain(..).map(|(id, fate)| forward::fate_to_pb(id, fate)).collect();
        pb::ForwardResponse { outcomes }.encode_to_vec()
    }

    fn take_queued(&mut self) {
        let _ = self.proposals.recv_many(&mut self.waiting, COMMANDS_PER_ENTRY_MAX).now_or_never();
    }
}

/// The part of the node that forwards.
#[derive(Default)]
pub struct Follower {
    buffer: Vec<Forwarded>,
    owed: Owed,
    next_id: u64,
    callers: Vec<oneshot::Receiver<Fate>>,
}

impl Follower {
    /// Nothing was sent.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls on this node wait with these commands.
    pub fn wait(&mut self, commands: &[Bytes]) {
        for command in commands {
            let (reply, caller) = oneshot::channel();
            self.callers.push(caller);
            self.buffer.push(Forwarded { command: command.clone(), reply });
        }
    }

    /// All that waits, as the bytes of one message.
    ///
    /// # Panics
    /// When it does not fit into one message.
    pub fn send(&mut self) -> Vec<u8> {
        let mut messages = forward::pack(&mut self.buffer, &mut self.owed, &mut self.next_id);
        assert_eq!(messages.len(), 1, "one message was expected");
        messages.pop().unwrap_or_default().encode_to_vec()
    }

    /// The leader's answer, from bytes to the calls that wait.
    ///
    /// # Panics
    /// When the message is malformed.
    pub fn settle(&mut self, answer: Vec<u8>) {
        let message = pb::ForwardResponse::decode(Bytes::from(answer)).expect("a message that was just encoded");
        forward::settle(message, &mut self.owed);
    }

    /// What the calls were told.
    ///
    /// # Panics
    /// When one of them was not told an outcome.
    pub fn take_outcomes(&mut self) -> Vec<Outcome> {
        let told = |mut caller: oneshot::Receiver<Fate>| match caller.try_recv() {
            Ok(Fate::Outcome(outcome)) => outcome,
            other => panic!("an outcome was expected, not {other:?}"),
        };
        self.callers.drain(..).map(told).collect()
    }
}
