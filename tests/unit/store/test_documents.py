"""Stages as JSON documents."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

import pmbench as pm
from pmbench.errors import ContractError
from pmbench.store.documents import modules_of, read_stage, write_stage


@dataclass(frozen=True)
class Knobs(pm.Options):
    weight: float = pm.option(1.0, "weight of a term")
    layers: tuple[int, ...] = pm.option((1, 2), "layers that are matched")
    rule: str | None = pm.option(None, "name of a rule")


@dataclass(frozen=True)
class Deep(pm.Stage):
    teachers: tuple[pm.Stage, ...]
    options: Knobs
    sizes: tuple[tuple[int, ...], ...] = ((1, 2), ())

    @property
    def reads(self):
        return ("a",)


DEEP = Deep((pm.Stream("a"), pm.Stream("b", replica=1)), Knobs(weight=2, layers=(3,), rule="x"))


def test_a_document_gives_the_stage_again():
    document = json.loads(json.dumps(write_stage(DEEP)))
    again = read_stage(document)
    assert again == DEEP
    assert type(again.options) is Knobs
    assert [type(v) for v in (again.options.weight, again.sizes)] == [int, tuple]
    assert modules_of(document) == {__name__, "pmbench.networks.stages"}


def test_a_class_inside_a_function_has_no_document():
    @dataclass(frozen=True)
    class Local(pm.Stream):
        pass

    with pytest.raises(ContractError, match="is defined inside a function"):
        write_stage(Local("a"))


@pytest.mark.parametrize("name", ["os:system", "pathlib:Path", "pmbench:Options.declared", "pmbench:absent"])
def test_only_stages_are_made(name):
    with pytest.raises(ContractError, match="is no class of stages"):
        read_stage({"class": name, "fields": {}})


def test_options_are_no_stage():
    with pytest.raises(ContractError, match="is no class of stages"):
        read_stage({"class": f"{__name__}:Knobs", "fields": {}})


def test_a_field_that_is_no_plain_value_is_refused():
    with pytest.raises(ContractError, match="a field of a stage is"):
        write_stage(Deep((), Knobs(), sizes={"a": 1}))
