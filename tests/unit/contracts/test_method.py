"""Methods and their options, settings, and how backbones are declared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

import pmbench as pm
from pmbench.contracts.search import Choices, Interval
from pmbench.errors import ContractError, UnknownName, Unsupported, UsageError

MODALITIES = {m: pm.Modality(m, "vector", (3,), "1") for m in ("rgb", "depth", "ir")}


def setting(target=("rgb",), privileged=("depth",), **more):
    return pm.Setting(target, privileged, 4, MODALITIES, {}, **more)


@dataclass(frozen=True)
class DemoOptions(pm.Options):
    weight: float = pm.option(1.0, "weight of the term", within="[0, inf)")
    form: Literal["a", "b"] = pm.option("a", "form of the term")
    cut: float | None = pm.option(None, "least confidence")


@pm.method("demo", paper="arXiv:0", networks=2, deviations=("none",), exceptions={"seals": "cannot"})
def demo(setting: pm.Setting, options: DemoOptions) -> pm.Stage:
    """First line

    More.
    """
    return pm.Stream(setting.only_target(), replica=int(options.weight))


def without_options(setting: pm.Setting) -> pm.Stage:
    """A plan of the setting alone"""
    return pm.Stream(setting.only_target())


def test_a_method_has_the_options_that_its_plan_takes():
    assert demo.options_type is DemoOptions
    assert demo.options() == DemoOptions.declared()
    plain = pm.method("plain", paper="p")(without_options)
    assert (plain.options_type, dict(plain.options())) == (pm.Options, {})
    assert plain.last_stage(setting()) == pm.Stream("rgb")
    assert (demo.summary, demo.role, demo.tests_on, demo.networks) == ("First line", "method", "target", 2)
    assert demo.last_stage(setting(), weight=2.0) == pm.Stream("rgb", replica=2)
    assert hash(demo) == hash(demo)


def test_options_that_are_refused():
    with pytest.raises(UnknownName, match="unknown option 'wieght' of method 'demo'; did you mean 'weight'"):
        demo.last_stage(setting(), wieght=1)
    with pytest.raises(UsageError, match="method 'demo': option 'form' is 'c'; expected one of a, b"):
        demo.last_stage(setting(), form="c")
    with pytest.raises(
        UsageError, match=r"method 'demo': option 'weight' is -1; expected a number in \[0, inf\)"
    ):
        demo.last_stage(setting(), weight=-1)
    with pytest.raises(Unsupported, match="exactly one target modality, this setting has 2"):
        demo.last_stage(setting(target=("rgb", "ir")))


def test_modalities_at_test():
    def tested(on):
        return pm.method("m", paper="p", tests_on=on)(lambda setting: None).test_modalities(
            setting(("rgb",), ("depth", "ir"))
        )

    assert tested("target") == ("rgb",)
    assert tested("privileged") == ("depth", "ir")
    assert tested("all") == ("rgb", "depth", "ir")


def test_declarations_that_are_refused():
    with pytest.raises(ContractError, match="role 'king'"):
        pm.method("m", paper="p", role="king")
    with pytest.raises(ContractError, match="tests_on 'nothing'"):
        pm.method("m", paper="p", tests_on="nothing")
    with pytest.raises(ContractError, match="method 'm' returned str where its last stage"):
        pm.method("m", paper="p")(lambda setting: "stage").last_stage(setting())


@pytest.mark.parametrize(
    "plan",
    [
        lambda: None,
        lambda setting, options: None,
        lambda setting, *, weight=1.0: None,
        lambda setting, **more: None,
        lambda setting, options, more: None,
    ],
)
def test_a_plan_takes_a_setting_and_annotated_options(plan):
    with pytest.raises(ContractError, match=r"plan function of method 'm' takes .*; expected") as caught:
        pm.method("m", paper="p")(plan)
    assert "one frozen dataclass" in caught.value.hint


def test_a_plan_takes_options_of_a_subclass_of_options():
    def plan(setting: pm.Setting, options: dict) -> pm.Stage:
        """Options of another class"""

    with pytest.raises(ContractError, match=r"a subclass of pm\.Options"):
        pm.method("m", paper="p")(plan)


def test_ablations_and_small_values_are_options():
    def made(**declared):
        def plan(setting: pm.Setting, options: DemoOptions) -> pm.Stage:
            """A plan that is not called"""

        return pm.method("m", paper="p", **declared)(plan)

    found = made(ablations={"light": pm.Ablation({"weight": 0.0}, ("P", "T", "v"))}, small={"weight": 0.5})
    assert found.ablations["light"].options == {"weight": 0.0}
    assert (found.values("small"), found.values("paper"), made().values("small")) == ({"weight": 0.5}, {}, {})
    with pytest.raises(
        ContractError,
        match=r"ablation 'x' of method 'm' sets unknown options \['wait'\].*: weight, form, cut",
    ):
        made(ablations={"x": pm.Ablation({"wait": 1})})
    with pytest.raises(ContractError, match=r"the set `small` of method 'm' sets unknown options \['wait'\]"):
        made(small={"wait": 1})
    with pytest.raises(ContractError, match=r"'x' of method 'm' is printed in \('P',\); expected"):
        made(ablations={"x": pm.Ablation({}, ("P",))})


def test_a_search_space_is_an_interval_or_a_tuple_of_values():
    search = {"weight": "log [0.1, 10]", "cut": (None, 0.5), "form": ("a", "b")}
    found = pm.method("m", paper="p", search=search)(demo.plan)
    assert found.spaces() == {
        "weight": Interval(0.1, 10.0, log=True),
        "cut": Choices((None, 0.5)),
        "form": Choices(("a", "b")),
    }
    assert demo.spaces() == {}
    assert found.but(weight=2.0).spaces() == found.spaces()


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"wait": "[0, 1]"}, r"the search of method 'm' sets unknown options \['wait'\]"),
        ({"weight": "0.1 to 10"}, r"'0.1 to 10'; expected an interval of numbers"),
        ({"weight": "log [0, 10]"}, r"above 0 for `log`"),
        ({"weight": "[1, inf]"}, "expected finite bounds"),
        ({"weight": "[10, 1]"}, "the lower one first"),
        ({"weight": "[-1, 1]"}, r"option 'weight' is -1.0; expected a number in \[0, inf\)"),
        ({"weight": (1.0,)}, "at least two, different"),
        ({"weight": (1.0, 1.0)}, "at least two, different"),
        ({"form": ("a", "c")}, "option 'form' is 'c'; expected one of a, b"),
        ({"form": "[0, 1]"}, "for a number, or a tuple of values"),
    ],
)
def test_a_malformed_search_space_is_refused(search, said):
    with pytest.raises(ContractError, match=said):
        pm.method("m", paper="p", search=search)(demo.plan)


def test_settings():
    given = setting(("rgb",), ("depth", "ir"))
    assert given.all == ("rgb", "depth", "ir")
    with pytest.raises(Unsupported, match=r"one privileged modality, this setting has 2 \(depth, ir\)"):
        given.only_privileged()
    with pytest.raises(Unsupported, match=r"has 0 \(none\)"):
        setting(privileged=()).only_privileged()
    assert not given.aligned("rgb", "depth")  # no grid is no common grid
    with pytest.raises(Unsupported, match="'rgb' and 'depth' are not aligned"):
        given.require_aligned("rgb", "depth")


def test_backbones_are_declared_with_known_words():
    with pytest.raises(ContractError, match=r"'b': provides .*'map'.* maps"):
        pm.backbone("b", kinds=("image",), provides=("map",), sizes={"8": 8})
    small, large = pm.backbone("b", kinds=("image",), provides=("maps",), sizes={"s": 8, "l": 16})(
        lambda m, s: None
    )
    assert (small.name, small.size, large.name, large.size) == ("b-s", 8, "b-l", 16)
    assert not small.accepts(MODALITIES["rgb"])


@dataclass(frozen=True)
class TaughtOptions(pm.Options):
    teacher: Literal["wide", "own"] = pm.option("own", "which one")
    weight: float = pm.option(1.0, "weight of the term", within="[0, inf)")


def taught(setting: pm.Setting, options: TaughtOptions) -> pm.Stage:
    """Taught"""
    return pm.Stream(setting.only_target(), replica=int(options.weight))


def test_the_teacher_follows_from_the_option():
    made = pm.method("taught", paper="p", teachers={"wide": "early_fusion", "own": "own"})(taught)
    assert (made.teacher({}), made.teacher({"teacher": "wide"})) == ("own", "early_fusion")
    fixed = pm.method("fixed", paper="p", teachers="privileged_only")(without_options)
    assert fixed.teacher({}) == "privileged_only"
    assert demo.teacher({}) is None


def test_teachers_must_be_the_values_of_the_option():
    with pytest.raises(ContractError, match="its option `teacher` takes wide, own"):
        pm.method("taught", paper="p", teachers={"wide": "early_fusion"})(taught)
    with pytest.raises(ContractError, match="there is no such option"):
        pm.method("fixed", paper="p", teachers={"wide": "early_fusion"})(without_options)


def test_options_may_have_another_network_tested():
    deliveries = (
        pm.Delivery({"teacher": "wide", "weight": 2.0}, "privileged"),
        pm.Delivery({"teacher": "wide"}, "all", networks=3),
        pm.Delivery({"weight": 2.0}),
    )
    made = pm.method("taught", paper="p", networks=2, deliveries=deliveries)(taught)

    def tested(**options):
        found = made.delivering(options)
        return found.role, found.tests_on, found.networks

    assert made.delivering({}) is made
    assert tested(weight=3.0) == ("method", "target", 2)
    assert tested(teacher="wide") == ("reference", "all", 3)
    assert tested(teacher="wide", weight=2.0) == ("reference", "privileged", 1), "the first that fits"
    assert tested(weight=2.0) == ("method", "target", 1)
    assert made.delivering({"teacher": "wide"}).test_modalities(setting()) == ("rgb", "depth")
    changed = made.but(teacher="wide")
    assert (changed.role, changed.tests_on, changed.networks) == ("reference", "all", 3)


def test_deliveries_are_of_known_options_and_modalities():
    with pytest.raises(ContractError, match=r"delivery \{'tutor': 'wide'\} .* unknown options \['tutor'\]"):
        pm.method("taught", paper="p", deliveries=(pm.Delivery({"tutor": "wide"}),))(taught)
    for wrong in (pm.Delivery({"teacher": "wide"}, "both"), pm.Delivery({})):
        with pytest.raises(ContractError, match="expected options and their values, and tests_on one of"):
            pm.method("taught", paper="p", deliveries=(wrong,))(taught)


def test_a_method_with_other_defaults():
    made = pm.method("taught", paper="p")(taught).but(weight=3.0)
    assert made.last_stage(setting()) == pm.Stream("rgb", replica=3)
    assert made.last_stage(setting(), weight=2.0) == pm.Stream("rgb", replica=2)
    assert (made.options()["weight"].default, made.options()["weight"].within) == (3.0, "[0, inf)")
    with pytest.raises(UsageError, match="option 'weight' is -1"):
        made.but(weight=-1)
