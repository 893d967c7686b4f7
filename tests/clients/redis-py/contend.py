"""Workers on different nodes contend for few locks until standard input ends; a JSON line for every hold.

Half of them use redis.lock, the others redis.asyncio.lock. A worker whose node does not answer goes on through the next one.
"""

import asyncio
import json
import os
import random
import sys
import threading

import redis
import redis.asyncio
from redis.exceptions import LockError, RedisError

import native

LOCKS = os.environ["LEASEHOLD_LOCKS"].split(",")
WORKERS = int(os.environ.get("LEASEHOLD_WORKERS", "4"))
TTL_S = 5
PAUSE_S = 0.03
# An answer that takes longer is an error, and the worker goes on through another node.
ANSWER_S_MAX = 8

stopping = threading.Event()
output = threading.Lock()


def told(hold):
    with output:
        print(json.dumps(hold), flush=True)


def complain(worker, error):
    with output:
        print(f"{worker}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def hold_of(worker, node, lock, name, started, entered):
    holder = native.holder(name)
    seen = native.now()
    until = started + TTL_S * 1_000_000_000
    return {
        "worker": worker, "node": node, "lock": name, "owner": lock.local.token.decode(), "entered": entered,
        "holder": holder, "seen": seen, "until": until, "left": min(native.now(), until),
    }


def work(number, nodes):
    worker, node = f"redis-py-{number}", number % len(nodes)
    clients = [
        redis.Redis(host=host, port=port, socket_timeout=ANSWER_S_MAX, protocol=2 + number % 2) for host, port in nodes
    ]
    while not stopping.is_set():
        name = random.choice(LOCKS)
        lock = clients[node].lock(name, timeout=TTL_S)
        try:
            started = native.now()
            if lock.acquire(blocking=False):
                told(hold_of(worker, node, lock, name, started, native.now()))
                lock.release()
        except LockError as error:
            complain(worker, error)
        except RedisError as error:
            complain(worker, error)
            node = (node + 1) % len(nodes)
        stopping.wait(random.uniform(0, 2 * PAUSE_S))


async def work_async(number, nodes):
    worker, node = f"redis-py-asyncio-{number}", number % len(nodes)
    clients = [
        redis.asyncio.Redis(host=host, port=port, socket_timeout=ANSWER_S_MAX, protocol=2 + number % 2)
        for host, port in nodes
    ]
    while not stopping.is_set():
        name = random.choice(LOCKS)
        lock = clients[node].lock(name, timeout=TTL_S, thread_local=False)
        try:
            started = native.now()
            if await lock.acquire(blocking=False):
                entered = native.now()
                told(await asyncio.to_thread(hold_of, worker, node, lock, name, started, entered))
                await lock.release()
        except LockError as error:
            complain(worker, error)
        except (RedisError, asyncio.TimeoutError) as error:
            complain(worker, error)
            node = (node + 1) % len(nodes)
        await asyncio.sleep(random.uniform(0, 2 * PAUSE_S))
    for client in clients:
        await client.aclose()


async def work_all_async(numbers, nodes):
    await asyncio.gather(*(work_async(number, nodes) for number in numbers))


def main():
    nodes = native.addresses()
    half = WORKERS // 2
    threads = [threading.Thread(target=work, args=(number, nodes)) for number in range(half)]
    threads.append(threading.Thread(target=lambda: asyncio.run(work_all_async(range(half, WORKERS), nodes))))
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stopping.set()
    for thread in threads:
        thread.join()


main()
