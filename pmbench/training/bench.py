"""The bench: builds a stage's networks from backbones, seeded weights and finished parents."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..contracts.backbone import Backbone
from ..contracts.modality import Modality
from ..contracts.stage import Stage
from ..errors import ContractError, PluginError, PmbenchError, TrainingError
from ..networks.modules import Classifier, Encoder, Frozen, Fusion, Head, Nets
from ..seeding import derive, torch_seeded
from ..store.keys import Context
from ..store.store import Store
from ..tracebacks import error_text
from .pretrained import Library, fill
from .samples import ChannelStats


@dataclass
class EngineBench:
    """Builds networks on the CPU; each role has an rng of its own.

    `made` counts the networks of each role, `notes` collects the stage's notes. Without a `store` the
    parents' networks are built but keep their initial weights, because the weights of a finished stage, which
    include theirs, are loaded next; `lineage` then holds the number of training samples of each parent.
    `stats` are the channel statistics of the stage's modalities, where it is trained. `labels` are those of
    its training samples, all -1 by default.
    """

    stage: Stage
    context: Context
    num_train: int
    store: Store | None
    made: Counter[str] = field(default_factory=Counter)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stats: Mapping[str, ChannelStats] = field(default_factory=dict)
    labels: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))

    def __post_init__(self) -> None:
        if not len(self.labels):
            self.labels = torch.full((self.num_train,), -1)

    @property
    def num_classes(self) -> int:
        return len(self.context.dataset.classes)

    @property
    def seed(self) -> int:
        return derive(self.context.seed, "replica", self.stage.replica)

    def modality(self, name: str) -> Modality:
        if not any(name in stage.reads for stage in self.stage.walk()):
            self._declared(name)
        return self.context.modality(name)

    def channel_stats(self, modality: str) -> tuple[Tensor, Tensor]:
        self._declared(modality)
        channels = self.context.modality(modality).channels
        if modality not in self.stats:
            return torch.zeros(channels), torch.ones(channels)
        found = self.stats[modality]
        return torch.tensor(found.mean), torch.tensor(found.std)

    def fits(self, modality: str, fed: str) -> bool:
        self._declared(modality, fed)
        return self.context.backbones[modality].accepts(self.context.modality(fed))

    def features(self, modality: str) -> int:
        self._declared(modality)
        with torch_seeded(0, "features"):
            return self._encoder(modality, None).features

    def encoder(self, modality: str, *, fed: str | None = None) -> Encoder:
        self._declared(modality, fed or modality)
        with self._role("encoder", modality, fed or modality):
            return self._encoder(modality, fed)

    def classifier(
        self,
        modality: str,
        *,
        fed: str | None = None,
        bottleneck: int | None = None,
        backbone: str | None = None,
    ) -> Classifier:
        other = () if backbone is None else (backbone,)
        encoder = self._other(backbone, fed or modality) if backbone else self.encoder(modality, fed=fed)
        with self._role("classifier", modality, fed or modality, bottleneck, *other):
            neck = None
            if bottleneck is not None:
                neck = nn.Sequential(nn.Linear(encoder.features, bottleneck), nn.ReLU())
            head = Head(bottleneck or encoder.features, self.num_classes)
            return Classifier(fed or modality, encoder, head, neck)

    def fusion(self, *modalities: str) -> Fusion:
        self._declared(*modalities)
        with self._role("fusion", *modalities):
            encoders = {name: self._encoder(name, None) for name in modalities}
            tail = self._tail(encoders)
            if tail is None:
                width = max(e.features for e in encoders.values())
                return Fusion(encoders, None, width, self.num_classes)
            cut = {
                name: _first_blocks(encoder, self.context.backbones[name].fuse_at)
                for name, encoder in encoders.items()
            }
            return Fusion(cut, tail, tail.features, self.num_classes)

    def head(self, features: int) -> Head:
        with self._role("head", features):
            return Head(features, self.num_classes)

    def frozen(self, stage: Stage) -> Frozen:
        return Frozen(self._delivered(stage))

    def trainable(self, stage: Stage) -> nn.Module:
        network = copy.deepcopy(self._delivered(stage))
        return network.requires_grad_(True).train()

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    # --- inside ---------------------------------------------------------------------------------------------

    def _delivered(self, stage: Stage) -> nn.Module:
        if stage not in self.stage.parents:
            raise ContractError(
                f"stage {type(self.stage).__name__} requests the network of {type(stage).__name__}, which is "
                "not among its fields"
            )
        return delivered(stage, self.context, self.store, self.lineage)

    def _declared(self, *modalities: str) -> None:
        """Raises ContractError for a modality that the stage does not read: its key would lack it."""
        for modality in modalities:
            if modality not in self.stage.reads:
                raise ContractError(
                    f"stage {type(self.stage).__name__} builds a network for {modality!r}, which it does "
                    f"not declare; its reads are ({', '.join(self.stage.reads)})",
                    f"add {modality!r} to `reads`",
                )

    def _named(self, backbone: str) -> None:
        """Raises ContractError for a backbone that the stage does not name: its key would lack it."""
        if backbone not in self.stage.backbones:
            raise ContractError(
                f"stage {type(self.stage).__name__} builds backbone {backbone!r}, which it does not declare; "
                f"its backbones are ({', '.join(self.stage.backbones)})",
                f"add {backbone!r} to `backbones`",
            )

    def _role(self, *role: object):  # type: ignore[no-untyped-def]
        """Seeds torch for the next network of a role."""
        name = "/".join(map(str, role))
        self.made[name] += 1
        return torch_seeded(self.seed, "weights", name, self.made[name])

    def _other(self, name: str, fed: str) -> Encoder:
        """An encoder of a backbone that the stage names."""
        self._declared(fed)
        self._named(name)
        with self._role("encoder", fed, fed, name):
            return self._built(self.context.named(name), self.context.modality(fed))

    def _encoder(self, modality: str, fed: str | None) -> Encoder:
        return self._built(self.context.backbones[modality], self.context.modality(fed or modality))

    def _built(self, backbone: Backbone, source: Modality) -> Encoder:
        if not backbone.accepts(source):
            raise ContractError(
                f"backbone {backbone.name!r} takes {', '.join(sorted(backbone.kinds))}, but {source.name!r} "
                f"is a {source.kind}"
            )
        check_backbone(backbone, source)
        encoder = backbone.build(source, backbone.size)
        self._fill(encoder, backbone, source.channels)
        return encoder

    def _fill(self, encoder: Encoder, backbone: Backbone, channels: int, start: int = 0) -> None:
        if backbone.weights and self.store is not None:
            tensors = Library.of(self.store).load(backbone.weights)
            fill(encoder, tensors, backbone, channels, str(backbone.weights), start)

    def _tail(self, encoders: Mapping[str, Encoder]) -> Encoder | None:
        """Shared blocks after the joint; None unless the modalities have one backbone, kind and map grid."""
        backbones = [self.context.backbones[name] for name in encoders]
        first = backbones[0]
        if first.tail is None or any(b.name != first.name for b in backbones):
            return None
        kinds = {self.context.modality(name).kind for name in encoders}
        shapes = {
            name: _map_shapes(e, self.context.modality(name))[first.fuse_at - 1]
            for name, e in encoders.items()
        }
        if len(kinds) > 1 or len({shape[1:] for shape in shapes.values()}) > 1:
            return None
        channels = sum(shape[0] for shape in shapes.values())
        tail = first.tail(kinds.pop(), first.size, first.fuse_at, channels)
        if all(b.weights == first.weights for b in backbones):
            self._fill(tail, first, channels, first.fuse_at)
        return tail


def delivered(
    stage: Stage, context: Context, store: Store | None, lineage: Mapping[str, Any] | None = None
) -> nn.Module:
    """Network that a finished stage delivered, in evaluation mode; without a store, with initial weights.

    Raises PluginError for an exception of the stage, ContractError unless it delivers a module with the
    stored weights' names.
    """
    key = context.key(stage) if store is not None or lineage else ""
    lineage = store.stage(key).get("lineage", {}) if store is not None else lineage or {}
    samples = lineage.get(key, {}).get("samples", 0)
    bench = EngineBench(stage, context, samples, store=None, lineage=lineage)
    nets = checked_build(stage, bench)
    try:
        network = stage.deliver(nets)
    except PmbenchError:
        raise
    except (Exception, SystemExit) as error:
        raise in_plugin(stage, "deliver", error) from error
    if not isinstance(network, nn.Module):
        raise ContractError(
            f"stage {type(stage).__name__} delivered {type(network).__name__}, not a torch module"
        )
    if store is not None:
        weights = store.weights(key)
        expected = network.state_dict()
        if set(weights) != set(expected):
            missing, extra = sorted(set(expected) - set(weights)), sorted(set(weights) - set(expected))
            raise ContractError(
                f"stage {type(stage).__name__} builds other networks than when it was trained "
                f"(missing {missing[:3]}, extra {extra[:3]})",
                "`build` must depend on the stage's fields and the bench alone",
            )
        network.load_state_dict(weights)
    return network.eval()


def checked_build(stage: Stage, bench: EngineBench) -> Nets:
    """`stage.build(bench)` with torch seeded; raises PluginError naming the stage for any other exception."""
    with torch_seeded(bench.seed, "weights", "build"):
        try:
            nets = stage.build(bench)
        except PmbenchError:
            raise
        except (Exception, SystemExit) as error:
            raise in_plugin(stage, "build", error) from error
    if not isinstance(nets, Nets):
        raise ContractError(
            f"stage {type(stage).__name__} built {type(nets).__name__}; expected pm.Nets(name=network)"
        )
    return nets


def in_plugin(stage: Stage, method: str, error: BaseException) -> PmbenchError:
    """The PluginError for an exception in a method of a stage; a TrainingError if a GPU ran out of memory."""
    kind = type(stage)
    if isinstance(error, torch.OutOfMemoryError):
        return TrainingError(
            f"stage {kind.__name__}: {str(error).partition('. ')[0]}",
            "lower the batch size (`--set recipe.batch_size=...`) or use bf16 "
            "(`--set recipe.precision=bf16`)",
        )
    raised = PluginError(
        f"{kind.__name__}.{method} (module {kind.__module__}) raised {error_text(error)}",
        "this is a defect of the plugin; --debug shows the traceback",
    )
    raised.add_note(f"stage {stage!r}")
    return raised


def check_backbone(backbone: Backbone, modality: Modality) -> None:
    """Raises ContractError unless an encoder's maps and pooled features have the declared shapes."""
    _check_encoder(backbone.name, backbone.build, backbone.size, "maps" in backbone.provides, modality)


@functools.cache
def _check_encoder(name: str, build: object, size: int, provides_maps: bool, modality: Modality) -> None:
    with torch_seeded(0, "check"):
        encoder = build(modality, size)  # type: ignore[operator]
        if not isinstance(encoder, Encoder):
            raise ContractError(f"backbone {name!r} built {type(encoder).__name__}, not an Encoder")
        with torch.no_grad():
            maps, pooled = encoder.eval()(torch.zeros(2, *modality.shape))
    if pooled.shape != (2, encoder.features):
        raise ContractError(
            f"backbone {name!r} declares {encoder.features} pooled features for {modality.name!r}, "
            f"but gives {tuple(pooled.shape)} for 2 samples"
        )
    strides = {len(declared.stride) for declared in encoder.maps}
    if strides - {len(modality.shape) - 1}:
        raise ContractError(
            f"backbone {name!r} declares maps with strides along {sorted(strides)} axes, but "
            f"{modality.name!r} has {len(modality.shape) - 1}"
        )
    if provides_maps != bool(encoder.maps) or len(maps) != len(encoder.maps):
        raise ContractError(
            f"backbone {name!r} declares {len(encoder.maps)} maps (provides maps: {provides_maps}), gives "
            f"{len(maps)}"
        )
    for number, (found, declared) in enumerate(zip(maps, encoder.maps, strict=True)):
        sizes = list(zip(modality.shape[1:], declared.stride, strict=True))
        grid = tuple(-(-n // s) for n, s in sizes)
        axes = zip(
            found.shape[2:], sizes, strict=False
        )  # each size divided by its stride, rounded either way
        fits = found.dim() == 2 + len(grid) and all(size in (-(-n // s), n // s) for size, (n, s) in axes)
        if found.shape[1] != declared.channels or not fits:
            raise ContractError(
                f"backbone {name!r} declares map {number} of {modality.name!r} as {declared.channels} "
                f"channels with stride {declared.stride} (grid {grid}), but gives {tuple(found.shape[1:])}"
            )


def _map_shapes(encoder: Encoder, modality: Modality) -> list[tuple[int, ...]]:
    """(channels, *grid) of each map."""
    training = encoder.training
    with torch.no_grad():
        maps: tuple[Tensor, ...] = encoder.eval()(torch.zeros(1, *modality.shape))[0]
    encoder.train(training)
    return [tuple(m.shape[1:]) for m in maps]


def _first_blocks(encoder: Encoder, count: int) -> Encoder:
    """The encoder, cut after `count` blocks."""
    encoder.blocks = encoder.blocks[:count]
    encoder.maps = encoder.maps[:count]
    encoder.pool = nn.Identity()
    return encoder
