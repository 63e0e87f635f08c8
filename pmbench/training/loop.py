"""The training loop of all stages: epochs, optimizer steps, validation, selected epoch, checkpoints."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts.batch import Batch
from ..contracts.stage import Stage
from ..errors import ContractError, PmbenchError, TrainingError, Unsupported, UsageError
from ..metrics.builtin import METRICS, evidence_of
from ..networks.modules import Frozen, Output
from ..seeding import derive
from ..store.keys import Context
from ..store.store import Store
from .batches import Order, TrainingBatches, fits_in_memory, validation_batches
from .bench import EngineBench, checked_build, in_plugin
from .device import Accelerator
from .optimizers import OptimizerStep, Seen, optimizers_of
from .samples import TrainingView
from .schedule import AUDITED_BYTES, checked_recipe, rate_factor

Progress = Callable[[int, int, Mapping[str, Any] | None], None]
"""Called after each epoch with (epochs done, epochs, fields of `EpochValues`); with None before the first."""

CHECKPOINT_SHARE = 0.05
"""Largest part of the time that writing checkpoints takes: short epochs have one together."""


@dataclass
class _State:
    """State of a training besides its tensors, as stored in checkpoints. Times in seconds."""

    epoch: int = 0
    best: float | None = None
    best_epoch: int | None = None
    seconds: float = 0.0
    waited: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    optimizer_steps: dict[str, int] = field(default_factory=dict)


class Training:
    """Training of one stage; `run()` resumes it from its last checkpoint, if any.

    With `timed_steps` an epoch has at most so many steps, and validation the same share of its samples: to
    measure how long steps take.
    """

    def __init__(
        self,
        stage: Stage,
        context: Context,
        view: TrainingView,
        store: Store,
        accelerator: Accelerator,
        data_workers: int = 0,
        timed_steps: int | None = None,
    ) -> None:
        self.stage, self.context, self.view, self.store = stage, context, view, store
        self.accelerator = accelerator
        self.name = type(stage).__name__
        self.key = context.key(stage)
        # validation data has no gallery: if the primary metric is of retrieval, accuracy selects the epoch
        primary = context.metrics[0]
        self.metric = METRICS["accuracy"] if primary.needs == "features" else primary
        self.recipe = checked_recipe(context.recipe_of(stage), self.name)
        self.seed = derive(context.seed, "replica", stage.replica)
        if stage.in_batch and accelerator.shard[1] > 1:
            raise Unsupported(
                f"the loss of stage {self.name} relates the samples of a batch to each other, which "
                f"{accelerator.shard[1]} devices would each see in part",
                "train it with --devices 1",
            )
        if self.recipe.batch_size % (processes := accelerator.shard[1]):
            raise UsageError(
                f"stage {self.name}: {processes} devices cannot share batches of {self.recipe.batch_size} "
                "equally; some samples would have a larger weight",
                "choose --devices or `--set recipe.batch_size=...` so that one divides the other",
            )
        self.stats = {m: view.channel_stats(m) for m in stage.reads}
        whole = math.ceil(view.count / self.recipe.batch_size)
        self.steps = min(whole, timed_steps or whole)
        indices = view.indices_for(stage)
        self.samples = len(indices)
        labels = view.train.labels[indices]
        positions = torch.arange(len(indices)).numpy()
        known, size = labels >= 0, self.recipe.batch_size
        pools, balance = (positions[known], positions[~known]), (labels[known], stage.samples_per_class)
        self.order = Order(*pools, size, self.steps, self.seed, *balance)
        self.bench = EngineBench(
            stage, context, self.samples, store, stats=self.stats, labels=torch.from_numpy(labels)
        )
        self.nets = checked_build(stage, self.bench).to(accelerator.device)
        self.state = _State()
        self.best: dict[str, Tensor] | None = None
        self.kept: list[dict[str, Tensor]] = []  # delivered weights of each epoch, if few
        self._saved, self._due = 0, 0.0  # how many of them are written, and when the next checkpoint is due
        self.untrained: float | None = None  # validation value of a stage that has no epochs
        if stage.trains:
            self.batches = TrainingBatches(
                view, stage, self.order, self.stats, accelerator.device, data_workers, accelerator.shard
            )
            self.optimizers = optimizers_of(stage, self.nets, self.recipe)
        validation = view.validation_for(stage)
        self.validation = validation.first(self.steps / whole)
        self._workers = data_workers
        self._columns = {m: view.seen("validation", m) for m in stage.reads}
        in_memory = fits_in_memory(self._columns, len(validation.rows))
        self._validation = list(self._validation_batches()) if in_memory else None

    # --- the loop -------------------------------------------------------------------------------------------

    def run(self, progress: Progress = lambda done, total, values: None) -> nn.Module:
        """The delivered network with the weights of the selected epoch, in evaluation mode.

        Raises PluginError or ContractError for a defect of the stage, TrainingError for values that are not
        finite.
        """
        epochs = self.recipe.epochs
        self._resume()
        progress(self.state.epoch, epochs, None)
        for epoch in range(self.state.epoch, epochs):
            started = time.perf_counter()
            terms = self._epoch(epoch)
            self._check_finite(terms, epoch)
            value = self._validate()
            means = {
                name: float(torch.stack([v for _, v in seen]).float().sum()) / self.steps
                for name, seen in terms.items()
            }
            self._record(epoch, value, means)
            seconds = time.perf_counter() - started
            self.state.seconds += seconds
            self.state.epoch = epoch + 1
            if self.accelerator.first and epoch + 1 < epochs and time.perf_counter() >= self._due:
                self._checkpoint()
            values = {"terms": means, "metric": self.metric.name, "validation": value, "seconds": seconds}
            progress(epoch + 1, epochs, values)
        if not epochs:
            self.untrained = self._validate()
        network = self._deliver()
        if self.best is not None:
            network.load_state_dict(self.best)
        return network.eval()

    def _epoch(self, epoch: int) -> Seen:
        torch.manual_seed(derive(self.seed, "forward", epoch) + self.accelerator.shard[0])
        self.nets.train()
        step = OptimizerStep(self.name, self.optimizers, self.accelerator)
        total = self.recipe.epochs * self.steps
        stage, nets, accelerator = self.stage, self.nets, self.accelerator
        number = epoch * self.steps
        try:
            for batch in self._awaited(self.batches.epoch(epoch, self.recipe.epochs)):
                for o in self.optimizers.values():
                    rate = o.recipe.lr * rate_factor(o.recipe, number, total)
                    for group in o.optimizer.param_groups:
                        group["lr"] = rate
                with accelerator.autocast():
                    stage.update(nets, batch, step)
                number += 1
            stage.end_epoch(nets)
        except PmbenchError:
            raise
        except (Exception, SystemExit) as error:
            where = "losses" if type(stage).update is Stage.update else "update"
            raise in_plugin(stage, where, error) from error
        self.accelerator.average_buffers(nets)
        for name, count in step.counts.items():
            self.state.optimizer_steps[name] = self.state.optimizer_steps.get(name, 0) + count
        return step.seen

    def _awaited(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches; adds the time spent waiting for them to the state."""
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            self.state.waited += time.perf_counter() - started
            if batch is None:
                return
            yield batch

    def _check_finite(self, terms: Seen, epoch: int) -> None:
        """Raises TrainingError naming the first term, else a weight, that is not finite."""
        bad: dict[str, tuple[int, float]] = {}
        for term, seen in terms.items():
            values = torch.stack([v for _, v in seen])
            if not values.isfinite().all():
                first = int((~values.isfinite()).nonzero()[0])
                bad[term] = seen[first][0], float(values[first])
        if bad:
            term = min(bad, key=lambda name: bad[name][0])  # the other terms follow soon
            raise TrainingError(
                f"stage {self.name}: term {term!r} is {bad[term][1]} in epoch {epoch + 1} of "
                f"{self.recipe.epochs}",
                "lower the learning rate (`--set recipe.lr=...`) or check the term; "
                "the last finite epoch's checkpoint is kept",
            )
        for name, tensor in self._trained().items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise TrainingError(
                    f"stage {self.name}: {name!r} of its networks is not finite after epoch {epoch + 1} of "
                    f"{self.recipe.epochs}, although every term was: a gradient is not finite",
                    "lower the learning rate (`--set recipe.lr=...`) or look for a root or a logarithm of "
                    "zero",
                )

    def _validation_batches(self) -> Iterator[dict[str, Tensor]]:
        return validation_batches(
            self.validation, self._columns, self.stats, self.accelerator.device, self._workers
        )

    def _validate(self) -> float | None:
        """The selection metric on validation data, in its own unit; None if the stage does not classify."""
        labels = self.validation.labels
        if not len(labels):
            return None
        network = self._deliver().eval()
        logits = []
        with torch.no_grad(), self.accelerator.autocast():
            for tensors in self._validation_batches() if self._validation is None else self._validation:
                none = torch.full((len(next(iter(tensors.values()))),), -1, device=self.accelerator.device)
                try:
                    output = network(Batch(tensors, none, none, stage=self.name))
                except ContractError:
                    raise
                except (Exception, SystemExit) as error:
                    raise in_plugin(self.stage, "deliver", error) from error
                if not isinstance(output, Output):
                    return None
                logits.append(output.logits.float().cpu())
        dataset = self.context.dataset
        evidence = evidence_of(
            labels, torch.cat(logits).numpy(), len(dataset.classes), dataset.positive_class
        )
        return float(self.metric.function(evidence))

    def _record(self, epoch: int, value: float | None, means: Mapping[str, float]) -> None:
        """Adds a row to the curve, and keeps the weights if this epoch is the best so far."""
        row = {"epoch": epoch + 1, **means}
        if value is not None:
            row["validation"] = value
            sign = 1.0 if self.metric.higher_is_better else -1.0
            if self.recipe.select == "best" and (
                self.state.best is None or sign * value >= sign * self.state.best
            ):
                self.state.best, self.state.best_epoch = value, epoch + 1
                self.best = {n: t.detach().clone() for n, t in self._deliver().state_dict().items()}
            if len(self.kept) == epoch:
                weights = self._deliver().state_dict()
                if self.recipe.epochs * sum(t.nbytes for t in weights.values()) <= AUDITED_BYTES:
                    self.kept.append({n: t.detach().clone() for n, t in weights.items()})
        self.state.curve.append(row)

    def epoch_weights(self) -> dict[str, Tensor]:
        """Delivered weights of each epoch by "<epoch>/<name>", from 1 on; empty if they were not kept."""
        if len(self.kept) < self.recipe.epochs:
            return {}
        return {f"{e}/{n}": t for e, tensors in enumerate(self.kept, 1) for n, t in tensors.items()}

    def _deliver(self) -> nn.Module:
        try:
            network = self.stage.deliver(self.nets)
        except PmbenchError:
            raise
        except (Exception, SystemExit) as error:
            raise in_plugin(self.stage, "deliver", error) from error
        if not isinstance(network, nn.Module):
            raise ContractError(f"stage {self.name} delivered {type(network).__name__}, not a torch module")
        return network

    # --- checkpoints ----------------------------------------------------------------------------------------

    def _trained(self) -> dict[str, Tensor]:
        """Parameters and buffers outside of frozen networks; one inside `bench.trainable` is not frozen."""
        frozen = [(n, m) for n, m in self.nets.named_modules() if isinstance(m, Frozen)]
        prefixes = tuple(f"{n}." for n, m in frozen if not any(p.requires_grad for p in m.parameters()))
        return {n: t for n, t in self.nets.state_dict().items() if not n.startswith(prefixes)}

    def _checkpoint(self) -> None:
        """Writes a checkpoint; the next one is due when this one has taken CHECKPOINT_SHARE of the time."""
        started = time.perf_counter()
        tensors = {f"nets/{n}": t for n, t in self._trained().items()}
        for name, o in self.optimizers.items():
            for index, p in enumerate(o.parameters):
                for slot, value in o.optimizer.state.get(p, {}).items():
                    if isinstance(value, Tensor):
                        tensors[f"optimizer/{name}/{index}/{slot}"] = value
        tensors |= {f"best/{n}": t for n, t in (self.best or {}).items()}
        for epoch in range(self._saved, len(self.kept)):
            self.store.save_epoch(self.key, epoch + 1, self.kept[epoch])
        self._saved = len(self.kept)
        self.store.save_checkpoint(self.key, tensors, vars(self.state))
        ended = time.perf_counter()
        self._due = ended + (ended - started) / CHECKPOINT_SHARE

    def _resume(self) -> None:
        found = self.store.load_checkpoint(self.key) if self.stage.trains else None
        if found is None:
            return
        tensors, state = found
        stored = {n.removeprefix("nets/"): t for n, t in tensors.items() if n.startswith("nets/")}
        if stored.keys() != self._trained().keys():
            return
        self.nets.load_state_dict(stored, strict=False)
        for name, o in self.optimizers.items():
            for index, p in enumerate(o.parameters):
                prefix = f"optimizer/{name}/{index}/"
                for full, value in tensors.items():
                    if full.startswith(prefix):
                        # fused kernels expect the moments in the memory layout of the parameter
                        like = torch.empty_like(p if value.shape == p.shape else value, device=p.device)
                        o.optimizer.state[p][full.removeprefix(prefix)] = like.copy_(value).detach()
        device = self.accelerator.device
        best = {n.removeprefix("best/"): t.to(device) for n, t in tensors.items() if n.startswith("best/")}
        self.best = best or None
        self.state = _State(**state)
        epochs = self.store.load_epochs(self.key, self.state.epoch)
        self.kept = [{n: t.to(device) for n, t in kept.items()} for kept in epochs]
        self._saved = len(self.kept)

    # --- results --------------------------------------------------------------------------------------------

    def curve_csv(self) -> str:
        """CSV with one line per epoch: epoch, mean of each term, validation metric."""
        names = list(dict.fromkeys(name for row in self.state.curve for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.state.curve)
        return text.getvalue()

    def _near_chance(self, value: float) -> bool:
        """Whether the delivered network is hardly better on validation data than the commonest class.

        That is, by at most two standard errors of a share of the validation samples.
        """
        labels, dataset = self.validation.labels, self.context.dataset
        commonest = np.bincount(labels).argmax()
        constant = np.zeros((len(labels), len(dataset.classes)), np.float32)
        constant[:, commonest] = 1
        evidence = evidence_of(labels, constant, len(dataset.classes), dataset.positive_class)
        chance = float(self.metric.function(evidence))
        share = min(max(chance / 100, 0.0), 1.0)
        error = 100 * math.sqrt(share * (1 - share) / len(labels))
        return (value - chance) * (1.0 if self.metric.higher_is_better else -1.0) <= 2 * error

    def _departures(self) -> dict[str, list[object]]:
        """Departures of the stage's recipe from the standard one, and of the groups' from the stage's."""
        found = {name: [*values] for name, values in self.recipe.departures(self.context.recipe).items()}
        for group, o in self.optimizers.items():
            changes = o.recipe.departures(self.recipe)
            found |= {f"{group}.{name}": [*values] for name, values in changes.items()}
        return found

    def describe(self) -> dict[str, Any]:
        """Results for `stage.json`, besides the inputs of the stage's key."""
        curve = [row.get("validation") for row in self.state.curve]
        selected, value = self.state.best_epoch, self.state.best
        if self.best is None:
            selected, value = self.recipe.epochs, curve[-1] if curve else self.untrained
        return {
            "cost": {
                "seconds": self.state.seconds,
                "waited": self.state.waited,
                "memory": self.accelerator.peak_memory(),
                "steps": self.steps * self.recipe.epochs,
                "optimizer_steps": max(self.state.optimizer_steps.values(), default=0),
                "samples": self.samples,
                "parameters": sum(p.numel() for p in self.nets.parameters() if p.requires_grad),
            },
            "curve": curve,
            "terms": {
                name: [row.get(name, 0.0) for row in self.state.curve]
                for name in dict.fromkeys(name for row in self.state.curve for name in row)
                if name not in ("epoch", "validation")
            },
            "selected": {"epoch": selected, "value": value},
            "near_chance": None if value is None else self._near_chance(value),
            "validated": value is not None,
            "departures": self._departures() if self.stage.trains else {},
            "channel_stats": {
                m: {"mean": s.mean.tolist(), "std": s.std.tolist()} for m, s in self.stats.items()
            },
        }
