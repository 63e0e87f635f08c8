"""Tasks as worker processes do them, on one process and on several."""

from __future__ import annotations

import copy
import importlib
import json
import sys
from dataclasses import asdict, dataclass, replace

import msgspec
import pytest
import torch

import pmbench as pm
from pmbench.data.prepare import find_or_prepare
from pmbench.errors import TrainingError, UsageError
from pmbench.files import file_digest
from pmbench.run.worker import (
    Resources,
    Seal,
    TaskResult,
    Train,
    context_of,
    perform,
    registry,
)
from pmbench.store.documents import write_stages
from pmbench.store.keys import CellSpec, code_digest
from pmbench.store.store import Store

RECIPE = pm.Recipe(lr=1e-3, epochs=2, batch_size=40, select="last", schedule="constant")
SPEC = CellSpec("planted", "shared-10", (("privileged_view", "mlp-16"), ("target_view", "mlp-16")), RECIPE, 0)


@dataclass(frozen=True)
class Noting(pm.Stream):
    def build(self, bench):
        bench.note("6 layers found")
        return super().build(bench)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    find_or_prepare(registry().dataset("planted"), root)
    return root


def lineage(stage):
    return tuple(write_stages(stage, RECIPE))


def train(stage, resources, spec=SPEC, report=lambda *news: None):
    task = Train(context_of(spec, resources.data).key(stage), lineage(stage), spec)
    return task.key, perform(task, resources, report)


def check_values(news, stage):
    """What was reported of each epoch is what the stage's curves say."""
    values = [told[3] for told in news]
    assert values[0] is None
    assert [v["terms"]["ce"] for v in values[1:]] == stage["terms"]["ce"]
    assert [v["validation"] for v in values[1:]] == stage["curve"]
    assert {v["metric"] for v in values[1:]} == {"accuracy"}
    assert sum(v["seconds"] for v in values[1:]) == pytest.approx(stage["cost"]["seconds"])


def test_a_stage_is_trained_once(tmp_path, data):
    resources, stage, news = Resources(tmp_path, data), pm.Stream("target_view"), []
    key, done = train(stage, resources, report=lambda *n: news.append(n))
    assert (done.busy, done.hit) == (False, False)
    assert done.seconds > 0
    assert [told[:3] for told in news] == [(key, 0, 2), (key, 1, 2), (key, 2, 2)]
    check_values(news, Store(tmp_path).stage(key))
    store = Store(tmp_path)
    before = file_digest(store.folder(key) / "weights.safetensors")
    entry = store.stage(key)
    assert (entry["stage"], entry["parents"]) == ("Stream", [])
    assert entry["environment"]["processes"] == 1
    assert entry["environment"]["unrepeatable"] == []
    assert entry["cost"]["steps"] == 20
    assert entry["cost"]["samples"] == 200  # half of the 400 have no label
    assert train(stage, resources)[1].hit
    store.remove(key)
    train(stage, resources)
    assert file_digest(store.folder(key) / "weights.safetensors") == before


def test_a_stage_that_another_process_trains_is_busy(tmp_path, data):
    resources, stage = Resources(tmp_path, data), pm.Stream("target_view")
    with Store(tmp_path).lock(context_of(SPEC, data).key(stage)) as mine:
        assert mine
        key, done = train(stage, resources)
        assert done == TaskResult(key, busy=True)
    assert not Store(tmp_path).has(key)


def test_parents_come_from_the_store(tmp_path, data):
    resources = Resources(tmp_path, data)
    teacher = pm.Stream("privileged_view")
    stage = pm.Distill(teacher, ("target_view",))
    with pytest.raises(pm.PmbenchError, match=r"cannot be read|missing or damaged"):
        train(stage, resources)
    parent, _ = train(teacher, resources)
    key, _ = train(stage, resources)
    assert Store(tmp_path).stage(key)["parents"] == [parent]


def test_what_build_notes_comes_with_the_lineage(tmp_path, data):
    resources = Resources(tmp_path, data)
    noting = Noting("target_view")
    key, _ = train(noting, resources)
    last, _ = train(pm.LateFusion((noting,)), resources)
    lineage = Store(tmp_path).stage(last)["lineage"]
    assert {k: run["notes"] for k, run in lineage.items()} == {key: ["6 layers found"], last: []}


EDITED = """
from dataclasses import dataclass

import pmbench as pm


@dataclass(frozen=True)
class Edited(pm.Stream):
    def losses(self, nets, batch):
        from . import late

        return {"ce": late.WEIGHT * super().losses(nets, batch)["ce"]}
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """The package of a plugin, of which `late` is imported in the first step of a training."""
    package = tmp_path / "plugin" / "pmbench_edited"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "stages.py").write_text(EDITED)
    (package / "late.py").write_text("WEIGHT = 1.0\n")
    monkeypatch.syspath_prepend(str(package.parent))
    yield package
    for name in [name for name in sys.modules if name.startswith("pmbench_edited")]:
        del sys.modules[name]
    code_digest.cache_clear()


@pytest.mark.parametrize("when", ["before training", "while training", "before sealing"])
def test_a_plugin_edited_after_planning_is_refused(tmp_path, data, plugin, when):
    stage = importlib.import_module("pmbench_edited.stages").Edited("target_view")
    context, resources = context_of(SPEC, data), Resources(tmp_path / "store", data)
    task = Train(replace(context).key(stage), lineage(stage), SPEC)

    def edit(*progress):
        (plugin / "late.py").write_text("WEIGHT = 10.0\n")

    report = edit if when == "while training" else (lambda *progress: None)
    if when == "before sealing":
        assert not perform(task, resources).hit
        task = Seal(task.key, lineage(stage), SPEC, ("target_view",))
    if when != "while training":
        edit()
    stored = [entry.key for entry in Store(resources.store).entries()]
    with pytest.raises(TrainingError, match=r"source of Edited .*pmbench_edited.stages.* changed") as caught:
        perform(task, resources, report)
    assert "again" in caught.value.hint
    assert [entry.key for entry in Store(resources.store).entries()] == stored
    # planned again, with the source as it is now
    key = replace(context).key(stage)
    assert key != task.key
    perform(Train(key, lineage(stage), SPEC), resources)
    assert key in [entry.key for entry in Store(resources.store).entries()]


def test_a_task_survives_json(data):
    teacher = pm.Stream("privileged_view", replica=2)
    stage = pm.Distill(teacher, ("target_view",))
    spec = replace(SPEC, recipe=RECIPE.but(schedule="step", milestones=(0.5, 0.8)))
    key = context_of(spec, data).key(stage)
    walk = tuple(write_stages(stage, spec.recipe))
    for task in (Train(key, walk, spec), Seal(key, walk, spec, ("target_view",))):
        again = msgspec.convert(json.loads(json.dumps(asdict(task))), type(task))
        assert again == task
        assert context_of(again.spec, data).keys(again.lineage)[-1] == key


@pytest.mark.slow
def test_batches_that_two_processes_cannot_share_equally(tmp_path, data):
    spec = replace(SPEC, recipe=RECIPE.but(batch_size=41))
    with pytest.raises(UsageError, match="2 devices cannot share batches of 41") as error:
        train(pm.Stream("target_view"), Resources(tmp_path, data, devices=2), spec)
    assert "--devices" in error.value.hint


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path, data):
    """Without batch norm, with labelled samples alone, two halves of a batch weigh as much as the whole."""
    stage = pm.Stream("target_view")
    alone, halves = Resources(tmp_path / "one", data), Resources(tmp_path / "two", data, devices=2)
    key, _ = train(stage, alone)
    news = []
    same, done = train(stage, halves, report=lambda *n: news.append(n))
    assert same == key
    assert not done.hit
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    assert two.whole(key)
    assert len(two.entries()) == 1
    assert two.leftovers(-60) == []
    entry = two.stage(key)
    check_values(news, entry)
    assert entry["environment"]["processes"] == 2
    assert entry["cost"]["steps"] == one.stage(key)["cost"]["steps"]
    start = copy.deepcopy(one.weights(key))
    for name, tensor in two.weights(key).items():
        assert tensor.isfinite().all()
        torch.testing.assert_close(tensor, start[name], atol=1e-4, rtol=0)
