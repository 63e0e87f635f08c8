"""A bench, batches and networks for tests of stages without the engine. Found by the fixture `fake`."""

from __future__ import annotations

import copy
import zlib

import torch
from torch import nn

import pmbench as pm
from pmbench.builtin.backbones import BACKBONES

K = 3
MODALITIES = {
    m.name: m
    for m in (
        pm.Modality("acc", "sequence", (3, 32), "g", grid="time"),
        pm.Modality("gyro", "sequence", (4, 32), "rad/s", grid="time"),
        pm.Modality("mag", "sequence", (3, 32), "uT", grid="time"),
        pm.Modality("sound", "sequence", (2, 64), "1"),
        pm.Modality("spectrum", "image", (1, 8, 8), "dB"),
        pm.Modality("summary", "vector", (5,), "1"),
    )
}
BACKBONE_OF = {"sequence": "cnn1d-8", "image": "cnn2d-16", "vector": "mlp-16"}


def backbone(name):
    return next(b for b in BACKBONES if b.name == name)


def setting(target, privileged, *, demands=(), backbones=None):
    names = {m: BACKBONE_OF[MODALITIES[m].kind] for m in MODALITIES} | (backbones or {})
    chosen = {m: backbone(name) for m, name in names.items()}
    return pm.Setting(target, privileged, K, MODALITIES, chosen, frozenset(demands))


class Bench:
    """Networks of one role start alike; what a parent stage delivers is its start, moved by noise."""

    num_classes = K
    num_train = 40

    def __init__(self, of):
        self.of = of
        self._delivered = {}

    def modality(self, name):
        return MODALITIES[name]

    def encoder(self, modality, *, fed=None):
        chosen = self.of.backbones[modality]
        with _drawn("encoder", modality, fed or modality):
            return chosen.build(MODALITIES[fed or modality], chosen.size)

    def head(self, features):
        with _drawn("head", features):
            return pm.Head(features, K)

    def classifier(self, modality, *, fed=None, bottleneck=None):
        encoder = self.encoder(modality, fed=fed)
        features, between = encoder.features, None
        if bottleneck is not None:
            with _drawn("bottleneck", features, bottleneck):
                between, features = nn.Sequential(nn.Linear(features, bottleneck), nn.ReLU()), bottleneck
        return pm.Classifier(fed or modality, encoder, self.head(features), between)

    def fusion(self, *modalities):
        trunks = {m: self.encoder(m) for m in modalities}
        backbones = {self.of.backbones[m] for m in modalities}
        first = self.of.backbones[modalities[0]]
        tail = None
        if len(backbones) == 1 and first.tail is not None:
            for trunk in trunks.values():
                trunk.blocks, trunk.maps = trunk.blocks[: first.fuse_at], trunk.maps[: first.fuse_at]
            joined = sum(t.maps[-1].channels for t in trunks.values())
            with _drawn("tail", *modalities):
                tail = first.tail(MODALITIES[modalities[0]].kind, first.size, first.fuse_at, joined)
        with _drawn("fusion", *modalities):
            return pm.Fusion(trunks, tail, tail.features if tail else 16, K)

    def delivered(self, stage):
        if stage not in self._delivered:
            network = stage.deliver(stage.build(self))
            if stage.trains:
                with _drawn("trained", stage), torch.no_grad():
                    for tensor in network.state_dict().values():
                        if tensor.is_floating_point():
                            tensor.add_(0.1 * torch.rand_like(tensor))
            self._delivered[stage] = network
        return copy.deepcopy(self._delivered[stage])

    def frozen(self, stage):
        return pm.Frozen(self.delivered(stage))

    def trainable(self, stage):
        return self.delivered(stage)


class Given(nn.Module):
    """Returns the Output it holds, whatever it is asked; its tensors are parameters."""

    def __init__(self, logits, pooled=None, last_map=None):
        super().__init__()
        self.logits = nn.Parameter(torch.as_tensor(logits, dtype=torch.float64))
        self.pooled = None if pooled is None else nn.Parameter(torch.as_tensor(pooled))
        self.last_map = None if last_map is None else nn.Parameter(torch.as_tensor(last_map))

    def forward(self, batch):
        maps = () if self.last_map is None else (torch.zeros_like(self.last_map), self.last_map)
        return pm.Output(self.logits, self.pooled, maps)


def batch(reads, labels=(0, 1, 2, 1), *, present=None, seed=0, stage=""):
    labels = torch.as_tensor(labels)
    x = {}
    for m in reads:
        with _drawn("input", m, seed):
            x[m] = torch.randn(len(labels), *MODALITIES[m].shape)
    masks = {m: torch.as_tensor(mask) for m, mask in (present or {}).items()}
    for m, mask in masks.items():
        x[m][~mask] = 0
    return pm.Batch(x, labels, torch.arange(len(labels)), masks, stage=stage)


def gradient_flow(stage, bench, of_batch):
    """{term: names of the parts of the networks that it moves}; a part is `network.child`."""
    nets = stage.build(bench)
    flow = {}
    for term in stage.losses(nets, of_batch):
        nets.zero_grad(set_to_none=True)
        stage.losses(nets, of_batch)[term].backward()
        moved = set()
        for name, parameter in nets.named_parameters():
            if parameter.grad is not None and parameter.grad.abs().sum() > 0:
                moved.add(".".join(name.split(".")[:2]))
        flow[term] = moved
    return flow


def numeric_gradient(function, x, eps=1e-6):
    """Central differences of `function(x)`, a float, over every element of the float64 array x."""
    gradient = x * 0
    for index in range(x.size):
        up, down = x.copy(), x.copy()
        up.flat[index] += eps
        down.flat[index] -= eps
        gradient.flat[index] = (function(up) - function(down)) / (2 * eps)
    return gradient


class _drawn:
    """Draws inside are decided by `what` alone."""

    def __init__(self, *what):
        self.seed = zlib.crc32(repr(what).encode())

    def __enter__(self):
        self.fork = torch.random.fork_rng(devices=())
        self.fork.__enter__()
        torch.manual_seed(self.seed)

    def __exit__(self, *error):
        self.fork.__exit__(*error)
