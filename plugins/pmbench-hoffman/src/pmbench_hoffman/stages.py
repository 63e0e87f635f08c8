"""The hallucination stage: a second network on the target modality imitates the privileged one's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor, nn

LAMBDA = {"mean": 10.0, "sse": 0.01}
"""Weight of eq. 3 where none is given; that of the sum is from github.com/ncgarcia/modality-distillation."""


@dataclass(frozen=True)
class Hallucinate(pm.Stage):
    """Target network f_t, privileged network f_p, and h: f_p's architecture on the target modality.

    CE(z_t) + CE(z_h) + CE((z_t + z_h)/2) + CE((z_t + sg z_p)/2) + L_x, and CE(z_p) with `train_privileged`,
    where L_x is one of these (numbered as in arXiv:1806.07110; sg: no gradient):

    eq3  L_hall = w |sigmoid(sg A_p) - sigmoid(A_h)|^2, mean over all elements, or the sum: `reduction` "sse"
    eq5  L_GD = (1-l) CE(z_h) + l CE(softmax(sg z_p/T), softmax(z_h/T'))
    eq7  (1-a) L_GD + a L_hall

    A is the last map (B, C, *grid) or the pooled vector (B, D), by `layer`. CE runs over labelled samples;
    whatever looks at x_p over samples that have it. Every layer of h whose tensors all agree in shape with
    those of the same layer of the trained f_p starts from them, the others (a first layer that sees another
    number of channels) from their own draw.

    With `architecture` "target", for a target modality that f_p's backbone cannot take, h is built like f_t
    and, where the pooled widths differ, given a bottleneck of f_p's width.
    """

    target: pm.Stage
    privileged: pm.Stage
    loss: str = "eq3"
    layer: str = "map"
    reduction: str = "mean"
    weight: float = LAMBDA["mean"]
    alpha: float = 0.5
    imitation: float = 0.5
    temperature: float = 10.0
    student_temperature: float = 10.0
    train_privileged: bool = False
    architecture: str = "privileged"

    handles = frozenset({"unlabelled", "unpaired"})

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and self.student_temperature > 0):
            raise pm.UsageError(
                f"temperatures {self.temperature} and {self.student_temperature}: expected numbers above 0"
            )
        if not (0 <= self.imitation <= 1 and 0 <= self.alpha <= 1 and self.weight >= 0):
            raise pm.UsageError(
                f"imitation {self.imitation}, alpha {self.alpha}, weight {self.weight}: "
                "expected the first two between 0 and 1, and no negative weight"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.target.reads, *self.privileged.reads)

    @property
    def notes(self) -> tuple[str, ...]:
        changed = {
            "pooled vectors are compared in place of maps": self.layer == "pooled" and self.loss != "eq5",
            "h has the target's architecture": self.architecture == "target",
        }
        return tuple(note for note, holds in changed.items() if holds)

    def build(self, bench: pm.Bench) -> pm.Nets:
        trained = cast("pm.Classifier", bench.trainable(self.privileged))
        h = self._hallucination(bench, width=trained.head.in_features)
        copy_agreeing_layers(trained, h)
        f_p = trained if self.train_privileged else bench.frozen(self.privileged)
        return pm.Nets(target=bench.trainable(self.target), hallucination=h, privileged=f_p)

    def _hallucination(self, bench: pm.Bench, width: int) -> pm.Classifier:
        (t,), (p,) = self.target.reads, self.privileged.reads
        if self.architecture == "privileged":
            return bench.classifier(p, fed=t)
        plain = bench.classifier(t)
        return plain if plain.head.in_features == width else bench.classifier(t, bottleneck=width)

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        y = batch.labels
        paired = batch.present(self.privileged.reads[0])
        y_paired = y.masked_fill(~paired, -1)
        t, h, p = nets.target(batch), nets.hallucination(batch), nets.privileged(batch)
        z_p = p.logits.detach()
        terms = {
            "ce_target": pm.cross_entropy(t.logits, y),
            "ce_hallucination": pm.cross_entropy(h.logits, y),
            "ce_target_hallucination": pm.cross_entropy((t.logits + h.logits) / 2, y),
            "ce_target_privileged": pm.cross_entropy((t.logits + z_p) / 2, y_paired),
        }
        if self.train_privileged:
            terms["ce_privileged"] = pm.cross_entropy(p.logits, y_paired)
        share = {"eq3": 1.0, "eq5": 0.0, "eq7": self.alpha}[self.loss]
        if self.loss != "eq5":
            a_p, a_h = (o.maps[-1] if self.layer == "map" else o.pooled for o in (p, h))
            terms["hallucination"] = (
                share * self.weight * sigmoid_distance(a_p[paired], a_h[paired], self.reduction)
            )
        if self.loss != "eq3":
            z_t, z_h = z_p[paired], h.logits[paired]
            soft = pm.soft_cross_entropy(z_t, z_h, self.temperature, self.student_temperature)
            terms["hard"] = (1 - share) * (1 - self.imitation) * pm.cross_entropy(h.logits, y)
            terms["soft"] = (1 - share) * self.imitation * soft
        return terms

    def deliver(self, nets: pm.Nets) -> pm.Mean:
        return pm.Mean(nets.target, nets.hallucination)


def sigmoid_distance(privileged: Tensor, hallucinated: Tensor, reduction: str) -> Tensor:
    """|sigmoid(A_p) - sigmoid(A_h)|^2, eq. 3 of arXiv:1806.07110 without its weight; A_p is detached.

    Both (B, *shape) -> scalar: the "mean" over all elements, in [0, 1], or their sum, "sse"; 0 for B = 0.
    """
    squared = (privileged.detach().sigmoid() - hallucinated.sigmoid()) ** 2
    return squared.mean() if reduction == "mean" and len(squared) else squared.sum()


def copy_agreeing_layers(source: pm.Classifier, into: pm.Classifier) -> list[str]:
    """Copies every layer of `source` that `into` has too, with tensors of the same shapes; gives their names.

    A layer is a module with parameters or buffers of its own. One of differing shape stays as it is in
    `into`, whole: no bias without its weight.
    """
    layers = dict(source.named_modules())
    copied = []
    for name, layer in into.named_modules():
        mine = _own_tensors(layer)
        theirs = _own_tensors(layers[name]) if name in layers else {}
        if mine and {k: v.shape for k, v in mine.items()} == {k: v.shape for k, v in theirs.items()}:
            for key, tensor in mine.items():
                tensor.detach().copy_(theirs[key].detach())
            copied.append(name)
    return copied


def _own_tensors(layer: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of `layer` itself, without those of the layers inside."""
    return dict([*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)])
