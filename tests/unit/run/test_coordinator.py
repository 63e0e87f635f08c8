"""What a run writes down."""

from __future__ import annotations

from types import SimpleNamespace

import pmbench as pm
from pmbench.plugins import Registry
from pmbench.run import coordinator as runner
from pmbench.run.worker import Place


def test_a_record_says_the_precision_of_its_own_recipe(tmp_path, monkeypatch):
    """A run over several data sets has several recipes."""
    monkeypatch.setattr(
        runner, "closed_record", lambda cell, skip, failure, provenance, published: provenance
    )
    registry, place = Registry(None), Place(tmp_path, tmp_path)
    made = runner.Runner(None, registry, place, tmp_path, 1, "computed in {}".format, None)
    for precision in ("bf16", "32"):
        spec = SimpleNamespace(recipe=pm.Recipe(precision=precision))
        cell = SimpleNamespace(spec=spec, skip="no labels", failure="")
        assert made._closed(cell) == f"computed in {precision}"
        assert made._closed(cell, ValueError("no")) == f"computed in {precision}"
