"""Stages as JSON documents."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

import msgspec
import pytest

import pmbench as pm
from pmbench.errors import ContractError
from pmbench.store.documents import StageDocument, part_of, read_stages, write_stages


@dataclass(frozen=True)
class Knobs(pm.Options):
    weight: float = pm.option(1.0, "weight of a term")
    layers: tuple[int, ...] = pm.option((1, 2), "layers that are matched")
    rule: str | None = pm.option(None, "name of a rule")
    stage: int = pm.option(4, "a name that is no stage")


@dataclass(frozen=True)
class Deep(pm.Stage):
    teachers: tuple[pm.Stage, ...]
    options: Knobs
    sizes: tuple[tuple[int, ...], ...] = ((1, 2), ())

    @property
    def reads(self):
        return ("a",)


A, B = pm.Stream("a"), pm.Stream("b", replica=1)
DEEP = Deep((A, B), Knobs(weight=2, layers=(3,), rule="x"))
RECIPE = pm.Recipe(epochs=3, schedule="step", milestones=(0.5, 0.8))


def through_json(documents):
    values = json.loads(json.dumps([asdict(document) for document in documents]))
    return msgspec.convert(values, list[StageDocument])


def test_documents_give_the_stages_again():
    documents = write_stages(DEEP, RECIPE)
    assert through_json(documents) == documents
    again = read_stages(through_json(documents))
    assert again == [A, B, DEEP]
    assert type(again[-1].options) is Knobs
    assert [type(v) for v in (again[-1].options.weight, again[-1].sizes)] == [int, tuple]


def test_a_document_tells_what_the_stage_declares():
    *_, deep = write_stages(DEEP, RECIPE)
    assert (deep.kind, deep.reads, deep.trains, deep.recipe) == ("Deep", ("a",), True, RECIPE)
    assert deep.modules == (__name__,)
    assert deep.parents == [0, 1]
    assert deep.label == "Deep(a)"
    assert write_stages(B, RECIPE)[0].label == "Stream(b, replica 1)"
    assert write_stages(B, RECIPE)[0].modules == ("pmbench.networks.stages",)


def test_a_stage_that_does_not_train_has_no_epochs():

    @dataclass(frozen=True)
    class Idle(pm.Stream):
        trains = False

    documents = write_stages(Idle("a"), RECIPE)
    assert documents[-1].recipe == RECIPE.but(epochs=0)
    assert not documents[-1].trains


def test_a_part_of_the_documents_is_numbered_anew():
    @dataclass(frozen=True)
    class Pair(pm.Stream):
        first: pm.Stage = A
        others: tuple[pm.Stage, ...] = ()

    last = Pair("c", A, (B, Pair("a", B)))
    documents = write_stages(last, RECIPE)
    walk = list(last.walk())
    for place, stage in enumerate(walk):
        part = part_of(documents, place)
        assert len(part) == len(list(stage.walk()))
        assert part[-1].fields["modality"] == stage.modality
        assert all(parent < i for i, one in enumerate(part) for parent in one.parents)


def test_a_class_inside_a_function_cannot_be_made_again():
    @dataclass(frozen=True)
    class Local(pm.Stream):
        pass

    with pytest.raises(ContractError, match="is defined inside a function"):
        read_stages(write_stages(Local("a"), RECIPE))


@pytest.mark.parametrize(
    "name", ["os:system", "pathlib:Path", "pmbench:Options.declared", "pmbench:absent", f"{__name__}:Knobs"]
)
def test_only_stages_are_made(name):
    with pytest.raises(ContractError, match="is no class of stages"):
        read_stages([StageDocument(name, (), {}, (), True, RECIPE)])


def test_only_options_are_made_where_options_stand():
    (document,) = write_stages(A, RECIPE)
    wrong = replace(document, fields={"modality": {"options": "pmbench:Stream", "fields": {}}})
    with pytest.raises(ContractError, match="is no class of stages or options"):
        read_stages([wrong])


def test_a_field_that_is_no_plain_value_is_refused():
    with pytest.raises(ContractError, match="a field of a stage is"):
        write_stages(Deep((), Knobs(), sizes=b"a"), RECIPE)
