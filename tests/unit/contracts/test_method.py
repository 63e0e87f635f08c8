"""Options and their values, and what a method may not be."""

from __future__ import annotations

from typing import Literal, Optional

import pytest

import pmbench as pm
from pmbench.contracts.method import Option, parse_value
from pmbench.errors import ContractError, UnknownName, Unsupported, UsageError

MODALITIES = {m: pm.Modality(m, "vector", (3,), "1") for m in ("rgb", "depth", "ir")}


def setting(target=("rgb",), privileged=("depth",), **more):
    return pm.Setting(target, privileged, 4, MODALITIES, {}, **more)


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
def test_values(text, kind, value):
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
def test_values_that_are_refused(text, kind, words):
    with pytest.raises(UsageError, match=f"^lr={text.rpartition('+')[2]}: expected .*{words}"):
        parse_value(text, kind, "lr")


@pm.method("demo", paper="arXiv:0", networks=2, deviations=("none",), exceptions={"seals": "cannot"})
def demo(
    setting: pm.Setting, *, weight: float = 1.0, form: Literal["a", "b"] = "a", cut: float | None = None
) -> pm.Stage:
    """First line

    More.
    """
    return pm.Stream(setting.only_target(), replica=int(weight))


def test_a_method_knows_its_options():
    assert demo.options() == {
        "weight": Option("weight", float, 1.0),
        "form": Option("form", Literal["a", "b"], "a"),
        "cut": Option("cut", float | None, None),
    }
    assert (demo.summary, demo.role, demo.tests_on, demo.networks) == ("First line", "method", "target", 2)
    assert demo.last_stage(setting(), weight=2.0) == pm.Stream("rgb", replica=2)
    assert hash(demo) == hash(demo)


def test_options_that_are_refused():
    with pytest.raises(UnknownName, match="unknown option of method 'demo' 'wieght'; did you mean 'weight'"):
        demo.last_stage(setting(), wieght=1)
    with pytest.raises(UsageError, match="'form' of method 'demo' is 'c'; expected one of a, b"):
        demo.last_stage(setting(), form="c")
    with pytest.raises(Unsupported, match="exactly one target modality, this setting has 2"):
        demo.last_stage(setting(target=("rgb", "ir")))


def test_what_is_given_at_test():
    def tested(on):
        return pm.method("m", paper="p", tests_on=on)(lambda setting: None).test_modalities(
            setting(("rgb",), ("depth", "ir"))
        )

    assert tested("target") == ("rgb",)
    assert tested("privileged") == ("depth", "ir")
    assert tested("all") == ("rgb", "depth", "ir")


def test_what_a_method_may_not_be():
    with pytest.raises(ContractError, match="role 'king'"):
        pm.method("m", paper="p", role="king")
    with pytest.raises(ContractError, match="tests_on 'nothing'"):
        pm.method("m", paper="p", tests_on="nothing")
    with pytest.raises(ContractError, match="option 'weight' of method 'm' has no default"):
        pm.method("m", paper="p")(lambda setting, *, weight: None)
    with pytest.raises(ContractError, match="option 'more' of method 'm' has no default"):
        pm.method("m", paper="p")(lambda setting, **more: None)
    with pytest.raises(ContractError, match="method 'm' returned str where its last stage"):
        pm.method("m", paper="p")(lambda setting: "stage").last_stage(setting())


def test_ablations_and_small_values_are_options():
    def made(**declared):
        return pm.method("m", paper="p", **declared)(lambda setting, *, weight=1.0: None)

    found = made(ablations={"light": pm.Ablation({"weight": 0.0}, ("P", "T", "v"))}, small={"weight": 0.5})
    assert found.ablations["light"].options == {"weight": 0.0}
    assert (found.values("small"), found.values("paper"), made().values("small")) == ({"weight": 0.5}, {}, {})
    with pytest.raises(ContractError, match=r"ablation 'x' of method 'm' sets \['wait'\].*: weight"):
        made(ablations={"x": pm.Ablation({"wait": 1})})
    with pytest.raises(ContractError, match=r"the set `small` of method 'm' sets \['wait'\]"):
        made(small={"wait": 1})
    with pytest.raises(ContractError, match=r"'x' of method 'm' is printed in \('P',\); expected"):
        made(ablations={"x": pm.Ablation({}, ("P",))})


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
    with pytest.raises(ContractError, match=r"'b': kinds .*'picture'.* image"):
        pm.backbone("b", kinds=("picture",), provides=("pooled",), sizes={"8": 8})
    with pytest.raises(ContractError, match=r"'b': provides .*'map'.* maps"):
        pm.backbone("b", kinds=("image",), provides=("map",), sizes={"8": 8})
    small, large = pm.backbone("b", kinds=("image",), provides=("maps",), sizes={"s": 8, "l": 16})(
        lambda m, s: None
    )
    assert (small.name, small.size, large.name, large.size) == ("b-s", 8, "b-l", 16)
    assert not small.accepts(MODALITIES["rgb"])
