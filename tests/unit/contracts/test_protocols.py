"""The grammar of protocol names."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pmbench as pm
from pmbench.contracts.protocol import averages_of, members
from pmbench.errors import UnknownName, UsageError


class Scenes(pm.Dataset):
    name = "scenes"
    modalities = tuple(pm.Modality(m, "vector", (3,), "1") for m in ("rgb", "depth", "ir", "bones"))
    target = ("rgb",)
    privileged = ("depth", "ir")
    splits: ClassVar = {
        "cross-subject": pm.Split("train", "test"),
        "fold-1": pm.Split("a", "b"),
        "fold-2": pm.Split("b", "a", "c"),
    }
    default_protocol = "few-10"


DATASET = Scenes()
SPLITS = st.sampled_from([None, *Scenes.splits])
FEW = st.none() | st.integers(1, 10**6)
PAIRED = st.none() | st.integers(1, 99)
DIRECTION = st.sampled_from([None, "depth", "ir"])


@given(SPLITS, FEW, PAIRED, DIRECTION, st.randoms(use_true_random=False))
def test_round_trip(split, few, paired, direction, rng):
    parts = [split] * bool(split) + [f"few-{few}"] * bool(few) + [f"privileged-{paired}"] * bool(paired)
    parts = parts or ["cross-subject"]
    rng.shuffle(parts)
    found = DATASET.protocol("+".join(parts) + (f"@{direction}" if direction else ""))
    assert DATASET.protocol(found.name) == found
    assert found.split_name == (split or "cross-subject")
    assert found.split == Scenes.splits[found.split_name]
    assert (found.labels_per_class, found.paired_percent) == (few, paired or 100)
    assert found.target == ((direction,) if direction else ("rgb",))
    assert sorted((*found.target, *found.privileged)) == ["depth", "ir", "rgb"]
    assert found.demands == frozenset({"unlabelled"} if few else ()) | frozenset(
        {"unpaired"} if paired else ()
    )
    assert "@" not in found.name or direction


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("cross-subject", "cross-subject"),
        ("cross-subject+few-5", "few-5"),
        ("few-5+fold-1", "fold-1+few-5"),
        ("privileged-50+few-5", "few-5+privileged-50"),
        ("few-5@ir", "few-5@ir"),
        ("fold-2@depth", "fold-2@depth"),
        ("with-ir", "with-ir"),
        ("cross-subject+with-bones+few-5", "few-5+with-bones"),
        ("with-bones+with-depth", "with-depth+with-bones"),
        ("with-ir+with-depth", "cross-subject"),
        ("fold-2+with-ir@depth", "fold-2+with-ir@depth"),
        ("missing-90", "privileged-10"),
        ("noise-0.50+few-5", "few-5+noise-0.5"),
        ("with-ir+noise-2@depth", "noise-2+with-ir@depth"),
    ],
)
def test_canonical_names(name, canonical):
    assert DATASET.protocol(name).name == canonical


def test_missing_and_privileged_contradict_each_other():
    with pytest.raises(UsageError, match="privileged-50 and missing-25 both say"):
        DATASET.protocol("missing-25+privileged-50")


def test_a_mean_over_splits_stands_for_their_protocols():
    folds = Scenes()
    folds.averages = {"both": ("fold-1", "fold-2"), "views": ("cross-subject", "fold-1")}
    assert members(folds, "few-5+both+with-ir@depth") == [f"few-5+fold-{k}+with-ir@depth" for k in (1, 2)]
    assert members(folds, "few-5@ir") == ["few-5@ir"]
    found = averages_of(folds, folds.protocol("few-5+fold-1@ir"))
    assert found == {
        "both+few-5@ir": ["fold-1+few-5@ir", "fold-2+few-5@ir"],
        "views+few-5@ir": ["few-5@ir", "fold-1+few-5@ir"],
    }
    assert averages_of(folds, folds.protocol("cross-subject")) == {"views": ["cross-subject", "fold-1"]}
    assert averages_of(DATASET, DATASET.protocol("fold-1")) == {}
    with pytest.raises(UsageError, match=r"'both' stands for 2 protocols, .* such as 'fold-1'"):
        folds.protocol("both")
    with pytest.raises(UnknownName, match="both"):
        folds.protocol("botx")


def test_a_delay_needs_time():
    with pytest.raises(
        UsageError, match="'depth' is of kind vector, without a time axis; delay-2 needs more than 2"
    ):
        DATASET.protocol("delay-2")
    timed = Scenes()
    timed.modalities = tuple(
        dataclasses.replace(m, kind="sequence", shape=(3, 8)) if m.name == "ir" else m
        for m in DATASET.modalities
    )
    assert timed.protocol("with-ir+delay-7").name == "delay-7+with-ir"
    assert timed.protocol("with-ir+delay-7").corruption_of("rgb") is None
    with pytest.raises(UsageError, match="'ir' has 8 frames; delay-8 needs more than 8"):
        timed.protocol("with-ir+delay-8")


@given(st.text(st.sampled_from("few-10+privlgdcosubt@rhi "), max_size=20))
def test_anything_else_is_an_error_of_ours(name):
    try:
        found = DATASET.protocol(name)
    except UsageError:
        return
    assert DATASET.protocol(found.name) == found


@pytest.mark.parametrize(
    "name",
    [
        "few-",
        "few-1.5",
        "few-5+few-6",
        "privileged-50+privileged-60",
        "fold-1+fold-2",
        "",
        "+",
        "fold-9",
        "few-5 ",
        "with-ir+with-ir",
        "noise-1.2345",
        "noise-1.2.3",
        "noise-1+noise-2",
    ],
)
def test_refused(name):
    with pytest.raises(UnknownName, match=r"unknown protocol '.*' of data set 'scenes'"):
        DATASET.protocol(name)


@pytest.mark.parametrize(
    ("name", "span"),
    [
        ("few-0", "of 1 or more"),
        ("few--5", "of 1 or more"),
        ("fold-2+few-0", "of 1 or more"),
        ("privileged-0", "from 1 to 99"),
        ("privileged-100", "from 1 to 99"),
        ("missing-0", "from 1 to 99"),
        ("noise-0", "above 0"),
        ("noise--1", "above 0"),
        ("delay-0", "of 1 or more"),
    ],
)
def test_refused_numbers(name, span):
    with pytest.raises(UsageError, match=f"is not possible; expected a number {span}"):
        DATASET.protocol(name)


@pytest.mark.parametrize(
    ("name", "target", "privileged"),
    [
        ("with-bones", ("rgb",), ("bones",)),
        ("with-bones+with-depth", ("rgb",), ("depth", "bones")),
        ("with-bones@depth", ("depth",), ("rgb", "bones")),
        ("with-depth@depth", ("depth",), ("rgb",)),
    ],
)
def test_other_privileged_modalities(name, target, privileged):
    found = DATASET.protocol(name)
    assert (found.target, found.privileged) == (target, privileged)
    assert found.identity() == DATASET.protocol("cross-subject").identity()


def test_a_target_modality_is_not_privileged_besides():
    with pytest.raises(UsageError, match="'rgb' is the target modality; drop 'with-rgb'"):
        DATASET.protocol("with-rgb")
    with pytest.raises(UnknownName, match="unknown modality 'bone' of data set 'scenes'; did you mean"):
        DATASET.protocol("with-bone")


def test_near_matches():
    with pytest.raises(UnknownName, match=r"did you mean .*'cross-subject'"):
        DATASET.protocol("cross-subjects")
    with pytest.raises(UnknownName, match=r"did you mean .*'fold-1"):
        DATASET.protocol("fold1")
    with pytest.raises(
        UnknownName, match="unknown modality 'dept' of data set 'scenes'; did you mean 'depth'"
    ):
        DATASET.protocol("few-5@dept")
    with pytest.raises(UsageError, match="'rgb' is the target modality already; drop '@rgb'"):
        DATASET.protocol("few-5@rgb")


def test_names_worth_listing_are_protocols():
    names = DATASET.protocol_names()
    assert names[0] == "few-10"
    assert len(set(names)) == len(names)
    assert [DATASET.protocol(name).name for name in names] == names
    assert {"cross-subject", "fold-2", "fold-2+few-10@ir", "few-10@depth"} <= set(names)


def test_identity_ignores_the_direction_unless_it_decides_which_samples_there_are():
    for name in ("cross-subject", "few-5", "fold-2+few-5"):
        assert DATASET.protocol(name).identity() == DATASET.protocol(f"{name}@ir").identity()
    assert DATASET.protocol("privileged-50").identity() != DATASET.protocol("privileged-50@ir").identity()
    everything = [
        DATASET.protocol(n).identity()
        for n in ("fold-1", "fold-2", "few-5", "few-6", "privileged-5", "privileged-6")
    ]
    assert all(a != b for i, a in enumerate(everything) for b in everything[:i])
