"""A Ray cluster of several nodes on this machine, for tests."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

# Ray reads it when it is imported: without it, it listens on the machine's address in the network.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

#: Seconds; Ray itself waits for half a minute, which a busy machine needs for one node.
_STARTS_WITHIN = 240.0


@contextlib.contextmanager
def ray_cluster(*cpus: int) -> Iterator[Any]:
    """Give a ``ray.cluster_utils.Cluster`` on the loopback address to which this process is connected.

    Args:
        cpus: processors of each node, the head first.
    """
    ray = pytest.importorskip("ray")
    utilities = pytest.importorskip("ray.cluster_utils")
    here = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
    cluster = utilities.Cluster(initialize_head=True, head_node_args={"wait": False, "num_cpus": cpus[0], **here})
    try:
        # One after the other: the first one that is there is this process's own.
        cluster.wait_for_nodes(_STARTS_WITHIN)
        for count in cpus[1:]:
            cluster.add_node(wait=False, num_cpus=count, node_ip_address="127.0.0.1")
            cluster.wait_for_nodes(_STARTS_WITHIN)
        ray.init(address=cluster.address, configure_logging=False, logging_level="ERROR")
        yield cluster
    finally:
        ray.shutdown()
        with warnings.catch_warnings():
            # The cluster's processes are killed, and nobody waits for them.
            warnings.simplefilter("ignore", ResourceWarning)
            cluster.shutdown()
