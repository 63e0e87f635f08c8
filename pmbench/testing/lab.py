"""Fixtures for tests of stages and losses: a bench, batches and networks without data or training.

>>> from pmbench.testing import lab
>>> setting = lab.setting(("acc",), ("gyro",))
>>> nets = stage.build(lab.LabBench(setting))  # doctest: +SKIP
>>> terms = stage.losses(nets, lab.batch(stage.reads))  # doctest: +SKIP
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts.batch import Batch
from ..contracts.modality import Modality
from ..contracts.setting import Setting
from ..contracts.stage import Stage, Terms
from ..metrics.builtin import METRICS
from ..networks.modules import Encoder, Frozen, Nets, Output
from ..seeding import torch_seeded
from ..store.keys import Context
from ..training.bench import EngineBench
from .collect import registry
from .miniature import RECIPE, Miniature

K = 3
MODALITIES = {
    m.name: m
    for m in (
        Modality("acc", "sequence", (3, 32), "g", grid="time"),
        Modality("gyro", "sequence", (4, 32), "rad/s", grid="time"),
        Modality("mag", "sequence", (3, 32), "uT", grid="time"),
        Modality("sound", "sequence", (2, 64), "1"),
        Modality("rgb", "image", (3, 32, 32), "1", grid="scene"),
        Modality("depth", "image", (1, 32, 32), "m", grid="scene"),
        Modality("ir", "image", (1, 32, 32), "1", grid="scene"),
        Modality("thermal", "image", (1, 32, 32), "1"),
        Modality("spectrum", "image", (1, 8, 8), "dB"),
        Modality("video", "clip", (3, 16, 16, 16), "1", grid="frame"),
        Modality("flow", "clip", (2, 16, 16, 16), "px", grid="frame"),
        Modality("summary", "vector", (5,), "1"),
        Modality("profile", "vector", (7,), "1"),
    )
}
BACKBONES = {"sequence": "cnn1d-8", "image": "cnn2d-8", "clip": "cnn3d-8", "vector": "mlp-16"}
"""The backbone of each kind of modality."""


def setting(
    target: tuple[str, ...],
    privileged: tuple[str, ...],
    *,
    demands: Sequence[str] = (),
    backbones: Mapping[str, str] | None = None,
) -> Setting:
    """A setting of `MODALITIES` with K classes; `backbones`: modality -> name, overrides of the default."""
    names = {m.name: BACKBONES[m.kind] for m in MODALITIES.values()} | dict(backbones or {})
    chosen = {m: registry().backbone(name) for m, name in names.items()}
    return Setting(target, privileged, K, MODALITIES, chosen, frozenset(demands))


class LabBench(EngineBench):
    """The engine's bench for any stage of a setting. Artifacts of parents are their init plus noise.

    Networks of one role start from equal weights, also within a stage. `notes` are those of all stages built.
    """

    def __init__(self, of: Setting) -> None:
        data = Miniature(
            "lab",
            {},
            classes=tuple(f"class {k}" for k in range(of.num_classes)),
            modalities=tuple(of.modalities.values()),
            target=of.target,
            privileged=of.privileged,
            backbones={m: b.name for m, b in of.backbones.items()},
        )
        context = Context(
            data,
            data.protocol(data.default_protocol),
            {},
            of.backbones,
            RECIPE,
            seed=0,
            metrics=(METRICS["accuracy"],),
        )
        super().__init__(Stage(), context, num_train=40, store=None)
        self._finished: dict[Stage, nn.Module] = {}

    def modality(self, name: str) -> Modality:
        return self.context.modality(name)

    def delivered(self, stage: Stage) -> nn.Module:
        """A copy of the artifact of `stage`."""
        if stage not in self._finished:
            network = stage.deliver(stage.build(self))
            with torch_seeded(0, "trained", stage), torch.no_grad():
                for tensor in network.state_dict().values() if stage.trains else ():
                    if tensor.is_floating_point():
                        tensor.add_(0.1 * torch.rand_like(tensor))
            self._finished[stage] = network
        return copy.deepcopy(self._finished[stage])

    _delivered = delivered

    def _declared(self, *modalities: str) -> None:
        """Accepts every modality: any stage of the setting may be built."""

    def _role(self, *role: object):  # type: ignore[no-untyped-def]
        self.made.clear()
        return super()._role(*role)


def batch(
    reads: Sequence[str],
    labels: Sequence[int] = (0, 1, 2, 1),
    *,
    present: Mapping[str, Sequence[bool]] | None = None,
    seed: int = 0,
    stage: str = "",
    epoch: int = 0,
    progress: float = 0.0,
) -> Batch:
    """Standard normal samples, zeros for samples absent in `present`; label -1 means unlabelled."""
    y = torch.as_tensor(labels)
    x = {}
    for m in reads:
        with torch_seeded(seed, "input", m):
            x[m] = torch.randn(len(y), *MODALITIES[m].shape)
    masks = {m: torch.as_tensor(mask) for m, mask in (present or {}).items()}
    for m, mask in masks.items():
        x[m][~mask] = 0
    index = torch.arange(len(y))
    return Batch(x, y, index, masks, stage=stage, epoch=epoch, progress=progress)


class Given(nn.Module):
    """A network that returns a constant Output; its tensors are parameters."""

    def __init__(self, logits: object, pooled: object = None, last_map: object = None) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.as_tensor(logits, dtype=torch.float64))
        self.pooled = None if pooled is None else nn.Parameter(torch.as_tensor(pooled))
        self.last_map = None if last_map is None else nn.Parameter(torch.as_tensor(last_map))

    def forward(self, batch: Mapping[str, Tensor]) -> Output:
        maps = () if self.last_map is None else (torch.zeros_like(self.last_map), self.last_map)
        return Output(self.logits, self.pooled, maps)  # type: ignore[arg-type]


class Steps:
    """`step(terms, group)` of `Stage.update`: a group's own gradients, then its optimizer; keeps terms."""

    def __init__(self, stage: Stage, nets: Nets, lr: float = 1e-2) -> None:
        self.parameters = {
            name: [p for m in group.modules for p in m.parameters() if p.requires_grad]
            for name, group in stage.groups(nets).items()
        }
        self.optimizers = {n: torch.optim.AdamW(p, lr) for n, p in self.parameters.items()}
        self.taken: list[tuple[str, dict[str, Tensor]]] = []

    def __call__(self, terms: Terms, group: str = "main") -> None:
        self.taken.append((group, dict(terms)))
        mine = self.parameters[group]
        self.optimizers[group].zero_grad()
        torch.stack(list(terms.values())).sum().backward(inputs=mine)
        self.optimizers[group].step()


@dataclass(frozen=True)
class Reach:
    """Parts of the networks that the gradient of one term reaches, by name.

    `moves`: parts that the step on this term moves; `passes`: parts that it reaches but that are of another
    group; `still`: all others.
    """

    group: str
    moves: tuple[str, ...]
    passes: tuple[str, ...]
    still: tuple[str, ...]


def gradient_reach(stage: Stage, bench: LabBench, of_batch: Batch) -> dict[str, Reach]:
    """Term -> Reach for every term of one `update` of the stage at its init."""
    nets = stage.build(bench).train()
    named = {n: p for n, p in nets.named_parameters() if p.requires_grad}
    parts = _parts(nets)
    owner = {
        id(p): name
        for name, group in stage.groups(nets).items()
        for m in group.modules
        for p in m.parameters()
    }
    found: dict[str, Reach] = {}

    def step(terms: Terms, group: str = "main") -> None:
        for term, value in terms.items():
            each = torch.autograd.grad(value, list(named.values()), retain_graph=True, allow_unused=True)
            seen = {n for n, g in zip(named, each, strict=True) if g is not None and g.abs().sum() > 0}
            own = {n for n in seen if owner[id(named[n])] == group}
            moves = tuple(p for p in parts if any(_inside(n, p) for n in own))
            passes = tuple(p for p in parts if any(_inside(n, p) for n in seen - own))
            found[term] = Reach(group, moves, passes, tuple(p for p in parts if p not in moves + passes))

    with torch_seeded(0, "forward"):
        stage.update(nets, of_batch, step)
    return found


def exported(network: nn.Module, inputs: Mapping[str, Tensor]) -> torch.export.ExportedProgram:
    """The network as a program for any number of samples; AssertionError unless it gives its logits."""
    free = {m: {0: torch.export.Dim.DYNAMIC} for m in inputs}
    program = torch.export.export(network.eval(), (dict(inputs),), dynamic_shapes=(free,))
    twice = {m: torch.cat([x, x]) for m, x in inputs.items()}
    torch.testing.assert_close(program.module()(twice).logits, network(twice).logits)
    return program


def numeric_gradient(function: Callable[[np.ndarray], float], x: np.ndarray, eps: float = 1e-6) -> np.ndarray:
    """Central differences of `function(x)` over every element of the float64 array x."""
    gradient = x * 0
    for index in range(x.size):
        up, down = x.copy(), x.copy()
        up.flat[index] += eps
        down.flat[index] -= eps
        gradient.flat[index] = (function(up) - function(down)) / (2 * eps)
    return gradient


def _inside(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _parts(nets: nn.Module, name: str = "") -> list[str]:
    """Names of the modules with parameters: encoders, layers, frozen networks."""
    children = list(nets.named_children())
    if isinstance(nets, Encoder | Frozen | nn.Sequential) or not children:
        return [name] if any(True for _ in nets.parameters()) else []
    prefix = f"{name}." if name else ""
    own = [f"{prefix}{n}" for n, _ in nets.named_parameters(recurse=False)]
    return own + [part for n, child in children for part in _parts(child, f"{prefix}{n}")]
