//! The leader's proposer: batches commands into entries and stamps log time.
//!
//! What arrives while entries are on their way goes into the next one; there is no timer between a command and its
//! entry. Followers' commands come in through [`crate::forward`], this node's own through [`crate::Node::submit`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use leasehold_failpoints::failpoint;
use leasehold_state_machine::{Command, Found, LeaderStamp, Limits, LogTime, Operation, Outcome, codec};
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::identity::IdentityFile;
use crate::runtime::spawn;
use crate::shared::Shared;
use crate::types::{BatchBytes, Callback, LeaderId, Raft, TypeConfig};

/// Commands that wait for an entry, at most; more are refused as busy.
pub(crate) const PENDING_MAX: usize = 65_536;
/// Entries proposed and not yet applied, at most.
const ENTRIES_IN_FLIGHT_MAX: usize = 8;
/// Commands in one entry, at most.
pub(crate) const COMMANDS_PER_ENTRY_MAX: usize = 4_096;
/// Bytes of commands in one entry, at most (one command alone may be larger).
const ENTRY_BYTES_MAX: usize = 1 << 20;
/// Largest encoded command.
pub(crate) const COMMAND_BYTES_MAX: usize = 2 << 20;
/// While a deadline is pending, log time is written at least this often.
const TICK_INTERVAL: Duration = Duration::from_millis(250);

/// Least pause of the proposer when there is nothing that it can propose.
const MOMENT: Duration = Duration::from_millis(1);

/// Without commands for so long, entries without them end what is due in greater pieces.
const QUIET: Duration = Duration::from_millis(5);

/// What became of one proposed command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Applied.
    Outcome(Outcome),
    /// This node does not lead: the command is in no log.
    NotLeader,
    /// Too many commands wait: the command is in no log.
    Busy,
    /// The leader has not applied that the cluster is at the level which this needs: the command is in no log.
    AboveLevel,
    /// Proposed, and the leadership was lost: it may be applied or not.
    Unknown,
}

/// Who hears the fate of a command.
pub(crate) enum Reply {
    /// A call on this node.
    Local(oneshot::Sender<Fate>),
    /// A command that a follower forwarded, under its id on that stream.
    Forwarded { id: u64, to: mpsc::UnboundedSender<(u64, Fate)> },
}

impl Reply {
    pub(crate) fn send(self, fate: Fate) {
        // A caller that went away does not want to know.
        match self {
            Self::Local(reply) => drop(reply.send(fate)),
            Self::Forwarded { id, to } => drop(to.send((id, fate))),
        }
    }

    /// Nobody waits for the answer any more: the command may be dropped unsent.
    fn is_gone(&self) -> bool {
        match self {
            Self::Local(reply) => reply.is_closed(),
            Self::Forwarded { to, .. } => to.is_closed(),
        }
    }
}

/// One command on its way into the log.
pub(crate) struct Proposal {
    pub(crate) command: Bytes,
    pub(crate) reply: Reply,
}

/// Where commands are put in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ProposerHandle {
    proposals: mpsc::Sender<Proposal>,
}

impl ProposerHandle {
    /// Queues a command; answers busy at once when the queue is full.
    pub(crate) fn propose(&self, proposal: Proposal) {
        match self.proposals.try_send(proposal) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(proposal)) => proposal.reply.send(Fate::Busy),
            Err(mpsc::error::TrySendError::Closed(proposal)) => proposal.reply.send(Fate::NotLeader),
        }
    }
}

/// The queue of a proposer: where commands are put in, and where it takes them out.
pub(crate) fn queue() -> (ProposerHandle, mpsc::Receiver<Proposal>) {
    let (proposals, receive) = mpsc::channel(PENDING_MAX);
    (ProposerHandle { proposals }, receive)
}

/// Raft takes no entries any more; the node is about to stop.
struct RaftStopped;

/// Entries on their way, of one leadership.
#[derive(Default)]
struct InFlight {
    entries: AtomicUsize,
    landed: Notify,
}

pub(crate) struct Proposer {
    raft: Raft,
    shared: Arc<Shared>,
    identity: Arc<IdentityFile>,
    proposals: mpsc::Receiver<Proposal>,
    /// Taken from the queue, not yet in an entry.
    waiting: Vec<Proposal>,
    in_flight: Arc<InFlight>,
    /// The leader id that `in_flight` counts for.
    leading: Option<LeaderStamp>,
    /// Real time of the last entry.
    last_entry: Duration,
    /// Real time of the last entry that had commands.
    last_commands: Duration,
    /// `Found` was proposed under this leader id.
    found_under: Option<LeaderStamp>,
    stop: CancellationToken,
}

impl Proposer {
    pub(crate) fn start(
        raft: Raft,
        shared: Arc<Shared>,
        identity: Arc<IdentityFile>,
        stop: CancellationToken,
    ) -> ProposerHandle {
        let (handle, proposals) = queue();
        let proposer = Self {
            raft,
            shared,
            identity,
            proposals,
            waiting: Vec::new(),
            in_flight: Arc::default(),
            leading: None,
            last_entry: Duration::ZERO,
            last_commands: Duration::ZERO,
            found_under: None,
            stop,
        };
        spawn(proposer.run());
        handle
    }

    async fn run(mut self) {
        let stop = self.stop.clone();
        let mut leadership = self.raft.server_metrics();
        while !stop.is_cancelled() {
            let leader = self.follow_leadership();
            if leader.is_none() {
                self.refuse_waiting();
            }
            let may_propose = leader.is_some() && self.has_room();
            if may_propose && (!self.waiting.is_empty() || self.tick_is_due()) {
                match self.propose_entry().await {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(RaftStopped) => break,
                }
            }
            let in_flight = Arc::clone(&self.in_flight);
            // At least a moment: what could not be proposed just now cannot be at once.
            let tick_in = if may_propose { self.next_tick().map(|wait| wait.max(MOMENT)) } else { None };
            let free = COMMANDS_PER_ENTRY_MAX.saturating_sub(self.waiting.len());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                received = self.proposals.recv_many(&mut self.waiting, free), if free > 0 => {
                    if received == 0 {
                        break;
                    }
                }
                () = in_flight.landed.notified() => {}
                () = self.shared.proposer_wake.notified() => {}
                changed = leadership.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
                () = sleep_or_pending(tick_in) => {}
            }
        }
        self.refuse_waiting();
    }

    /// The leader id this node leads under, if any, whether or not its clock runs yet.
    fn raft_leadership(&self) -> Option<LeaderStamp> {
        // From the same metrics that wake this task: `as_leader` reads others, which openraft publishes after these, so a task
        // that asks it on waking may be told of the time before and then sleep through its leadership.
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let vote = &metrics.vote;
        // A leader that was restarted has its own vote, committed, and has applied entries of its own: it leads no more.
        let leads = metrics.state == ServerState::Leader && vote.committed && vote.leader_id.node_id == metrics.id;
        leads.then(|| crate::types::stamp(vote.leader_id))
    }

    /// Notes changes of leadership; the commands of an ended one are not this node's business any more.
    fn follow_leadership(&mut self) -> Option<LeaderStamp> {
        let leading = self.raft_leadership();
        if leading != self.leading {
            self.leading = leading;
            self.in_flight = Arc::default();
            if leading.is_none() {
                self.shared.leader_clock.lock().stop();
            }
        }
        leading
    }

    /// The clock runs under the present leadership, and not too many entries are on their way.
    fn has_room(&self) -> bool {
        let started = self.shared.leader_clock.lock().leader() == self.leading;
        started && self.in_flight.entries.load(Ordering::Acquire) < ENTRIES_IN_FLIGHT_MAX
    }

    fn refuse_waiting(&mut self) {
        for proposal in self.waiting.drain(..) {
            proposal.reply.send(Fate::NotLeader);
        }
    }

    fn needs_found(&self) -> bool {
        self.found_under != self.leading && self.shared.state.read().cluster().is_none()
    }

    /// Time until an entry is owed to the clock alone; None while nothing is pending.
    fn next_tick(&self) -> Option<Duration> {
        if self.needs_found() {
            return Some(Duration::ZERO);
        }
        let deadline = self.shared.earliest_deadline()?;
        let real = self.shared.clock.monotonic();
        let idle = (self.last_entry + TICK_INTERVAL).saturating_sub(real);
        let mut due = self.shared.leader_clock.lock().until_past(deadline, real)?;
        // The last entry left some of what was due: as long as commands come, their entries end the rest, a little each.
        if deadline < self.shared.now() {
            due = (self.last_commands + QUIET).saturating_sub(real);
        }
        // An entry that is on its way may take care of the deadline: ticks are not piled up.
        if due.is_zero() && self.in_flight.entries.load(Ordering::Acquire) > 0 {
            Some(idle)
        } else {
            // What raft refused a moment ago it refuses now.
            Some(idle.min(due.max((self.last_entry + MOMENT).saturating_sub(real))))
        }
    }

    fn tick_is_due(&self) -> bool {
        self.next_tick().is_some_and(|wait| wait.is_zero())
    }

    fn found(&self) -> Option<Bytes> {
        let cluster = self.identity.get().cluster?;
        let counter_start = self.shared.clock.unix().as_secs() << 20;
        let operation =
            Operation::Found(Found { cluster, counter_start, limits: Limits::default(), level: self.found_level() });
        Some(codec::encode_command(&Command { principal: None, not_after: None, operation }))
    }

    /// The highest format level that all founding members support.
    fn found_level(&self) -> u32 {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.membership().nodes();
        members.map(|(_, member)| member.level_max).fold(self.shared.level.level_max(), u32::min)
    }

    /// Proposes one entry: the founding, waiting commands, or nothing but the time. False: not now.
    async fn propose_entry(&mut self) -> Result<bool, RaftStopped> {
        let (commands, replies) = if self.needs_found() {
            let Some(found) = self.found() else { return Ok(false) };
            self.found_under = self.leading;
            (vec![found], Vec::new())
        } else {
            take_batch(&mut self.waiting)
        };
        let real = self.shared.clock.monotonic();
        let pending = self.shared.earliest_deadline().is_some();
        let stamp = self.shared.leader_clock.lock().stamp(self.shared.now(), real, pending);
        let Some((at, leader)) = stamp.filter(|(_, leader)| Some(*leader) == self.leading) else {
            replies.into_iter().for_each(|reply| reply.send(Fate::NotLeader));
            return Ok(false);
        };
        self.last_entry = real;
        if !commands.is_empty() {
            self.last_commands = real;
        }
        failpoint!("propose::entry::before", pass);
        self.write(at, leader, &commands, replies).await?;
        failpoint!("propose::entry::after", pass);
        Ok(true)
    }

    async fn write(
        &self,
        at: LogTime,
        leader: LeaderStamp,
        commands: &[Bytes],
        replies: Vec<Reply>,
    ) -> Result<(), RaftStopped> {
        let bytes = codec::encode_batch(at, leader, commands);
        let in_flight = Arc::clone(&self.in_flight);
        in_flight.entries.fetch_add(1, Ordering::AcqRel);
        // Dropped without being called when raft stops: then too the entry is no longer on its way.
        let landing = Landing { in_flight, replies: Mutex::new(replies) };
        let callback = Callback(Box::new(move |result| landing.complete(result)));
        let leader = LeaderId { term: leader.term, node_id: leader.node };
        self.raft.write(BatchBytes(bytes)).with_leader(leader).responder(callback).await.map_err(|error| {
            tracing::error!(%error, "raft does not take entries any more");
            RaftStopped
        })
    }
}

/// Takes what fits into one entry off the waiting commands.
pub(crate) fn take_batch(waiting: &mut Vec<Proposal>) -> (Vec<Bytes>, Vec<Reply>) {
    waiting.retain(|proposal| !proposal.reply.is_gone());
    let mut bytes = 0;
    let fits = waiting.iter().take(COMMANDS_PER_ENTRY_MAX).take_while(|proposal| {
        bytes += proposal.command.len();
        bytes <= ENTRY_BYTES_MAX || bytes == proposal.command.len()
    });
    let count = fits.count();
    waiting.drain(..count).map(|proposal| (proposal.command, proposal.reply)).unzip()
}

/// Counts an entry as on its way until it has landed, whatever happens to it.
struct Landing {
    in_flight: Arc<InFlight>,
    replies: Mutex<Vec<Reply>>,
}

impl Landing {
    fn complete(&self, result: ClientWriteResult<TypeConfig>) {
        let replies = std::mem::take(&mut *self.replies.lock());
        match result {
            Ok(response) => {
                for (reply, outcome) in replies.into_iter().zip(response.data.0) {
                    reply.send(Fate::Outcome(outcome));
                }
            }
            Err(error) => {
                let fate = match error {
                    ClientWriteError::ForwardToLeader(_) | ClientWriteError::PreconditionFailed(_) => Fate::NotLeader,
                    ClientWriteError::LogEntryDiscarded(_) | ClientWriteError::ChangeMembershipError(_) => {
                        Fate::Unknown
                    }
                };
                replies.into_iter().for_each(|reply| reply.send(fate.clone()));
            }
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.in_flight.entries.fetch_sub(1, Ordering::AcqRel);
        self.in_flight.landed.notify_one();
        for reply in self.replies.get_mut().drain(..) {
            reply.send(Fate::Unknown);
        }
    }
}

async fn sleep_or_pending(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
