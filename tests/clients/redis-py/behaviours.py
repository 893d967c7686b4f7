"""redis.lock.Lock and redis.asyncio.lock.Lock, as their documentation says that they behave, on every node.

LEASEHOLD_REDIS names the servers. Prints a line for each behaviour that was seen; ends with an error at the first that was not.
"""

import asyncio
import threading
import uuid

import redis
import redis.asyncio
from redis.exceptions import LockError, LockNotOwnedError, ResponseError

import native

THREADS = 4
ROUNDS = 4


def raises(kind, action):
    try:
        action()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected")


async def raises_async(kind, action):
    try:
        await action
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def within(low, value, high):
    assert low < value <= high, f"{value} is not in ({low}, {high}]"


def fresh():
    return f"py-{uuid.uuid4().hex[:12]}"


def one_holds_and_another_does_not(client):
    name = fresh()
    mine, other = client.lock(name, timeout=10), client.lock(name, timeout=10)
    assert mine.acquire(blocking=False) is True
    assert other.acquire(blocking=False) is False
    assert mine.locked() and other.locked()
    assert mine.owned() and not other.owned()
    if native.BINARY:
        assert native.holder(name)["owner"].encode() == mine.local.token
    mine.release()
    assert not mine.locked()
    assert other.acquire(blocking=False) is True
    other.release()


def a_wait_ends_with_the_release_the_expiry_or_the_time_out(client):
    name = fresh()
    holder, waiter = client.lock(name, timeout=10), client.lock(name, timeout=5, sleep=0.02)
    assert holder.acquire()
    assert waiter.acquire(blocking_timeout=0.2) is False
    got = []
    waiting = threading.Thread(target=lambda: got.append(waiter.acquire(blocking_timeout=10)))
    waiting.start()
    holder.release()
    waiting.join()
    assert got == [True]
    # The waiter's thread has its token to itself: what it holds can only run out here.
    short = client.lock(fresh(), timeout=0.5)
    assert short.acquire()
    after = client.lock(short.name, timeout=5, sleep=0.02)
    assert after.acquire(blocking_timeout=10) is True
    raises(LockNotOwnedError, short.release)
    after.release()


def time_is_added_replaced_and_reset(client):
    name = fresh()
    lock = client.lock(name, timeout=20)
    assert lock.acquire()
    within(15_000, client.pttl(name), 20_000)
    assert lock.extend(30) is True
    within(45_000, client.pttl(name), 50_000)
    assert lock.extend(10, replace_ttl=True) is True
    within(5_000, client.pttl(name), 10_000)
    assert lock.reacquire() is True
    within(15_000, client.pttl(name), 20_000)
    within(15, client.ttl(name), 20)
    lock.release()
    assert client.pttl(name) == -2


def nobody_touches_what_is_not_theirs(client):
    name = fresh()
    lock = client.lock(name, timeout=10)
    assert lock.acquire()
    thief = client.lock(name, timeout=10)
    thief.local.token = b"somebody else"
    raises(LockNotOwnedError, thief.release)
    thief.local.token = b"somebody else"
    raises(LockNotOwnedError, lambda: thief.extend(5))
    raises(LockNotOwnedError, thief.reacquire)
    assert lock.owned()
    lock.release()
    raises(LockError, lock.release)
    lock.local.token = b"somebody else"
    raises(LockNotOwnedError, lambda: lock.extend(5))


def a_block_holds_the_lock(client):
    name = fresh()
    with client.lock(name, timeout=10) as lock:
        assert lock.owned()
        assert client.lock(name, timeout=10).acquire(blocking=False) is False
    assert client.exists(name) == 0


def a_chosen_value_is_the_owner(client):
    name = fresh()
    lock = client.lock(name, timeout=10)
    assert lock.acquire(token="worker-7 of orders")
    assert client.get(name) in ("worker-7 of orders", b"worker-7 of orders")
    lock.release()


def threads_take_turns(client):
    name, counter = fresh(), {"value": 0}

    def work():
        for _ in range(ROUNDS):
            with client.lock(name, timeout=20, sleep=0.01):
                value = counter["value"]
                client.ping()
                counter["value"] = value + 1

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter["value"] == THREADS * ROUNDS, counter


def a_lock_without_a_time_is_refused_by_policy(client):
    if not native.BINARY:
        return
    error = raises(ResponseError, lambda: client.lock(fresh()).acquire(blocking=False))
    assert "ttl" in str(error).lower() or "px" in str(error).lower(), error


async def async_locks_behave_alike(client):
    name = fresh()
    mine, other = client.lock(name, timeout=20), client.lock(name, timeout=20, sleep=0.02)
    assert await mine.acquire(blocking=False) is True
    assert await other.acquire(blocking=False) is False
    assert await other.acquire(blocking_timeout=0.1) is False
    assert await mine.locked() and await mine.owned() and not await other.owned()
    assert await mine.extend(30) is True
    within(45_000, await client.pttl(name), 50_000)
    assert await mine.extend(10, replace_ttl=True) is True
    within(5_000, await client.pttl(name), 10_000)
    assert await mine.reacquire() is True
    within(15_000, await client.pttl(name), 20_000)
    waiting = asyncio.create_task(other.acquire(blocking_timeout=10))
    await mine.release()
    assert await waiting is True
    await raises_async(LockError, mine.release())
    await other.release()
    assert not await other.locked()


async def async_tasks_take_turns(client):
    name, counter = fresh(), {"value": 0}

    async def work():
        for _ in range(ROUNDS):
            async with client.lock(name, timeout=20, sleep=0.01):
                value = counter["value"]
                await client.ping()
                counter["value"] = value + 1

    await asyncio.gather(*(work() for _ in range(THREADS)))
    assert counter["value"] == THREADS * ROUNDS, counter


async def async_pipeline_takes_several(client):
    names = [fresh() for _ in range(3)]
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.set(name, "me", nx=True, px=10_000)
    for name in names:
        pipeline.get(name)
    answers = await pipeline.execute()
    assert answers[:3] == [True, True, True] and answers[3:] in ([b"me"] * 3, ["me"] * 3), answers


SYNC = [
    one_holds_and_another_does_not,
    a_wait_ends_with_the_release_the_expiry_or_the_time_out,
    time_is_added_replaced_and_reset,
    nobody_touches_what_is_not_theirs,
    a_block_holds_the_lock,
    a_chosen_value_is_the_owner,
    threads_take_turns,
    a_lock_without_a_time_is_refused_by_policy,
]
ASYNC = [async_locks_behave_alike, async_tasks_take_turns, async_pipeline_takes_several]


async def on_loop(host, port, protocol):
    async with redis.asyncio.Redis(host=host, port=port, protocol=protocol, password=native.PASSWORD) as client:
        for behaviour in ASYNC:
            await behaviour(client)
            print(f"redis-py {redis.__version__} RESP{protocol} {host}:{port}: {behaviour.__name__}")


def main():
    for host, port in native.addresses():
        for protocol in (2, 3):
            with redis.Redis(host=host, port=port, protocol=protocol, password=native.PASSWORD) as client:
                for behaviour in SYNC:
                    behaviour(client)
                    print(f"redis-py {redis.__version__} RESP{protocol} {host}:{port}: {behaviour.__name__}")
            asyncio.run(on_loop(host, port, protocol))


main()
