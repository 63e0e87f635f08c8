"""From names to cells and the graph of their stages: built-in methods on the planted data set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest
import torch

import pmbench as pm
from pmbench.errors import DataNotPrepared, UnknownName, UsageError
from pmbench.plugins import Offer, Registry, load_plugins
from pmbench.run.estimate import Rate, Rates, sign_of
from pmbench.run.plan import make_plan, named_recipe, needed, recipe_name
from pmbench.run.request import Request
from pmbench.store.documents import read_stages
from pmbench.store.store import Store


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def registry() -> Registry:
    return load_plugins()


@pytest.fixture
def plan(registry, data, tmp_path):
    """make_plan on an empty store; keyword arguments are fields of the Request."""

    def make(*methods: str, **fields):
        request = Request(methods, **{"datasets": ("planted",), "seeds": (0,), "references": False, **fields})
        return make_plan(request, registry, data, Store(tmp_path))

    return make


def offer(registry: Registry, plan_function) -> None:
    """Adds a method named `tried` with that plan function."""
    method = pm.method("tried", paper="none")(plan_function)
    registry.offers["method"]["tried"] = [Offer("method", method, "tests", "1")]


def test_one_cell_for_each_method_protocol_backbone_and_seed(plan) -> None:
    made = plan(
        "target_only",
        "early_fusion",
        protocols=("shared-10", "shared-0"),
        backbones=("mlp-16", "mlp-64"),
        seeds=(0, 1, 2),
    )
    assert len(made.cells) == 2 * 2 * 2 * 3
    assert len({cell.identity for cell in made.cells}) == len(made.cells)
    assert len({cell.path for cell in made.cells}) == len(made.cells)
    assert [cell.context.seed for cell in made.cells[:6]] == [0, 0, 1, 1, 2, 2]


def test_the_key_of_a_row_is_that_of_its_cell_with_seed_0(plan) -> None:
    made = plan("target_only", "early_fusion", seeds=(0, 1, 2))
    for cell in made.cells:
        first = next(c for c in made.cells if (c.method.name, c.context.seed) == (cell.method.name, 0))
        assert cell.row_key == first.row_key == first.identity
    assert len({cell.row_key for cell in made.cells}) == len({cell.method.name for cell in made.cells})


def test_cells_share_the_stages_that_are_equal(plan) -> None:
    made = plan("target_only", "early_fusion", "self_distill", "kd")
    stages = sorted(node.stage.kind for node in made.nodes.values())
    assert stages == ["Distill", "Distill", "EarlyFusion", "Stream", "Stream"]
    assert made.total_stages == 1 + 1 + 2 + 2


def test_parents_stand_before_their_children(plan) -> None:
    made = plan("kd", "late_fusion", seeds=(0, 1))
    place = {key: number for number, key in enumerate(made.nodes)}
    edges = [(parent, key) for key, node in made.nodes.items() for parent in node.parents]
    assert edges
    assert all(place[parent] < place[key] for parent, key in edges)


def test_a_stored_stage_needs_neither_training_nor_parents(plan) -> None:
    made = plan("kd")
    (cell,) = made.cells
    assert list(needed(made, made.cells)) == [*made.nodes[cell.key].parents, cell.key]
    made.nodes[cell.key].stored = True
    assert not needed(made, made.cells)


def test_only_the_stages_of_the_given_cells_are_needed(plan) -> None:
    made = plan("target_only", "kd")
    assert list(needed(made, made.cells[:1])) == [made.cells[0].key]


def test_a_setting_that_the_method_does_not_support_is_a_skip(plan, registry) -> None:
    def tried(setting):
        raise pm.Unsupported("needs a third modality")

    offer(registry, tried)
    (cell,) = plan("tried").cells
    assert (cell.skip, cell.failure, cell.stages, cell.key) == ("needs a third modality", "", (), "")


def failing(error: BaseException):
    def tried(setting):
        raise error

    return tried


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ZeroDivisionError("oh"), "plan of tried raised ZeroDivisionError (PLACE): oh"),
        (SystemExit(3), "plan of tried raised SystemExit (PLACE): 3"),
        (pm.ContractError("no maps"), "plan of tried: no maps"),
    ],
)
def test_a_plan_that_raises_fails_its_own_cell_alone(plan, registry, error, words) -> None:
    offer(registry, failing(error))
    broken, other = plan("tried", "target_only").cells
    place = f"tests/unit/run/test_plan.py, line {failing.__code__.co_firstlineno + 2}, in tried"
    assert (broken.failure, broken.stages) == (words.replace("PLACE", place), ())
    assert type(error).__name__ in broken.trace
    assert "raise error" in broken.trace
    assert (other.failure, other.skip) == ("", "")
    assert read_stages(other.stages) == [pm.Stream("target_view")]


def test_a_stage_that_reads_what_the_setting_lacks_fails(plan, registry) -> None:
    offer(registry, lambda setting: pm.Stream("depth"))
    (cell,) = plan("tried").cells
    assert "stage Stream reads ['depth']" in cell.failure


def test_a_plan_that_opens_the_prepared_data_fails(plan, registry, data) -> None:
    plan("target_only")  # prepares the data
    labels = next(data.rglob("labels.npy"))

    def tried(setting):
        labels.read_bytes()
        return pm.Stream("target_view")

    offer(registry, tried)
    (cell,) = plan("tried").cells
    assert "which it may not read" in cell.failure


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"seeds": ()}, UsageError, "no seed to run"),
        ({"protocols": ("shared-11",)}, UnknownName, "shared-11"),
        ({"datasets": ("plantd",)}, UnknownName, "plantd"),
        ({"backbones": ("mlp",)}, UnknownName, "mlp"),
        ({"backbones": ("cnn1d-8",)}, UsageError, "'cnn1d-8' takes sequence, data set 'planted' has vector"),
        ({"backbones": ("target_view=cnn1d-8",)}, UsageError, "'target_view' of planted is a vector"),
        ({"recipe": "long"}, UnknownName, "long"),
        ({"sets": ("recipe.epochs=-1",)}, UsageError, "epochs -1"),
    ],
)
def test_wrong_names_and_values_are_refused(plan, fields, error, words) -> None:
    with pytest.raises(error, match=words):
        plan("target_only", **fields)


def test_backbones_by_modality(plan) -> None:
    (cell,) = plan("early_fusion", backbones=("target_view=mlp-16+privileged_view=mlp-64",)).cells
    assert dict(cell.spec.backbones) == {"target_view": "mlp-16", "privileged_view": "mlp-64"}
    assert cell.path.parts == ("planted", cell.context.protocol.name, "mlp-16+mlp-64", "early_fusion-s0")


def test_every_departure_gives_a_record_of_its_own(plan) -> None:
    plain, set_, recipe = (
        plan("kd", sets=sets).cells[0] for sets in ((), ("kd.temperature=2.0",), ("recipe.epochs=3",))
    )
    assert len({plain.identity, set_.identity, recipe.identity}) == 3
    assert len({plain.path, set_.path, recipe.path}) == 3
    assert recipe.path.name.startswith("kd-r")


def test_placebos_train_anew_what_reads_privileged_data(plan) -> None:
    made = plan("kd", "target_only", placebos=("noise", "shuffle"))
    kd, *placebos, floor = made.cells
    assert [c.variant.placebo for c in placebos] == ["shuffle", "noise"]
    keys = [c.keys for c in (kd, *placebos)]
    assert len({key for some in keys for key in some}) == 6
    assert len({c.identity for c in made.cells}) == len({c.path for c in made.cells}) == 4
    assert kd.keys == plan("kd").cells[0].keys
    assert floor.keys == plan("target_only").cells[0].keys
    with pytest.raises(UsageError, match="--placebo water: expected shuffle or noise"):
        plan("kd", placebos=("water",))
    with pytest.raises(UsageError, match="no method with privileged information among them"):
        plan("target_only", placebos=("noise",))


def test_a_floor_of_matched_compute_has_the_epochs_of_all_stages(plan) -> None:
    made = plan("kd", "gen_distill", "hoffman", sets=("recipe.epochs=3",), matched_compute=True)
    floors = [c for c in made.cells if c.variant.matched]
    # kd and gen_distill train a teacher and a student, hoffman two streams and the joint network
    assert [c.spec.recipe.epochs for c in floors] == [6, 9]
    assert [s.kind for c in floors for s in c.stages] == ["Stream", "Stream"]
    assert {c.standard for c in made.cells} == {made.cells[0].spec.recipe}
    plain = plan("target_only", sets=("recipe.epochs=6",)).cells[0]
    assert plain.key == floors[0].key
    assert plain.path != floors[0].path
    assert plain.identity != floors[0].identity


def test_data_that_is_not_there_names_a_run_that_works(plan, registry) -> None:
    class Registered(pm.Dataset):
        name, access = "registered", "behind a form"
        summary = licence = source = citation = "none"
        classes = ("a", "b")
        modalities = (pm.Modality("x", "vector", (2,), "1"), pm.Modality("y", "vector", (2,), "1"))
        target, privileged = ("x",), ("y",)
        splits = {"only": pm.Split("train", "test")}  # noqa: RUF012
        default_protocol = "only"
        backbones = {"x": "mlp-16", "y": "mlp-16"}  # noqa: RUF012
        recipes = {"only": pm.Recipe()}  # noqa: RUF012

    registry.offers["dataset"]["registered"] = [Offer("dataset", Registered(), "tests", "1")]
    with pytest.raises(DataNotPrepared) as caught:
        plan("kd", datasets=("registered",))
    assert "Works right now: `pmbench run --method kd --dataset hapt`" in caught.value.hint


def test_seconds_are_estimated_from_stored_stages_of_the_same_data(plan, tmp_path) -> None:
    made = plan("target_only", "early_fusion")
    store = Store(tmp_path)
    nothing = Rates(store.entries(), {}, "cpu")
    assert set(nothing.estimates(made, made.nodes.values()).values()) == {None}
    assert nothing.spread is None
    node = made.nodes[made.cells[0].key]
    inputs = node.context.inputs(node.stage, [])
    cost, weights = {"seconds": 3.0, "steps": 6, "process_seconds": 3.25}, {"w": torch.zeros(1)}
    store.put(node.key, weights, {"cost": cost, "inputs": inputs}, "")
    recipe, samples = node.context.recipe, made.prepared["planted"].count(node.context.protocol.split.train)
    steps = recipe.epochs * -(-samples // recipe.batch_size)
    found = Rates(store.entries(), {}, "cpu").estimates(made, made.nodes.values())
    assert {key: e.seconds for key, e in found.items()} == dict.fromkeys(made.nodes, 0.5 * steps + 0.25)
    elsewhere = store.entries()
    stored = msgspec.structs.replace(elsewhere[0], device="cpu")
    assert set(Rates([stored], {}, "cuda:0").estimates(made, [node]).values()) == {None}


def test_timed_steps_count_where_no_stage_of_the_class_is_stored(plan) -> None:
    made = plan("target_only", "early_fusion")
    first, second = (made.nodes[made.cells[place].key] for place in (0, 1))
    timed = {sign_of(first): [Rate(1.0, 2.0, 100, 10), Rate(3.0, 2.0, 100, 10), Rate(2.0, 2.0, 100, 10)]}
    rates = Rates([], timed, "cpu")
    assert sign_of(first) in rates.signs
    assert sign_of(second) not in rates.signs
    samples = made.prepared["planted"].count(first.context.protocol.split.train)
    epochs = first.stage.recipe.epochs
    steps = epochs * -(-samples // first.stage.recipe.batch_size)
    for node in (first, second):  # the other has no rate of its own: that of the same data counts
        (found,) = rates.estimates(made, [node]).values()
        assert (found.seconds, found.size) == (2.0 * steps + 2.0, 100 + 10 * epochs)
    low, high = rates.spread
    assert 0.5 < low < 1 < high < 1.5


def test_the_recipe_of_a_cell_is_named_by_its_nearest(registry) -> None:
    dataset = registry.dataset("planted")
    recipe = named_recipe(dataset, "")
    name = recipe_name(dataset, recipe)
    assert dataset.recipes[name] == recipe
    assert recipe_name(dataset, dataclasses.replace(recipe, epochs=7)) == f"{name}, epochs=7"
