"""A made-up data set, stages that each show one thing, and a laboratory that trains them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

import pmbench as pm
from pmbench.builtin.backbones import BACKBONES
from pmbench.data.prepare import find_or_prepare
from pmbench.metrics.builtin import METRICS
from pmbench.store.keys import Context
from pmbench.store.store import Store
from pmbench.training.device import accelerator, make_fabric
from pmbench.training.loop import Training
from pmbench.training.samples import training_view
from pmbench.training.train import Job, train_stage

CLASSES = ("a", "b", "c")
RECIPE = pm.Recipe(lr=1e-2, epochs=3, batch_size=8, schedule="constant", select="last")


class Toy(pm.Dataset):
    """Three classes, 60 training samples of 12 people, 24 for validation, 30 for testing."""

    name = "toy"
    summary = "made up"
    classes = CLASSES
    modalities = (
        pm.Modality("near", "vector", (6,), "1"),
        pm.Modality("far", "vector", (5,), "1"),
        pm.Modality("wave", "sequence", (2, 16), "V", grid="time"),
        pm.Modality("echo", "sequence", (3, 16), "V", grid="time"),
        pm.Modality("slow", "sequence", (3, 8), "V"),
    )
    target = ("near",)
    privileged = ("far",)
    splits: ClassVar = {
        "validated": pm.Split("train", "test", "validation"),
        "people": pm.Split("train", "test"),
        "named": pm.Split("train", "test", validation_groups=("p3", "p7")),
        "flat": pm.Split("loose", "test"),
    }
    default_protocol = "validated"
    few: ClassVar = (4,)
    backbones: ClassVar = {
        "near": "mlp-8",
        "far": "mlp-8",
        "wave": "cnn1d-8",
        "echo": "cnn1d-8",
        "slow": "cnn1d-8",
    }
    recipes: ClassVar = {"toy": RECIPE}
    licence, source, citation = "Apache-2.0", "made up", "none"
    access = "made up by the tests"

    def find_source(self) -> Path | None:
        return Path(__file__)

    def read(self, source):
        yield from toy_parts().items()


def toy_parts() -> dict[str, pm.Part]:
    """Part `loose` holds the training samples again, without groups; it is of another split."""
    rng = np.random.Generator(np.random.PCG64(7))
    means = {m.name: rng.standard_normal((3, *m.shape)) for m in Toy.modalities}
    parts = {}
    for name, count in (("train", 60), ("validation", 24), ("test", 30), ("loose", 60)):
        labels = np.arange(count) % 3
        arrays = {
            m: (3 * mean[labels] + rng.standard_normal((count, *mean.shape[1:])) + 2).astype(np.float32)
            for m, mean in means.items()
        }
        groups = [f"p{(i // 3) % 12}" for i in range(count)] if name == "train" else None
        parts[name] = pm.Part([f"{name}-{i:03d}" for i in range(count)], labels, arrays, groups)
    return parts


class Given(Toy):
    """The toy data set with other parts, and with other declarations."""

    def __init__(self, parts: dict[str, pm.Part] | None = None, **declared) -> None:
        self.parts = toy_parts() if parts is None else parts
        self.__dict__.update(declared)

    def read(self, source):
        yield from self.parts.items()


class Jittered(Given):
    """Adds one shared draw to every vector and another to every sequence."""

    def augment(self, batch, draw):
        kinds = {m.name: m.kind for m in self.modalities}
        return {name: x + draw(kinds[name]).reshape(-1, *(1,) * (x.dim() - 1)) for name, x in batch.items()}


def backbone(name: str) -> pm.Backbone:
    return next(b for b in BACKBONES if b.name == name)


@dataclass
class Lab:
    """Everything a stage is trained in."""

    root: Path
    dataset: pm.Dataset = dataclasses.field(default_factory=Toy)
    protocol: str = "validated"
    seed: int = 0
    recipe: pm.Recipe = RECIPE
    backbones: dict = dataclasses.field(default_factory=dict)
    device: str = "cpu"

    def __post_init__(self):
        self.prepared = find_or_prepare(self.dataset, self.root / "data")
        rule = self.dataset.protocol(self.protocol)
        chosen = {m: backbone(name) for m, name in self.dataset.backbones.items()} | self.backbones
        metrics = tuple(METRICS[name] for name in rule.metrics)
        prints = self.prepared.fingerprint
        self.context = Context(
            self.dataset, rule, prints, chosen, self.recipe, self.seed, metrics, named=backbone
        )
        self.view = training_view(self.prepared, rule, self.seed)
        self.store = Store(self.root / "store")

    def but(self, **changes) -> Lab:
        return dataclasses.replace(self, **changes)

    def training(
        self, stage: pm.Stage, workers: int = 0, precision: str = "32", timed_steps: int | None = None
    ) -> Training:
        """Ready to run; the stage's parents are trained first."""
        for parent in stage.parents:
            self.train(parent)
        fabric = make_fabric(self.device, 1)
        fabric.launch()
        mixed = precision != "32"
        return Training(
            stage, self.context, self.view, self.store, accelerator(fabric, mixed), workers, timed_steps
        )

    def train(self, stage: pm.Stage) -> dict[str, torch.Tensor]:
        """What the stage delivers, from the store if it is there; its parents are trained first."""
        key = self.context.key(stage)
        if not self.store.whole(key):
            for parent in stage.parents:
                self.train(parent)
            fabric = make_fabric(self.device, 1)
            fabric.launch()
            job = Job(key, stage, self.context, self.prepared)
            train_stage(job, self.store, accelerator(fabric, self.recipe.precision != "32"))
        return self.store.weights(key)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Equal names and equal bits."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- stages -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plain(pm.Stage):
    """Cross-entropy on one modality, with dropout before the head."""

    modality: str = "near"
    dropout: float = 0.0
    optimizer: str = "adamw"
    select: str = "last"

    @property
    def reads(self):
        return (self.modality,)

    def recipe(self, standard):
        return standard.but(optimizer=self.optimizer, select=self.select)

    def build(self, bench):
        student = bench.classifier(self.modality)
        student.bottleneck = nn.Dropout(self.dropout) if self.dropout else None
        return pm.Nets(student=student)

    def losses(self, nets, batch):
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}


@dataclass(frozen=True)
class Imitator(pm.Stage):
    """Student on one modality that matches a frozen teacher."""

    teacher: pm.Stage
    modality: str = "near"
    weight: float = 1.0

    @property
    def reads(self):
        return tuple(dict.fromkeys((self.modality, *self.teacher.reads)))

    def build(self, bench):
        return pm.Nets(student=bench.classifier(self.modality), teacher=bench.frozen(self.teacher))

    def losses(self, nets, batch):
        student = nets.student(batch).logits
        soft = pm.kl_divergence(nets.teacher(batch).logits, student, 2.0)
        return {"ce": pm.cross_entropy(student, batch.labels), "soft": self.weight * soft}


@dataclass(frozen=True)
class Adversarial(pm.Stage):
    """Features of `near` are trained to look like those of `far`; the critic has an optimiser of its own."""

    dropout: float = 0.3
    near: str = "near"
    far: str = "far"

    @property
    def reads(self):
        return (self.near, self.far)

    def build(self, bench):
        student = bench.classifier(self.near)
        student.bottleneck = nn.Dropout(self.dropout)
        seen = nn.Linear(bench.features(self.near), 8)
        critic = nn.Sequential(seen, nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
        return pm.Nets(student=student, other=bench.encoder(self.far), critic=critic)

    def groups(self, nets):
        slow = {"optimizer": "sgd", "lr": 0.05, "schedule": "constant", "warmup": 0.0}
        return {"main": pm.Group((nets.student, nets.other)), "critic": pm.Group((nets.critic,), slow)}

    def update(self, nets, batch, step):
        self.judge(nets, batch, step)
        output = nets.student(batch)
        fooled = -nets.critic(output.pooled).mean()
        step({"ce": pm.cross_entropy(output.logits, batch.labels), "fooled": fooled})

    def judge(self, nets, batch, step):
        truth, made = nets.other(batch[self.far])[1], nets.student(batch).pooled
        told = nets.critic(made.detach()).sigmoid().mean() - nets.critic(truth.detach()).sigmoid().mean()
        step({"told": told}, "critic")


@dataclass(frozen=True)
class Faulty(pm.Stage):
    """`Plain` with one fault."""

    fault: str = ""

    @property
    def reads(self):
        return ("near",)

    def recipe(self, standard):
        return standard.but(optimizer="rmsprop") if self.fault == "recipe" else standard

    def build(self, bench):
        if self.fault == "build":
            raise ZeroDivisionError("oh")
        if self.fault == "encoder":
            bench.encoder("far")
        if self.fault == "fed":
            bench.classifier("far", fed="near")
        if self.fault == "modality":
            bench.modality("far")
        if self.fault == "fusion":
            bench.fusion("near", "far")
        if self.fault == "stranger":
            bench.frozen(Plain())
        return pm.Nets(student=bench.classifier("near"), extra=nn.Linear(2, 2))

    def groups(self, nets):
        whole = pm.Group((nets,))
        return {
            "twice": {"main": whole, "second": pm.Group((nets.student,))},
            "none": {"main": pm.Group((nets.student,))},
            "empty": {"main": whole, "second": pm.Group(())},
            "outside": {"main": whole, "second": pm.Group((nn.Linear(2, 2),))},
        }.get(self.fault, {"main": whole})

    def losses(self, nets, batch):
        ce = pm.cross_entropy(nets.student(batch).logits, batch.labels)
        if self.fault == "read":
            batch["far"]
        if self.fault == "raise":
            raise ZeroDivisionError("oh")
        late = batch.epoch >= 1
        return {
            "nan": {"ce": ce, "odd": ce * (float("nan") if late else 1.0)},
            "constant": {"ce": ce.detach(), "more": torch.zeros(())},
            "vector": {"ce": ce, "wide": torch.ones(3)},
            "number": {"ce": 1.0},
            "nothing": {},
            "bare": ce,
            "list": [ce],
            "no": None,
            "name": {1: ce},
        }.get(self.fault, {"ce": ce})

    def update(self, nets, batch, step):
        step(self.losses(nets, batch), "nobody" if self.fault == "group" else "main")

    def deliver(self, nets):
        return {"text": "student", "odd": nn.Linear(1, 1)}.get(self.fault, nets.student)


@dataclass(frozen=True)
class Everything(pm.Stage):
    """Handles all that a training sample may lack."""

    modalities: tuple[str, ...] = ("near", "far")

    handles = frozenset({"unlabelled", "unpaired"})

    @property
    def reads(self):
        return self.modalities

    def build(self, bench):
        return pm.Nets(student=bench.classifier(self.modalities[0]))

    def losses(self, nets, batch):
        logits = nets.student(batch).logits
        return {"ce": pm.cross_entropy(logits, batch.labels), "l2": 1e-3 * logits.square().mean()}


@dataclass(frozen=True)
class Unlabelled(Everything):
    handles = frozenset({"unlabelled"})


@dataclass(frozen=True)
class Supervised(Everything):
    handles = frozenset()
