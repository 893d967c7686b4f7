"use strict";
// What the native API says of a lock, through the command line of the service under test. Against a real Redis there is none.

const { execFile } = require("node:child_process");

const BINARY = process.env.LEASEHOLD_BIN;
const PASSWORD = process.env.LEASEHOLD_REDIS_PASSWORD;
const ANSWER_MS_MAX = 20_000;

/** The holder of a lock as {owner, token, metadata}; null when nobody holds it, or nobody can say. */
function holder(name) {
  if (!BINARY) return Promise.resolve(null);
  // The endpoints and the namespace are in the environment.
  return new Promise((resolve) => {
    execFile(BINARY, ["get", name, "-o", "json"], { timeout: ANSWER_MS_MAX }, (error, stdout) => {
      const [first] = error ? [] : JSON.parse(stdout).holders;
      resolve(first ? { owner: first.owner, token: first.token, metadata: first.metadata } : null);
    });
  });
}

/** CLOCK_MONOTONIC, in nanoseconds: one clock for all processes of a machine. */
function now() {
  return process.hrtime.bigint();
}

/** Where the servers are. */
function addresses() {
  return process.env.LEASEHOLD_REDIS.split(",").map((address) => {
    const colon = address.lastIndexOf(":");
    return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
  });
}

module.exports = { BINARY, PASSWORD, addresses, holder, now };
