"""Values that cannot work are refused before work begins, with what is expected."""

from __future__ import annotations

from typing import Any

import pytest

PLAN = ("plan", "-m", "target_only", "-d", "planted")
RUN = ("run", "-m", "target_only", "-d", "planted")
WRONG = {
    "few-0": ((*PLAN, "-p", "few-0"), 2, "few-0 is not possible; the number is 1 or more"),
    "privileged-101": ((*PLAN, "-p", "privileged-101"), 2, "the number is from 1 to 99"),
    "no epoch": ((*PLAN, "--set", "recipe.epochs=0"), 2, "trains nothing"),
    "huge seed": ((*PLAN, "--seed", str(2**32)), 2, "less than or equal to 4294967295"),
    "device": ((*RUN, "--device", "cuda:first"), 2, "--device takes cpu, cuda, cuda:N or auto"),
    "out": ((*RUN, "--out", "/proc/nothing"), 1, "cannot write /proc/nothing"),
    "store": ((*RUN, "--store", "/proc/nothing"), 1, "cannot write /proc/nothing"),
    "no records": (("leaderboard", "--check"), 1, "holds no records"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values(run_cli: Any, case: str) -> None:
    arguments, code, message = WRONG[case]
    found = run_cli(*arguments)
    assert (found.code, message in found.stderr, "Traceback" in found.stderr) == (code, True, False), found
    assert "FAILED" not in found.stderr


def test_more_labels_than_a_class_has_is_a_skip_with_the_counts(run_cli: Any) -> None:
    found = run_cli(*PLAN, "-p", "few-100000")
    assert found.code == 3
    assert "few-100000 needs 100000 labelled training samples of each class" in found.stderr
    assert "set aside for validation" in found.stderr


@pytest.mark.parametrize(
    ("backbones", "choices"),
    [
        (["target_view=mlp-8,privileged_view=mlp-16"], 1),
        (["target_view=mlp-8", "privileged_view=mlp-16"], 1),
        (["target_view=mlp-8+privileged_view=mlp-16"], 1),
        (["target_view=mlp-8,target_view=mlp-16"], 2),
        (["mlp-8,mlp-16"], 2),
    ],
)
def test_backbones_of_several_modalities_are_one_choice(
    run_cli: Any, backbones: list[str], choices: int
) -> None:
    options = [part for backbone in backbones for part in ("-b", backbone)]
    found = run_cli(*PLAN, *options, "--seed", "0", "--no-references", "--json")
    assert found.code == 0, found.stderr
    assert len(found.json()["cells"]) == choices
