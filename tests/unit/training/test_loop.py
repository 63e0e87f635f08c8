"""The training loop: resuming, groups, selection, errors."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import engine_lab as toys
import numpy as np
import pytest
import torch
from torch import nn

import pmbench as pm
from pmbench.data.access import only
from pmbench.errors import ContractError, PluginError, TrainingError, Unsupported, UsageError
from pmbench.training import loop
from pmbench.training.device import accelerator, make_fabric
from pmbench.training.loop import Training
from pmbench.training.optimizers import OptimizerStep, optimizers_of


class Interrupted(Exception):
    pass


def interrupt(training, after):
    """Runs the training and interrupts it after `after` epochs."""

    def progress(done, total, values):
        if done == after:
            raise Interrupted

    with pytest.raises(Interrupted):
        training.run(progress)


@dataclass(frozen=True)
class TunedFusion(pm.Stage):
    """Fine-tunes a network that contains frozen ones."""

    streams: pm.Stage

    @property
    def reads(self):
        return self.streams.reads

    def build(self, bench):
        return pm.Nets(student=bench.trainable(self.streams))

    def losses(self, nets, batch):
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}


STAGES = {
    "adamw, dropout, best": toys.Plain(dropout=0.4, select="best"),
    "sgd with momentum": toys.Plain(optimizer="sgd", dropout=0.4),
    "adam, convolutions": toys.Plain("wave", optimizer="adam", dropout=0.2),
    "frozen teacher": toys.Imitator(toys.Plain("far")),
    "two optimizers": toys.Adversarial(),
    "frozen inside trainable": TunedFusion(pm.LateFusion((toys.Plain("near"), toys.Plain("far")))),
}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_resuming_after_any_epoch_is_bit_identical(lab, tmp_path, stage):
    lab = lab.but(recipe=lab.recipe.but(epochs=4, schedule="cosine", warmup=0.1))
    whole = lab.training(stage)
    expected = copy.deepcopy(whole.run().state_dict())
    lab.store.checkpoint_path(whole.key).unlink()
    start = lab.training(stage).nets.student.state_dict()
    assert not toys.same(start, expected)
    for after in (1, 2, 3):
        interrupt(lab.training(stage), after)
        state = lab.store.load_checkpoint(whole.key)[1]
        assert state["epoch"] == after
        resumed = lab.training(stage)
        torch.manual_seed(after)  # the global rng must not matter
        assert toys.same(resumed.run().state_dict(), expected)
        assert resumed.curve_csv() == whole.curve_csv()
        assert resumed.describe()["selected"] == whole.describe()["selected"]
        assert toys.same(resumed.epoch_weights(), whole.epoch_weights())
        lab.store.checkpoint_path(whole.key).unlink()


def test_short_epochs_share_a_checkpoint(lab, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e-9)  # the next one is due long after the end
    stage = toys.Plain(dropout=0.4, select="best")
    lab = lab.but(recipe=lab.recipe.but(epochs=6))
    whole = lab.training(stage)
    expected = copy.deepcopy(whole.run().state_dict())
    assert lab.store.load_checkpoint(whole.key)[1]["epoch"] == 1
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", math.inf)
    resumed = lab.training(stage)
    assert toys.same(resumed.run().state_dict(), expected)
    assert toys.same(resumed.epoch_weights(), whole.epoch_weights())
    assert lab.store.load_checkpoint(whole.key)[1]["epoch"] == 5
    assert len(lab.store.load_epochs(whole.key, 5)) == 5


def test_resuming_after_several_interruptions(lab):
    stage = toys.Plain(dropout=0.4)
    lab = lab.but(recipe=lab.recipe.but(epochs=4))
    whole = lab.training(stage)
    expected = copy.deepcopy(whole.run().state_dict())
    lab.store.checkpoint_path(whole.key).unlink()
    for after in (1, 2, 3):
        interrupt(lab.training(stage), after)
    seen = []
    network = lab.training(stage).run(lambda *progress: seen.append(progress))
    assert toys.same(network.state_dict(), expected)
    assert [progress[:2] for progress in seen] == [(3, 4), (4, 4)]
    assert seen[0][2] is None, "the epoch was reported before the interruption"


def test_frozen_weights_are_not_in_checkpoints(lab):
    training = lab.training(toys.Imitator(toys.Plain("far")))
    interrupt(training, 1)
    names = lab.store.load_checkpoint(training.key)[0]
    assert any(n.startswith("nets/student.") for n in names)
    assert not any("teacher" in n for n in names)


# --- groups and steps ---------------------------------------------------------------------------------------


def test_a_step_updates_its_group_and_nothing_else(lab):
    training = lab.training(toys.Adversarial(dropout=0.0))
    nets = training.nets
    moved = {}

    @dataclass(frozen=True)
    class Watched(toys.Adversarial):
        def update(self, nets, batch, step):
            def watched(terms, group="main"):
                before = {n: p.detach().clone() for n, p in nets.named_parameters()}
                step(terms, group)
                changed = {
                    n.partition(".")[0] for n, p in nets.named_parameters() if not torch.equal(p, before[n])
                }
                moved.setdefault(group, set()).update(changed)

            super().update(nets, batch, watched)

    training.stage = Watched(dropout=0.0)
    training._epoch(0)
    # the terms of `main` have no gradient for `other`, so it does not change
    assert moved == {"main": {"student"}, "critic": {"critic"}}
    assert all(p.grad is None for p in nets.other.parameters())


def test_gradients_of_one_group_do_not_reach_another(lab):
    """The critic's weights after one epoch do not depend on the gradients of main's terms."""
    training, twin = (lab.training(toys.Adversarial(dropout=0.0)) for _ in range(2))

    @dataclass(frozen=True)
    class Deaf(toys.Adversarial):
        def update(self, nets, batch, step):
            self.judge(nets, batch, step)
            with torch.no_grad():
                pooled = nets.student(batch).pooled
                nets.critic(pooled)  # the same input of batch norm

    twin.stage = Deaf(dropout=0.0)
    training.steps = twin.steps = 1
    training.batches.order = twin.batches.order = type(training.order)(
        training.order.labelled, training.order.unlabelled, 8, 1, training.seed
    )
    training._epoch(0)
    twin._epoch(0)
    assert toys.same(training.nets.critic.state_dict(), twin.nets.critic.state_dict())
    assert not toys.same(training.nets.student.state_dict(), twin.nets.student.state_dict())


def test_several_optimizers_update_as_a_single_one(lab):
    """A fused optimizer must not mix up the elements of a weight and its gradient when their layouts differ,
    as after a convolution over channels-last input.
    """
    seen = torch.randn(4, 3, 6, 8, 8).to(memory_format=torch.channels_last_3d)
    start = nn.Conv3d(3, 5, 3)
    ends = []
    for others in (0, 1):
        conv = copy.deepcopy(start)
        nets = pm.Nets(student=conv, **({"other": nn.Linear(2, 1)} if others else {}))
        optimizers = optimizers_of(_ByModule(tuple(dict(nets.named_children()))), nets, lab.recipe)
        step = OptimizerStep("_ByModule", optimizers, accelerator(make_fabric("cpu", 1), mixed=False))
        for _ in range(3):
            step({"sum": conv(seen).square().mean()}, "student")
        ends.append(conv.weight.detach())
        assert conv.weight.grad.stride() == conv.weight.stride()
    assert torch.equal(*ends)
    assert not torch.equal(ends[0], start.weight)


@dataclass(frozen=True)
class _ByModule(pm.Stage):
    """One optimizer per network."""

    names: tuple[str, ...]
    reads = ()

    def groups(self, nets):
        return {name: pm.Group((getattr(nets, name),)) for name in self.names}


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("group", ContractError, ["Faulty", "'nobody'", "main"]),
        ("twice", ContractError, ["Faulty", "'main'", "'second'"]),
        ("none", ContractError, ["no group", "extra.weight"]),
        ("empty", ContractError, ["'second'", "no trainable"]),
        ("outside", ContractError, ["'second'", "not in its nets"]),
        ("constant", ContractError, ["Faulty", "ce, more", "do not depend"]),
        ("vector", ContractError, ["Faulty", "'wide'", "(3,)", "dict of named scalar tensors, such as {"]),
        ("number", ContractError, ["'ce'", "a float", "scalar"]),
        ("nothing", ContractError, ["no loss terms"]),
        (
            "bare",
            ContractError,
            ["loss terms of stage Faulty are a tensor of shape ()", "dict of named scalar"],
        ),
        ("list", ContractError, ["loss terms of stage Faulty are a list", "dict of named scalar"]),
        ("no", ContractError, ["loss terms of stage Faulty are None", "dict of named scalar"]),
        ("name", ContractError, ["the name of loss term 1 is an int"]),
        ("nan", TrainingError, ["Faulty", "'odd'", "nan", "epoch 2 of 3"]),
        ("read", ContractError, ["Faulty", "'far'", "near"]),
        ("text", ContractError, ["Faulty", "str"]),
        (
            "build",
            PluginError,
            ["Faulty.build", "engine_lab", "ZeroDivisionError (engine_lab.py, line ", "): oh"],
        ),
        (
            "raise",
            PluginError,
            ["Faulty.update", "engine_lab", "ZeroDivisionError (engine_lab.py, line ", "): oh"],
        ),
        ("odd", PluginError, ["Faulty.deliver"]),
        ("recipe", UsageError, ["Faulty", "'rmsprop'", "adamw"]),
        ("encoder", ContractError, ["Faulty", "'far'", "near"]),
        ("fed", ContractError, ["Faulty", "'far'", "near"]),
        ("modality", ContractError, ["Faulty", "'far'", "near"]),
        ("fusion", ContractError, ["Faulty", "'far'", "near"]),
        ("stranger", ContractError, ["Faulty", "Plain", "not among its fields"]),
    ],
)
def test_faults_of_a_stage_are_named(lab, fault, error, words):
    with pytest.raises(error) as caught:
        lab.training(toys.Faulty(fault)).run()
    for word in words:
        assert word in caught.value.message
    assert type(caught.value) is error
    assert not lab.store.has(lab.context.key(toys.Faulty(fault)))


def test_weights_that_are_not_finite_are_not_delivered(lab):
    """The gradient of the last step is not finite, although every loss was."""
    lab = lab.but(recipe=lab.recipe.but(epochs=2, batch_size=60))  # one step per epoch
    with pytest.raises(TrainingError, match=r"'student.head.weight' .* not finite after epoch 2 of 2"):
        lab.training(_Spoiled()).run()


@dataclass(frozen=True)
class _Spoiled(toys.Plain):
    def losses(self, nets, batch):
        ce = super().losses(nets, batch)["ce"]
        root = (0 * nets.student.head.weight).sqrt().sum() if batch.epoch == 1 else 0 * ce
        return {"ce": ce, "root": root}  # value 0, gradient nan


# --- selection ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("select", "values", "expected"),
    [
        ("best", [50.0, 80.0, 80.0, 70.0], 3),
        ("best", [1, 2, 3, 4], 4),
        ("best", [4, 3, 2, 1], 1),
        ("last", [4, 3, 2, 1], 4),
    ],
)
def test_selection(lab, monkeypatch, select, values, expected):
    lab = lab.but(recipe=lab.recipe.but(epochs=4))
    training = lab.training(toys.Plain(select=select))
    after = []

    def validate():
        after.append(copy.deepcopy(training.nets.student.state_dict()))
        return float(values[len(after) - 1])

    monkeypatch.setattr(training, "_validate", validate)
    network = training.run()
    assert toys.same(network.state_dict(), after[expected - 1])
    assert training.describe()["selected"] == {"epoch": expected, "value": values[expected - 1]}
    assert not network.training


@dataclass(frozen=True)
class _Related(toys.Plain):
    in_batch = True


def test_a_stage_that_relates_samples_is_trained_on_one_device(lab):
    fabric = make_fabric("cpu", 1)
    fabric.launch()
    one = accelerator(fabric, mixed=False)
    two = replace(one, shard=(0, 2))
    for stage, device in ((_Related(), one), (toys.Plain(), two)):
        Training(stage, lab.context, lab.view, lab.store, device)
    with pytest.raises(Unsupported, match=r"_Related relates the samples of a batch .* 2 devices") as caught:
        Training(_Related(), lab.context, lab.view, lab.store, two)
    assert "--devices 1" in caught.value.hint


@pytest.mark.parametrize("select", ["best", "last"])
def test_weights_of_all_epochs_are_kept_if_they_are_few(lab, monkeypatch, select):
    lab = lab.but(recipe=lab.recipe.but(epochs=3))
    training = lab.training(toys.Plain(dropout=0.4, select=select))
    after = []
    network = training.run(
        lambda done, *_: after.append(copy.deepcopy(training.nets.student.state_dict())) if done else None
    )
    kept = training.epoch_weights()
    for epoch, weights in enumerate(after, 1):
        assert toys.same({n: kept[f"{epoch}/{n}"] for n in weights}, weights)
    assert len(kept) == 3 * len(after[0])
    selected = training.describe()["selected"]["epoch"]
    assert toys.same({n: kept[f"{selected}/{n}"] for n in after[0]}, network.state_dict())
    size = sum(t.nbytes for t in kept.values())
    lab.store.checkpoint_path(training.key).unlink()
    for limit, expected in ((size, kept.keys()), (size - 1, set())):
        monkeypatch.setattr(loop, "AUDITED_BYTES", limit)
        training = lab.training(toys.Plain(dropout=0.4, select=select))
        training.run()
        assert training.epoch_weights().keys() == expected
        lab.store.checkpoint_path(training.key).unlink()


class _Pooled(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, batch):
        return self.network(batch).pooled


@dataclass(frozen=True)
class _Features(toys.Plain):
    """Delivers a network whose outputs are no logits."""

    def deliver(self, nets):
        return _Pooled(nets.student)


def test_a_stage_that_does_not_classify_keeps_no_epochs(lab):
    training = lab.training(_Features())
    training.run()
    assert training.describe()["curve"] == [None] * lab.recipe.epochs
    assert training.epoch_weights() == {}


def accuracy_on_validation(lab, training, network):
    rows = lab.view.validation
    inputs = {}
    for name, stats in training.stats.items():
        column = lab.prepared.column("validation", name).array[rows.rows]
        inputs[name] = torch.from_numpy((column - stats.mean) / stats.std)
    with torch.no_grad():
        logits = network(inputs).logits
    return 100 * float(np.mean(logits.argmax(1).numpy() == rows.labels))


def test_a_stage_that_trains_nothing_has_a_validation_value(lab):
    streams = toys.Plain("near"), toys.Plain("far")
    for stream in streams:
        lab.train(stream)
    training = lab.training(pm.LateFusion(streams))
    accuracy = accuracy_on_validation(lab, training, training.run())
    assert training.describe()["selected"] == {"epoch": 0, "value": pytest.approx(accuracy)}
    assert training.describe()["curve"] == []
    assert accuracy > 60


def test_a_network_that_is_hardly_better_than_the_commonest_class_is_near_chance(lab):
    lab = lab.but(recipe=lab.recipe.but(epochs=8))
    training = lab.training(toys.Plain())
    training.run()
    found = training.describe()
    assert (found["near_chance"], found["selected"]["value"] > 70) == (False, True)
    labels = training.validation.labels
    chance = 100 * float(np.bincount(labels).max()) / len(labels)
    error = (chance * (100 - chance) / len(labels)) ** 0.5
    for value, near in ((chance + 2.01 * error, False), (chance + 1.99 * error, True), (chance - 30, True)):
        assert training._near_chance(value) is near
    fusion = lab.training(_Features())
    fusion.run()
    assert fusion.describe()["near_chance"] is None, "it does not classify"


def test_the_curve_holds_the_metric_on_validation_data(lab):
    lab = lab.but(recipe=lab.recipe.but(epochs=8))
    training = lab.training(toys.Plain(select="best"))
    network = training.run()
    accuracy = accuracy_on_validation(lab, training, network)
    curve = training.describe()["curve"]
    assert training.describe()["selected"]["value"] == pytest.approx(accuracy) == pytest.approx(max(curve))
    assert accuracy > 60
    lines = training.curve_csv().splitlines()
    assert lines[0] == "epoch,ce,validation"
    assert len(lines) == 9


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_validation_is_in_evaluation_mode_and_changes_nothing(lab, precision):
    """Batch norm keeps its running statistics, dropout is off, and the rng is not used."""
    training = lab.training(toys.Plain("wave", dropout=0.5), precision=precision)
    training._epoch(0)
    before = {name: tensor.clone() for name, tensor in training.nets.state_dict().items()}
    assert any("running_mean" in name for name in before)
    state = torch.get_rng_state()
    first, second = training._validate(), training._validate()
    assert first == second
    assert toys.same(training.nets.state_dict(), before)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_timed_epoch_has_few_steps_and_that_share_of_the_validation_samples(lab):
    whole, timed, longer = (lab.training(toys.Plain(), timed_steps=n) for n in (None, 2, 10**6))
    assert whole.steps == longer.steps > 2 == timed.steps
    samples = len(whole.validation.rows)
    assert len(longer.validation.rows) == samples
    assert len(timed.validation.rows) == math.ceil(samples * 2 / whole.steps) < samples
    timed.run()
    cost = timed.describe()["cost"]
    assert cost["optimizer_steps"] == cost["steps"] == 2 * timed.recipe.epochs


def test_streamed_validation_equals_validation_from_memory(lab, monkeypatch):
    expected = lab.training(toys.Plain(select="best"))
    held = expected.run()
    monkeypatch.setattr("pmbench.training.batches.MEMORY_LIMIT", 0)
    streamed = lab.training(toys.Plain(select="best"))
    assert streamed._validation is None
    assert streamed.batches.held is None
    lab.store.checkpoint_path(expected.key).unlink()
    assert toys.same(streamed.run().state_dict(), held.state_dict())
    assert streamed.curve_csv() == expected.curve_csv()


def test_dropout_is_the_same_from_memory_and_streamed(lab, monkeypatch):
    stage = toys.Plain(dropout=0.5)
    first = lab.training(stage)
    held = copy.deepcopy(first.run().state_dict())
    lab.store.checkpoint_path(first.key).unlink()
    monkeypatch.setattr("pmbench.training.batches.MEMORY_LIMIT", 0)
    assert toys.same(lab.training(stage).run().state_dict(), held)


@pytest.mark.parametrize("protocol", ["validated", "people"])
def test_the_test_split_is_never_opened(lab, protocol):
    lab = lab.but(protocol=protocol)
    stage = toys.Imitator(toys.Plain("far"))
    lab.train(toys.Plain("far"))
    split = lab.context.protocol.split
    names = (*stage.reads, "labels", "index")
    parts = [split.train] + ([split.validation] if split.validation else [])
    allowed = [path for part in parts for path in lab.prepared.files(part, names)]
    with only("the test", [lab.prepared.folder], allowed):
        lab.training(stage).run()
        with pytest.raises(ContractError, match="may not read"):
            lab.prepared.path("test", "near").read_bytes()
        with pytest.raises(ContractError, match="may not read"):
            lab.prepared.path("train", "wave").read_bytes()


# --- sharing and freezing -----------------------------------------------------------------------------------


def test_a_frozen_parent_keeps_weights_and_buffers(lab):
    parent = toys.Plain("wave")
    weights = lab.train(parent)
    training = lab.training(toys.Imitator(parent, weight=3.0))
    frozen = training.nets.teacher
    training.run()
    assert toys.same(frozen.network.state_dict(), weights)
    assert any("running_mean" in name for name in weights)
    assert not any(m.training for m in frozen.modules())
    assert all(p.grad is None for p in frozen.parameters())


def test_a_stage_that_only_assembles_takes_no_steps(lab):
    fusion = pm.LateFusion((toys.Plain("near"), toys.Plain("far")))
    training = lab.training(fusion)
    network = training.run()
    assert training.describe()["cost"]["steps"] == 0
    assert training.describe()["departures"] == {}
    x = {"near": torch.ones(2, 6), "far": torch.ones(2, 5)}
    with torch.no_grad():
        parts = [n(x).logits for n in network.networks]
        torch.testing.assert_close(network(x).logits, torch.stack(parts).mean(0))


def test_buffers_keep_state_across_an_interruption(lab):
    """A memory bank in a buffer of nets, and a counter that `end_epoch` updates."""
    lab = lab.but(recipe=lab.recipe.but(epochs=3))
    whole = lab.training(_Remembers())
    whole.run()
    assert float(whole.nets.memory.count) == 3.0
    lab.store.checkpoint_path(whole.key).unlink()
    interrupt(lab.training(_Remembers()), 2)
    again = lab.training(_Remembers())
    again.run()
    assert toys.same(again.nets.state_dict(), whole.nets.state_dict())


class _Memory(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.register_buffer("bank", torch.zeros(size, 3))
        self.register_buffer("count", torch.zeros(()))


@dataclass(frozen=True)
class _Remembers(toys.Plain):
    def build(self, bench):
        return pm.Nets(student=bench.classifier("near"), memory=_Memory(bench.num_train))

    def losses(self, nets, batch):
        logits = nets.student(batch).logits
        drift = (logits - nets.memory.bank[batch.index]).square().mean()
        nets.memory.bank[batch.index] = logits.detach()
        return {"ce": pm.cross_entropy(logits, batch.labels), "drift": 0.1 * drift}

    def end_epoch(self, nets):
        nets.memory.count += 1
