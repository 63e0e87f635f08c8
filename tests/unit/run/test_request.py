"""From names to methods with options: ablations, sets of values, and the identity of their cells."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pmbench.cli.selection import Selection
from pmbench.errors import UsageError
from pmbench.plugins import Registry, load_plugins
from pmbench.run.matrix import plan_all
from pmbench.run.plan import make_plan
from pmbench.run.request import REFERENCES, Request, variants_of
from pmbench.store.store import Store


@pytest.fixture
def registry() -> Registry:
    """The installed plugins; `kd` has values for small data, `rad` has none."""
    found = load_plugins()
    for name, small in {"kd": {"temperature": 1.0}, "rad": {}}.items():
        (offer,) = found.offers["method"][name]
        method = dataclasses.replace(offer.value, small=small)
        found.offers["method"][name] = [dataclasses.replace(offer, value=method)]
    return found


def shown(request: Request, registry: Registry) -> list[tuple[str, str, dict[str, object]]]:
    return [(v.method.name, v.ablation, dict(v.options)) for v in variants_of(request, registry)[0]]


def test_only_chosen_methods_are_ablated_and_the_row_wins_over_set(registry: Registry) -> None:
    sets = ("rad.weighting=detached_G", "rad.alpha=0.5")
    found = shown(Request(("rad", "kd"), ("planted",), sets=sets, ablate=True), registry)
    base = {"weighting": "detached_G", "alpha": 0.5}
    assert found[:4] == [
        ("rad", "", base),
        ("rad", "-IW", base | {"weighting": "uniform"}),
        ("rad", "-IW-MKTP", base | {"weighting": "uniform", "scales": (4,)}),
        ("kd", "", {}),
    ]
    assert [(name, row) for name, row, _ in found[4:]] == [(name, "") for name in REFERENCES]
    rows = variants_of(Request(("rad",), ("planted",), sets=sets, ablate=True), registry)[0]
    assert [dict(v.of) for v in rows[:3]] == [{}, base, base]


def test_variants_are_named_with_their_options(registry: Registry) -> None:
    names = ("kd[teacher=privileged,temperature=2]", "kd", "kd[teacher=fused]", "late_fusion[form=joint]")
    request = Request(names, ("planted",), sets=("kd.imitation=0.5", "kd.temperature=3"))
    found = shown(request, registry)
    assert [(name, options) for name, _, options in found] == [
        ("kd", {"teacher": "privileged", "temperature": 2.0, "imitation": 0.5}),
        ("kd", {"temperature": 3.0, "imitation": 0.5}),  # with its default teacher it is the same row
        ("late_fusion", {"form": "joint"}),
        *((name, {}) for name in REFERENCES),
    ]
    with pytest.raises(UsageError, match="unknown option 'taecher' of method 'kd'; did you mean 'teacher'"):
        shown(Request(("kd[taecher=privileged]",), ("planted",)), registry)
    with pytest.raises(UsageError, match="teacher=nobody: expected one of fused, privileged"):
        shown(Request(("kd[teacher=nobody]",), ("planted",)), registry)


def test_every_method_says_what_teaches_it(registry: Registry) -> None:
    def teachers(name: str) -> dict[str, str]:
        return dict(registry.method(name).teachers)

    assert teachers("kd") == teachers("gen_distill") == teachers("pseudo_label")
    assert teachers("kd") == {"fused": "early_fusion", "privileged": "privileged_only"}
    assert registry.method("kd").teacher({}) == registry.method("rad").teacher({}) == "early_fusion"
    assert registry.method("gen_distill").teacher({}) == registry.method("hoffman").teacher({})
    without = [n for n in registry.names("method") if not teachers(n) and registry.method(n).role == "method"]
    fusing = {"moddrop", "missing_token", "impute_ae", "impute_regression", "mtnet"}
    assert set(without) == fusing, "they fill in what is missing at test, and have no teacher"


def test_a_row_that_delivers_another_network_is_a_reference(registry: Registry) -> None:
    names = ("mdms", "mdms[step=step2]", "mdms[step=step2-privileged]", "mdms[step=step3]")
    request = Request(names, ("planted",), placebos=("shuffle",), references=False)
    rows = [
        (v.options.get("step"), v.placebo, v.method.role, v.method.tests_on, v.method.networks)
        for v in variants_of(request, registry)[0]
    ]
    assert rows == [
        (None, "", "method", "target", 2),
        (None, "shuffle", "method", "target", 2),
        ("step2", "", "reference", "all", 2),
        ("step2-privileged", "", "reference", "privileged", 1),
        ("step3", "", "method", "target", 1),
        ("step3", "shuffle", "method", "target", 1),
    ]


def test_methods_without_ablations_name_those_with_some(registry: Registry) -> None:
    with pytest.raises(UsageError, match="--ablate: kd declares no ablations") as caught:
        variants_of(Request(("kd",), ("planted",), ablate=True), registry)
    assert "admd, amid, cgan, crcd, crd, dad" in str(caught.value.hint)
    with pytest.raises(UsageError, match="kd, gen_distill declare no ablations"):
        variants_of(Request(("kd", "gen_distill"), ("planted",), ablate=True), registry)


def test_small_values_where_there_are_some_and_set_over_them(registry: Registry) -> None:
    request = Request(("kd", "rad"), ("planted",), value_set="small")
    kd, rad, *_ = variants_of(request, registry)[0]
    assert (dict(kd.options), kd.values) == ({"temperature": 1.0}, "small")
    assert (dict(rad.options), rad.values) == ({}, "paper")
    over = dataclasses.replace(request, sets=("temperature=3",))
    assert shown(over, registry)[0] == ("kd", "", {"temperature": 3.0})
    with pytest.raises(UsageError, match="--values tiny: expected paper or small"):
        variants_of(dataclasses.replace(request, value_set="tiny"), registry)


def test_cells_of_one_method_lie_apart_and_share_stages(registry: Registry, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    def cells(**changes: object):
        request = Request(("rad", "kd"), ("planted",), seeds=(0,), **changes)  # type: ignore[arg-type]
        return make_plan(request, registry, tmp_path / "data", store).cells

    paper, small = cells(ablate=True), cells(ablate=True, value_set="small")
    set_ = cells(sets=("weighting=uniform",))
    places = [c.path for c in (*paper, *small, *set_[:1])]
    identities = [c.identity for c in (*paper, *small, *set_[:1])]
    assert len(set(places)) == len(places)
    assert len(set(identities)) == len(identities)
    assert paper[0].path.name == "rad-s0"
    assert paper[1].key == set_[0].key == small[1].key  # the same training, asked for in three ways
    assert small[0].path.name == "rad-small-s0"


def test_a_matrix_of_several_runs(registry: Registry, tmp_path: Path) -> None:
    matrix = tmp_path / "matrix.toml"
    matrix.write_text(
        'methods = ["kd"]\nseeds = 1\n[[runs]]\nprotocols = ["shared-0", "shared-5"]\n'
        '[[runs]]\nprotocols = ["shared-5", "shared-10"]\nmethods = ["kd", "hoffman"]\n'
    )
    selection = Selection(matrix=matrix, dataset=["planted"], references=False)
    requests = selection.requests(registry)
    assert [r.protocols for r in requests] == [("shared-0", "shared-5"), ("shared-5", "shared-10")]
    assert [r.methods for r in requests] == [("kd",), ("kd", "hoffman")]
    assert {r.datasets for r in requests} == {("planted",)}, "an option overrides every run"
    plan = plan_all(requests, registry, tmp_path / "data", Store(tmp_path))
    named = [(c.method.name, c.spec.protocol) for c in plan.cells]
    assert sorted(named) == sorted(
        [*(("kd", f"shared-{s}") for s in (0, 5, 10)), ("hoffman", "shared-5"), ("hoffman", "shared-10")]
    ), "the cell that both ask for is there once"
    assert set(plan.nodes) == {key for cell in plan.cells for key in cell.keys}
    assert len(Selection(matrix=matrix, protocol=["shared-0"], method=["kd"]).requests(registry)) == 1
    for text, words in (
        ("runs = 3", "expected tables"),
        ("[[runs]]\nseed = 1", "seed"),
        ("runs = []", "tables"),
    ):
        matrix.write_text(f'methods = ["kd"]\n{text}\n')
        with pytest.raises(UsageError, match=words):
            selection.requests(registry)


def test_variants_and_placebos_in_options_and_in_a_matrix(registry: Registry, tmp_path: Path) -> None:
    found = Selection(method=["kd[teacher=privileged,temperature=2],rad", "rad"], placebo=["noise,shuffle"])
    (request,) = found.requests(registry)
    assert request.methods == ("kd[teacher=privileged,temperature=2]", "rad")
    assert (request.placebos, request.matched_compute) == (("noise", "shuffle"), False)
    matrix = tmp_path / "matrix.toml"
    matrix.write_text(
        'methods = ["all", "kd[teacher=privileged]"]\nplacebo = ["noise"]\nmatched_compute = true\n'
    )
    (request,) = Selection(matrix=matrix).requests(registry)
    assert request.methods == (*registry.names("method"), "kd[teacher=privileged]")
    assert (request.placebos, request.matched_compute) == (("noise",), True)
    for text, words in (("placebo = 'noise'", "expected a list"), ("matched_compute = 1", "true or false")):
        matrix.write_text(f'methods = ["kd"]\n{text}\n')
        with pytest.raises(UsageError, match=words):
            Selection(matrix=matrix).requests(registry)
