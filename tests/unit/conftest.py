"""Training in unit tests."""

from __future__ import annotations

import math

import pytest

from pmbench.training import loop


@pytest.fixture(autouse=True)
def checkpoint_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", math.inf)
