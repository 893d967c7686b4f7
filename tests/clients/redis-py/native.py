"""What the native API says of a lock, through the command line of the service under test. Against a real Redis there is none."""

import json
import os
import subprocess
import time

BINARY = os.environ.get("LEASEHOLD_BIN")
PASSWORD = os.environ.get("LEASEHOLD_REDIS_PASSWORD")
ANSWER_S_MAX = 20


def holder(name):
    """The holder of a lock as {"owner", "token", "metadata"}; None when nobody holds it, or nobody can say."""
    if not BINARY:
        return None
    # The endpoints and the namespace are in the environment.
    answer = subprocess.run(
        [BINARY, "get", name, "-o", "json"], capture_output=True, text=True, timeout=ANSWER_S_MAX
    )
    if answer.returncode != 0:
        return None
    holders = json.loads(answer.stdout)["holders"]
    if not holders:
        return None
    return {part: holders[0].get(part) for part in ("owner", "token", "metadata")}


def now():
    """CLOCK_MONOTONIC, in nanoseconds: one clock for all processes of a machine."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def addresses():
    """Where the servers are: (host, port)."""
    return [
        (host, int(port))
        for host, port in (address.rsplit(":", 1) for address in os.environ["LEASEHOLD_REDIS"].split(","))
    ]
