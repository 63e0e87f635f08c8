"""Recipes: schedules, precision, clipping, out of memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import engine_lab as toys
import numpy as np
import pytest
import torch

import pmbench as pm
from pmbench.errors import TrainingError, UsageError
from pmbench.training.schedule import checked_recipe, rate_factor


def test_schedules_against_closed_forms():
    total = 40
    cosine = [rate_factor(pm.Recipe(schedule="cosine"), s, total) for s in range(total)]
    np.testing.assert_allclose(cosine, 0.5 * (1 + np.cos(np.pi * np.arange(total) / total)))
    step = pm.Recipe(schedule="step", milestones=(0.5, 0.75), gamma=0.1)
    found = [rate_factor(step, s, total) for s in range(total)]
    np.testing.assert_allclose(found, [1.0] * 20 + [0.1] * 10 + [0.01] * 10)
    assert {rate_factor(pm.Recipe(schedule="constant"), s, total) for s in range(total)} == {1.0}
    warm = [rate_factor(pm.Recipe(schedule="constant", warmup=0.25), s, total) for s in range(total)]
    np.testing.assert_allclose(warm, [min(1.0, (s + 1) / 10) for s in range(total)])
    both = [rate_factor(pm.Recipe(schedule="cosine", warmup=0.25), s, total) for s in range(total)]
    np.testing.assert_allclose(both, np.array(cosine) * warm)


def test_learning_rate_of_every_step_follows_the_schedule(lab, monkeypatch):
    lab = lab.but(recipe=lab.recipe.but(schedule="cosine", warmup=0.2, epochs=2))
    training = lab.training(toys.Adversarial())
    seen = {"main": [], "critic": []}
    for name, o in training.optimizers.items():
        monkeypatch.setattr(
            o.optimizer, "step", lambda n=name, o=o: seen[n].append(o.optimizer.param_groups[0]["lr"])
        )
    training.run()
    total = 2 * training.steps
    np.testing.assert_allclose(
        seen["main"], [lab.recipe.lr * rate_factor(lab.recipe, s, total) for s in range(total)]
    )
    assert seen["critic"] == [0.05] * total  # its own recipe has a constant schedule
    assert training.describe()["departures"]["critic.lr"] == [0.01, 0.05]


@pytest.mark.parametrize(
    "change", [{"batch_size": 1}, {"epochs": -1}, {"lr": 0.0}, {"schedule": "linear"}, {"precision": "16"}]
)
def test_invalid_recipes_are_refused(change):
    with pytest.raises(UsageError, match=f"the test.*{next(iter(change))}"):
        checked_recipe(pm.Recipe(**change), "the test")


@pytest.mark.parametrize("stage", [toys.Imitator(toys.Plain("far")), toys.Adversarial()])
def test_bf16_trains_and_stores_float32(lab, stage):
    lab = lab.but(recipe=lab.recipe.but(precision="bf16", epochs=6))
    for parent in stage.parents:
        lab.train(parent)
    seen = set()
    training = lab.training(stage, precision="bf16")
    head = training.nets.student.head
    head.register_forward_hook(lambda module, x, y: seen.add(y.dtype))
    weights = training.run().state_dict()
    assert seen == {torch.bfloat16}
    assert {t.dtype for t in weights.values()} == {torch.float32}
    curve = training.state.curve
    assert curve[-1]["ce"] < curve[0]["ce"]


def test_bf16_uses_the_weights_after_a_step(lab):
    """Autocast keeps no bf16 copy of the critic's weights from before its own step."""

    @dataclass(frozen=True)
    class Twice(toys.Adversarial):
        def update(self, nets, batch, step):
            pooled = nets.student(batch).pooled.detach()
            with torch.no_grad():
                before = nets.critic(pooled)
            step({"score": nets.critic(pooled).mean()}, "critic")
            scores.append((before, nets.critic(pooled)))
            step({"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)})

    scores = []
    training = lab.training(toys.Adversarial(dropout=0.0), precision="bf16")
    training.stage = Twice(dropout=0.0)
    training.optimizers["critic"].recipe = pm.Recipe(lr=10.0)
    training._epoch(0)
    assert all((after - before).abs().min() > 0.1 for before, after in scores)
    assert all(after.dtype == torch.bfloat16 for _, after in scores)


def test_out_of_memory_is_not_a_plugin_error(lab):
    @dataclass(frozen=True)
    class Huge(toys.Plain):
        def losses(self, nets, batch):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has ...")

    with pytest.raises(TrainingError, match=r"stage Huge: CUDA out of memory$") as error:
        lab.training(Huge()).run()
    assert "batch_size" in error.value.hint


def test_the_curve_averages_bf16_terms_in_float32(lab):
    @dataclass(frozen=True)
    class Coarse(toys.Plain):
        def losses(self, nets, batch):
            third = torch.tensor(1 / 3, dtype=torch.bfloat16)
            return {**super().losses(nets, batch), "third": third}

    lab = lab.but(recipe=lab.recipe.but(batch_size=4, epochs=1))
    training = lab.training(Coarse(), precision="bf16")
    training.run()
    assert training.steps == 15
    assert training.state.curve[0]["third"] == pytest.approx(float(torch.tensor(1 / 3).bfloat16()))


def test_a_term_that_an_epoch_leaves_out_counts_as_zero(lab):
    @dataclass(frozen=True)
    class Warming(toys.Plain):
        def losses(self, nets, batch):
            terms = super().losses(nets, batch)
            late = {"late": terms["ce"] * 0 + 2.0} if batch.epoch == 1 else {}
            early = {"early": terms["ce"] * 0 + 3.0} if batch.epoch == 0 else {}
            return {**terms, **late, **early}

    training = lab.but(recipe=lab.recipe.but(epochs=3)).training(Warming())
    training.run()
    terms = training.describe()["terms"]
    assert list(terms) == ["ce", "early", "late"]
    assert (terms["early"], terms["late"]) == ([3.0, 0.0, 0.0], [0.0, 2.0, 0.0])


def test_each_process_has_its_own_dropout_rng(lab, monkeypatch):
    """With one rng for all, the first samples of all shards would share a dropout mask."""
    drawn = {}

    @dataclass(frozen=True)
    class Drawing(toys.Plain):
        def losses(self, nets, batch):
            drawn.setdefault(rank, []).append(float(torch.rand(())))
            return super().losses(nets, batch)

    monkeypatch.setattr(torch.distributed, "broadcast", lambda buffer, source: None)
    for rank in range(2):
        training = lab.training(Drawing())
        training.accelerator.shard = (rank, 2)
        monkeypatch.setattr(training.accelerator, "average_gradients", lambda parameters: None)
        training._epoch(0)
    assert len(drawn[0]) == len(drawn[1]) == training.steps
    assert not set(drawn[0]) & set(drawn[1])


def test_clip_bounds_the_gradient(lab, monkeypatch):
    norms = {}
    for clip in (0.0, 0.05):
        training = lab.but(recipe=lab.recipe.but(clip=clip, epochs=1)).training(toys.Plain())
        (o,) = training.optimizers.values()
        seen = norms.setdefault(clip, [])
        monkeypatch.setattr(
            o.optimizer,
            "step",
            lambda o=o, seen=seen: seen.append(math.hypot(*(float(p.grad.norm()) for p in o.parameters))),
        )
        training.run()
    assert max(norms[0.05]) == pytest.approx(0.05, rel=1e-3)
    assert min(norms[0.0]) > 0.05
