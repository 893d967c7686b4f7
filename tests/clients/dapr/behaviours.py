"""DaprClient.try_lock and unlock, sync and asyncio, as Dapr's documentation says that they behave, through every node.

Prints a line for each behaviour that was seen; ends with an error at the first that was not.
"""

import asyncio
import time
import uuid

import sidecars
import grpc
from dapr.aio.clients import DaprClient as AsyncDaprClient
from dapr.clients import DaprClient
from dapr.clients.grpc._response import UnlockResponseStatus as Status
from dapr.version import __version__

import native

STORE = sidecars.STORE


def fresh():
    return f"dapr-{uuid.uuid4().hex[:12]}"


def refused(code, text, action):
    try:
        action()
    except grpc.RpcError as error:
        assert error.code() == code and text in error.details(), error
        return
    raise AssertionError(f"{code} was expected")


async def refused_async(code, text, action):
    try:
        await action
    except grpc.RpcError as error:
        assert error.code() == code and text in error.details(), error
        return
    raise AssertionError(f"{code} was expected")


def the_conformance_cases(client):
    one, other = fresh(), fresh()
    assert client.try_lock(STORE, one, "owner-1", 15).success
    assert client.try_lock(STORE, other, "owner-2", 3).success
    assert not client.try_lock(STORE, one, "owner-1", 15).success, "not even for its owner"
    assert client.unlock(STORE, fresh(), "owner-1").status == Status.lock_does_not_exist
    assert client.unlock(STORE, one, "owner-2").status == Status.lock_belongs_to_others
    assert client.unlock(STORE, one, "owner-1").status == Status.success
    assert client.unlock(STORE, one, "owner-1").status == Status.lock_does_not_exist
    assert client.try_lock(STORE, one, "owner-2", 15).success, "a released name is anybody's"
    deadline = time.monotonic() + 20
    while not client.try_lock(STORE, other, "owner-1", 3).success:
        assert time.monotonic() < deadline, "it did not expire"
    assert client.unlock(STORE, one, "owner-2").status == Status.success


def a_block_holds_the_lock(client):
    name = fresh()
    with client.try_lock(STORE, name, "mine", 60) as lock:
        assert lock
        holder = native.holder(sidecars.native_name(name))
        assert holder["owner"] == "mine" and int(holder["token"]) > 0, holder
        assert holder["metadata"].startswith(f"dapr-grpc store={STORE} app=default "), holder
        with client.try_lock(STORE, name, "other", 60) as nothing:
            assert not nothing
        assert native.holder(sidecars.native_name(name)) == holder, "a lock that was not taken releases nothing"
    assert native.holder(sidecars.native_name(name)) is None


def mistakes_are_told(client):
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    refused(invalid, "nowhere", lambda: client.try_lock("nowhere", "r", "o", 15))
    refused(grpc.StatusCode.INTERNAL, "||", lambda: client.try_lock(STORE, "a||b", "o", 15))
    refused(grpc.StatusCode.INTERNAL, "||", lambda: client.unlock(STORE, "a||b", "o"))


def metadata_names_the_store(client):
    metadata = client.get_metadata()
    assert metadata.application_id == "default", metadata.application_id
    assert [(one.name, one.type) for one in metadata.registered_components] == [(STORE, "lock.leasehold")]


async def async_clients_behave_alike(client):
    one = fresh()
    assert (await client.try_lock(STORE, one, "owner-1", 15)).success
    assert not (await client.try_lock(STORE, one, "owner-2", 15)).success
    assert (await client.unlock(STORE, one, "owner-2")).status == Status.lock_belongs_to_others
    assert (await client.unlock(STORE, one, "owner-1")).status == Status.success
    assert (await client.unlock(STORE, one, "owner-1")).status == Status.lock_does_not_exist
    async with await client.try_lock(STORE, one, "owner-2", 60) as lock:
        assert lock
        assert native.holder(sidecars.native_name(one))["owner"] == "owner-2"
    assert native.holder(sidecars.native_name(one)) is None
    await refused_async(grpc.StatusCode.INVALID_ARGUMENT, "nowhere", client.try_lock("nowhere", "r", "o", 15))
    assert (await client.get_metadata()).application_id == "default"


async def async_tasks_exclude_each_other(client):
    name = fresh()
    got = await asyncio.gather(*(client.try_lock(STORE, name, f"task-{number}", 60) for number in range(20)))
    assert sum(answer.success for answer in got) == 1


async def on_loop(node):
    async with sidecars.connect(AsyncDaprClient, node) as client:
        for behaviour in (async_clients_behave_alike, async_tasks_exclude_each_other):
            await behaviour(client)
            print(f"dapr {__version__} {sidecars.NODES[node][0]}: {behaviour.__name__}")


def main():
    for node, (address, _) in enumerate(sidecars.NODES):
        with sidecars.connect(DaprClient, node) as client:
            for behaviour in (the_conformance_cases, a_block_holds_the_lock, mistakes_are_told, metadata_names_the_store):
                behaviour(client)
                print(f"dapr {__version__} {address}: {behaviour.__name__}")
        asyncio.run(on_loop(node))


main()
