"""Where the SDK looks for its sidecar: nodes of the service under test, named in LEASEHOLD_DAPR as GRPC/HTTP,GRPC/HTTP,…"""

import os
import sys
import threading
import warnings
from pathlib import Path

# What the native API says is asked for as by the programs of Redis.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "redis-py"))
# The lock API has been an alpha for years.
warnings.filterwarnings("ignore", message=".*Alpha.*")

STORE = os.environ.get("LEASEHOLD_DAPR_STORE", "lockstore")
NODES = [tuple(node.split("/")) for node in os.environ["LEASEHOLD_DAPR"].split(",")]
# The SDK reads where its sidecar is from the environment of the whole process.
_environment = threading.Lock()


def connect(client, node, health_s=20):
    """A client as an application makes it, beside this node; a TimeoutError when the node is not healthy in time."""
    grpc, http = NODES[node]
    with _environment:
        os.environ["DAPR_GRPC_ENDPOINT"] = grpc
        os.environ["DAPR_HTTP_ENDPOINT"] = f"http://{http}"
        os.environ["DAPR_HEALTH_TIMEOUT"] = str(health_s)
        return client()


def native_name(resource):
    """The lock that a resource stands for, for an application that says nothing of itself."""
    return f"lock||default||{resource}"
