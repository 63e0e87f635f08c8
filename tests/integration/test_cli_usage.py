"""Values that cannot work are refused before work begins, with what is expected."""

from __future__ import annotations

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
