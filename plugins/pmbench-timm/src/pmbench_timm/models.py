"""Backbones made of timm's models by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any
from unittest import mock

import timm
import torch
from huggingface_hub import hf_hub_url
from timm.models import get_arch_pretrained_cfgs
from torch import Tensor, nn

import pmbench as pm

from .networks import TimmEncoder

PROBE = (2, 3, 64, 64)


def backbone_of(model: str) -> pm.Backbone:
    """The backbone `timm/<model>`. It gives maps where the model is a chain of its stages.

    Raises UnknownName with near matches where timm has no such model.
    """
    if "." in model or not timm.is_model(model):
        arch, _, tag = model.partition(".")
        hint = f"--backbone timm/{arch} --weights {tag}" if timm.is_model(arch) and tag else None
        raise pm.UnknownName("model of timm", model, timm.list_models(), hint)
    with torch.random.fork_rng(devices=[]):
        whole = _model(model, 3)
        chained = _is_chain(whole)
        means = chained and _pools_by_mean(whole)

    def build(modality: pm.Modality, size: int) -> TimmEncoder:
        fixed = whole.pretrained_cfg.get("fixed_input_size")
        more = {"img_size": modality.shape[-2:]} if fixed else {}
        return TimmEncoder(_model(model, modality.channels, **more), modality, chained)

    def tail(kind: str, size: int, start: int, channels: int) -> pm.Encoder:
        return pm.tail_of(TimmEncoder(_model(model, 3), _seen(kind), chained), start, channels)

    def shared() -> tuple[nn.Module, nn.Module]:
        library = _model(model, 3)
        return library, TimmEncoder(library, _seen("image"), chained)

    heads = _classifier(whole)
    rename = pm.renamed(shared, heads)

    def convert(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        known = {name for name in tensors if name.startswith(tuple(f"{head}." for head in heads))}
        if tensors.keys() <= whole.state_dict().keys() | known:
            return rename(tensors)
        return rename(as_timm_reads(model, tensors))

    provides = {"pooled", "maps"} if chained else {"pooled"}
    provides |= {"mean"} if means else set()
    return pm.Backbone(
        f"timm/{model}",
        frozenset({"image", "clip"}),
        frozenset(provides),
        f"{model} of timm; on clips frame by frame, then the mean over time",
        0,
        build,
        tail if chained else None,
        fuse_at=2,
        pretrained=pm.Pretrained(_urls(model), convert),
        libraries=("timm",),
    )


def _model(model: str, channels: int, **more: Any) -> nn.Module:
    return timm.create_model(model, in_chans=channels, num_classes=0, **more)


def as_timm_reads(model: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Tensors by the names of another library, as timm's own function for this model renames and reshapes
    them; unchanged where it has none, or that cannot make anything of them.

    The function is known to the model's maker alone. So timm loads the tensors, and what it hands to torch is
    taken down in place of being loaded: without the strictness that it loses where it drops the classifier.
    """
    found: dict[str, Tensor] = {}

    def taken_down(network: nn.Module, state: Mapping[str, Tensor], **how: Any) -> Any:
        found.update(state)
        return SimpleNamespace(missing_keys=[], unexpected_keys=[])

    with mock.patch.object(nn.Module, "load_state_dict", taken_down):
        try:
            timm.create_model(
                model, pretrained=True, num_classes=0, pretrained_cfg_overlay={"state_dict": dict(tensors)}
            )
        except Exception:  # any error for a foreign file: its layers are then reported as not matching
            return tensors
    return found


def _seen(kind: str) -> pm.Modality:
    return pm.Modality("seen", kind, (3, *((1,) if kind == "clip" else ()), *PROBE[2:]), "1")


def _pools_by_mean(model: nn.Module) -> bool:
    """Whether the features before the classifier are the mean of the last stage's map."""
    encoder = TimmEncoder(model, _seen("image"), True).eval()
    with torch.no_grad():
        maps, pooled = encoder(torch.randn(PROBE))
    mean = maps[-1].mean((2, 3))
    return mean.shape == pooled.shape and torch.allclose(mean, pooled, rtol=1e-4, atol=1e-5)


def _is_chain(model: nn.Module) -> bool:
    """Whether stem, stages and pooling one after the other compute what the model computes, in training
    too.
    """
    if model.pretrained_cfg.get("fixed_input_size"):
        return False
    try:
        encoder = TimmEncoder(model, _seen("image"), True)
        x, same = torch.randn(PROBE), True
        for training in (True, False):  # some drop out between their stages
            outputs = []
            for network in (model, encoder):
                torch.manual_seed(0)
                with torch.no_grad():
                    outputs.append(network.train(training)(x))
            whole, (maps, pooled) = outputs
            same &= torch.allclose(pooled, whole, rtol=1e-4, atol=1e-5)
    except (TypeError, ValueError, RuntimeError, AttributeError, AssertionError):
        return False
    declared = [
        (m.channels, *(-(-n // s) for n, s in zip(PROBE[2:], m.stride, strict=True))) for m in encoder.maps
    ]
    return same and declared == [tuple(m.shape[1:]) for m in maps]


def _classifier(model: nn.Module) -> tuple[str, ...]:
    names = model.pretrained_cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _urls(model: str) -> dict[str, str]:
    """timm's weights of a model by tag, and as `imagenet` the first that ended on ImageNet-1k."""
    found = {}
    for name, config in get_arch_pretrained_cfgs(model).items():
        if config.hf_hub_id:
            tag = name.partition(".")[2]
            found[tag] = hf_hub_url(config.hf_hub_id, config.hf_hub_filename or "model.safetensors")
    first = next((url for tag, url in found.items() if tag.endswith("in1k")), None)
    return {"imagenet": first, **found} if first else found
