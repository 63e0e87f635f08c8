"""Ray: what a run asks of a cluster, and what a node has to have. Real clusters are in tests/recovery."""

from __future__ import annotations

import importlib.util
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pmbench.errors import UnknownName, UsageError
from pmbench.files import file_digest
from pmbench.run.executors.node import Expected, carry_out, look, problems, software
from pmbench.run.executors.ray import Cluster, needs_of
from pmbench.run.session import Session
from pmbench.run.worker import Resources, Seal, Train


def session(**options: Any) -> Session:
    return Session(Path("out"), Path("store"), Path("data"), ["run"], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "dask"}, "unknown executor 'dask'"),
        ({"address": "head:6379"}, "concern Ray alone"),
        ({"gpu_share": 0.5}, "concern Ray alone"),
        ({"executor": "ray", "workers": 0}, "--workers 0 trains in this process"),
        ({"executor": "ray", "gpu_share": 1.5}, "--gpu-share 1.5; expected a number"),
        ({"executor": "ray", "gpu_share": 0.5, "devices": 2}, "a share is of one device"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, UnknownName), match=message):
        session(**options).execute(lambda registry: [])


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:port", ":6379"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UsageError, match="no address of a cluster"):
        Cluster.connect(address)


def test_an_address_without_cluster_is_an_error_within_seconds() -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(UsageError, match=f"no Ray cluster at {address}: .*refused") as error:
            session(executor="ray", address=address).execute(lambda registry: [])
    assert time.monotonic() - start < 5
    assert "ray start --head" in str(error.value.hint)


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="not installed") as error:
        Cluster.connect("127.0.0.1:1")
    assert "pmbench[ray]" in str(error.value.hint)


@pytest.mark.parametrize(
    ("kind", "device", "devices", "share", "cpus", "gpus"),
    [
        (Train, "cpu", 1, 1.0, 2, 0),
        (Train, "cuda", 1, 1.0, 2, 1),
        (Train, "cuda", 1, 0.25, 2, 0.25),
        (Train, "cuda", 4, 1.0, 8, 4),
        (Seal, "cuda", 1, 0.25, 2, 0),
    ],
)
def test_what_a_task_reserves(
    kind: Any, device: str, devices: int, share: float, cpus: float, gpus: float
) -> None:
    resources = Resources(Path(), Path(), device, devices, threads=2)
    assert needs_of(kind, resources, share) == {"num_cpus": cpus, "num_gpus": gpus}


@pytest.fixture
def expected(tmp_path: Path) -> Expected:
    """What this machine has."""
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "probe").write_text("probe")
    manifest = tmp_path / "manifest.json"
    return Expected(tmp_path / "probe", {manifest: file_digest(manifest)}, software())


def test_a_node_that_fits_has_no_problem_and_writes_to_the_store(expected: Expected) -> None:
    found = look(expected)
    assert found["problems"] == []
    assert Path(found["written"]).parent == expected.probe.parent
    assert Path(found["written"]).exists()


def test_a_node_without_the_store_the_data_or_the_software_is_named(expected: Expected) -> None:
    (manifest,) = expected.manifests
    elsewhere = replace(expected, probe=expected.probe.with_name("other"))
    assert problems(elsewhere) == [f"it does not see the store {expected.probe.parent}"]
    manifest.write_text("{ }")
    assert [p.partition(" /")[0] for p in problems(expected)] == ["it does not see the prepared data"]
    manifest.write_text("{}")
    other = {**software(), "torch": "1.0"}
    assert [p.partition(",")[2] for p in problems(replace(expected, software=other))] == [" not 1.0"]
    assert not Path(look(elsewhere)["written"]).exists()


def test_a_task_on_a_node_that_does_not_fit_is_not_begun(expected: Expected) -> None:
    job: Any = None  # it is not looked at
    (message,) = carry_out(job, replace(expected, probe=expected.probe.with_name("other")))
    assert message["error"]["kind"] == "StoreError"
    assert "does not see the store" in message["error"]["message"]
