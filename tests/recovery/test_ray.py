"""Runs on a real Ray cluster of several raylets on this machine, one of which is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from run_processes import Workspace, alive, checkpoints, is_server, process_tree, wait_for

pytest.importorskip("ray")
pytestmark = pytest.mark.slow  # real runs

RUN = ("--method", "kd", "--no-references", "--dataset", "planted", "--seeds", "2", "--device", "cpu")
RUN = (*RUN, "--set", "recipe.epochs=30")
START = """
import sys
from ray.cluster_utils import Cluster

def patient(start):
    for left in (2, 1, 0):
        try:
            return start()
        except Exception:  # a raylet has 30 s to start, which a busy machine may not hold
            if not left:
                raise

memory = {"object_store_memory": 80_000_000}
head = {"num_cpus": 1, "include_dashboard": False, **memory}
cluster = patient(lambda: Cluster(initialize_head=True, head_node_args=head))
node = patient(lambda: cluster.add_node(num_cpus=1, num_gpus=2, **memory))
raylet = node.all_processes["raylet"][0].process.pid
print(cluster.address, raylet, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
RESERVE = """
import json, os, sys
from pathlib import Path
from pmbench.run.executors.ray import Cluster, needs_of
from pmbench.run.worker import Resources, Train

cluster = Cluster.connect(sys.argv[1])
needs = needs_of(Train, Resources(Path(), Path(), cluster.device("auto")), 0.25)

def task():
    import ray
    return ray.get_runtime_context().get_assigned_resources(), os.environ["CUDA_VISIBLE_DEVICES"]

given = cluster.ray.get(cluster.ray.remote(task).options(**needs).remote())
slots = [cluster.slots(needs), cluster.slots({"num_cpus": 1, "num_gpus": 0})]
print(json.dumps([cluster.device("auto"), *slots, *given]))
cluster.close()
"""


def ask(code: str, *arguments: str) -> Any:
    """What a new process that runs `code` prints, from JSON."""
    command = [sys.executable, "-c", code, *arguments]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True, timeout=200).stdout)


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, int]]:
    """Address of a cluster of two nodes with a CPU each; process of the second, which claims two GPUs."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
    }
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [sys.executable, "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment | {"RAY_TMPDIR": folder},
        )
        assert process.stdin
        assert process.stdout
        address, raylet = process.stdout.readline().split()
        members = process_tree(process.pid)
        yield address, int(raylet)
        process.stdin.close()
        process.stdout.close()
        process.wait(60)
        assert wait_for(lambda: not alive(members), 30), "processes of the cluster outlive it"


def test_a_stage_reserves_its_share_of_a_gpu(cluster: tuple[str, int]) -> None:
    address, _ = cluster
    device, slots, on_cpus, assigned, visible = ask(RESERVE, address)
    assert device == "cuda"
    assert slots == 1  # the node with the GPUs has one CPU
    assert on_cpus == 2
    assert assigned == {"CPU": 1.0, "GPU": 0.25}
    assert visible in ("0", "1")


def facts(value: Any) -> Any:
    """A record without what differs between two runs: dates, command, seconds, latency, memory."""
    if isinstance(value, dict):
        apart = ("date", "command", "peak_bytes", "git_commit", "git_dirty")
        kept = {k: v for k, v in value.items() if k not in apart and "seconds" not in k and "_ms" not in k}
        return {k: facts(v) for k, v in kept.items()}
    return [facts(v) for v in value] if isinstance(value, list) else value


def test_a_killed_raylet_loses_at_most_what_ran_on_it(
    make_workspace: Callable[[str], Workspace], cluster: tuple[str, int]
) -> None:
    address, raylet = cluster
    local, spread = make_workspace("local"), make_workspace("spread")
    calm = local.finish(*RUN, "--workers", "2")
    process = spread.start(*RUN, "--executor", "ray", "--address", address)

    def training() -> list[int]:
        """Servers and processes of stages on the node of the raylet, once both nodes train."""
        servers = [pid for pid in process_tree(raylet) if is_server(pid)]
        found = [child for server in servers for child in process_tree(server)]
        return found if len(checkpoints(spread)) == 2 and len(found) > len(servers) else []

    members = wait_for(lambda: training() or process.poll() is not None, 200, pause=0.05)
    assert members, "nothing is trained"
    assert process.poll() is None, process.communicate()
    before = {path: path.stat().st_mtime_ns for path in spread.store.glob("??/*/stage.json")}
    os.kill(raylet, 9)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert wait_for(lambda: not alive(members), 10), "stages outlive their node"
    harried = json.loads(stdout)

    assert harried["trained"] == len(spread.finished_stages()) == 4
    assert spread.finished_stages() == local.finished_stages()
    assert spread.predictions() == local.predictions()
    assert facts(harried["records"]) == facts(calm["records"])
    assert {path: path.stat().st_mtime_ns for path in before} == before, "a finished stage was trained again"
    assert not list(spread.store.glob("*.tmp")) + list(spread.store.glob("??/*.work"))

    again = spread.finish(*RUN)  # on this machine alone
    assert again["trained"] == 0
    assert again["reused"] == 2
