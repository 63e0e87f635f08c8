"""Adds `tests/lab` to the path, also for the processes that tests start."""

import os
import re
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
import torch

HERE = Path(__file__).parent / "lab"
sys.path.insert(0, str(HERE))
torch.set_num_threads(1)
hypothesis.settings.register_profile("no deadline", deadline=None)  # first calls import libraries
hypothesis.settings.load_profile("no deadline")

import engine_lab  # noqa: E402
import videos  # noqa: E402


def pytest_configure(config):
    """Keeps bytecode in the cache if Python is told to write none, so that commands start faster."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        os.environ["PYTHONPYCACHEPREFIX"] = str(config.cache.mkdir("bytecode"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keeps the tests of a file, or the contract checks of a plugin, in one process: they share fixtures."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            subject = re.match(r"test_contract\[(\w+-\w+)", test)
            return f"{file}::{subject[1]}" if subject else file

    return ByFile(config, log)


@pytest.fixture
def lab(tmp_path):
    return engine_lab.Lab(tmp_path)


@pytest.fixture
def source(tmp_path):
    """Synthetic videos in their official layout."""
    return videos.write(tmp_path / "source")


@pytest.fixture
def afresh():
    """Run code in a new interpreter and return its standard output."""

    def run(code, *, path=(), **environment):
        places = [*map(str, path), str(HERE)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1", **environment}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
