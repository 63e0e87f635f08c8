from __future__ import annotations

import pytest

import pmbench as pm
from pmbench.contracts.published import COLUMNS, parse
from pmbench.errors import ContractError

HEAD = ",".join(COLUMNS)
ROW = '"A, B",Table 1,kd,hot,rgb+depth,rgb,toy,split-1,acer,6.5,false'


def test_a_row_is_a_published_number() -> None:
    assert parse([HEAD, ROW], "x") == (
        pm.Published(
            paper="A, B",
            table="Table 1",
            method="kd",
            variant="hot",
            train_modalities=("rgb", "depth"),
            test_modalities=("rgb",),
            dataset="toy",
            protocol="split-1",
            metric="acer",
            value=6.5,
            higher_is_better=False,
        ),
    )


@pytest.mark.parametrize(
    "row",
    [
        "p,t,m",
        ROW + ",more",
        ROW.replace("6.5", "low"),
        ROW.replace("6.5", "nan"),
        ROW.replace("false", "no"),
    ],
)
def test_a_bad_row_is_named_with_file_and_line(row: str) -> None:
    with pytest.raises(ContractError, match=r"x\.csv, line 3"):
        parse([HEAD, ROW, row], "x.csv")


def test_other_columns_are_refused() -> None:
    with pytest.raises(ContractError, match=r"x\.csv has columns \['paper', 'value'\]; expected"):
        parse(["paper,value", "x,1"], "x.csv")


@pytest.mark.parametrize(
    ("protocol", "distilled", "plain"),
    [
        ("shared-5", 62.0, 62.2),
        ("shared-10", 67.6, 67.9),
        ("shared-20", 73.5, 73.6),
        ("shared-30", 76.5, 76.5),
    ],
)
def test_the_file_of_a_package(protocol: str, distilled: float, plain: float) -> None:
    """The numbers of linear models on planted data."""
    values = {p.method: p.value for p in pm.read_published("pmbench.builtin") if p.protocol == protocol}
    assert values == {"gen_distill": distilled, "target_only": plain, "privileged_only": 89.6}
