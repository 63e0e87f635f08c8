"""Plugins that misbehave when they are imported or plan: they harm themselves alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pmbench.plugins import load_plugins

pytestmark = pytest.mark.slow  # real runs

EMBEDDED = load_plugins(["pmbench-mfeat"]).dataset("mfeat").find_source()
PLUGIN = """
import pmbench as pm

@pm.method("{name}", paper="test")
def plan(setting):
    '''A stream.'''
    return pm.Stream(setting.target[0], 16)

@pm.hookimpl
def pmbench_methods():
    return [plan]
"""
AT_IMPORT = {
    "raises": ("class Odd(BaseException): pass\nraise Odd('no import today')\n", "ended with code"),
    "exits": ("import os\nos._exit(3)\n", "ended with code 3"),
    "dies": ("import os\nos.kill(os.getpid(), 9)\n", "ended with code -9"),
    "hangs": ("import time\ntime.sleep(100)\n", "took longer than 5 s"),
    "needs": ("import a_package_that_is_not_there\n", "ModuleNotFoundError"),
}
PATCHES = """
import sys
import pmbench.contracts.dataset, pmbench.contracts.protocol, pmbench.report.record
import pmbench.evaluation.scoring, pmbench.metrics.builtin, pmbench.run.recording

print("printed at import")
sys.stdout.write("printed at import")
pmbench.contracts.dataset.Dataset.protocol = lambda self, name: 1 / 0
pmbench.contracts.protocol.parse_protocol = lambda *a: 1 / 0
pmbench.evaluation.scoring.score_predictions = lambda *a: ({"accuracy": 100.0}, None, None)
pmbench.metrics.builtin.METRICS = {}
pmbench.run.recording.Recorder.finished = lambda *a: 1 / 0
pmbench.report.record.write_record = lambda *a: 1 / 0
"""
PLANS = {
    "exits": ("import os\n    os._exit(4)", "ended with code 4"),
    "interrupts": ("raise KeyboardInterrupt", "ended with code"),
    "reads": (f"open({str(EMBEDDED)!r}, 'rb').read()", "PermissionError"),
    "writes": ("open('/tmp/pmbench-left-behind', 'w')", "PermissionError"),
    "connects": (
        "import socket\n    socket.create_connection(('127.0.0.1', 1), timeout=5)",
        "PermissionError",
    ),
    "invents": ("return pm.Stream('absent')", "reads ['absent']"),
}


def planning(name: str, body: str) -> str:
    whole = PLUGIN.format(name=name)
    return whole.replace("    return pm.Stream(setting.target[0], 16)", f"    {body}")


@pytest.fixture(scope="module")
def run(new_site, tmp_path_factory):
    """One run with all of them installed."""
    site = new_site(tmp_path_factory.mktemp("imports"))
    for name, (source, _) in AT_IMPORT.items():
        site.install(f"pmbench-import-{name}", f"import_{name}", source + PLUGIN.format(name=f"i_{name}"))
    site.install("pmbench-patches", "patches_mod", PATCHES + PLUGIN.format(name="patches"))
    site.install("pmbench-floor", "floor_mod", PLUGIN.format(name="target_only"))
    for name, (body, _) in PLANS.items():
        site.install(f"pmbench-plan-{name}", f"plan_{name}", planning(f"p_{name}", body))
    methods = ["target_only", "patches", *(f"p_{name}" for name in PLANS)]
    code = (
        "import atexit, sys\n"
        "import pmbench.plugins.host as host\n"
        "host.Host.limit = 5.0\n"
        "own = lambda n: n.partition('.')[0] not in ('pmbench',) and n.startswith(('pmbench_', 'import_', "
        "'plan_', 'patches_', 'floor_'))\n"
        "atexit.register(lambda: print('LOADED', sorted(filter(own, sys.modules)), file=sys.stderr))\n"
        "from pmbench.cli import main\n"
        "main()\n"
    )
    command = ["run", "-m", ",".join(methods), "-d", "planted", "--seed", "0", "--no-references", "--json"]
    folders = ["--store", "store", "--out", "out", "--data", "data", "--set", "recipe.epochs=2"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *command, *folders],
        capture_output=True,
        text=True,
        cwd=site.root,
        env=site.environment,
        timeout=300,
    )
    assert done.stdout, done.stderr
    return done, {r["cell"]["method"]: r for r in json.loads(done.stdout)["records"]}


def test_the_process_of_the_command_has_loaded_no_plugin(run):
    assert "LOADED []" in run[0].stderr


@pytest.mark.parametrize("name", AT_IMPORT)
def test_a_plugin_that_breaks_at_import_is_named(run, name):
    lines = [line for line in run[0].stderr.splitlines() if f"pmbench-import-{name}" in line]
    assert any(AT_IMPORT[name][1] in line for line in lines), run[0].stderr


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_that_misbehaves_fails_its_own_cell(run, name):
    record = run[1][f"p_{name}"]
    assert record["status"] == "failed"
    assert PLANS[name][1] in record["reason"]


def test_names_of_pmbench_win_and_patches_change_nothing(run):
    _, records = run
    floor = records["target_only"]
    assert floor["status"] == "done"
    assert floor["cell"]["role"] == "floor"
    assert floor["metrics"]["accuracy"] < 100
    assert records["patches"]["status"] == "failed"
    assert "division by zero" in records["patches"]["reason"]
