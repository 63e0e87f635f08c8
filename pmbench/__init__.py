"""pmbench: a benchmark harness for learning with privileged modalities.

`run`, `plan` and `records` are for users, the other names for plugins; docs/api.md has all. Names are
imported on first use, so importing pmbench does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import media
    from .contracts.backbone import Backbone, BackboneFamily, Pretrained, Weights, backbone, renamed
    from .contracts.batch import Batch
    from .contracts.dataset import Dataset
    from .contracts.event import Epoch
    from .contracts.hooks import hookimpl
    from .contracts.method import Ablation, Delivery, Method, method
    from .contracts.metric import Evidence, Metric
    from .contracts.modality import Modality, ModalityKind
    from .contracts.options import Options, option
    from .contracts.protocol import Split
    from .contracts.published import Published, read_published
    from .contracts.recipe import Recipe, Setup
    from .contracts.samples import AugmentRng, CropParams, Download, Files, Part, Sampling
    from .contracts.setting import Setting
    from .contracts.stage import Bench, Group, Stage, Step, Terms
    from .errors import ContractError, DataError, PmbenchError, UnknownName, Unsupported, UsageError, plural
    from .networks.contrast import MemoryBank, ProjectionHead
    from .networks.losses import cross_entropy, kl_divergence, mse, soft_cross_entropy
    from .networks.modules import (
        Classifier,
        Encoder,
        Frozen,
        Fusion,
        Head,
        Joint,
        MapInfo,
        Mean,
        Nets,
        Output,
        tail_of,
    )
    from .networks.stages import (
        TEACHERS,
        Distill,
        DistillOptions,
        EarlyFusion,
        JointLateFusion,
        LateFusion,
        PseudoLabel,
        PseudoLabelOptions,
        Stream,
        Supervised,
        TeacherStudent,
        teacher_of,
        trained_on,
    )
    from .report.results import records
    from .run.api import plan, run

_HOMES = {
    "networks.stages": (
        "Distill DistillOptions EarlyFusion JointLateFusion LateFusion PseudoLabel PseudoLabelOptions Stream "
        "Supervised TEACHERS TeacherStudent teacher_of trained_on"
    ),
    "contracts.backbone": "Backbone BackboneFamily Pretrained Weights backbone renamed",
    "contracts.batch": "Batch",
    "contracts.dataset": "Dataset",
    "contracts.event": "Epoch",
    "contracts.hooks": "hookimpl",
    "networks.contrast": "MemoryBank ProjectionHead",
    "networks.losses": "cross_entropy kl_divergence mse soft_cross_entropy",
    "contracts.method": "Ablation Delivery Method method",
    "networks.modules": ("Classifier Encoder Frozen Fusion Head Joint MapInfo Mean Nets Output tail_of"),
    "contracts.options": "Options option",
    "contracts.published": "Published read_published",
    "contracts.protocol": "Split",
    "contracts.recipe": "Recipe Setup",
    "contracts.samples": "AugmentRng CropParams Download Files Part Sampling",
    "contracts.metric": "Evidence Metric",
    "contracts.modality": "Modality ModalityKind",
    "contracts.setting": "Setting",
    "contracts.stage": "Bench Group Stage Step Terms",
    "report.results": "records",
    "run.api": "plan",
    "errors": "ContractError DataError PmbenchError UnknownName Unsupported UsageError plural",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

_MODULES = ("media", "run")
__all__ = sorted([*_HOME_OF, *_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME_OF:
        raise AttributeError(f"module 'pmbench' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
