"""Values that cannot work are refused before work begins, with what is expected."""

from __future__ import annotations

import re
from typing import Any

import pytest

PLAN = ("plan", "-m", "target_only", "-d", "planted")


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


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("run", "hoffman"), "pmbench run --method hoffman"),
        (("plan", "kd", "planted", "--seeds", "1"), "pmbench plan --method kd --dataset planted"),
        (("tune", "kd", "--out", "study"), "pmbench tune --method kd"),
    ],
)
def test_a_name_without_its_option_is_shown_with_it(run_cli: Any, words: tuple[str, ...], meant: str) -> None:
    refused = run_cli(*words)
    assert refused.code == 2
    assert "takes no name without its option" in refused.error
    assert f"did you mean `{meant}`?" in refused.stderr


def test_many_known_names_are_counted(run_cli: Any) -> None:
    refused = run_cli("check", "qqqq")
    assert refused.code == 2
    assert re.fullmatch(
        "unknown method, data set or backbone 'qqqq'; none of [0-9]+ known names is like it", refused.error
    )
    assert "`pmbench list` shows what is installed" in refused.stderr
    assert "did you mean 'hoffman'" in run_cli("check", "hofman").error
