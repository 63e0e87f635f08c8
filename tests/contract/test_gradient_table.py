"""Which term of which stage of which installed method reaches which part of its networks: the whole table.

`PMBENCH_REWRITE_GOLDEN=1 uv run pytest tests/contract/test_gradient_table.py` writes it anew. Each stage
stands under the first method that has it; of options, one at a time differs from its default.
"""

import csv
import os
from pathlib import Path

import pytest

import pmbench as pm
from pmbench.builtin.methods import METHODS
from pmbench.testing import lab
from pmbench.testing.collect import registry

TABLE = Path(__file__).with_name("gradient_table.csv")
COLUMNS = ("method", "setting", "options", "stage", "term", "group", "moves", "passes", "still")
pytestmark = pytest.mark.slow  # a step of each stage under each of its options
LABELS, PRESENT = (0, 1, -1, 1, 2, 0, -1, 2), (True, True, True, False, True, True, True, True)
PAIRS = {  # the first is the one that options are tried on
    "acc<-gyro": (("acc",), ("gyro",)),
    "summary<-profile": (("summary",), ("profile",)),
    "acc<-spectrum": (("acc",), ("spectrum",)),
    "acc<-gyro,mag": (("acc",), ("gyro", "mag")),
}
BESIDES = {  # options without a fixed set of values that change what is trained
    "amid": ({"dim": 8}, {"alpha1": 0.0}, {"alpha3": 0.0}, {"teacher": "fixed", "dim": 8}),
    "rad": ({"scales": (4,)}, {"teacher": "late", "weighting": "uniform"}),
    "hoffman": ({"loss": "eq7", "train_privileged": True}, {"loss": "eq5", "train_privileged": True}),
    "mdms": ({"step": "step3", "loss": "eq5"}, {"step": "step3", "loss": "eq7", "connection": "t2p"}),
    "missing_token": ({"drop": 0.5},),
    "takd": ({"assistant": "cnn1d-16"},),
    "pseudo_label": ({"labels": "soft", "teacher": "privileged"},),
}


def methods():
    """Built-in ones first, so that a stream stands under `target_only`."""
    found = [registry().method(name) for name in registry().names("method")]
    builtin = {m.name for m in METHODS}
    return sorted(found, key=lambda m: (m.name not in builtin, m.name != "target_only", m.name))


def variants(method):
    yield {}
    for name, option in method.options().items():
        for value in option.choices:
            if value != option.default:
                yield {name: value}
    defaults = {name: option.default for name, option in method.options().items()}
    for ablation in method.ablations.values():
        if not all(
            is_weight(value) and is_weight(defaults[name]) for name, value in ablation.options.items()
        ):
            yield dict(ablation.options)  # another positive weight reaches the same parameters
    yield from BESIDES.get(method.name, ())


def is_weight(value):
    return isinstance(value, float) and value > 0


def rows():
    seen = set()
    for method in methods():
        for pair, (target, privileged) in PAIRS.items():
            of = lab.setting(target, privileged, demands=("unlabelled",))
            for options in variants(method) if pair == next(iter(PAIRS)) else ({},):
                try:
                    last = method.last_stage(of, **options)
                except pm.Unsupported:
                    continue
                for stage in last.walk():
                    if (pair, stage) not in seen and stage.trains:
                        seen.add((pair, stage))
                        yield from rows_of(method.name, pair, options, stage, of)


def rows_of(method, pair, options, stage, of):
    present = {m: PRESENT for m in stage.reads if m in of.privileged} if "unpaired" in stage.handles else {}
    batch = lab.batch(stage.reads, LABELS, present=present, epoch=99, progress=0.9)
    for term, reach in lab.gradient_reach(stage, lab.LabBench(of, LABELS), batch).items():
        shown = " ".join(f"{name}={value}" for name, value in options.items())
        parts = (" ".join(names) for names in (reach.moves, reach.passes, reach.still))
        yield (method, pair, shown, type(stage).__name__, term, reach.group, *parts)


@pytest.fixture(scope="module")
def found():
    made = [COLUMNS, *rows()]
    if os.environ.get("PMBENCH_REWRITE_GOLDEN"):
        with TABLE.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(made)
    return made


def test_terms_reach_exactly_these(found):
    with TABLE.open(newline="", encoding="utf-8") as file:
        kept = [tuple(row) for row in csv.reader(file)]
    assert [row for row in found if row not in kept] == [], "not in the table"
    assert kept == found


def test_every_term_moves_something(found):
    idle = [row for row in found if not row[COLUMNS.index("moves")]]
    assert {(row[0], row[2], row[4]) for row in idle} == {("dad", "beta=0.0", "relations")}


def test_every_method_that_trains_is_in_the_table(found):
    """Under its own name or, where all its stages are others', with none that the table lacks."""
    named = {row[0] for row in found[1:]}
    assert {"target_only", "early_fusion", "self_distill"} <= named
    assert {m.name for m in methods() if m.role == "method"} <= named | {"rad_dad"}
