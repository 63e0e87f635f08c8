"""The eight plugin hooks; distributions register in the entry-point group `pmbench`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from .backbone import Backbone, BackboneFamily
    from .dataset import Dataset
    from .event import Epoch
    from .method import Method
    from .metric import Metric
    from .modality import ModalityKind
    from .published import Published

ENTRY_POINT_GROUP = "pmbench"
hookspec = pluggy.HookspecMarker("pmbench")
hookimpl = pluggy.HookimplMarker("pmbench")


@hookspec
def pmbench_methods() -> Iterable[Method]:
    """Methods that this distribution offers."""
    return ()


@hookspec
def pmbench_datasets() -> Iterable[Dataset]:
    """Data sets that this distribution offers."""
    return ()


@hookspec
def pmbench_backbones() -> Iterable[Backbone | BackboneFamily]:
    """Backbones, and families of them, that this distribution offers."""
    return ()


@hookspec
def pmbench_metrics() -> Iterable[Metric]:
    """Metrics that this distribution offers; a data set names them in `metrics`."""
    return ()


@hookspec
def pmbench_modality_kinds() -> Iterable[ModalityKind]:
    """Kinds of modalities that this distribution offers; data sets and backbones name them."""
    return ()


@hookspec
def pmbench_published() -> Iterable[Published]:
    """Published numbers of the papers implemented; records carry those of their cell."""
    return ()


@hookspec
def pmbench_epoch_finished(event: Epoch) -> None:
    """Called after each epoch of a stage that is being trained, in the process of `pmbench_run_finished`.

    Epochs of a stage come in order, those of stages that are trained side by side mixed, and all of them
    before the record of a cell that uses the stage. Training does not wait for this hook.
    """


@hookspec
def pmbench_run_finished(record: Any) -> None:
    """Called after each record is written, with that record.

    One process for the whole run loads this distribution alone, and calls its hooks one after the other. It
    can use the network, and write into its working folder, `listeners/<distribution>` of `--out`. It has the
    environment variables that start with the distribution's name: `MLFLOW_` for `pmbench-mlflow`. It is
    ended after the last call without running exit handlers: a hook has to write what it keeps.
    """
