"""A method on a small data set: planned, trained, stored and sealed as in a run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from ..contracts.method import Method
from ..contracts.recipe import Recipe
from ..contracts.setting import Setting
from ..contracts.stage import Stage
from ..data.access import only
from ..data.prepare import prepare
from ..data.prepared import Prepared
from ..errors import PmbenchError, Unsupported
from ..evaluation.seal import Sealable, seal
from ..networks.modules import Nets
from ..plugins import Registry
from ..store.keys import CellSpec, Context
from ..store.store import Store
from ..tracebacks import error_text
from ..training.bench import delivered
from ..training.device import accelerator, make_fabric
from ..training.loop import Training
from ..training.samples import TrainingView, training_view
from ..training.train import Job, train_stage
from .miniature import RECIPE, Miniature
from .outcome import Failed, Skipped

_folders: list[tempfile.TemporaryDirectory[str]] = []


@lru_cache(maxsize=16)
def prepared_once(data: Miniature) -> Prepared:
    """The prepared data, which all trials of this process on it read, in a folder that goes at its end."""
    folder = tempfile.TemporaryDirectory(prefix="pmbench-check-")
    _folders.append(folder)
    return prepare(data, Path(folder.name), Path(folder.name) / "data")


@dataclass(frozen=True)
class Trained:
    """A trained stage: initial state of its networks, its training, and the delivered network."""

    stage: Stage
    training: Training
    before: Mapping[str, Tensor]
    fresh: nn.Module

    @property
    def nets(self) -> Nets:
        return self.training.nets


class Trial:
    """Subject of the checks of a method. Properties are computed on first use and cached.

    Stages lie in a store of its own, or in `store`, which trials of other methods share.
    """

    def __init__(
        self,
        method: Method,
        data: Miniature,
        registry: Registry,
        folder: Path,
        protocol: str = "",
        recipe: Recipe = RECIPE,
        store: Path | None = None,
    ) -> None:
        self._store = store
        self.method, self.data, self.registry, self.folder = method, data, registry, folder
        self.protocol_name = protocol or data.default_protocol
        self.recipe = recipe
        self.begun: list[Training] = []
        self._failure: BaseException | None = None

    def variant(
        self,
        name: str,
        data: Miniature,
        protocol: str = "",
        recipe: Recipe = RECIPE,
        store: Path | None = None,
    ) -> Trial:
        """Another trial of the method."""
        protocol = protocol or self.protocol_name
        return Trial(self.method, data, self.registry, self.folder / name, protocol, recipe, store)

    # --- planned --------------------------------------------------------------------------------------------

    @property
    def prepared(self) -> Prepared:
        self.folder.mkdir(parents=True, exist_ok=True)
        return prepared_once(self.data)

    @cached_property
    def context(self) -> Context:
        data, protocol = self.data, self.data.protocol(self.protocol_name)
        used = sorted((*protocol.target, *protocol.privileged))
        spec = CellSpec(
            data.name, protocol.name, tuple((m, data.backbones[m]) for m in used), self.recipe, seed=0
        )
        return spec.resolve(data, self.prepared.fingerprint, self.registry)

    @property
    def setting(self) -> Setting:
        return self.context.setting

    @cached_property
    def stage(self) -> Stage:
        return self.method.last_stage(self.setting)

    @property
    def stages(self) -> list[Stage]:
        return list(self.stage.walk())

    @property
    def inputs(self) -> tuple[str, ...]:
        """Modalities that the delivered network receives at test."""
        return self.method.test_modalities(self.setting)

    @property
    def withheld(self) -> tuple[str, ...]:
        """Modalities of the setting that it does not receive at test."""
        return tuple(m for m in self.setting.all if m not in self.inputs)

    # --- trained --------------------------------------------------------------------------------------------

    @cached_property
    def store(self) -> Store:
        return Store(self._store or self.folder / "store")

    @cached_property
    def view(self) -> TrainingView:
        return training_view(self.prepared, self.context.protocol, self.context.seed, self.context.placebo)

    def train(self) -> list[Trained]:
        """Trains the stages, parents first, each with access to its own files only."""
        with one_thread():
            return [self._train(stage) for stage in self.stages]

    @cached_property
    def _trained(self) -> list[Trained] | None:
        try:
            return self.train()
        except (Exception, SystemExit) as error:
            self._failure = error
            return None

    @property
    def trained(self) -> list[Trained]:
        """The trained stages; raises Skipped if training failed, which another check reports."""
        if self._trained is None:
            raise Skipped("it does not train")
        return self._trained

    @property
    def trains(self) -> bool:
        """Whether all stages train without an error."""
        return self._trained is not None

    def must_train(self) -> None:
        """Raises the error of training, if any."""
        if self._trained is None and self._failure is not None:
            _reraise(self._failure)

    def deliver(self) -> nn.Module:
        """The delivered network; trains the stages that the store lacks. Raises the error of training."""
        try:
            with one_thread():
                for stage in self.stages:
                    if not self.store.has(self.context.key(stage)):
                        self._train(stage)
        except (Exception, SystemExit) as error:
            _reraise(error)
        return delivered(self.stage, self.context, self.store)

    def _train(self, stage: Stage) -> Trained:
        before: dict[str, Tensor] = {}

        def begun(training: Training) -> None:
            self.begun.append(training)
            before.update({n: t.clone() for n, t in training.nets.state_dict().items()})

        fabric = make_fabric("cpu", 1)
        fabric.launch()
        hardware = accelerator(fabric, self.context.recipe_of(stage).precision != "32")
        job = Job(self.context.key(stage), stage, self.context, self.prepared)
        done = train_stage(job, self.store, hardware, begun=begun)
        return Trained(stage, done.training, before, done.network)

    # --- sealed ---------------------------------------------------------------------------------------------

    @cached_property
    def network(self) -> nn.Module:
        """The network of the last stage, read from the store."""
        if not self.trained:
            raise Skipped("it has no stages")
        return delivered(self.stage, self.context, self.store)

    @cached_property
    def _program(self) -> Path | PmbenchError:
        try:
            with only(f"sealing {self.method.name!r}", [self.prepared.folder], []):
                return seal(self.stage, self.context, self.store, self.inputs)
        except PmbenchError as error:
            return error

    @property
    def program(self) -> Path:
        """The sealed program; raises Skipped if sealing failed, which another check reports."""
        if not self.trained or isinstance(self._program, PmbenchError):
            raise Skipped("it does not seal")
        return self._program

    def must_seal(self) -> None:
        """Raises the error of sealing, if any."""
        if self.trained and isinstance(self._program, PmbenchError):
            raise self._program

    def eager(self, network: nn.Module, modalities: tuple[str, ...]) -> Sealable:
        """The network with input normalization, for inputs `modalities` in that order."""
        inputs = {m: (self.data.modality(m), self.view.channel_stats(m)) for m in modalities}
        return Sealable(network, inputs, type(self.stage).__name__).eval()

    def rows(self, modalities: tuple[str, ...], part: str = "test") -> list[Tensor]:
        """Raw samples of a part, (N, *shape) each."""
        columns = (self.prepared.column(part, m).array for m in modalities)
        return [torch.tensor(array, dtype=torch.float32) for array in columns]

    def supported(self) -> str:
        """The reason why the method does not support this setting, or ""."""
        try:
            _ = self.stage
        except Unsupported as error:
            return error.message
        except Exception:
            return ""  # a plan that raises is a failure, not a skip
        return ""


def _reraise(error: BaseException) -> NoReturn:
    """Raises the error of a training, as a check reports it."""
    if isinstance(error, PmbenchError):
        raise error
    raise Failed(f"training raised {error_text(error)}") from error


class one_thread:
    """Limits torch to one thread and restores its global generator."""

    def __enter__(self) -> None:
        self._threads, self._state = torch.get_num_threads(), torch.get_rng_state()
        torch.set_num_threads(1)

    def __exit__(self, *error: object) -> None:
        torch.set_num_threads(self._threads)
        torch.set_rng_state(self._state)
