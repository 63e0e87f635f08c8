"""Which published numbers a record carries."""

from __future__ import annotations

from typing import Any

import pytest

import pmbench as pm
from pmbench.report.record import AblationRow, CellInfo
from pmbench.run.recording import published_for


def number(method: str, variant: str, *place: str, value: float) -> pm.Published:
    given = (("rgb", "depth"), ("rgb",))
    return pm.Published("P", "T", method, variant, *given, *place, "accuracy", value, True)


NUMBERS = (
    number("kd", "", "toy", "split-1", value=1.0),
    number("kd", "no_soft", "far", "split-9", value=2.0),
    number("kd", "hot", "toy", "split-1", value=3.0),
    number("kd", "", "toy", "split-2", value=4.0),
    number("rad", "", "toy", "split-1", value=5.0),
)


@pytest.mark.parametrize(
    ("ablation", "values"),
    [
        (None, [1.0, 3.0]),
        (AblationRow(row="no soft", printed=["P", "T", "no_soft"]), [2.0]),
        (AblationRow(row="ours"), []),
    ],
)
def test_numbers_of_the_cell_or_of_the_row_of_its_ablation(ablation: Any, values: list[float]) -> None:
    cell = CellInfo(
        method="kd",
        dataset="toy",
        dataset_version=1,
        protocol="split-1",
        backbones={"rgb": "tiny"},
        seed=0,
        role="method",
        tests_on="target",
        test_modalities=["rgb"],
        target=["rgb"],
        privileged=["depth"],
        num_classes=2,
        ablation=ablation,
    )
    found = published_for(cell, NUMBERS)
    assert [n.value for n in found] == values
    assert all((n.paper, n.table, n.test_modalities) == ("P", "T", ["rgb"]) for n in found)
