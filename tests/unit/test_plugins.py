"""A broken plugin is set aside with its error; everything else works."""

from __future__ import annotations

import json
import os
import sys
import time

import pytest

from pmbench.plugins import cache
from pmbench.plugins.registry import entry_points

GOOD = """
import pmbench as pm

@pm.hookimpl
def pmbench_methods():
    @pm.method("{name}", paper="none")
    def plan(setting):
        "a method"
        return pm.trained_on(*setting.target)
    return [plan]
"""

MODULES = {
    "good": GOOD.format(name="good_one")
    + """
@pm.hookimpl
def pmbench_backbones():
    @pm.backbone("lab_net", kinds=("vector",), provides=("pooled",), sizes={"8": 8})
    def build(modality, size):
        "a backbone"
    return build
""",
    "raises": "raise RuntimeError('no such library')",
    "leaves": "import sys; sys.exit('bye')",
    "syntax": "def broken(:",
    "nothing": None,
    "wrong": GOOD.format(name="x").replace("return [plan]", "return ['a text']"),
    "none": GOOD.format(name="x").replace("return [plan]", "return None"),
    "nested": GOOD.format(name="inner").replace("return [plan]", "return ((plan,), (plan,))"),
    "single": GOOD.format(name="x").replace("return [plan]", "return plan"),
    "later": GOOD.format(name="x").replace("return [plan]", "raise KeyError('when asked')"),
    "unknown": GOOD.format(name="x") + "\n@pm.hookimpl\ndef pmbench_no_such_hook():\n    pass\n",
    "partly": GOOD.format(name="half") + "\n@pm.hookimpl\ndef pmbench_datasets():\n    return [3]\n",
    "silent": """
import pmbench as pm

class Silent(pm.Dataset):
    name = "silent"

@pm.hookimpl
def pmbench_datasets():
    return [Silent()]
""",
    "old": GOOD.format(name="old_one"),
    "first": GOOD.format(name="twice"),
    "second": GOOD.format(name="twice"),
    "thief": GOOD.format(name="target_only"),
    "double": GOOD.format(name="again").replace("[plan]", "[plan, plan]"),
}

REQUIRES = {"good": "pmbench>=0.1", "old": "PMBench[video] <0.1; python_version > '3'"}
"""Distributions that say which pmbench they need."""
MODALITIES = "train_modalities,test_modalities"
COLUMNS = f"paper,table,method,variant,{MODALITIES},dataset,protocol,metric,value,higher_is_better"
PACKAGES = {
    "numbers": f"{COLUMNS}\nA paper,Table 1,kd,,rgb+depth,rgb,toy,split-1,accuracy,71.5,true\n",
    "misprint": f"{COLUMNS}\nA paper,Table 1,kd,,rgb+depth,rgb,toy,split-1,accuracy,high,true\n",
}
"""Distributions with published numbers: name -> published.csv."""
PUBLISHES = (
    GOOD
    + """
@pm.hookimpl
def pmbench_published():
    return pm.read_published(__name__)
"""
)

LOOK = """
import json
import os
import sys
import time
from pmbench.plugins import load_plugins
from pmbench.errors import PmbenchError
found = load_plugins(ONLY)
def ask(name):
    try:
        return found.method(name).name
    except PmbenchError as error:
        return f"{type(error).__name__}: {error.message} [{error.hint}]"
print(json.dumps({
    "broken": [[b.distribution, b.version, b.where, b.error] for b in found.broken],
    "names": found.names("method"),
    "datasets": found.names("dataset"),
    "backbones": found.names("backbone"),
    "collisions": found.collisions(),
    "distributions": found.distributions,
    "published": [[p.paper, p.method, p.test_modalities, p.value] for p in found.published],
    "asked": {n: ask(n) for n in ("good_one", "twice", "target_only", "again", "half", "good_on", "kd")},
}))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with one installed distribution for each module."""
    root = tmp_path_factory.mktemp("site")
    for name in PACKAGES:
        (root / f"lab_{name}").mkdir()
        (root / f"lab_{name}" / "__init__.py").write_text(PUBLISHES.format(name=f"of_{name}"))
        (root / f"lab_{name}" / "published.csv").write_text(PACKAGES[name])
    for name, text in {**MODULES, **dict.fromkeys(PACKAGES)}.items():
        info = root / f"lab_{name}-1.{len(name)}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: lab-{name}\nVersion: 1.{len(name)}\n"
            + (
                f"Requires-Dist: pmbench-of-others>7\nRequires-Dist: {REQUIRES[name]}\n"
                if name in REQUIRES
                else ""
            )
        )
        (info / "entry_points.txt").write_text(f"[pmbench]\nlab = lab_{name}\n")
        if text is not None:
            (root / f"lab_{name}.py").write_text(text)
    return root


def look(afresh, site, only=None, **environment):
    return json.loads(afresh(LOOK.replace("ONLY", repr(only)), path=[site], **environment))


@pytest.fixture
def found(afresh, site):
    return look(afresh, site)


def test_broken_plugins_are_named_and_the_others_work(found):
    broken = {row[0]: row[1:] for row in found["broken"] if row[0].startswith("lab-")}
    expected = {
        "lab-raises": (
            "import of lab_raises",
            "RuntimeError (lab_raises.py, line 1, in <module>): no such library",
        ),
        "lab-leaves": ("import of lab_leaves", "SystemExit (lab_leaves.py, line 1, in <module>): bye"),
        "lab-syntax": ("import of lab_syntax", "SyntaxError"),
        "lab-nothing": ("import of lab_nothing", "ModuleNotFoundError"),
        "lab-wrong": (
            "pmbench_methods",
            "returned a list with 'a text' in it; expected a flat list of pm.Method",
        ),
        "lab-none": ("pmbench_methods", "returned None; expected a flat list of pm.Method"),
        "lab-nested": ("pmbench_methods", "returned a tuple with a tuple in it; expected a flat list"),
        "lab-single": ("pmbench_methods", "returned Method("),
        "lab-later": ("pmbench_methods", "KeyError (lab_later.py, line 10, in pmbench_methods): 'when a"),
        "lab-old": (
            "requirements",
            "it was written for the contract of pmbench <0.1, and pmbench 0.1.0 is installed; install a "
            "release of lab-old",
        ),
        "lab-silent": ("pmbench_datasets", "data set 'silent' does not declare summary, licence, source, "),
        "lab-unknown": ("hooks", "pmbench_no_such_hook"),
        "lab-misprint": ("pmbench_published", "lab_misprint/published.csv, line 2"),
        "lab-partly": ("pmbench_datasets", "a list with 3 in it; expected a flat list of pm.Dataset"),
    }
    assert set(broken) == set(expected)
    for name, (where, error) in expected.items():
        version, at, message = broken[name]
        assert version == f"1.{len(name) - 4}"
        assert at == where
        assert error in message
    assert {"good_one", "target_only", "kd", "hoffman"} <= set(found["names"])
    assert not {"x", "inner", "old_one"} & set(found["names"])
    assert {"planted", "hapt"} <= set(found["datasets"])
    assert found["asked"]["good_one"] == "good_one"
    assert {"lab_net-8", "mlp-8"} <= set(found["backbones"])
    assert found["asked"]["half"] == "half"  # what it offered before it broke
    assert found["distributions"]["lab-good"] == "1.4"


def test_a_name_offered_twice_is_an_error_when_asked_for(found):
    assert ["method", "twice", ["lab-first", "lab-second"]] in found["collisions"]
    asked = found["asked"]
    assert "PluginError: method 'twice' is offered by lab-first and lab-second" in asked["twice"]


def test_names_of_pmbench_win_over_those_of_plugins(found):
    assert ["method", "target_only", ["lab-thief", "pmbench"]] in found["collisions"]
    assert found["asked"]["target_only"] == "target_only"
    assert "PluginError: method 'again' is offered by lab-double" in found["asked"]["again"]
    assert found["asked"]["kd"] == "kd"


def test_unknown_names_have_near_matches_and_name_what_was_not_loaded(found):
    text = found["asked"]["good_on"]
    assert text.startswith("UnknownName: unknown method 'good_on'; did you mean 'good_one'")
    assert "lab-raises" in text
    assert "pmbench plugins" in text


def test_published_numbers_are_those_of_sound_files(found):
    numbers = found["published"]
    assert [n for n in numbers if n[0] == "A paper"] == [["A paper", "kd", ["rgb"], 71.5]]
    assert {"AMID", "MMH", "Xue et al., ICLR 2023"} < {n[0] for n in numbers}
    assert {"of_numbers", "of_misprint"} <= set(found["names"])


def test_one_distribution_alone(afresh, site):
    found = look(afresh, site, "lab-good")
    assert (found["names"], found["datasets"], found["broken"]) == (["good_one"], [], [])
    assert look(afresh, site, "lab-raises")["names"] == []


def test_chosen_distributions_alone(afresh, site):
    found = look(afresh, site, PMBENCH_PLUGINS="lab_good, lab-raises")
    assert {"good_one", "target_only"} <= set(found["names"])
    assert not {"kd", "hoffman", "twice"} & set(found["names"])
    assert [row[0] for row in found["broken"]] == ["lab-raises"]
    none = look(afresh, site, PMBENCH_PLUGINS="")
    assert (none["broken"], "kd" in none["names"], "target_only" in none["names"]) == ([], False, True)


KILLED = """
import json, os, signal, threading, time
from pathlib import Path
from pmbench.plugins.host import survey

def children(pid):
    return [int(p) for path in Path(f"/proc/{pid}/task").glob("*/children") for p in path.read_text().split()]

killed = []
def kill():
    while not killed:
        for server in children(os.getpid()):
            if asked := children(server):
                victim = server if VICTIM == "server" else asked[0]
                time.sleep(0.3)
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)
                return
        time.sleep(0.01)

threading.Thread(target=kill).start()
found = survey(["lab-good", "lab-slow"])
names = sorted({"good_one", "slow_one"} & {*found.names("method")})
print(json.dumps([len(killed), [b.error for b in found.broken], names]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the children of processes from /proc")
@pytest.mark.parametrize("victim", ["child", "server"])
def test_plugins_whose_process_was_killed_are_asked_again(afresh, tmp_path, victim):
    for name in ("good", "slow"):
        info = tmp_path / f"lab_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: lab-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[pmbench]\nlab = lab_{name}\n")
        text = GOOD.format(name=f"{name}_one")
        (tmp_path / f"lab_{name}.py").write_text(f"import time\ntime.sleep(1)\n{text}")
    printed = afresh(KILLED.replace("VICTIM", repr(victim)), path=[tmp_path])
    assert json.loads(printed) == [1, [], ["good_one", "slow_one"]]


NUMBERED = """
import os
import pmbench as pm

@pm.method(f"asked_{os.getpid()}", paper="none")
def plan(setting):
    "a method that is named after the process that declared it"
    return pm.trained_on(*setting.target)

@pm.hookimpl
def pmbench_methods():
    return [plan]
"""
ASK = """
from pmbench.plugins.host import survey
found = survey(["lab-numbered"])
print([n for n in found.names("method") if n.startswith("asked_")][0], len(found.broken))
"""


def test_plugins_do_not_count_as_libraries_of_one_another(tmp_path, monkeypatch, request):
    request.addfinalizer(entry_points.cache_clear)
    monkeypatch.syspath_prepend(tmp_path)
    before = cache._libraries()
    for name, text in (("lab_one", "[pmbench]\nlab_one = lab_one\n"), ("lab_library", "")):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(text)
        entry_points.cache_clear()
        found = [known for known in cache._libraries() if known not in before]
        assert found == ([] if name == "lab_one" else [(str(tmp_path), ["lab_library-1.0.dist-info"])])


def test_a_plugin_of_the_same_name_elsewhere_is_asked(tmp_path, monkeypatch, request):
    request.addfinalizer(entry_points.cache_clear)
    kept = {"offers": {}, "hooks": [], "broken": [], "files": []}
    for place in ("one", "other"):
        info = tmp_path / place / "lab_same-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-same\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[pmbench]\nlab = lab_same\n")
    for place, found in (("one", None), ("other", None)):
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / place)
            entry_points.cache_clear()
            declarations = cache.DeclarationCache(tmp_path / "cache", {})
            assert declarations.find("lab-same") == found, place
            declarations.keep("lab-same", kept)
            assert declarations.find("lab-same") == kept


@pytest.mark.slow
def test_declarations_are_kept_until_something_changes(afresh, tmp_path):
    site, package = tmp_path / "site", tmp_path / "site" / "lab_numbered"

    def install(name, text=""):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(text)

    def age(seconds):
        """As if all files had been written some time ago."""
        for path in (package, *package.iterdir()):
            os.utime(path, ns=(time.time_ns() - int(seconds * 1e9),) * 2)

    def asked(**environment):
        return afresh(ASK, path=[site], XDG_CACHE_HOME=str(tmp_path / "cache"), **environment).split()

    install("lab-numbered", "[pmbench]\nlab = lab_numbered\n")
    package.mkdir()
    (package / "__init__.py").write_text(NUMBERED)
    age(-100)
    assert asked() != asked(), "a file that was written just now may change once more"
    age(100)
    first, metadata = asked(), site / "lab-numbered-1.0.dist-info" / "METADATA"
    assert asked() == first
    assert asked(HOME=str(tmp_path)) == first
    changes = {  # one after the other
        "source": lambda: (package / "__init__.py").write_text(NUMBERED + "\n"),
        "data": lambda: (package / "published.csv").write_text("paper"),
        "package": lambda: install("some-library"),
        "requirement": lambda: metadata.write_text(metadata.read_text() + "Requires-Dist: numpy\n"),
        "cache": lambda: [p.write_text("{") for p in (tmp_path / "cache").rglob("*.json")],
    }
    for seconds, (name, change) in enumerate(changes.items(), 90):
        change()
        age(seconds)
        now = asked()
        assert now != first, name
        assert asked() == now, name
        first = now
    assert asked(LANG="xx") != first
    (package / "__init__.py").write_text(
        f"{NUMBERED}\n@pm.hookimpl\ndef pmbench_datasets():\n    return [3]\n"
    )
    age(10)
    broken = [asked(), asked()]
    assert [b[1] for b in broken] == ["1", "1"]
    assert broken[0] != broken[1], "what is broken is asked again"
