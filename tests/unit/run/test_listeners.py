"""Listening distributions: real processes that hear, raise, hang and die."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pmbench.contracts.event import Epoch
from pmbench.plugins import Host, Registry, load_plugins, survey
from pmbench.plugins.registry import entry_points
from pmbench.report.record_files import read_record
from pmbench.run.listeners import EPOCH, Listeners

RECORDS = Path(__file__).parents[3] / "leaderboard" / "records"
PLUGIN = """
import json, os, time
import pmbench as pm

def write(*told):
    with open("heard.jsonl", "a") as file:
        print(json.dumps([os.getpid(), *told]), file=file)

@pm.hookimpl
def pmbench_epoch_finished(event):
    frozen = (event.methods, event.reads) == (("kd",), ("target_view",))
    write(event.epoch, event.terms["ce"], frozen, sorted(os.environ))
    {fault}

@pm.hookimpl
def pmbench_run_finished(record):
    write(record.cell.method)
"""
FAULTS = {
    "lab-hears": "pass",
    "lab-raises": "raise ValueError(f'no ears for {event.metric}')",
    "lab-dies": "os._exit(3)",
    "lab-hangs": "time.sleep(60 * (event.epoch == 2))",
}


def epoch(number: int) -> Epoch:
    return Epoch(
        key="0" * 64,
        stage="Distill",
        reads=("target_view",),
        methods=("kd",),
        dataset="planted",
        protocol="shared-10",
        seed=0,
        placebo="",
        epoch=number,
        epochs=3,
        terms={"ce": 1 / number},
        metric="accuracy",
        validation=None,
        seconds=0.5,
    )


@pytest.fixture(scope="module")
def record():
    return read_record(next(RECORDS.rglob("kd*.json")))


@pytest.fixture(scope="module")
def told(tmp_path_factory, record):
    """(folder of results, plugins, seconds that telling took) after three epochs and a record."""
    site, out = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("out")
    for name, fault in FAULTS.items():
        module = name.replace("-", "_")
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (site / f"{module}.py").write_text(PLUGIN.replace("{fault}", fault))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[pmbench]\n{module} = {module}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("LAB_HEARS_TOKEN", "for one alone")
        entry_points.cache_clear()
        registry = survey(set(FAULTS))
        patch.setattr(Host, "limit", 3.0)
        listeners = Listeners(registry, out)
        started = time.monotonic()
        for number in (1, 2, 3):
            listeners.epoch(epoch(number))
        listeners.record(record)
        seconds = time.monotonic() - started
        listeners.close()
    entry_points.cache_clear()
    return out, registry, seconds


def lines(out: Path, name: str) -> list:
    text = (out / "listeners" / name / "heard.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_one_process_hears_everything_in_order(told, record):
    heard = lines(told[0], "lab-hears")
    assert [line[1] for line in heard] == [1, 2, 3, record.cell.method]
    assert [line[2] for line in heard[:3]] == [1, 1 / 2, 1 / 3]
    assert all(line[3] is True for line in heard[:3])
    assert len({line[0] for line in heard}) == 1


def test_only_the_distribution_it_is_named_after_sees_a_variable(told):
    assert "LAB_HEARS_TOKEN" in lines(told[0], "lab-hears")[0][4]
    assert "LAB_HEARS_TOKEN" not in lines(told[0], "lab-raises")[0][4]


def test_nobody_waits_for_a_listener(told):
    assert told[2] < 1.0, "one of them hangs"


def test_a_hook_that_raises_is_told_what_comes_next(told, record):
    assert [line[1] for line in lines(told[0], "lab-raises")] == [1, 2, 3, record.cell.method]


@pytest.mark.parametrize(("name", "calls"), [("lab-dies", [1]), ("lab-hangs", [1, 2])])
def test_a_process_that_ended_is_told_nothing_more(told, name, calls):
    assert [line[1] for line in lines(told[0], name)] == calls


def test_each_error_is_noted_once(told):
    found = {b.distribution: (b.where, b.error) for b in told[1].broken}
    assert len(told[1].broken) == len(found) == 3
    assert {where for where, _ in found.values()} == {"pmbench_epoch_finished"}
    assert "no ears for accuracy" in found["lab-raises"][1]
    assert "ended with code 3; it is told nothing more" in found["lab-dies"][1]
    assert "was killed, as the call took too long" in found["lab-hangs"][1]


def test_in_the_process_of_the_command_hooks_are_called_at_once(tmp_path):
    heard = []

    def hook(event):
        heard.append(event)
        raise ValueError("no ears")

    registry = Registry(hooks={"lab": [EPOCH]}, listeners={"lab": [(EPOCH, hook)]})
    listeners = Listeners(registry, tmp_path)
    listeners.epoch(epoch(1))
    listeners.epoch(epoch(2))
    assert heard == [epoch(1), epoch(2)]
    assert [(b.distribution, b.where) for b in registry.broken] == [("lab", EPOCH)]


def test_without_listeners_there_is_no_process(tmp_path, record):
    listeners = Listeners(load_plugins(["pmbench"]), tmp_path)
    listeners.epoch(epoch(1))
    listeners.record(record)
    listeners.close()
    assert not (tmp_path / "listeners").exists()
