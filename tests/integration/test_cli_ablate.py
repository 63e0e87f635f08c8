"""`pmbench run --ablate`: the rows of a paper's ablation tables, on planted data."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # real runs


def test_rows_have_records_of_their_own(ablated: tuple[Any, Any, tuple[str, ...]]) -> None:
    records = [json.loads(p.read_text()) for p in (ablated[0].out / "records").rglob("*.json")]
    cells = [r["cell"] for r in records if r["cell"]["method"] == "rad" and r["cell"]["seed"] == 0]
    rows = {c["ablation"] and c["ablation"]["row"]: c for c in cells}
    assert rows.keys() == {None, "-IW", "-IW-MKTP"}
    assert rows[None]["options"] == {}
    assert rows["-IW-MKTP"]["options"] == {"weighting": "uniform", "scales": [4]}
    assert rows["-IW"]["ablation"]["printed"] == ["MMH", "Table VI", "no_IW"]
    assert len({r["cell_key"] for r in records}) == len(records) == 2 * (3 + 2)


def test_the_table_and_the_reasons_of_skips(ablated: tuple[Any, Any, tuple[str, ...]]) -> None:
    workspace, done, _ = ablated
    assert "Ablations of rad on planted, shared-10" in done.stdout
    assert "Ablations of dad on planted, shared-10" in done.stdout
    shown = " ".join(done.stdout.replace("\u2502", " ").split())
    assert "dad[beta=0.0] (L_CE) (seeds 0, 1): needs" in shown
    board = (workspace.out / "tables" / "planted-shared-10.md").read_text(encoding="utf-8")
    ranked, _, apart = board.partition("## Ablations of")
    apart = apart.partition("## Provenance")[0]
    assert "| [`rad`][rad] " in ranked
    assert "uniform" not in ranked
    assert "acer 7.96 on casia-surf, intra-testing; acer 29.52 on casia-cefa" in " ".join(apart.split())
    assert "| -IW-MKTP | `scales=4,weighting=uniform` |" in apart


def test_again_nothing_is_trained_and_json_has_the_table(ablated: tuple[Any, Any, tuple[str, ...]]) -> None:
    workspace, _, args = ablated
    found = workspace.run_cli(*args, "--json").json()
    assert found["trained"] == 0
    tables = {a["method"]: a["rows"] for a in found["ablations"]}
    itself, uniform, whole_map = tables["rad"]
    assert [r["row"] for r in tables["rad"]] == [None, "-IW", "-IW-MKTP"]
    assert itself["difference"] is None
    for row in (uniform, whole_map):
        assert row["difference"]["value"] == pytest.approx(row["mean"] - itself["mean"])
        assert {p["metric"] for p in row["published"]} == {"acer"}
    assert [r["absent"][0]["status"] for r in tables["dad"]] == ["skipped", "skipped"]


def test_other_runs_do_not_show_them(ablated: tuple[Any, Any, tuple[str, ...]]) -> None:
    workspace, _, args = ablated
    plain = workspace.run_cli(*[a for a in args if a != "--ablate"], "--json").json()
    assert plain["trained"] == 0
    assert plain["ablations"] == []
    assert all(r["cell"]["ablation"] is None for r in plain["records"])
