"""Published numbers of a cell, and what differs from the paper's run: planned cells of planted data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pmbench as pm
from pmbench.builtin.planted import Planted
from pmbench.errors import UnknownName, UsageError
from pmbench.plugins import Offer, Registry, load_plugins
from pmbench.run.plan import PlannedCell, make_plan
from pmbench.run.published import UNDECLARED, published_for
from pmbench.run.request import Request
from pmbench.store.store import Store


class Declared(Planted):
    """Planted data whose recipe is that of a paper P, which gave `kd` another temperature."""

    recipes = {"p/planted": pm.Recipe(epochs=7, batch_size=32), "standard": pm.Recipe()}  # noqa: RUF012
    setups = {  # noqa: RUF012
        "p/planted": pm.Setup(
            papers=("P",),
            options={"kd": {"temperature": 9.0, "imitation": 0.9}},
            backbones={"privileged_view": "mlp-16"},
            differs=("another generator",),
        )
    }


def number(paper: str, method: str, variant: str, dataset: str, protocol: str, value: float) -> pm.Published:
    views = (("target_view", "privileged_view"), ("target_view",))
    return pm.Published(paper, "T", method, variant, *views, dataset, protocol, "accuracy", value, True)


NUMBERS = (
    number("P", "kd", "", "planted", "shared-10", 1.0),
    number("P", "kd", "hot", "planted", "shared-10", 3.0),
    number("P", "kd", "", "planted", "shared-20", 4.0),
    number("P", "hoffman", "", "planted", "shared-10", 5.0),
    number("Q", "kd", "", "planted", "shared-10", 6.0),
)
ROW = number("P", "kd", "cold", "far", "split-9", 2.0)


@pytest.fixture
def registry() -> Registry:
    registry = load_plugins()
    registry.offers["dataset"]["planted"] = [Offer("dataset", Declared(), "pmbench", "1")]
    return registry


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def cells(registry: Registry, data: Path, tmp_path: Path) -> Any:
    """The cells of a request with one seed, without references."""

    def make(*methods: str, **fields: Any) -> list[PlannedCell]:
        request = Request(methods, ("planted",), seeds=(0,), **{"references": False, **fields})
        return make_plan(request, registry, data, Store(tmp_path)).cells

    return make


def test_a_run_takes_what_the_papers_of_its_recipe_ran(cells: Any) -> None:
    (cell,) = cells("kd")
    kd = cell.method.options()
    assert dict(cell.options) == {"temperature": 9.0}
    assert kd["imitation"].default == 0.9  # so it is no departure
    assert dict(cell.spec.backbones) == {"target_view": "mlp-64", "privileged_view": "mlp-16"}
    assert cell.standard.epochs == cell.stages[-1].recipe.epochs == 7
    found = published_for(cell, NUMBERS)
    assert [n.value for n in found] == [1.0, 3.0, 6.0]
    assert [n.differs for n in found] == [["another generator"], ["another generator"], [UNDECLARED]]


def test_another_recipe_or_setting_is_named_beside_the_number(cells: Any) -> None:
    (standard,) = cells("kd", recipe="standard")
    assert dict(standard.options) == {}
    assert published_for(standard, NUMBERS)[0].differs == [
        "temperature 4.0 instead of 9.0",
        "epochs 20 instead of 7",
        "batch_size 64 instead of 32",
        "mlp-64 for privileged_view instead of mlp-16",
        "another generator",
    ]
    (changed,) = cells("kd[temperature=2]", backbones=("mlp-16",), sets=("recipe.epochs=3",))
    assert published_for(changed, NUMBERS)[0].differs == [
        "temperature 2.0 instead of 9.0",
        "epochs 3 instead of 7",
        "mlp-16 for target_view instead of mlp-64",
        "another generator",
    ]


def test_no_number_for_another_protocol_a_placebo_or_more_steps(cells: Any) -> None:
    assert [n.value for n in published_for(cells("kd", protocols=("shared-20",))[0], NUMBERS)] == [4.0]
    assert published_for(cells("kd", protocols=("shared-20@privileged_view",))[0], NUMBERS) == []
    method, placebo, *matched = cells("kd", placebos=("noise",), matched_compute=True)
    assert (len(published_for(method, NUMBERS)), placebo.variant.placebo) == (3, "noise")
    assert [published_for(cell, NUMBERS) for cell in (placebo, *matched)] == [[], []]


def test_a_row_of_an_ablation_has_its_own_number(cells: Any, registry: Registry) -> None:
    (offer,) = registry.offers["method"]["kd"]
    rows = {
        "cold": pm.Ablation({"temperature": 1.0}, ("P", "T", "cold")),
        "hot": pm.Ablation({"temperature": 20.0}, ("P", "T", "hot")),
        "ours": pm.Ablation({"imitation": 0.1}),
    }
    registry.offers["method"]["kd"] = [
        Offer("method", pm.Method(**{**vars(offer.value), "ablations": rows}), "pmbench", "1")
    ]
    found = [published_for(cell, (*NUMBERS, ROW)) for cell in cells("kd", ablate=True)]
    assert [[n.value for n in numbers] for numbers in found] == [[1.0, 3.0, 6.0], [2.0], [3.0], []]
    assert [found[1][0].differs, found[2][0].differs] == [[], ["another generator"]]


def test_a_wrong_setup_is_named(cells: Any, registry: Registry) -> None:
    class Wrong(Declared):
        setups = {"p/planted": pm.Setup(("P",), options={"kd": {"warmth": 1}})}  # noqa: RUF012

    registry.offers["dataset"]["planted"] = [Offer("dataset", Wrong(), "pmbench", "1")]
    with pytest.raises(UnknownName, match="option 'warmth' of method 'kd', which the recipe names"):
        cells("kd")

    class Weighted(Declared):
        setups = {"p/planted": pm.Setup(("P",), weights={"target_view": "imagenet"})}  # noqa: RUF012

    registry.offers["dataset"]["planted"] = [Offer("dataset", Weighted(), "pmbench", "1")]
    with pytest.raises(UsageError, match="imagenet") as raised:
        cells("kd")
    assert "none" in raised.value.hint
    assert cells("kd", weights="none")[0].spec.weights == ()
    assert cells("kd", backbones=("target_view=mlp-16",))[0].spec.weights == ()
