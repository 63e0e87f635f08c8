"""h, the hallucination network: its architecture, where it starts, and how its features are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor, nn


def hallucination_network(
    bench: pm.Bench,
    target: str,
    like: pm.Classifier,
    reshape: Callable[[pm.Classifier], object] = lambda network: None,
) -> pm.Classifier:
    """A network on `target` that imitates `like`, a trained network on another modality, and starts from it.

    It has the architecture of `like`, and copies every layer whose tensors all have the same shapes; other
    layers keep their own initialization. Where that backbone does not accept `target`, it has the target's
    architecture with a bottleneck as wide as the pooled features of `like`, and copies the head alone. Both
    cases are noted. `reshape` changes it before weights are copied.
    """
    width, same = like.head.in_features, bench.fits(like.fed, target)
    narrow = like.bottleneck is not None or (not same and bench.features(target) != width)
    bottleneck = width if narrow else None
    if same:
        h = bench.classifier(like.fed, fed=target, bottleneck=bottleneck)
    else:
        h = bench.classifier(target, bottleneck=bottleneck)
        bench.note("h has the target's architecture")
    reshape(h)
    if left := copy_agreeing_layers(like, h) if same else copy_agreeing_layers(like.head, h.head):
        bench.note(f"h draws its own {', '.join(left)}, whose shape differs from the privileged network's")
    return h


def compared_layer(setting: pm.Setting, layer: str = "auto") -> str:
    """ "map" where maps of h and f_p can be compared position by position, else "pooled".

    With `layer` "pooled" always that; with "map" raises Unsupported where maps cannot be compared.
    """
    if layer == "pooled":
        return layer
    try:
        t, p = setting.only_target(), setting.only_privileged()
        setting.require_maps(p)
        setting.require_aligned(t, p)
        a, b = setting.modalities[t], setting.modalities[p]
        if not setting.backbones[p].accepts(a) or a.shape[1:] != b.shape[1:]:
            raise pm.Unsupported(
                f"compares maps of one shape, but {t!r} is {a.kind} {a.shape} "
                f"and {p!r} is {b.kind} {b.shape}",
                "layer=pooled compares pooled vectors",
            )
    except pm.Unsupported:
        if layer == "map":
            raise
        return "pooled"
    return "map"


def copy_agreeing_layers(source: nn.Module, into: nn.Module) -> tuple[str, ...]:
    """Copies every layer of `source` that `into` has under the same name with the same shapes.

    A layer is a module with parameters or buffers of its own. It is copied whole or not at all, so that no
    bias comes without its weight. Returns the names of the layers of `into` that were not copied.
    """
    layers, left = dict(source.named_modules()), []
    for name, layer in into.named_modules():
        mine = _own_tensors(layer)
        theirs = _own_tensors(layers[name]) if name in layers else {}
        if {k: v.shape for k, v in mine.items()} != {k: v.shape for k, v in theirs.items()} and mine:
            left.append(name)
            continue
        for key, tensor in mine.items():
            tensor.detach().copy_(theirs[key].detach())
    return tuple(left)


def _own_tensors(layer: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of `layer` itself, without those of its submodules."""
    return dict([*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)])
