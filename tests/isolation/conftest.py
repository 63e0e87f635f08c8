"""Distributions written to a folder on PYTHONPATH, as pip leaves them, and the real command on them."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def text(self):
        return self.out + self.err

    @property
    def json(self):
        return json.loads(self.out)


@dataclass
class Site:
    """A folder of installed distributions, with a store, data and results of its own."""

    root: Path
    paths: list[Path] = field(default_factory=list)

    def install(self, distribution, module, source, version="0.1"):
        """Writes package `module` and the metadata that makes `distribution` an installed plugin."""
        site = self.root / f"site-{len(self.paths)}"
        self.paths.append(site)
        package, info = site / module, site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        package.mkdir(parents=True)
        info.mkdir()
        (package / "__init__.py").write_text(source, encoding="utf-8")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[pmbench]\nplugin = {module}\n")
        names = [
            f"{module}/__init__.py,,",
            *(f"{info.name}/{n},," for n in ("METADATA", "entry_points.txt", "RECORD")),
        ]
        (info / "RECORD").write_text("\n".join(names) + "\n")
        return self

    @property
    def environment(self):
        paths = [str(p) for p in self.paths] + [p for p in [os.environ.get("PYTHONPATH")] if p]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PMBENCH_STORE": str(self.root / "store"),
            "PMBENCH_DATA": str(self.root / "data"),
            "CUDA_VISIBLE_DEVICES": "",
        }

    def __call__(self, *words, timeout=400):
        """`pmbench WORDS` in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-c", "from pmbench.cli import main; main()", *words],
            cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    def python(self, code, timeout=400):
        """Python code in a process that sees the installed distributions."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    def run(self, methods, *words, dataset="planted", workers=1):
        return self(
            "run", "--method", methods, "--dataset", dataset, "--seed", "0", "--set", "recipe.epochs=1",
            "--device", "cpu", "--workers", str(workers), *words,
        )  # fmt: skip

    def records(self, out="results"):
        """method -> record of every cell that was run."""
        found = [json.loads(p.read_text()) for p in (self.root / out / "records").rglob("*.json")]
        return {record["cell"]["method"]: record for record in found}


@pytest.fixture(scope="session")
def new_site():
    """Makes a Site of an empty folder."""
    return Site


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A store and prepared data with the reference rows of `planted`, for all processes of tests."""
    base = tmp_path_factory.getbasetemp()
    place = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    site, finished = Site(place / "trained"), place / "trained.finished"
    with FileLock(place / "trained.lock"):
        if not finished.exists():
            site.root.mkdir()
            result = site.run("target_only")
            assert result.code == 0, result.text
            finished.touch()
    return site


@pytest.fixture
def site(tmp_path, trained):
    """A site that shares the store and the data of `trained`, and nothing else."""
    (tmp_path / "store").symlink_to(trained.root / "store")
    (tmp_path / "data").symlink_to(trained.root / "data")
    return Site(tmp_path)


@pytest.fixture(scope="session")
def hostile_source():
    return (HERE / "hostile_methods.txt").read_text(encoding="utf-8")
