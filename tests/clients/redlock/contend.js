"use strict";
// Workers on different nodes contend for few locks until standard input ends; a JSON line for every hold.
//
// A worker whose node does not answer goes on through the next one.

const { setTimeout: sleep } = require("node:timers/promises");

const Redis = require("ioredis");
const { default: Redlock, ResourceLockedError } = require("redlock");

const native = require("./native.js");

const LOCKS = process.env.LEASEHOLD_LOCKS.split(",");
const WORKERS = Number(process.env.LEASEHOLD_WORKERS ?? "4");
const TTL_MS = 5_000;
const PAUSE_MS = 30;

let stopping = false;

const min = (a, b) => (a < b ? a : b);

function connect({ host, port }) {
  const client = new Redis({
    host,
    port,
    // An answer that takes longer is an error, and the worker goes on through another node.
    commandTimeout: 8_000,
    maxRetriesPerRequest: 0,
    retryStrategy: () => 100,
  });
  // Without a listener they end the process.
  client.on("error", () => {});
  return client;
}

async function acquired(redlock, names) {
  try {
    return await redlock.acquire(names, TTL_MS);
  } catch (error) {
    const stats = await error.attempts[0];
    for (const reason of stats.votesAgainst.values()) if (!(reason instanceof ResourceLockedError)) throw reason;
    return null;
  }
}

async function hold(redlock, worker, node, names) {
  const started = native.now();
  const lock = await acquired(redlock, names);
  if (!lock) return;
  const entered = native.now();
  const until = started + BigInt(TTL_MS) * 1_000_000n;
  const holds = [];
  for (const name of names) {
    const holder = await native.holder(name);
    holds.push({ worker, node, lock: name, owner: lock.value, entered, holder, seen: native.now(), until });
  }
  const left = min(native.now(), until);
  const numbers = (key, value) => (typeof value === "bigint" ? Number(value) : value);
  for (const each of holds) console.log(JSON.stringify({ ...each, left }, numbers));
  await redlock.release(lock);
}

async function work(number, nodes) {
  const worker = `redlock-${number}`;
  let node = number % nodes.length;
  const clients = nodes.map(connect);
  const redlocks = clients.map((client) => new Redlock([client], { retryCount: 0 }));
  while (!stopping) {
    // Now and then two at once.
    const several = LOCKS.length > 1 && Math.random() < 0.2;
    const first = Math.floor(Math.random() * LOCKS.length);
    const names = several ? [LOCKS[first], LOCKS[(first + 1) % LOCKS.length]] : [LOCKS[first]];
    try {
      await hold(redlocks[node], worker, node, names);
    } catch (error) {
      console.error(`${worker}: ${error}`);
      node = (node + 1) % nodes.length;
    }
    await sleep(Math.random() * 2 * PAUSE_MS);
  }
  for (const client of clients) client.disconnect();
}

async function main() {
  const nodes = native.addresses();
  process.stdin.on("end", () => (stopping = true)).resume();
  await Promise.all(Array.from({ length: WORKERS }, (_, number) => work(number, nodes)));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
