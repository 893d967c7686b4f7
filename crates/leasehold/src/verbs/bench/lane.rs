//! A lane: one connection, and the callers that share it. On a stream one task drives all of them: the answers of one message are
//! handed to their callers, and what those send next goes out together.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use leasehold_client::clock::Moment;
use leasehold_proto::v1::Error;
use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::operation::Operation as Asked;
use tokio::time::MissedTickBehavior;
use tonic::transport::Channel;

use super::caller::{Caller, Context, Phase, RETRY_AFTER, Step};
use super::connection::{Link, dial};
use super::record::Record;
use super::schedule::Schedule;

/// How often a lane looks at what is due.
const TICK: Duration = Duration::from_millis(5);
/// Between two attempts to open a broken connection again.
const REDIAL_AFTER: Duration = Duration::from_millis(100);

pub(super) struct Lane {
    /// Where it connects: another one of them after each failure.
    addresses: Vec<String>,
    at: usize,
    bound: Duration,
    pub(super) channel: Channel,
    link: Option<Link>,
    pub(super) callers: Vec<Box<dyn Caller>>,
    pub(super) record: Record,
}

/// What one phase of a lane has under way.
struct Round<'a> {
    phase: Phase,
    schedule: &'a Schedule,
    out: Vec<(u64, Asked)>,
    /// Callers that wait for an answer.
    asked: Vec<bool>,
    due: BinaryHeap<Reverse<(Moment, usize)>>,
    /// Callers that are not done.
    left: usize,
}

impl Lane {
    /// Connects to the address with this number, or to the next one that can be reached; those that cannot are counted as errors.
    pub(super) async fn open(
        addresses: &[String],
        number: usize,
        unary: bool,
        bound: Duration,
    ) -> Result<Self, String> {
        let mut record = Record::default();
        let mut problem = "there is no address".to_owned();
        for turn in 0..addresses.len() {
            let at = (number + turn) % addresses.len();
            match connect(&addresses[at], unary, bound).await {
                Ok((channel, link)) => {
                    let (addresses, callers) = (addresses.to_vec(), Vec::new());
                    return Ok(Self { addresses, at, bound, channel, link, callers, record });
                }
                Err(error) => {
                    record.error(&format!("connect: {}", addresses[at]));
                    problem = error;
                }
            }
        }
        Err(problem)
    }

    /// Lets every caller go through a phase, on the stream.
    pub(super) async fn drive(&mut self, phase: Phase, schedule: &Schedule, deadline: Moment) -> Result<(), String> {
        let ended = self.drive_all(phase, schedule, deadline).await;
        if ended.is_err() {
            // What is under way must not be answered to whoever goes on.
            self.link = None;
        }
        ended
    }

    async fn drive_all(&mut self, phase: Phase, schedule: &Schedule, deadline: Moment) -> Result<(), String> {
        let count = self.callers.len();
        let mut round = Round {
            phase,
            schedule,
            out: Vec::with_capacity(count),
            asked: vec![false; count],
            due: BinaryHeap::new(),
            left: count,
        };
        let now = schedule.clock.now();
        for caller in 0..count {
            round.step(&mut self.callers, &mut self.record, caller, None, now);
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while round.left > 0 {
            let Some(link) = &mut self.link else {
                self.reopen(schedule, deadline).await?;
                round.ask_again();
                continue;
            };
            link.send(&mut round.out);
            tokio::select! {
                biased;
                message = link.answers.message() => match message {
                    Ok(Some(message)) => {
                        let now = schedule.clock.now();
                        for answer in message.answers {
                            round.answered(&mut self.callers, &mut self.record, answer.id, answer.answer, now)?;
                        }
                    }
                    ended => {
                        let why = ended.err().map_or("ended".to_owned(), |status| format!("{:?}", status.code()));
                        self.record.error(&format!("stream: {why}"));
                        self.link = None;
                    }
                },
                _ = tick.tick() => {
                    let now = schedule.clock.now();
                    if now > deadline {
                        return Err(format!("{} of {count} callers did not come to an end in time", round.left));
                    }
                    round.wake(&mut self.callers, &mut self.record, now);
                }
            }
        }
        Ok(())
    }

    /// Opens the connection again, to the next address.
    async fn reopen(&mut self, schedule: &Schedule, deadline: Moment) -> Result<(), String> {
        loop {
            self.at = (self.at + 1) % self.addresses.len();
            match connect(&self.addresses[self.at], false, self.bound).await {
                Ok((channel, link)) => {
                    (self.link, self.channel) = (link, channel);
                    return Ok(());
                }
                Err(error) if schedule.clock.now() > deadline => return Err(error),
                Err(_) => self.record.error(&format!("connect: {}", self.addresses[self.at])),
            }
            tokio::time::sleep(REDIAL_AFTER).await;
        }
    }
}

/// A connection, and the stream on it unless calls are unary.
async fn connect(address: &str, unary: bool, bound: Duration) -> Result<(Channel, Option<Link>), String> {
    let channel = dial(address, bound).await?;
    let link = if unary { None } else { Some(Link::open(channel.clone(), bound).await?) };
    Ok((channel, link))
}

impl Round<'_> {
    fn step(
        &mut self,
        callers: &mut [Box<dyn Caller>],
        record: &mut Record,
        caller: usize,
        answer: Option<Answer>,
        now: Moment,
    ) {
        let ending = self.phase == Phase::Run && self.schedule.is_ending(now);
        let mut context = Context { phase: self.phase, now, ending, record };
        match callers[caller].step(&mut context, answer) {
            Step::Send(operation) => {
                self.asked[caller] = true;
                self.out.push((caller as u64 + 1, operation));
            }
            Step::At(moment) => self.due.push(Reverse((moment, caller))),
            Step::Done => self.left -= 1,
        }
    }

    fn answered(
        &mut self,
        callers: &mut [Box<dyn Caller>],
        record: &mut Record,
        id: u64,
        answer: Option<Answer>,
        now: Moment,
    ) -> Result<(), String> {
        let caller = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        let Some(caller) = caller.filter(|caller| self.asked.get(*caller) == Some(&true)) else {
            record.error("an answer to nothing that was asked");
            return Ok(());
        };
        self.asked[caller] = false;
        match answer {
            Some(Answer::Error(error)) => {
                refused(&error, record)?;
                self.due.push(Reverse((now.after(RETRY_AFTER), caller)));
            }
            answer => self.step(callers, record, caller, answer, now),
        }
        Ok(())
    }

    /// Lets those go on whose time has come.
    fn wake(&mut self, callers: &mut [Box<dyn Caller>], record: &mut Record, now: Moment) {
        while let Some(Reverse((moment, caller))) = self.due.peek().copied()
            && moment <= now
        {
            self.due.pop();
            self.step(callers, record, caller, None, now);
        }
    }

    /// After a connection broke: nobody knows what became of what was asked.
    fn ask_again(&mut self) {
        self.out.clear();
        let now = self.schedule.clock.now();
        for (caller, asked) in self.asked.iter_mut().enumerate().filter(|(_, asked)| **asked) {
            *asked = false;
            self.due.push(Reverse((now, caller)));
        }
    }
}

/// Counts a refusal. One that no repetition can change ends the run.
pub(super) fn refused(error: &Error, record: &mut Record) -> Result<(), String> {
    let code = tonic::Code::from_i32(error.code);
    let what = if error.reason.is_empty() { format!("{code:?}") } else { error.reason.clone() };
    record.error(&what);
    match code {
        tonic::Code::InvalidArgument | tonic::Code::FailedPrecondition | tonic::Code::Unimplemented => {
            Err(error.message.clone())
        }
        _ => Ok(()),
    }
}
