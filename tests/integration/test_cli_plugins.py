"""`pmbench plugins`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

SECOND_KD = """
import pmbench as pm

@pm.method("kd", paper="none")
def kd(setting):
    return pm.trained_on(*setting.target)

@pm.hookimpl
def pmbench_methods():
    return [kd]
"""
LISTENER = "import pmbench as pm\n@pm.hookimpl\ndef pmbench_run_finished(record):\n    pass\n"


def test_what_is_installed(run_cli: Any) -> None:
    found = run_cli("plugins", "--json").json()
    offered = {p["distribution"]: p for p in found["plugins"]}
    assert offered["pmbench-hapt"]["methods"] == []
    assert {"admd", "hoffman", "mdms"} < set(offered["pmbench-hallucination"]["methods"])
    assert "planted" in offered["pmbench"]["datasets"]
    assert found["collisions"] == []
    text = run_cli("plugins").stdout
    assert "data sets: mfeat, mfeat-zer" in text


def test_a_broken_plugin_is_named_with_its_error_and_harms_nobody(workspace: Any) -> None:
    workspace.install("pmbench-broken", "raise RuntimeError('out of order')\n")
    done = workspace.run_cli("plugins")
    assert done.code == 0
    for stream in (done.stdout, done.stderr):
        assert "pmbench-broken" in stream
        assert "RuntimeError (pmbench_broken.py, line 1, in <module>): out of order" in stream
    (broken,) = workspace.run_cli("plugins", "--json").json()["broken"]
    assert (broken["distribution"], broken["version"]) == ("pmbench-broken", "1.0")
    listed = workspace.run_cli("list", "methods")
    assert listed.code == 0
    assert "hoffman" in listed.stdout
    assert "pmbench-broken" in listed.stderr
    assert "not loaded: pmbench-broken" in workspace.run_cli("show", "brokn").stderr


def test_a_name_offered_twice(workspace: Any) -> None:
    workspace.install("pmbench-second", SECOND_KD)
    done = workspace.run_cli("plugins")
    assert done.code == 0
    assert "method 'kd' is offered more than once, by pmbench-kd and pmbench-second" in done.stderr
    (collision,) = workspace.run_cli("plugins", "--json").json()["collisions"]
    assert collision["distributions"] == ["pmbench-kd", "pmbench-second"]
    shown = workspace.run_cli("show", "kd")
    assert shown.code == 1
    assert "pmbench-kd and pmbench-second" in shown.error
    assert workspace.run_cli("show", "hoffman").code == 0


def test_a_plugin_that_only_listens_is_listed(workspace: Any) -> None:
    workspace.install("pmbench-listener", LISTENER)
    found = {p["distribution"]: p for p in workspace.run_cli("plugins", "--json").json()["plugins"]}
    assert found["pmbench-listener"]["hooks"] == ["pmbench_run_finished"]
    assert "receives every record" in workspace.run_cli("plugins").stdout


def test_chosen_plugins_alone(workspace: Any) -> None:
    def choose(names: str) -> Any:
        return replace(workspace, environment=workspace.environment | {"PMBENCH_PLUGINS": names})

    chosen = choose("pmbench-kd,pmbench-hapt")
    found = chosen.run_cli("plugins", "--json").json()
    assert [p["distribution"] for p in found["plugins"]] == ["pmbench", "pmbench-hapt", "pmbench-kd"]
    assert "'hoffman' is not a method" in chosen.run_cli("show", "hoffman").error
    wrong = choose("pmbench-kb").run_cli("plugins")
    assert wrong.code == 2
    assert "unknown distribution in PMBENCH_PLUGINS 'pmbench-kb'; did you mean 'pmbench-kd'" in wrong.error
