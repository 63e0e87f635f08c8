"""Contract checks of methods: plan, training, determinism."""

from __future__ import annotations

import math
import random
import re
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..contracts.method import Method
from ..contracts.stage import Terms
from ..data.access import only
from ..errors import ContractError, Unsupported
from ..networks.modules import Frozen, Output
from ..training.bench import EngineBench, checked_build, delivered
from ..training.optimizers import check_terms
from .miniature import FEW, RECIPE
from .outcome import Failed, Skipped
from .trial import Trained, Trial
from .watch import watched


def check_paper_is_cited(method: Method) -> None:
    """Paper, summary and name are given. Needs no data, so that it is the first to answer."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", method.name):
        raise Failed(f"name {method.name!r}: expected lower-case letters, digits and underscores")
    if not method.paper.strip():
        raise Failed("`paper` is empty: give an arXiv id, a DOI, or a citation in words")
    if not method.summary.strip():
        raise Failed("the plan function has no docstring; its first line is what `pmbench list` shows")
    if any(not text.strip() for text in method.deviations):
        raise Failed("a deviation is empty")


def check_plan_is_pure(trial: Trial) -> None:
    """Two plans are equal, and planning reads no data, writes nothing and draws nothing."""
    setting, context = trial.setting, trial.context
    trial.method.last_stage(setting)  # imports happen on the first call
    with only(f"the plan of {trial.method.name!r}", [trial.prepared.folder], []), watched() as seen:
        first = trial.method.last_stage(setting)
    if seen:
        raise Failed(f"planning {seen[0]}")
    random.seed(99)
    second = trial.method.last_stage(setting)
    if first != second or context.key(first) != context.key(second):
        raise Failed(f"two plans differ: {first!r} and {second!r}")
    for stage in first.walk():
        foreign = set(stage.reads) - set(setting.all)
        if foreign:
            raise Failed(
                f"stage {type(stage).__name__} reads {sorted(foreign)}, the setting has {setting.all}"
            )
        context.inputs_of(stage)
    missing = set(trial.inputs) - set(first.reads)
    if missing:
        raise Failed(f"the last stage does not read {sorted(missing)}, which its network is given at test")


def check_options_plan(trial: Trial) -> None:
    """Every choice of every option gives a plan with a key, or raises Unsupported."""
    tried = 0
    for name, option in trial.method.options().items():
        for value in option.choices:
            tried += 1
            try:
                stage = trial.method.last_stage(trial.setting, **{name: value})
                for part in stage.walk():
                    trial.context.key(part)
            except Unsupported:
                continue
    if not tried:
        raise Skipped("no option with a fixed set of values")


def check_trains_on_what_it_reads(trial: Trial) -> None:
    """Every stage trains to its end with the files of its declared modalities alone."""
    trial.must_train()


def check_trains_with_few_labels(trial: Trial) -> None:
    """It trains when most samples are unlabelled, or raises Unsupported."""
    _trains_under(trial, f"few-{FEW}", "few")


def check_trains_with_unpaired_samples(trial: Trial) -> None:
    """It trains when half of the samples lack the privileged modalities, or raises Unsupported."""
    if not trial.setting.privileged:
        raise Skipped("no privileged modality")
    _trains_under(trial, "privileged-50", "unpaired")


def _trains_under(trial: Trial, protocol: str, name: str) -> None:
    base = trial.protocol_name
    if protocol in base.split("+"):
        raise Skipped(f"the other checks run under {protocol} already")
    combined = protocol if base == trial.data.default_protocol else f"{base}+{protocol}"
    other = trial.variant(name, trial.data, combined)
    if reason := other.supported():
        raise Skipped(reason)
    other.must_train()


def check_terms_are_finite_scalars(trial: Trial) -> None:
    """At its start each stage gives named scalars, finite, at least one of them with a gradient."""
    _ = trial.trains  # what fails in training is looked at here too, as far as it came
    for training in (t for t in trial.begun if t.stage.trains):
        stage, steps = training.stage, _Recorder()
        bench = EngineBench(
            stage,
            trial.context,
            training.samples,
            trial.store,
            stats=training.stats,
            labels=training.bench.labels,
        )
        nets = checked_build(stage, bench)
        nets.train()
        batch = next(iter(training.batches.epoch(0, 1)))
        name = type(stage).__name__
        stage.update(nets, batch, steps)
        if not steps.seen and any(p.requires_grad for p in nets.parameters()):
            raise Failed(f"stage {name} took no step")
        for terms in steps.seen:
            check_terms(name, terms)
            for term, value in terms.items():
                if not math.isfinite(float(value.detach())):
                    raise Failed(f"stage {name}: term {term!r} is {float(value.detach())}")
            if not any(value.requires_grad for value in terms.values()):
                raise Failed(f"stage {name}: none of {', '.join(terms)} has a gradient")


def check_every_parameter_learns(trial: Trial) -> None:
    """Every trainable parameter is in one group, and moves during training."""
    for done in _training(trial):
        name, nets = type(done.stage).__name__, done.nets
        owners: dict[int, list[str]] = {}
        for group, members in done.stage.groups(nets).items():
            for identity in {id(p) for m in members.modules for p in m.parameters() if p.requires_grad}:
                owners.setdefault(identity, []).append(group)
        for label, parameter in nets.named_parameters():
            if not parameter.requires_grad:
                continue
            groups = owners.get(id(parameter), [])
            if len(groups) != 1:
                raise Failed(
                    f"stage {name}: parameter {label!r} is in {len(groups)} groups {groups}, expected one"
                )
            if torch.equal(parameter.detach(), done.before[label]):
                raise Failed(f"stage {name}: parameter {label!r} is trainable but did not move")


def check_frozen_stays_frozen(trial: Trial) -> None:
    """Parameters and buffers of frozen networks keep their bits, and are those of the finished stage."""
    frozen = [
        (done, name, module)
        for done in trial.trained
        for name, module in done.nets.named_modules()
        if isinstance(module, Frozen)
    ]
    if not frozen:
        raise Skipped("no stage holds a frozen network")
    for done, name, module in frozen:
        for label, after in module.state_dict().items():
            if not torch.equal(after, done.before[f"{name}.{label}"]):
                raise Failed(
                    f"stage {type(done.stage).__name__}: training changed {name}.{label}, which is frozen"
                )
        module.train()
        awake = [n for n, m in module.named_modules() if m.training]
        if awake:
            raise Failed(f"stage {type(done.stage).__name__}: frozen {name!r} goes into training mode")


def check_same_seed_same_weights(trial: Trial) -> None:
    """Trained again from another state of the global generators, every stage gives the same bits."""
    first = {done.training.key: done for done in trial.trained}
    torch.manual_seed(4711)
    np.random.seed(4711)
    random.seed(4711)
    for done in trial.variant("again", trial.data, recipe=trial.recipe).train():
        _same_state(first[done.training.key], done.fresh, "trained twice under one seed, it differs")


def check_stored_equals_fresh(trial: Trial) -> None:
    """The stored artifact has the bits and the outputs of the trained one."""
    for done in trial.trained:
        stored = delivered(done.stage, trial.context, trial.store)
        _same_state(done, stored, "what the store gives back differs from what training delivered")
        inputs = dict(zip(done.stage.reads, trial.rows(done.stage.reads), strict=True))
        with torch.no_grad():
            fresh, again = done.fresh(inputs), stored(inputs)
        if isinstance(fresh, Output) and not torch.equal(fresh.logits, again.logits):
            raise Failed(
                f"stage {type(done.stage).__name__}: as stored, the network gives other logits "
                "than the one that was trained; state outside parameters and buffers is lost"
            )


def check_overfits_eight_samples(trial: Trial) -> None:
    """Trained on eight samples until it knows them, it classifies most of those that had a label from its
    test inputs alone.
    """
    data = trial.data.eight()
    protocol = "few-1" if "few-" in trial.protocol_name else data.default_protocol
    for passes in (20, 80):  # most know them soon
        recipe = RECIPE.but(epochs=passes, batch_size=8, lr=1e-2)
        other = trial.variant(f"eight-{passes}", data, protocol, recipe, Path(_stages().name))
        network = other.deliver()
        with torch.no_grad():
            logits = other.eager(network, other.inputs)(*other.rows(other.inputs, "train"))[0]
        seen = other.view.train
        labels = seen.labels[seen.labels >= 0]
        guesses = logits.argmax(1).numpy()[seen.rows[seen.labels >= 0]]
        right = int((guesses == labels).sum())
        guessed = len(labels) / len(np.unique(labels))
        needed = math.ceil((len(labels) + guessed) / 2)
        if right >= needed:
            return
    raise Failed(
        f"after {passes} passes over {len(labels)} samples with a label it knows {right} of them, "
        f"expected {needed}"
    )


def check_privilege_reaches_the_student(trial: Trial) -> None:
    """With the privileged samples in another order during training, the delivered network is another."""
    read = {m for stage in trial.stages for m in stage.reads}
    used = tuple(m for m in trial.withheld if m in read)
    if not used:
        raise Skipped("no stage reads a modality that is withheld at test")
    x, shared = trial.rows(trial.inputs), Path(_stages().name)
    for epochs in (3, 12):  # some give it weight late
        recipe = RECIPE.but(epochs=epochs)
        here = trial.variant(f"ordered-{epochs}", trial.data, recipe=recipe, store=shared)
        other = trial.variant(f"shuffled-{epochs}", trial.data.shuffled(used), recipe=recipe, store=shared)
        networks = [t.eager(t.deliver(), t.inputs) for t in (here, other)]
        with torch.no_grad():
            mine, theirs = (network(*x)[0] for network in networks)
        if not torch.equal(mine, theirs):
            return
    raise Failed(f"it reads {', '.join(used)} in training, but other values there change nothing at test")


# --- inside -------------------------------------------------------------------------------------------------


@cache
def _stages() -> tempfile.TemporaryDirectory[str]:
    """A store for stages that several methods have, until this process ends."""
    return tempfile.TemporaryDirectory(prefix="pmbench-stages-")


class _Recorder:
    """Stands in for the optimiser steps: keeps the terms, moves nothing."""

    def __init__(self) -> None:
        self.seen: list[Terms] = []

    def __call__(self, terms: Terms, group: str = "main") -> None:
        self.seen.append(terms)


def _training(trial: Trial) -> list[Trained]:
    found = [done for done in trial.trained if done.stage.trains]
    if not found:
        raise Skipped("no stage trains")
    return found


def _same_state(done: Trained, other: nn.Module, complaint: str) -> None:
    mine, theirs, name = done.fresh.state_dict(), other.state_dict(), type(done.stage).__name__
    if mine.keys() != theirs.keys():
        raise ContractError(f"stage {name}: {complaint}: {sorted(mine.keys() ^ theirs.keys())[:3]}")
    for label, tensor in mine.items():
        if not torch.equal(tensor, theirs[label]):
            raise Failed(f"stage {name}: {complaint}, for example in {label!r}")


CHECKS = (
    check_plan_is_pure,
    check_options_plan,
    check_trains_on_what_it_reads,
    check_trains_with_few_labels,
    check_trains_with_unpaired_samples,
    check_terms_are_finite_scalars,
    check_every_parameter_learns,
    check_frozen_stays_frozen,
    check_same_seed_same_weights,
    check_stored_equals_fresh,
    check_overfits_eight_samples,
    check_privilege_reaches_the_student,
)
