"use strict";
// redlock 5 and 4 over ioredis, as their documentation says that they behave, on every node.
//
// LEASEHOLD_REDIS names the servers. Prints a line for each behaviour that was seen; ends with an error at the first that was not.

const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const { once } = require("node:events");
const { setTimeout: sleep } = require("node:timers/promises");

const Redis = require("ioredis");
const { default: Redlock, ExecutionError, ResourceLockedError } = require("redlock");
const Redlock4 = require("redlock4");

const native = require("./native.js");

const ONCE = { retryCount: 0 };

const fresh = () => `js-${randomUUID().slice(0, 12)}`;

const within = (low, value, high) => assert.ok(low < value && value <= high, `${value} is not in (${low}, ${high}]`);

async function isRefusedAsLocked(promise) {
  const error = await promise.then(() => assert.fail("the resource is locked"), (error) => error);
  assert.ok(error instanceof ExecutionError, error);
  const stats = await error.attempts[0];
  for (const reason of stats.votesAgainst.values()) assert.ok(reason instanceof ResourceLockedError, reason);
}

async function oneHoldsAndAnotherDoesNot(client) {
  const redlock = new Redlock([client], ONCE);
  const name = fresh();
  const lock = await redlock.acquire([name], 10_000);
  await isRefusedAsLocked(redlock.acquire([name], 10_000));
  assert.equal(await client.get(name), lock.value);
  within(5_000, await client.pttl(name), 10_000);
  if (native.BINARY) assert.equal((await native.holder(name)).owner, lock.value);
  await lock.release();
  assert.equal(await client.exists(name), 0);
  await isRefusedAsLocked(lock.release());
}

async function severalAreTakenTogetherOrNotAtAll(client) {
  const redlock = new Redlock([client], ONCE);
  const [a, b, c] = [fresh(), fresh(), fresh()];
  const lock = await redlock.acquire([a, b], 10_000);
  await isRefusedAsLocked(redlock.acquire([c, b], 10_000));
  assert.equal(await client.exists(a, b, c), 2);
  const longer = await lock.extend(30_000);
  for (const name of [a, b]) within(25_000, await client.pttl(name), 30_000);
  const other = await redlock.acquire([c], 10_000);
  await longer.release();
  assert.equal(await client.exists(a, b, c), 1);
  await other.release();
}

async function anExtensionMayAlsoShorten(client) {
  const redlock = new Redlock([client], ONCE);
  const name = fresh();
  const lock = await (await redlock.acquire([name], 30_000)).extend(5_000);
  within(1_000, await client.pttl(name), 5_000);
  await lock.release();
}

async function whatRanOutIsNobodysAndFree(client) {
  const redlock = new Redlock([client], ONCE);
  const patient = new Redlock([client], { retryCount: 200, retryDelay: 20, retryJitter: 10 });
  const name = fresh();
  const lock = await redlock.acquire([name], 500);
  const next = await patient.acquire([name], 10_000);
  await isRefusedAsLocked(lock.release());
  assert.equal(await client.get(name), next.value);
  await assert.rejects(lock.extend(5_000), ExecutionError);
  await next.release();
}

async function usingExtendsByItself(client) {
  const redlock = new Redlock([client], ONCE);
  const name = fresh();
  const { value, after } = await redlock.using([name], 1_000, { automaticExtensionThreshold: 700 }, async (signal) => {
    const value = await client.get(name);
    const start = native.now();
    while (native.now() - start < 2_000_000_000n) {
      assert.ok(!signal.aborted, signal.error);
      assert.equal(await client.get(name), value);
      await sleep(20);
    }
    return { value, after: await client.get(name) };
  });
  assert.equal(after, value);
  assert.equal(await client.exists(name), 0);
}

async function contendersTakeTurns(client) {
  const redlock = new Redlock([client], { retryCount: -1, retryDelay: 15, retryJitter: 10 });
  const name = fresh();
  let counter = 0;
  const work = async () => {
    for (let round = 0; round < 4; round += 1) {
      const lock = await redlock.acquire([name], 20_000);
      const value = counter;
      await client.ping();
      counter = value + 1;
      await lock.release();
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  assert.equal(counter, 16);
}

async function versionFourBehavesAlike(client) {
  const redlock = new Redlock4([client], ONCE);
  const [a, b] = [fresh(), fresh()];
  const lock = await redlock.lock([a, b], 10_000);
  await assert.rejects(redlock.lock(b, 10_000), { name: "LockError" });
  const longer = await lock.extend(30_000);
  for (const name of [a, b]) within(25_000, await client.pttl(name), 30_000);
  await longer.unlock();
  assert.equal(await client.exists(a, b), 0);
  await assert.rejects(longer.unlock(), { name: "LockError" });
}

const BEHAVIOURS = [
  oneHoldsAndAnotherDoesNot,
  severalAreTakenTogetherOrNotAtAll,
  anExtensionMayAlsoShorten,
  whatRanOutIsNobodysAndFree,
  usingExtendsByItself,
  contendersTakeTurns,
  versionFourBehavesAlike,
];

async function main() {
  for (const { host, port } of native.addresses()) {
    const client = new Redis({ host, port, password: native.PASSWORD, lazyConnect: true });
    await Promise.all([once(client, "ready"), client.connect()]);
    for (const behaviour of BEHAVIOURS) {
      await behaviour(client);
      console.log(`redlock ${host}:${port}: ${behaviour.name}`);
    }
    await client.quit();
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
