from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_processes import Workspace, kill_group


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data that all tests read."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def make_workspace(tmp_path: Path, shared_data: Path) -> Iterator[Callable[[str], Workspace]]:
    made: list[Workspace] = []

    def make(name: str) -> Workspace:
        made.append(Workspace(tmp_path / name, shared_data))
        return made[-1]

    yield make
    for workspace in made:
        for process in workspace.started:
            if process.poll() is None:
                kill_group(process)
