"""Contract checks of backbones, on a small modality of each accepted kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from typing import Any

import torch
from torch import Tensor

from ..contracts.backbone import Backbone
from ..contracts.modality import Modality, ModalityKind
from ..errors import UsageError
from ..evaluation.operations import is_known
from ..networks.modules import Encoder
from ..seeding import torch_seeded
from ..store.keys import home
from ..training.bench import check_backbone
from ..training.pretrained import fill
from .outcome import Failed, Skipped


@dataclass(frozen=True)
class Specimen:
    """A backbone and a modality of an accepted kind."""

    backbone: Backbone
    modality: Modality

    def build(self, seed: int = 0) -> Encoder:
        with torch_seeded(seed, "check"):
            return self.backbone.build(self.modality, self.backbone.size)

    def batch(self, size: int) -> Tensor:
        """(B, *shape)."""
        rng = torch.Generator().manual_seed(5)
        return torch.randn(size, *self.modality.shape, generator=rng)


def specimens(backbone: Backbone, kinds: Iterable[ModalityKind]) -> Iterator[tuple[str, Specimen]]:
    """(case, specimen): the example shapes of every kind that the backbone accepts."""
    for kind in kinds:
        for shape in kind.examples if kind.name in backbone.kinds else ():
            case = f"{kind.name}-{'x'.join(map(str, shape))}"
            yield case, Specimen(backbone, Modality("seen", kind.name, shape, "unit"))


def check_features_are_as_declared(specimen: Specimen) -> None:
    """Maps have the declared channels and strides, the pooled vector its declared width."""
    check_backbone(specimen.backbone, specimen.modality)


def check_pooled_is_the_mean_of_the_last_map(specimen: Specimen) -> None:
    """Where the backbone provides "mean", the pooled features are the mean of the last map over its grid."""
    if "mean" not in specimen.backbone.provides:
        raise Skipped("pooled features are not declared as the mean of the last map")
    encoder, x = specimen.build().eval(), specimen.batch(3)
    with torch.no_grad():
        maps, pooled = encoder(x)
    expected = maps[-1].flatten(2).mean(2) if maps else None
    if expected is None or expected.shape != pooled.shape:
        raise Failed("declares `mean`, but its last map has other channels than pooled features")
    error = float((expected - pooled).abs().max())
    if error > 1e-4 * max(1.0, float(pooled.abs().max())):
        raise Failed(f"declares `mean`, but the pooled features differ from it by up to {error:.3g}")


def check_samples_are_independent(specimen: Specimen) -> None:
    """In evaluation mode a sample's features do not depend on how many samples are beside it."""
    encoder, x = specimen.build().eval(), specimen.batch(5)
    with torch.no_grad():
        together = encoder(x)[1]
        alone = torch.cat([encoder(x[i : i + 1])[1] for i in range(5)])
    gap = float((together - alone).abs().max())
    if not gap <= 1e-4 * max(1.0, float(together.abs().max())):
        raise Failed(f"a sample alone has other pooled features than in a batch, by up to {gap:.3g}")


def check_init_depends_only_on_seed(specimen: Specimen) -> None:
    """Two encoders built under one seed are equal bit by bit, those of two seeds are not."""
    first, same, other = specimen.build(3), specimen.build(3), specimen.build(4)
    mine, again, else_ = first.state_dict(), same.state_dict(), other.state_dict()
    for name, tensor in mine.items():
        if not torch.equal(tensor, again[name]):
            raise Failed(f"built twice under one seed, {name!r} differs")
    learnt = [name for name, _ in first.named_parameters()]
    if learnt and not specimen.backbone.weights and all(torch.equal(mine[n], else_[n]) for n in learnt):
        raise Failed("two seeds give the same weights")


def check_gradient_reaches_the_stem(specimen: Specimen) -> None:
    """A gradient of the pooled features reaches the input and every parameter.

    Parameters that start at zero, as the last scale of residual branches may, are moved away from it first:
    what they let through from the second step on counts.
    """
    encoder, x = specimen.build().train(), specimen.batch(4).requires_grad_(True)
    rng = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1, generator=rng)
    pooled = encoder(x)[1]
    (pooled * torch.randn(pooled.shape, generator=rng)).sum().backward()
    for name, tensor in [("the input", x), *encoder.named_parameters()]:
        if tensor.requires_grad and (tensor.grad is None or not tensor.grad.abs().sum() > 0):
            raise Failed(f"no gradient reaches {name}")


def check_it_exports(specimen: Specimen) -> None:
    """In evaluation mode it exports for any batch size with the operations of sealed programs, and gives the
    same features.
    """
    encoder, x = specimen.build().eval(), specimen.batch(3)
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    with torch.no_grad():
        program = torch.export.export(
            encoder, (torch.zeros_like(x[:2]),), dynamic_shapes=({0: batch},), strict=False
        )
        gap = float((program.module()(x)[1] - encoder(x)[1]).abs().max())
    calls = {_name(node.target) for node in program.graph.nodes if node.op == "call_function"}
    if unknown := sorted(name for name in calls if not is_known(name)):
        raise Failed(f"exported, it calls {', '.join(unknown)}, which sealed programs may not use")
    if not gap <= 1e-4:
        raise Failed(f"exported, its pooled features differ by up to {gap:.3g}")


def _name(target: Any) -> str:
    """The name of a node's target in the file of a program."""
    overload = isinstance(target, torch._ops.OpOverload)
    return f"torch.ops.{target}" if overload else f"{target.__module__}.{target.__name__}"


def check_tail_takes_joined_maps(specimen: Specimen) -> None:
    """Where it offers a tail, that takes the maps at `fuse_at` of two encoders, joined along channels, and
    the tensors of an encoder's blocks from there on.
    """
    backbone, encoder = specimen.backbone, specimen.build().eval()
    if backbone.tail is None:
        raise Skipped("it offers no tail, so that fusion joins pooled features")
    with torch.no_grad():
        joint = encoder(specimen.batch(2))[0][backbone.fuse_at - 1].repeat_interleave(2, 1)
        tail = backbone.tail(specimen.modality.kind, backbone.size, backbone.fuse_at, joint.shape[1]).eval()
        maps, pooled = tail(joint)
    if pooled.shape != (2, tail.features) or len(maps) != len(tail.maps):
        raise Failed(
            f"the tail declares {tail.features} features and {len(tail.maps)} maps, "
            f"but gives {tuple(pooled.shape)} and {len(maps)}"
        )
    try:
        fill(tail, encoder.state_dict(), backbone, joint.shape[1], backbone.name, backbone.fuse_at)
    except UsageError as error:
        raise Failed(f"the tail is not made of the encoder's blocks: {error.message}") from error


def check_libraries_are_declared(specimen: Specimen) -> None:
    """Every module inside it is torch's, pmbench's, its own package's, or of one of its `libraries`."""
    known = {"torch", "pmbench", _package(home(specimen.backbone.build))}
    found = {_package(type(m).__module__): type(m).__name__ for m in specimen.build().modules()}
    for package in found.keys() - known:
        owners = _distributions().get(package, [package])
        if not {*specimen.backbone.libraries} & {*owners}:
            raise Failed(
                f"it is made of {package}.{found[package]}, whose version is in no key; "
                f"declare libraries=({owners[0]!r},)"
            )


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Packages with the distributions that ship them, read from the metadata of all that is installed."""
    return packages_distributions()


def _package(module: str) -> str:
    return module.partition(".")[0]


CHECKS = (
    check_features_are_as_declared,
    check_pooled_is_the_mean_of_the_last_map,
    check_libraries_are_declared,
    check_samples_are_independent,
    check_init_depends_only_on_seed,
    check_gradient_reaches_the_stem,
    check_it_exports,
    check_tail_takes_joined_maps,
)
