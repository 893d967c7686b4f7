//! etcd: three nodes as Debian packages them, default timing. Its calls are unary, so every caller is a task.

use std::path::{Path, PathBuf};
use std::time::Duration;

use leasehold_client::clock::Clock;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::super::caller::RETRY_AFTER;
use super::super::connection::{Target, dial};
use super::super::record::Record;
use super::super::schedule::{Schedule, Stop};
use super::etcd_wire::EtcdClient;
use super::processes::{Processes, find, first_line, free_ports, unavailable};
use super::seat::{Floor, Reply, Request, Seat};
use super::{About, Job, Work};
use crate::exit::Failure;

const NODES: usize = 3;
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// For what is under way at the end.
const DRAIN_MAX: Duration = Duration::from_secs(60);

pub(super) struct Etcd {
    pub(super) processes: Processes,
    /// `host:port` of each node.
    addresses: Vec<String>,
    version: String,
}

pub(super) fn program() -> Result<PathBuf, Failure> {
    find("etcd", "etcd-server")
}

impl Etcd {
    pub(super) async fn start(folder: &Path) -> Result<Self, Failure> {
        let program = program()?;
        let ports = free_ports(2 * NODES)?;
        let (clients, peers) = ports.split_at(NODES);
        let listed = (1..).zip(peers).map(|(id, peer)| format!("n{id}=http://127.0.0.1:{peer}"));
        let listed = listed.collect::<Vec<_>>().join(",");
        let mut processes = Processes::default();
        for (id, (client, peer)) in (1..).zip(clients.iter().zip(peers)) {
            let name = format!("n{id}");
            let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
            let mut command = Command::new(&program);
            command.args(["--name", &name]).arg("--data-dir").arg(folder.join(format!("etcd-{id}")));
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &listed, "--initial-cluster-state", "new"]);
            processes.start(&format!("etcd-{id}"), folder, &mut command)?;
        }
        let addresses: Vec<String> = clients.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        processes.wait("etcd has a leader", || leader(&addresses)).await?;
        let version = first_line(&program, "--version").await;
        let version = version.rsplit(' ').next().unwrap_or("").to_owned();
        Ok(Self { processes, addresses, version })
    }

    pub(super) fn about(&self, work: Work) -> About {
        About {
            name: "etcd",
            version: self.version.clone(),
            durability: "3 nodes, on disk (fdatasync) on a majority before an answer",
            operations: match work {
                Work::Contended => {
                    "Lock and Unlock of its lock service, each caller under a lease of its own that is there already"
                }
                _ => "Txn that creates the key under a lease that is there already, DeleteRange; unary calls",
            },
        }
    }

    /// The addresses that are meant.
    async fn targets(&self, target: Target) -> Result<Vec<String>, Failure> {
        let led = || async { leader(&self.addresses).await.ok_or_else(|| unavailable("etcd has no leader")) };
        Ok(match target {
            Target::All => self.addresses.clone(),
            Target::Leader => vec![self.addresses[led().await?].clone()],
            Target::Follower => {
                let leader = led().await?;
                let others = self.addresses.iter().enumerate().filter(|(at, _)| *at != leader);
                others.map(|(_, address)| address.clone()).collect()
            }
        })
    }

    pub(super) async fn measure(&mut self, job: &Job, stop: &Stop) -> Result<Record, Failure> {
        self.processes.check()?;
        let targets = self.targets(job.target).await?;
        let failed = |problem: String| unavailable(&format!("etcd: {problem}"));
        let mut clients = Vec::with_capacity(job.connections);
        for number in 0..job.connections {
            let address = &targets[number % targets.len()];
            clients.push(EtcdClient::new(dial(address, CONNECT_MAX).await.map_err(failed)?));
        }
        let clock = Clock::system();
        let floor = Floor::new(job, clock.now());
        let ttl_s = i64::try_from(job.long_ttl().as_secs()).unwrap_or(i64::MAX);
        let mut leases = Vec::new();
        let held = clients[0].lease_grant(ttl_s).await.map_err(failed)?;
        leases.push(held);
        if job.work == Work::TryBusy {
            for lock in &floor.shared {
                clients[0].create(&lock.name, held).await.map_err(failed)?;
            }
        }
        let mut callers = Vec::with_capacity(job.callers);
        for (client, seats) in clients.iter().zip(floor.seats(job)) {
            let mut lease = client.clone().lease_grant(ttl_s).await.map_err(failed)?;
            leases.push(lease);
            for (number, seat) in seats.into_iter().enumerate() {
                // A lock of its lock service belongs to the lease: two callers under one lease would hold it both.
                if job.work == Work::Contended && number > 0 {
                    lease = client.clone().lease_grant(ttl_s).await.map_err(failed)?;
                    leases.push(lease);
                }
                callers.push(Caller { client: client.clone(), lease, seat, key: Vec::new(), work: job.work });
            }
        }
        let schedule = Schedule::begin(&clock, job.warm_up, job.length, stop);
        let mut tasks = JoinSet::new();
        callers.into_iter().for_each(|caller| drop(tasks.spawn(caller.run(schedule.clone()))));
        let all = async {
            let mut record = Record::default();
            while let Some(task) = tasks.join_next().await {
                record.merge(&task.map_err(|error| Failure::internal(error.to_string()))?);
            }
            Ok(record)
        };
        let bound = job.warm_up + job.length + DRAIN_MAX;
        let ended = tokio::time::timeout(bound, all).await;
        for lease in leases {
            clients[0].lease_revoke(lease).await.map_err(failed)?;
        }
        ended.unwrap_or_else(|_| Err(unavailable("etcd: callers did not come to an end in time")))
    }
}

/// Which of the nodes all of them follow.
async fn leader(addresses: &[String]) -> Option<usize> {
    let mut members = Vec::new();
    let mut leaders = Vec::new();
    for address in addresses {
        let mut client = EtcdClient::new(dial(address, CONNECT_MAX).await.ok()?);
        let status = tokio::time::timeout(CONNECT_MAX, client.status()).await.ok()?.ok()?;
        members.push(status.header?.member_id);
        leaders.push(status.leader);
    }
    let first = *leaders.first()?;
    let agreed = first != 0 && leaders.iter().all(|leader| *leader == first);
    members.iter().position(|member| agreed && *member == first)
}

struct Caller {
    client: EtcdClient,
    lease: i64,
    seat: Seat,
    /// That the lock is held by, of the lock service.
    key: Vec<u8>,
    work: Work,
}

impl Caller {
    async fn run(mut self, schedule: Schedule) -> Record {
        let mut record = Record::default();
        record.open(schedule.window);
        let now = schedule.clock.now();
        let mut next = self.seat.begin(now, schedule.is_ending(now));
        while let Some(request) = next {
            match self.call(request).await {
                Ok(reply) => {
                    let now = schedule.clock.now();
                    next = self.seat.next(&reply, now, schedule.is_ending(now), &mut record);
                }
                Err(error) => {
                    record.error(&error);
                    if schedule.is_ending(schedule.clock.now()) {
                        break;
                    }
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
        record
    }

    async fn call(&mut self, request: Request) -> Result<Reply, String> {
        let Self { client, lease, seat, key, work } = self;
        Ok(match (request, work) {
            (Request::Take, Work::Contended) => {
                *key = client.lock(&seat.lock, *lease).await?;
                Reply::Taken
            }
            (Request::Give, Work::Contended) => {
                client.unlock(key.clone()).await?;
                Reply::Given
            }
            (Request::Take, _) if client.create(&seat.lock, *lease).await? => Reply::Taken,
            (Request::Take, _) => Reply::Held,
            (Request::Give, _) if client.delete(&seat.lock).await? => Reply::Given,
            (Request::Give, _) => Reply::NotHeld,
        })
    }
}
