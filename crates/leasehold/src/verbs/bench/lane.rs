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
    pub(super) addresses: Vec<String>,
    pub(super) at: usize,
    pub(super) bound: Duration,
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
    /// Connects to the address with this number, or to the next one that can be reached.
    pub(super) async fn open(
        addresses: &[String],
        number: usize,
        unary: bool,
        bound: Duration,
    ) -> Result<Self, String> {
        let at = number % addresses.len().max(1);
        let address = addresses.get(at).ok_or("there is no address")?;
        let channel = dial(address, bound).await?;
        let link = if unary { None } else { Some(Link::open(channel.clone(), bound).await?) };
        Ok(Self {
            addresses: addresses.to_vec(),
            at,
            bound,
            channel,
            link,
            callers: Vec::new(),
            record: Record::default(),
        })
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
            let opened = async {
                let channel = dial(&self.addresses[self.at], self.bound).await?;
                Ok::<_, String>((Link::open(channel.clone(), self.bound).await?, channel))
            };
            match opened.await {
                Ok((link, channel)) => {
                    (self.link, self.channel) = (Some(link), channel);
                    return Ok(());
                }
                Err(error) if schedule.clock.now() > deadline => return Err(error),
                Err(_) => self.record.error("connect"),
            }
            tokio::time::sleep(REDIAL_AFTER).await;
        }
    }
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
