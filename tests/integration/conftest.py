"""Runs the real `pmbench` in a new process, with its own store, data and results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from forked_cli import ForkedCli

FORKED = ForkedCli()


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        assert self.code == 0, self.stderr
        return json.loads(self.stdout)

    @property
    def error(self) -> str:
        """What follows `Error: `, one line."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1, self.stderr
        assert "Traceback" not in self.stderr
        return lines[0].removeprefix("Error: ")


@dataclass(frozen=True)
class Workspace:
    """A folder with its own store, data and results, and the command line at work in it."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def out(self) -> Path:
        return self.root / "results"

    @property
    def site(self) -> Path:
        """A folder on the import path, for plugins made up by a test."""
        return self.root / "site"

    def run_cli(self, *args: str | Path, program: tuple[str, ...] = (), timeout_s: float = 300) -> Result:
        """`pmbench ARGS`, or another program, in the folder `root`, by default with results in `results`."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("PMBENCH", "PYTHON", "XDG", "COV"))}
        environment = kept | {
            "HOME": str(self.root / "home"),
            "PMBENCH_STORE": str(self.store),
            "PMBENCH_DATA": str(self.data),
            "PYTHONPATH": str(self.site),
            **self.environment,
        }
        for name in ("FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE"):
            environment.pop(name, None)
        words = [*map(str, args)]
        if not program:
            return Result(*FORKED(words, self.root, environment, timeout_s=timeout_s))
        done = subprocess.run(
            [*program, *words],
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def install(self, distribution: str, source: str, version: str = "1.0") -> None:
        """An installed distribution of one module, as an entry point of the group `pmbench`."""
        module = distribution.replace("-", "_")
        info = self.site / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        (self.site / f"{module}.py").write_text(source, encoding="utf-8")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[pmbench]\n{module} = {module}\n")


@pytest.fixture(scope="session", autouse=True)
def _end_of_forks() -> Iterator[None]:
    yield
    FORKED.close()


@pytest.fixture(scope="session")
def environment(pytestconfig: pytest.Config) -> dict[str, str]:
    """Where bytecode is kept, if not beside the sources, and what plugins have declared."""
    cache = pytestconfig.cache
    assert cache is not None
    kept = {name: os.environ[name] for name in ("PYTHONPYCACHEPREFIX",) if name in os.environ}
    return {**kept, "XDG_CACHE_HOME": str(cache.mkdir("user"))}


@pytest.fixture(scope="session")
def new_workspace(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Callable[[str], Workspace]:
    """Makes an empty workspace that several tests look at."""
    return lambda name: Workspace(tmp_path_factory.mktemp(name), environment)


@pytest.fixture
def workspace(tmp_path: Path, environment: dict[str, str]) -> Workspace:
    """An empty workspace."""
    return Workspace(tmp_path, environment)


@pytest.fixture
def run_cli(workspace: Workspace) -> Callable[..., Result]:
    return workspace.run_cli


@pytest.fixture(scope="session")
def run_once(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Callable[..., tuple[Workspace, Result]]:
    """Runs a command in a new workspace, once for all processes of tests. Only to be looked at."""
    base = tmp_path_factory.getbasetemp()
    place = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def run(name: str, *args: str) -> tuple[Workspace, Result]:
        workspace, ended = Workspace(place / name, environment), place / f"{name}.json"
        with FileLock(place / f"{name}.lock"):
            if not ended.exists():
                workspace.root.mkdir()
                done = workspace.run_cli(*args)
                assert done.code == 0, done.stderr
                ended.write_text(json.dumps(asdict(done)))
        return workspace, Result(**json.loads(ended.read_text()))

    return run


@pytest.fixture(scope="session")
def finished(run_once: Callable[..., tuple[Workspace, Result]]) -> Workspace:
    """A workspace where one small run has ended: five cells, six stages. Only to be looked at."""
    workspace, _ = run_once("finished", "run", *SMALL_RUN, "--workers", "1", "--device", "cpu")
    return workspace


@pytest.fixture(scope="session")
def ablated(
    run_once: Callable[..., tuple[Workspace, Result]],
) -> tuple[Workspace, Result, tuple[str, ...]]:
    """A workspace, a run of `--ablate` in it that has ended, and its arguments. Only to be looked at."""
    args = ("run", *ABLATED_RUN, "--ablate", "--workers", "1", "--device", "cpu")
    return *run_once("ablated", *args), args


@pytest.fixture
def copied(workspace: Workspace, finished: Workspace) -> Workspace:
    """A copy of `finished` that a test may change."""
    for folder in ("store", "data", "results"):
        shutil.copytree(finished.root / folder, workspace.root / folder)
    return workspace


ABLATED_RUN = (
    "-m",
    "rad,dad",
    "-d",
    "planted",
    "--seeds",
    "2",
    "--no-references",
    "--set",
    "recipe.epochs=1",
)
SMALL_RUN = ("--method", "target_only", "--dataset", "planted", "--seeds", "1", "--set", "recipe.epochs=1")


@pytest.fixture
def small_run() -> tuple[str, ...]:
    """Options of the run that `finished` has seen."""
    return SMALL_RUN
