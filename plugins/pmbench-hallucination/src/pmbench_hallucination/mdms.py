"""Steps 2 to 4 of mdms; step 1 is `pm.Stream` of each modality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pmbench as pm

if TYPE_CHECKING:
    from torch import Tensor

LAMBDA = {"frame": 0.25, "sse": 0.01}
"""Weight of eq. 3: the authors' code has 0.01 for the sum over all; 0.25 is that at its 25 frames a batch."""

SHARE = {"eq3": 1.0, "eq5": 0.0}
"""Weight of L_hall in the whole; that of eq. 7 is `alpha`."""


@dataclass(frozen=True)
class MultiplyStreams(pm.Stage):
    """Step 2: both finished streams, connected, trained on with cross-entropy of the mean of their logits.

    `connection` "p2t": the privileged stream's activations are multiplied into the target stream's behind
    every block; "t2p" the other way round; "none" or "off" not at all. Clips get temporal convolutions here.
    """

    target: pm.Stage
    privileged: pm.Stage
    connection: str
    inject: str

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.target.reads, *self.privileged.reads)

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Connected, spread_over_time

        note_off(bench, self.connection)
        f_t, f_p = bench.trainable(self.target), bench.trainable(self.privileged)
        for stream, modality in zip((f_t, f_p), self.reads, strict=True):
            if bench.modality(modality).kind == "clip":
                spread_over_time(stream)
        return pm.Nets(student=Connected(f_t, f_p, self.connection, self.inject))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}


@dataclass(frozen=True)
class HallucinateStream(pm.Stage):
    """Step 3: h looks at the target modality, starts from f_p of step 2, and imitates it; f_p is frozen.

    eq3  L_hall = w |sigmoid(A_p) - sigmoid(A_h)|^2: summed over a sample's or frame's elements, mean over
    batch
         and frames (`reduction` "frame"), or summed over all ("sse")
    eq5  L_GD = (1-l) CE(z_h, y) + l CE(softmax(z_p/T), softmax(z_h/T'))
    eq7  (1-a) L_GD + a L_hall

    A is the last block's map, or the pooled vector, by `layer`. With `connection` "p2t" f_p is multiplied
    into h in training; what is delivered is h alone, its connections cut. With "t2p" the teacher is f_p as
    step 2 trained it, with f_t multiplied in, and h has no connections. With eq3 alone h keeps the head of
    f_p. It starts from f_p (`pm.hallucination`).
    """

    multiplied: pm.Stage
    loss: str = "eq7"
    connection: str = "p2t"
    inject: str = "code"
    layer: str = "map"
    reduction: str = "frame"
    weight: float = LAMBDA["frame"]
    alpha: float = 0.5
    imitation: float = 0.5
    temperature: float = 10.0
    student_temperature: float = 10.0

    handles = frozenset({"unlabelled"})

    def __post_init__(self) -> None:
        pm.require_in("(0, inf)", temperature=self.temperature, student_temperature=self.student_temperature)
        pm.require_in("[0, 1]", imitation=self.imitation, alpha=self.alpha)
        pm.require_in("[0, inf)", weight=self.weight)

    @property
    def reads(self) -> tuple[str, ...]:
        return self.multiplied.reads

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import spread_over_time

        note_off(bench, self.connection)
        if self.layer == "pooled" and self.loss != "eq5":
            bench.note("pooled vectors are compared in place of maps")
        f_t, f_p = bench.frozen(self.multiplied).networks
        clip = bench.modality(self.reads[0]).kind == "clip"
        h = pm.hallucination(bench, self.reads[0], f_p, *([spread_over_time] if clip else []))
        h.head.requires_grad_(self.loss != "eq3")
        frozen = {"privileged": pm.Frozen(f_p)}
        if self.connection == "t2p":
            frozen["target"] = pm.Frozen(f_t)
        return pm.Nets(student=h, **frozen)

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        h, p = self._imitated(nets, batch)
        share = SHARE.get(self.loss, self.alpha)
        terms = {}
        if self.loss != "eq3":
            soft = pm.soft_cross_entropy(p.logits, h.logits, self.temperature, self.student_temperature)
            terms["hard"] = (1 - share) * (1 - self.imitation) * pm.cross_entropy(h.logits, batch.labels)
            terms["soft"] = (1 - share) * self.imitation * soft
        if self.loss != "eq5":
            a_p, a_h = (o.maps[-1] if self.layer == "map" else o.pooled for o in (p, h))
            whole = pm.sigmoid_distance(a_p, a_h)
            terms["hallucination"] = share * self.weight * whole / count(a_h, self.reduction)
        return terms

    def _imitated(self, nets: pm.Nets, batch: pm.Batch) -> tuple[pm.Output, pm.Output]:
        """Outputs of h and of its teacher."""
        from .networks import lockstep

        if self.connection == "p2t":
            p, h = lockstep(nets.privileged, nets.student, batch, self.inject)
            return h, p
        if self.connection == "t2p":
            return nets.student(batch), lockstep(nets.target, nets.privileged, batch, self.inject)[1]
        return nets.student(batch), nets.privileged(batch)


@dataclass(frozen=True)
class JoinStreams(pm.Stage):
    """Step 4: f_t of step 2 and h of step 3, connected as in step 2 with h in f_p's place; x_t alone.

    Cross-entropy of the mean of their logits moves both.
    """

    multiplied: pm.Stage
    hallucination: pm.Stage
    connection: str
    inject: str

    @property
    def reads(self) -> tuple[str, ...]:
        return self.multiplied.reads[:1]

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Connected

        f_t: Any = bench.trainable(self.multiplied)
        h = bench.trainable(self.hallucination)
        return pm.Nets(student=Connected(f_t.networks[0], h, self.connection, self.inject))

    def losses(self, nets: pm.Nets, batch: pm.Batch) -> pm.Terms:
        return {"ce": pm.cross_entropy(nets.student(batch).logits, batch.labels)}


@dataclass(frozen=True)
class ReceivingStream(pm.Stage):
    """h of step 3 with f_p multiplied in, as in its training: it needs the privileged modality at test."""

    multiplied: pm.Stage
    hallucination: pm.Stage
    inject: str

    trains = False

    @property
    def reads(self) -> tuple[str, ...]:
        return self.multiplied.reads

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import Receiving

        f_p = bench.frozen(self.multiplied).networks[1]
        return pm.Nets(student=Receiving(pm.Frozen(f_p), bench.frozen(self.hallucination), self.inject))


@dataclass(frozen=True)
class NoisyStreams(pm.Stage):
    """The streams of step 2 with the privileged input times N(1, variance); None: with nothing in its place.

    One draw for all samples, so that the network stays a function of its inputs. Every sample meets the noise
    with the distribution that a draw of its own would have: the expected accuracy is the same.
    """

    multiplied: pm.Stage
    variance: float | None

    trains = False

    def __post_init__(self) -> None:
        pm.require_in("[0, inf)", variance=self.variance)

    @property
    def reads(self) -> tuple[str, ...]:
        return self.multiplied.reads

    def build(self, bench: pm.Bench) -> pm.Nets:
        from .networks import NoisyInput

        p = self.reads[1]
        both = bench.frozen(self.multiplied)
        return pm.Nets(student=NoisyInput(both, p, bench.modality(p).shape, self.variance))


def note_off(bench: pm.Bench, connection: str) -> None:
    """Tells where the setting allows no connections."""
    if connection == "off":
        bench.note("streams are not connected: their maps are missing, not aligned or not of one shape")


def count(activations: Tensor, reduction: str) -> int:
    """What the sum over activations (B, *shape) is divided by: 1 for "sse", B F for "frame".

    F is the number of frames of maps (B, C, F, h, w) and 1 for others.
    """
    frames = activations.shape[2] if activations.dim() == 5 else 1
    return 1 if reduction == "sse" else max(len(activations) * frames, 1)
