"""Training one stage and storing its result, for runs and contract checks alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..contracts.stage import Stage
from ..data.access import only
from ..data.prepared import Prepared
from ..store.keys import Context
from ..store.store import Store
from .device import Accelerator, nondeterministic_operations
from .loop import Progress, Training
from .samples import training_view


@dataclass(frozen=True)
class Job:
    """A stage to train, its planned key, and the data to train it on.

    `timed_steps` is None, or the number of steps of an epoch of a training that is only timed.
    """

    key: str
    stage: Stage
    context: Context
    prepared: Prepared
    timed_steps: int | None = None

    @property
    def owner(self) -> str:
        """The stage and the module that defines it, for messages."""
        kind = type(self.stage)
        return f"stage {kind.__name__!r} (module {kind.__module__})"

    @property
    def readable(self) -> list[Path]:
        """Files that the stage may open: its modalities, labels and ids of the training parts."""
        names = (*self.stage.reads, "labels", "index")
        return [path for part in self.context.training_parts for path in self.prepared.files(part, names)]

    @property
    def guarded(self) -> list[Path]:
        """Folders in which the stage may open no other file: the prepared data, and its embedded source."""
        try:
            source = self.context.dataset.find_source()
        except (
            ImportError,
            OSError,
        ):  # the package that ships it cannot be read here
            source = None
        if source is None or source.suffix == ".py":
            return [self.prepared.folder]
        return [self.prepared.folder, source if source.is_dir() else source.parent]


@dataclass(frozen=True)
class Trained:
    """A finished stage: its training, and the delivered network in evaluation mode."""

    training: Training
    network: nn.Module


def train_stage(
    job: Job,
    store: Store,
    accelerator: Accelerator,
    *,
    data_workers: int = 0,
    begun: Callable[[Training], None] = lambda training: None,
    progress: Progress = lambda done, total, values: None,
    environment: Mapping[str, Any] | None = None,
) -> Trained:
    """Trains a stage; the first process of `accelerator` stores the result.

    `begun` is called with the training before its first step, `progress` after each epoch. Raises
    TrainingError unless the stage has the planned key before and after training; its source has changed
    otherwise.
    """
    stage, context = job.stage, job.context
    context.require_key(stage, job.key)
    view = training_view(job.prepared, context.protocol, context.seed, context.placebo)
    started = time.time()
    with only(job.owner, job.guarded, job.readable), nondeterministic_operations() as nondeterministic:
        training = Training(stage, context, view, store, accelerator, data_workers, job.timed_steps)
        begun(training)
        network = training.run(progress)
    trained = Trained(training, network)
    if not accelerator.first:
        return trained
    context.require_key(stage, job.key)  # `build` and `losses` may have imported more modules
    description = training.describe()
    content = {
        "stage": type(stage).__name__,
        "inputs": context.inputs_of(stage),
        "parents": [context.key(parent) for parent in stage.parents],
        "lineage": _lineage(job, store, training, description),
        "environment": {
            "torch": torch.__version__,
            "device": str(accelerator.device),
            "threads": torch.get_num_threads(),
            "processes": accelerator.shard[1],
            "unrepeatable": sorted(nondeterministic),
            **(environment or {}),
        },
        "started": started,
        "finished": time.time(),
        **description,
    }
    store.put(job.key, network.state_dict(), content, training.curve_csv(), training.epoch_weights())
    return trained


def _lineage(job: Job, store: Store, training: Training, description: Mapping[str, Any]) -> dict[str, Any]:
    """key -> cost, samples and departures of this stage and of all its ancestors."""
    parents = [job.context.key(parent) for parent in job.stage.parents]
    lineage: dict[str, Any] = {}
    for parent in parents:
        lineage |= store.stage(parent)["lineage"]
    cost = description["cost"]
    lineage[job.key] = {
        "stage": type(job.stage).__name__,
        "parents": parents,
        "reads": list(job.stage.reads),
        "seconds": cost["seconds"],
        "steps": cost["steps"],
        "epochs": training.recipe.epochs,
        "selected_epoch": description["selected"]["epoch"],
        "validation": description["selected"]["value"],
        "near_chance": description["near_chance"],
        "samples": cost["samples"],
        "departures": description["departures"],
        "notes": training.bench.notes,
    }
    return lineage
