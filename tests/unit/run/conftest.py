from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from shared_server import SharedServer

from pmbench.evaluation.evaluator import PRELOAD
from pmbench.run import coordinator
from pmbench.run.referee import case
from pmbench.run.worker import Resources


@pytest.fixture(scope="package", autouse=True)
def shared_servers() -> Iterator[None]:
    """One server of the processes of all runs, and one of those of all referees."""
    of_runs, of_referees = SharedServer.of(Resources(Path(), Path())), SharedServer(PRELOAD, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coordinator, "make_server", lambda resources: of_runs)
        patch.setattr(case, "Forkserver", lambda preload, environment: of_referees)
        yield
    of_runs.end()
    of_referees.end()
