"""`pmbench new`: what it writes is built, installed, checked and run as its reader would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pmbench
from pmbench.errors import UsageError
from pmbench.scaffold import write_plugin

NAMES = {"method": "lab_follow", "dataset": "lab_voltages", "backbone": "lab_strided"}
OFFERS = NAMES | {"backbone": "lab_strided-16"}


def wheel_of(folder: Path) -> Path:
    """Builds the wheel of a distribution without an environment of its own."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind -> folder of the distribution that `pmbench new` writes."""
    root = tmp_path_factory.mktemp("written")
    for kind, name in NAMES.items():
        write_plugin(kind, name, root / kind, pmbench.__version__)
    return {kind: root / kind for kind in NAMES}


@pytest.fixture(scope="module")
def installed(new_workspace: Callable[[str], Any], written: dict[str, Path]) -> Any:
    """A workspace with the wheels of all kinds unpacked, which is how wheels are installed."""
    workspace = new_workspace("scaffolds")
    for folder in written.values():
        zipfile.ZipFile(wheel_of(folder)).extractall(workspace.site)
    return workspace


@pytest.fixture
def quick(workspace: Any) -> Any:
    """A workspace whose commands load one distribution besides pmbench."""
    return replace(workspace, environment=workspace.environment | {"PMBENCH_PLUGINS": "pmbench-kd"})


def test_the_command_says_what_it_wrote_and_what_comes_next(quick: Any) -> None:
    done = quick.run_cli("new", "method", "lab_follow")
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "pmbench-lab-follow: 6 files"
    for line in lines[1:7]:
        assert (quick.root / "pmbench-lab-follow" / line.strip()).is_file(), line
    assert lines[7:] == [
        "Next:",
        "  uv pip install -e pmbench-lab-follow   # or: python -m pip install -e pmbench-lab-follow",
        "  pmbench check lab_follow",
        "  pmbench run --method lab_follow",
    ]
    again = quick.run_cli("new", "method", "lab_follow")
    assert again.code == 2
    assert again.error == "pmbench-lab-follow exists already; expected a new folder"


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("method", "My-Method", "for example `pmbench new method my_method`"),
        ("dataset", "9lives", "for example `pmbench new dataset lives`"),
        ("backbone", "class", "it is a word of Python"),
        ("method", "x" * 41, "expected 2 to 40 lower-case letters"),
        ("method", "../up", "for example `pmbench new method up`"),
        ("methods", "mine", "did you mean 'method'?"),
    ],
)
def test_names_that_cannot_be(tmp_path: Path, kind: str, name: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        write_plugin(kind, name, tmp_path / "new", "0.1.0")
    assert message in f"{raised.value.message} {raised.value.hint}"
    assert not (tmp_path / "new").exists()


def test_names_in_use(quick: Any) -> None:
    taken = quick.run_cli("new", "method", "gen_distill")
    assert taken.error.startswith("method 'gen_distill' is offered by pmbench-kd; expected a name")
    taken = quick.run_cli("new", "dataset", "kd")
    assert taken.error.startswith("pmbench-kd 0.1.0 is installed; expected a name that is free")
    assert not list(quick.root.glob("pmbench-*"))


def test_the_code_is_in_form(written: dict[str, Path]) -> None:
    for command in (("check", "--select", "E,F,W,I,UP,B"), ("format", "--check")):
        ruff = [sys.executable, "-m", "ruff", command[0], "--isolated", "--line-length", "110", *command[1:]]
        done = subprocess.run([*ruff, *written.values()], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_kind_is_built_installed_and_found(installed: Any) -> None:
    found = {p["distribution"]: p for p in installed.run_cli("plugins", "--json").json()["plugins"]}
    for kind, name in NAMES.items():
        assert OFFERS[kind] in found[f"pmbench-{name.replace('_', '-')}"][f"{kind}s"]


@pytest.mark.slow
def test_checks_report_as_they_go_and_say_what_comes_next(installed: Any) -> None:
    done = replace(
        installed, environment=installed.environment | {"PMBENCH_PLUGINS": "pmbench-lab-strided"}
    ).run_cli("check", OFFERS["backbone"])
    assert done.code == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    total = int(lines[0].removeprefix("backbone lab_strided-16: ").removesuffix(" checks"))
    assert [line.partition("]")[0].strip("[ ") for line in lines[1 : total + 1]] == [
        f"{number}/{total}" for number in range(1, total + 1)
    ]
    assert lines[-1] == (
        "Next: `pmbench run --method target_only --dataset DATASET --backbone MODALITY=lab_strided-16`"
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["method", "dataset"])
def test_each_kind_passes_its_checks(installed: Any, kind: str) -> None:
    done = installed.run_cli("check", OFFERS[kind])
    assert done.code == 0, done.stdout + done.stderr
    assert "failed" not in done.stdout


@pytest.mark.slow
def test_a_new_method_runs_on_a_new_data_set(installed: Any) -> None:
    run = ("run", "-m", "lab_follow", "-d", "lab_voltages", "--seeds", "1", "--no-references")
    done = installed.run_cli(*run, "--set", "recipe.epochs=1", "--workers", "1", "--device", "cpu", "--json")
    assert [record["status"] for record in done.json()["records"]] == ["done"], done


@pytest.mark.slow
def test_wheels_in_a_fresh_environment(workspace: Any, written: dict[str, Path], tmp_path: Path) -> None:
    """Installed with uv: sound ones are found, a broken one is set aside with its line, a clash is named."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not on PATH")
    broken = tmp_path / "broken"
    shutil.copytree(written["method"], broken, ignore=shutil.ignore_patterns("dist"))
    module = broken / "src" / "pmbench_lab_follow" / "__init__.py"
    module.write_text(module.read_text() + "\n\nwrong = pm.nothing_of_that_name\n")
    line = len(module.read_text().splitlines())
    project = broken / "pyproject.toml"
    text = project.read_text().replace("pmbench-lab-follow", "lab-broken").replace("lab_follow", "lab_broken")
    project.write_text(text)
    (broken / "src" / "pmbench_lab_follow").rename(broken / "src" / "pmbench_lab_broken")
    second = tmp_path / "second"
    shutil.copytree(written["method"], second, ignore=shutil.ignore_patterns("dist"))
    project = second / "pyproject.toml"
    text = project.read_text().replace("pmbench-lab-follow", "lab-second")
    project.write_text(text.replace("pmbench_lab_follow", "lab_second"))
    (second / "src" / "pmbench_lab_follow").rename(second / "src" / "lab_second")

    environment = tmp_path / "environment"
    run = {"check": True, "capture_output": True, "text": True, "timeout": 300}
    subprocess.run([uv, "venv", "--python", sys.executable, str(environment)], **run)
    python = environment / "bin" / "python"
    wheels = [wheel_of(folder) for folder in (*written.values(), broken, second)]
    subprocess.run([uv, "pip", "install", "--python", str(python), "--no-deps", *map(str, wheels)], **run)
    # the libraries and pmbench itself are those of this environment
    site = next((environment / "lib").glob("python3*/site-packages"))
    here = [sysconfig.get_path("purelib"), str(Path(pmbench.__file__).parents[1])]
    (site / "libraries.pth").write_text("\n".join(f"import site; site.addsitedir({p!r})" for p in here))

    program = (str(python), "-m", "pmbench")
    found = workspace.run_cli("plugins", "--json", program=program).json()
    assert {f"pmbench-{name.replace('_', '-')}" for name in NAMES.values()} <= {
        p["distribution"] for p in found["plugins"]
    }
    (bad,) = found["broken"]
    assert bad["distribution"] == "lab-broken"
    assert f"pmbench_lab_broken/__init__.py, line {line}, in <module>" in bad["error"]
    assert found["collisions"] == [
        {"kind": "method", "name": "lab_follow", "distributions": ["lab-second", "pmbench-lab-follow"]}
    ]
    plan = ("plan", "-m", "lab_follow", "-d", "planted", "--seeds", "1")
    clash = workspace.run_cli(*plan, program=program)
    assert "method 'lab_follow' is offered by lab-second and pmbench-lab-follow" in clash.error
    chosen = replace(workspace, environment=workspace.environment | {"PMBENCH_PLUGINS": "lab-second"})
    alone = chosen.run_cli(*plan, "--json", program=program)
    assert {cell["status"] for cell in alone.json()["cells"]} == {"run"}
    tests = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=written["backbone"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert tests.returncode == 0, tests.stdout
