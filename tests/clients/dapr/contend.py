"""Applications beside different nodes contend for few locks until standard input ends; a JSON line for every hold.

Half of them use DaprClient, the others the one of dapr.aio. One whose node does not answer goes on beside the next node.
"""

import asyncio
import json
import os
import random
import sys
import threading
import uuid

# The SDK itself sets none: one that waits for ever for a node that was killed would show nothing.
os.environ.setdefault("DAPR_API_TIMEOUT_SECONDS", "8")

import sidecars
import grpc
from dapr.aio.clients import DaprClient as AsyncDaprClient
from dapr.clients import DaprClient
from dapr.clients.grpc._response import UnlockResponseStatus as Status

import native

LOCKS = os.environ["LEASEHOLD_LOCKS"].split(",")
WORKERS = int(os.environ.get("LEASEHOLD_WORKERS", "6"))
EXPIRY_S = 5
PAUSE_S = 0.03
HEALTH_S = 2
FAILURES = (grpc.RpcError, asyncio.TimeoutError, TimeoutError)

stopping = threading.Event()
output = threading.Lock()
# The SDK prints, to standard output, what it waits for while a node has no leader: only holds are to be there.
holds, sys.stdout = sys.stdout, sys.stderr


def told(hold):
    with output:
        print(json.dumps(hold), file=holds, flush=True)


def complain(worker, error):
    with output:
        print(f"{worker}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def hold_of(worker, node, resource, owner, started, entered):
    holder = native.holder(sidecars.native_name(resource))
    seen = native.now()
    until = started + EXPIRY_S * 1_000_000_000
    return {
        "worker": worker, "node": node, "lock": resource, "owner": owner, "entered": entered, "holder": holder,
        "seen": seen, "until": until, "left": min(native.now(), until),
    }


def look_at(worker, status):
    """What was unlocked once may be told as gone when it is unlocked again after a failure, or has expired."""
    if status not in (Status.success, Status.lock_does_not_exist):
        # After its expiry it may be another's.
        complain(worker, RuntimeError(f"unlock: {status}"))


def work(number):
    worker, node, client, owed = f"dapr-{number}", number % len(sidecars.NODES), None, None
    while not stopping.is_set():
        try:
            client = client or sidecars.connect(DaprClient, node, HEALTH_S)
            if owed:
                look_at(worker, client.unlock(sidecars.STORE, *owed).status)
                owed = None
            resource, owner = random.choice(LOCKS), f"{worker} {uuid.uuid4().hex[:8]}"
            started = native.now()
            if client.try_lock(sidecars.STORE, resource, owner, EXPIRY_S).success:
                owed = (resource, owner)
                told(hold_of(worker, node, resource, owner, started, native.now()))
                continue
        except FAILURES as error:
            complain(worker, error)
            client, node = None, (node + 1) % len(sidecars.NODES)
        stopping.wait(random.uniform(0, 2 * PAUSE_S))


async def work_async(number):
    worker, node, client, owed = f"dapr-aio-{number}", number % len(sidecars.NODES), None, None
    while not stopping.is_set():
        try:
            client = client or sidecars.connect(AsyncDaprClient, node, HEALTH_S)
            if owed:
                look_at(worker, (await client.unlock(sidecars.STORE, *owed)).status)
                owed = None
            resource, owner = random.choice(LOCKS), f"{worker} {uuid.uuid4().hex[:8]}"
            started = native.now()
            if (await client.try_lock(sidecars.STORE, resource, owner, EXPIRY_S)).success:
                owed, entered = (resource, owner), native.now()
                told(await asyncio.to_thread(hold_of, worker, node, resource, owner, started, entered))
                continue
        except FAILURES as error:
            complain(worker, error)
            client, node = None, (node + 1) % len(sidecars.NODES)
        await asyncio.sleep(random.uniform(0, 2 * PAUSE_S))
    if client:
        await client.close()


async def work_all_async(numbers):
    await asyncio.gather(*(work_async(number) for number in numbers))


def main():
    half = WORKERS // 2
    threads = [threading.Thread(target=work, args=(number,)) for number in range(half)]
    threads.append(threading.Thread(target=lambda: asyncio.run(work_all_async(range(half, WORKERS)))))
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stopping.set()
    for thread in threads:
        thread.join()


main()
