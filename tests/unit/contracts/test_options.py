"""Options: declared once, checked on construction, narrowed to the part that a stage uses."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, Optional

import engine_lab
import pytest

import pmbench as pm
from pmbench.contracts.options import Option, parse_value, split_variant
from pmbench.errors import ContractError, UsageError


@dataclass(frozen=True)
class MapOptions(pm.Options):
    """Options that the stage Mapped uses."""

    weight: float = pm.option(1.0, "weight of the map term", within="[0, inf)")
    form: Literal["mse", "cosine"] = pm.option("mse", "distance of the maps")


@dataclass(frozen=True)
class LogitOptions(pm.Options):
    cut: float | None = pm.option(None, "least confidence", within="[0, 1)")


@dataclass(frozen=True)
class BothOptions(LogitOptions, MapOptions):
    """Options of a method: those of two stages, a default of its own, and one that only the plan reads."""

    weight: float = pm.option(2.0, "weight of the map term", within="[0, inf)")
    late: bool = pm.option(False, "fuse late")


@dataclass(frozen=True)
class Mapped(pm.Stage):
    options: MapOptions = MapOptions()
    before: tuple[pm.Stage, ...] = ()

    @property
    def reads(self):
        return ("near",)


def test_options_are_declared_with_type_default_interval_and_help():
    assert MapOptions.declared() == {
        "weight": Option("weight", float, 1.0, "weight of the map term", "[0, inf)"),
        "form": Option("form", Literal["mse", "cosine"], "mse", "distance of the maps", ""),
    }
    assert pm.Options.declared() == {}


def test_inherited_options_come_first_and_defaults_may_change():
    assert list(BothOptions.declared()) == ["weight", "form", "cut", "late"]
    assert BothOptions() == BothOptions(weight=2.0, form="mse", cut=None, late=False)


@pytest.mark.parametrize(
    ("kind", "choices"),
    [
        (Literal["a", "b"], ("a", "b")),
        (Literal[1, 2], (1, 2)),
        (Literal["a", "b"] | None, ("a", "b", None)),
        (bool, (False, True)),
        (bool | None, (False, True, None)),
        (str, ()),
        (float, ()),
        (float | None, ()),
        (tuple[int, ...], ()),
    ],
)
def test_choices(kind, choices):
    assert Option("x", kind, None).choices == choices


def test_invalid_choices_are_refused():
    assert MapOptions(form="cosine").form == "cosine"
    with pytest.raises(UsageError, match="option 'form' is 'l1'; expected one of mse, cosine"):
        MapOptions(form="l1")


def test_choices_of_an_optional_literal_are_checked():
    declared = Option("form", Literal["mse", "cosine"] | None, None)
    declared.check(None)
    declared.check("mse")
    with pytest.raises(UsageError, match="option 'form' is 'l1'; expected one of mse, cosine, None"):
        declared.check("l1")


@pytest.mark.parametrize("value", [1, 0, "true", None])
def test_bool_options_take_bools_only(value):
    with pytest.raises(UsageError, match=f"option 'late' is {value!r}; expected one of False, True"):
        BothOptions(late=value)


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1]", (0, 0.5, 1, None), (-0.1, 1.1, float("nan"))),
        ("(0, inf)", (1e-9, 1e9, None), (0, -1, float("inf"))),
        ("[0, 1)", (0, 0.999), (1,)),
        ("[1, inf)", (1, 7), (0,)),
        ("", (-1, float("nan")), ()),
    ],
)
def test_numbers_are_checked_against_the_interval(interval, inside, outside):
    declared = Option("weight", float | None, None, "", interval)
    for value in inside:
        declared.check(value)
    for value in outside:
        with pytest.raises(UsageError) as caught:
            declared.check(value)
        assert caught.value.message == f"option 'weight' is {value}; expected a number in {interval}"


def test_options_are_checked_on_construction():
    options = BothOptions(cut=0.5)
    assert options.but(weight=0.0, cut=None) == BothOptions(weight=0.0)
    for make in (lambda: BothOptions(weight=-1.0), lambda: options.but(cut=1.0)):
        with pytest.raises(UsageError, match="expected a number in"):
            make()
    with pytest.raises(TypeError, match="wieght"):
        options.but(wieght=1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.weight = 3.0


def test_fields_without_pm_option_are_refused():
    @dataclass(frozen=True)
    class Bare(pm.Options):
        weight: float = 1.0

    for read in (Bare, Bare.declared):
        with pytest.raises(ContractError, match=r"Bare\.weight is not declared by pm\.option") as caught:
            read()
        assert "pm.option(default, " in caught.value.hint


def test_only_selects_the_options_of_a_base_class():
    both = BothOptions(weight=3.0, form="cosine", cut=0.5, late=True)
    for kind, part in (
        (MapOptions, MapOptions(3.0, "cosine")),
        (LogitOptions, LogitOptions(0.5)),
        (BothOptions, both),
    ):
        assert both.only(kind) == part
        assert type(both.only(kind)) is kind
    with pytest.raises(ContractError, match="takes MapOptions, but was given LogitOptions") as caught:
        LogitOptions().only(MapOptions)
    assert caught.value.hint == "let LogitOptions inherit from MapOptions"


def test_stages_hold_only_declared_options():
    stage = Mapped(BothOptions(form="cosine", cut=0.5))
    assert stage.options == MapOptions(2.0, "cosine")
    assert type(stage.options) is MapOptions
    assert dataclasses.replace(stage, replica=1).options == stage.options
    for unrelated in (LogitOptions(), pm.DistillOptions(), pm.Options()):
        with pytest.raises(
            ContractError, match=f"takes MapOptions, but was given {type(unrelated).__name__}"
        ):
            Mapped(unrelated)


@pytest.mark.parametrize("value", [1.0, None, {"weight": 1.0}, MapOptions])
def test_a_stage_refuses_plain_values_as_options(value):
    with pytest.raises(ContractError, match=r"stage Mapped: field 'options' is .*; expected MapOptions"):
        Mapped(value)


def test_unused_options_do_not_enter_the_key(lab: engine_lab.Lab):
    """Stages that differ in unused options are equal, have one key and are walked once."""
    plain = Mapped(BothOptions())
    unused = Mapped(BothOptions(cut=0.5, late=True))
    used = Mapped(BothOptions(weight=0.5))
    assert plain == unused == Mapped(MapOptions(weight=2.0))
    assert hash(plain) == hash(unused)
    assert lab.context.key(plain) == lab.context.key(unused) == lab.context.key(Mapped(MapOptions(2.0)))
    assert used != plain
    assert lab.context.key(used) != lab.context.key(plain)
    last = Mapped(before=(plain, unused, used))
    assert list(last.walk()) == [plain, used, last]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        ("-3", int, -3),
        ("2", float, 2.0),
        ("1e-3", float, 1e-3),
        ("a=b", str, "a=b"),
        ("", str, ""),
        ("true", bool, True),
        ("False", bool, False),
        ("none", float | None, None),
        ("None", int | None, None),
        ("0.5", float | None, 0.5),
        ("none", str, "none"),
        ("none", Optional[float], None),  # noqa: UP045
        ("0.5", Optional[float], 0.5),  # noqa: UP045
        ("hard", Literal["hard", "soft"], "hard"),
        ("hard", Literal["hard", "soft"] | None, "hard"),
        ("none", Literal["hard", "soft"] | None, None),
        ("2", Literal[1, 2], 2),
        ("0.5+0.75", tuple[float, ...], (0.5, 0.75)),
        ("", tuple[float, ...], ()),
        ("3", tuple[int, ...], (3,)),
        ("a+b", tuple[str, ...], ("a", "b")),
    ],
)
def test_text_is_parsed_as_the_declared_type(text, kind, value):
    found = parse_value(text, kind, "x")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("3.0", int, "a whole number"),
        ("x", int, "a whole number"),
        ("x", float, "a number"),
        ("", float, "a number"),
        ("yes", bool, "true or false"),
        ("1", bool, "true or false"),
        ("firm", Literal["hard", "soft"], "hard, soft"),
        ("firm", Literal["hard", "soft"] | None, "hard, soft"),
        ("3", Literal[1, 2], "1, 2"),
        ("x", float | None, "a number"),
        ("none", float, "a number"),
        ("1+x", tuple[float, ...], "a number"),
    ],
)
def test_invalid_text_is_refused(text, kind, words):
    with pytest.raises(UsageError, match=f"^lr={text.rpartition('+')[2]}: expected .*{words}"):
        parse_value(text, kind, "lr")


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("kd", "kd", {}),
        ("kd[teacher=privileged]", "kd", {"teacher": "privileged"}),
        ("rad[scales=1+2, alpha=0.5]", "rad", {"scales": "1+2", "alpha": "0.5"}),
    ],
)
def test_the_name_of_a_variant(text, name, options):
    assert split_variant(text) == (name, options)


@pytest.mark.parametrize(
    "text", ["kd[", "kd]", "[a=1]", "kd[teacher]", "kd[]", "kd[=1]", "kd[a=1]x", "kd[a=[1]]", ""]
)
def test_other_text_names_no_variant(text):
    with pytest.raises(UsageError, match="names no method"):
        split_variant(text)
